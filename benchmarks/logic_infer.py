"""Inference of a discretised logic network on one core: our evaluator, our exported C, difflogic, torchlogix, PyTorch.

    python benchmarks/logic_infer.py                              a random 4x4000 of 2,312 inputs
    python benchmarks/logic_infer.py --width 64000 --difflogic-O 0 --torchlogix-O 0
    python benchmarks/logic_infer.py --job JOB_ID                 a trained dense network, its own test frames

All contenders live in one process on one core with the same network and the same samples, and take turns: a round times
each of them once, as the CPU time of the process, and every second round goes backwards, as the one before leaves other
things in the caches. Printed is the best round of each. Scores of all are compared first.
`packed` are the samples as a bit-packed frame cache has them, eight inputs to a byte; `planes` have 64 samples to a
word already; `bytes` one byte for each input, which is what both peers take.

The peers are used where Python finds them (PYTHONPATH is enough, neither has to be installed) and left out with a note
where not. difflogic cannot be imported without its CUDA module: an empty one stands in. torchlogix 0.2.2 writes its C
only on Python 3.12 or newer: run it with such a one to have them all.
"""

import argparse
import contextlib
import ctypes
import io
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from difflogic_tonic.deploy.c_export import write_c
from difflogic_tonic.deploy.c_run import open_c
from difflogic_tonic.errors import UserError
from difflogic_tonic.models.discretise import to_netlist
from difflogic_tonic.netlist import Circuit, Engine, InputCode, simplify, to_planes
from difflogic_tonic.nets.logic import LogicNetwork, hard_mode
from difflogic_tonic.nets.logic.interchange import to_difflogic, to_torchlogix
from logic_train import Unavailable, import_peer

LAYERS, INPUTS, CLASSES = 4, 2312, 10
BOOL_WORD = 64

BETWEEN = """#!{python} -IS
import resource, subprocess, sys
code = subprocess.call([{gcc!r}, *sys.argv[1:]])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=open({peaks!r}, "a"))
sys.exit(code)
"""


@dataclass(frozen=True)
class Contender:
    """`run` gives scores [N, classes]; `mb` is what its build took beside it, or what it holds."""

    run: Callable[[], np.ndarray]
    build_seconds: float
    mb: float


@dataclass(frozen=True)
class Samples:
    bits: np.ndarray  # bool[N, inputs]
    packed: np.ndarray  # uint8[N, inputs / 8]
    planes: np.ndarray  # uint64[blocks, inputs, 8]


def evaluators(network: LogicNetwork, samples: Samples) -> Iterator[tuple[str, Contender]]:
    netlist = to_netlist(nn.Sequential(network))
    Engine(netlist)  # loads the library, once in a process
    started = time.process_time()
    engine = Engine(netlist)
    seconds = time.process_time() - started
    n = len(samples.bits)
    engine.scores(samples.bits)
    mb = (engine._words.nbytes + engine._memory.nbytes) / 1e6
    yield f"evaluator ({engine.level}), packed", Contender(lambda: engine.scores(samples.packed, "packed"), seconds, mb)
    yield "  planes", Contender(lambda: engine.scores(samples.planes, "planes", n), seconds, mb)
    yield "  bytes", Contender(lambda: engine.scores(samples.bits), seconds, mb)


def exported_c(network: LogicNetwork, samples: Samples) -> Iterator[tuple[str, Contender]]:
    netlist = to_netlist(nn.Sequential(network))
    circuit = Circuit(netlist, InputCode((1, 1, INPUTS), np.ones((1, 1))), tuple(map(str, range(CLASSES))))
    with tempfile.TemporaryDirectory() as folder:
        before = children_seconds()
        with watched_compiler() as compiler_mb:
            run = open_c(circuit, write_c(circuit, Path(folder), "net"))
        # it was compiled twice: for this and with its test program
        seconds = (children_seconds() - before) / 2
        scores = np.empty((len(samples.bits), CLASSES), np.uint32)
        pointers = [ctypes.c_void_p(samples.packed.ctypes.data), len(scores), ctypes.c_void_p(scores.ctypes.data)]

        def packed() -> np.ndarray:
            run.batch(pointers[0], ctypes.c_size_t(pointers[1]), pointers[2])
            return scores

        yield "our C, gcc -O1, packed", Contender(packed, seconds, compiler_mb())


def difflogic_c(network: LogicNetwork, samples: Samples, level: int) -> Iterator[tuple[str, Contender]]:
    difflogic = import_peer("difflogic", "difflogic.difflogic", stand_in="difflogic_cuda")
    compiled_model = import_peer("difflogic", "difflogic.compiled_model", stand_in="difflogic_cuda")
    state, indices = to_difflogic(network.state_dict())
    layers = [difflogic.LogicLayer(layer.in_features, layer.out_features, device="cpu") for layer in network.layers]
    model = nn.Sequential(*layers, difflogic.GroupSum(CLASSES, 1.0, device="cpu"))
    model.load_state_dict(state)
    for layer, pair in zip(layers, indices, strict=True):
        layer.indices = tuple(part.numpy() for part in pair)
    before, started = children_seconds(), time.process_time()
    with contextlib.redirect_stdout(io.StringIO()), watched_compiler() as compiler_mb:
        compiled = compiled_model.CompiledLogicNet(model, num_bits=BOOL_WORD)
        compiled.layers = [(a, b, operations.tolist()) for a, b, operations in compiled.layers]
        compiled.compile(opt_level=level)
    seconds = children_seconds() - before + time.process_time() - started
    words = len(samples.bits) // BOOL_WORD
    out = np.zeros(len(samples.bits) * CLASSES, np.int32)

    def function() -> np.ndarray:
        compiled.lib_fn(samples.bits, out, words)
        return out.reshape(-1, CLASSES)

    yield f"difflogic C function, -O{level}", Contender(function, seconds, compiler_mb())
    inputs = samples.bits
    yield "difflogic .forward()", Contender(lambda: np.asarray(compiled.forward(inputs)), seconds, compiler_mb())


def torchlogix_c(network: LogicNetwork, samples: Samples, level: int) -> Iterator[tuple[str, Contender]]:
    layers_module = import_peer("torchlogix", "torchlogix.layers", stand_in="torchlogix.circuit")
    circuit_class = sys.modules["torchlogix.circuit"].Circuit
    if circuit_class is None:
        raise Unavailable("torchlogix writes its C on Python 3.12 or newer only")
    layers = [
        layers_module.LogicDense(layer.in_features, layer.out_features, parametrization="raw")
        for layer in network.layers
    ]
    model = nn.Sequential(*layers, layers_module.GroupSum(CLASSES, 1.0)).eval()
    model.load_state_dict(to_torchlogix(network.state_dict()), strict=False)
    before, started = children_seconds(), time.process_time()
    circuit = circuit_class.from_model(model, [INPUTS])
    circuit.simplify()
    with watched_compiler() as compiler_mb:
        circuit.compile(opt_level=level, pack_bits=BOOL_WORD)
    seconds = children_seconds() - before + time.process_time() - started
    inputs = samples.bits
    yield (
        f"torchlogix C, simplified, -O{level}",
        Contender(lambda: circuit(inputs, use_compiled=True), seconds, compiler_mb()),
    )


def torch_hard(network: LogicNetwork, samples: Samples) -> Iterator[tuple[str, Contender]]:
    for name, array, packed in (("packed", samples.packed, True), ("bytes", samples.bits, False)):
        inputs = torch.from_numpy(array)

        def run(inputs: torch.Tensor = inputs, packed: bool = packed) -> np.ndarray:
            with torch.no_grad(), hard_mode(network):
                return np.rint(network(inputs, packed=packed).double().numpy() * network.head.tau)

        yield f"PyTorch hard forward, {name}", Contender(run, 0.0, 0.0)


def children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@contextlib.contextmanager
def watched_compiler() -> Iterator[Callable[[], float]]:
    """Compilers that are started meanwhile by the name of gcc; the result gives their largest memory in MB.

    A child of this process would count what this process holds as its own: a small one stands between.
    """
    path = os.environ["PATH"]
    with tempfile.TemporaryDirectory() as folder:
        peaks, between = Path(folder) / "peaks", Path(folder) / "gcc"
        between.write_text(BETWEEN.format(python=sys.executable, gcc=shutil.which("gcc"), peaks=str(peaks)))
        between.chmod(0o755)
        os.environ["PATH"] = f"{folder}{os.pathsep}{path}"
        try:
            found: list[float] = []
            yield lambda: max(found)
            found += [int(line) / 1e3 for line in peaks.read_text().split()]
        finally:
            os.environ["PATH"] = path


def random_network(width: int) -> LogicNetwork:
    return LogicNetwork(INPUTS, width, LAYERS, CLASSES, tau=10.0, seed=0).eval()


def trained_network(job_id: str) -> tuple[LogicNetwork, np.ndarray]:
    """The network of a job and the bits of its test frames."""
    from difflogic_tonic.config import environment_storage
    from difflogic_tonic.deploy.job import labelled_batches, open_job

    try:
        job = open_job(job_id, "best", environment_storage())
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
    bits = np.concatenate([batch.bits for batch in labelled_batches(job)])
    if not isinstance(job.model.network, LogicNetwork):
        raise SystemExit(f"error: job {job_id} is not a dense logic network, the only kind that the peers have as well")
    return job.model.network, bits


def samples_of(bits: np.ndarray) -> Samples:
    return Samples(bits, np.packbits(bits, axis=1, bitorder="little"), to_planes(bits))


def main() -> None:
    arguments = parsed_arguments()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    n = arguments.samples // 512 * 512
    if arguments.job:
        network, bits = trained_network(arguments.job)
        bits = np.ascontiguousarray(np.tile(bits, (-(-n // len(bits)), 1))[:n])
    else:
        network, bits = random_network(arguments.width), np.random.default_rng(0).random((n, INPUTS)) < 0.5
    samples = samples_of(bits)
    gates = simplify(to_netlist(nn.Sequential(network))).n_gates
    print(f"{[layer.out_features for layer in network.layers]}: {gates:,} gates simplified; {n} samples, one core")
    contenders = built(network, samples, arguments)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(arguments.rounds):
        for name, contender in list(contenders.items())[:: -1 if number % 2 else 1]:
            started = time.process_time()
            contender.run()
            times[name].append((time.process_time() - started) / n)
    print(f"{'':32}{'ns/sample':>10}{'(median)':>10}{'M/s':>8}{'build s':>10}{'MB':>8}")
    for name, contender in contenders.items():
        best, median = min(times[name]) * 1e9, statistics.median(times[name]) * 1e9
        print(f"{name:32}{best:10.1f}{median:10.1f}{1e3 / best:8.2f}{contender.build_seconds:10.3f}{contender.mb:8.1f}")


def built(network: LogicNetwork, samples: Samples, arguments: argparse.Namespace) -> dict[str, Contender]:
    """Every contender that can be had, with equal scores; a note for each other."""
    makers: dict[str, Callable[..., Any]] = {
        "evaluator": evaluators,
        "c": exported_c,
        "difflogic": lambda *given: difflogic_c(*given, arguments.difflogic_level),
        "torchlogix": lambda *given: torchlogix_c(*given, arguments.torchlogix_level),
        "torch": torch_hard,
    }
    found: dict[str, Contender] = {}
    expected = None
    for variant in arguments.variants.split(","):
        try:
            for name, contender in makers[variant](network, samples):
                scores = contender.run()
                expected = scores if expected is None else expected
                assert np.array_equal(scores, expected), f"{name} gives other scores"
                found[name] = contender
        except Unavailable as reason:
            print(f"{variant}: left out, {reason}")
    return found


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=4000, help="neurons of each of the four layers (default: 4000)")
    parser.add_argument("--job", help="a trained network instead of a random one")
    parser.add_argument("--samples", type=int, default=4096, help="in a call (default: 4096)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--variants", default="evaluator,c,difflogic,torchlogix,torch")
    for peer in ("difflogic", "torchlogix"):
        parser.add_argument(f"--{peer}-O", dest=f"{peer}_level", type=int, default=1, help="of gcc (default: 1)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
