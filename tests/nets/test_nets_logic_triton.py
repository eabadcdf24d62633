"""The Triton kernels: in the interpreter on any machine, compiled for GPUs that are not there, and on one that is."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from difflogic_tonic.nets.logic import LogicNetwork, gpu
from difflogic_tonic.nets.logic.gpu_call import Call

CASES = Path(__file__).with_name("triton_cases.py")
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed: pip install triton")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
TYPES = {
    torch.float32: "*fp32",
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.int32: "*i32",
    torch.uint8: "*u8",
}


def run_cases(**variables: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(CASES)]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.integration
@needs_triton
def test_the_cases_hold_in_the_interpreter():
    run_cases(TRITON_INTERPRET="1")


@pytest.mark.gpu
@needs_cuda
@needs_triton
def test_the_cases_hold_on_a_gpu():
    run_cases(TRITON_CASES_DEVICE="cuda")


def test_without_a_cuda_device_there_is_a_reason_and_one_line_in_the_log(caplog):
    gpu._find_kernel.cache_clear()
    try:
        reason = gpu.find_kernel(torch.device("cpu"))
        assert gpu.find_kernel(torch.device("cpu")) == reason
    finally:
        gpu._find_kernel.cache_clear()
    assert isinstance(reason, str)
    assert [record.message.endswith(reason) for record in caplog.records] == [True]


def test_the_package_loads_without_triton():
    code = (
        "import sys; sys.modules['triton'] = None\n"
        "import torch, difflogic_tonic.nets.logic.gpu as gpu\n"
        "print(gpu.find_kernel(torch.device('cuda', 0)))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.startswith("triton cannot be imported"), done.stdout + done.stderr


class Launches:
    """Stands where the module of kernels stands, and keeps what would have been launched."""

    def __init__(self, kernels: Any) -> None:
        self.kernels = kernels
        self.made: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        kernel = getattr(self.kernels, name)
        return _Launcher(lambda *args, **options: self.made.append((kernel, args, options)))


class _Launcher:
    def __init__(self, launch: Callable[..., None]) -> None:
        self.launch = launch

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        assert all(size > 0 for size in grid), grid
        assert all(size <= 65_535 for size in grid[1:]), grid  # the first axis of a CUDA grid may be longer
        return self.launch


def launches_of_one_step(storage: torch.dtype, x: Tensor) -> list[tuple[Any, tuple[Any, ...], dict[str, Any]]]:
    from difflogic_tonic.nets.logic import triton_kernels

    network = LogicNetwork(x.shape[1], [50, 60, 70], 3, 7, backend="eager")
    launches = Launches(triton_kernels)
    stack = gpu.Stack(launches, x.shape[1], [layer.wiring for layer in network.layers], 7, 1.0)  # type: ignore[arg-type]
    gpu.run_with_logits(stack, x, [layer.weight for layer in network.layers], 1.0, storage=storage).sum().backward()
    return launches.made


@needs_triton
def test_a_class_for_each_of_many_neurons_as_in_a_recurrent_network_can_be_launched():
    from difflogic_tonic.nets.logic import triton_kernels

    wiring = torch.zeros(2, 70_000, dtype=torch.int32)
    launches = Launches(triton_kernels)
    stack = gpu.Stack(launches, 1, [wiring], 70_000, 1.0)  # type: ignore[arg-type]
    coefficients = torch.zeros(70_000, 4, requires_grad=True)
    gpu.run_with_coefficients(stack, torch.zeros(1, 1, dtype=torch.uint8), coefficients).sum().backward()
    assert {"forward_groups", "backward_weights"} <= {kernel.__name__ for kernel, *_ in launches.made}


def compiled(kernel: Any, args: tuple[Any, ...], options: dict[str, Any], capability: int) -> Any:
    """The kernel as Triton would compile it at this launch, for a GPU of that compute capability."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    constants = {name: value for name, value in options.items() if name != "num_warps"}
    signature, attributes = dict.fromkeys(constants, "constexpr"), {}
    for index, (name, value) in enumerate(zip(kernel.arg_names, args, strict=False)):
        if isinstance(value, Tensor):
            signature[name] = TYPES[value.dtype]
            assert value.data_ptr() % 16 == 0, (kernel.__name__, name)
            attributes[(index,)] = [["tt.divisibility", 16]]
        elif isinstance(value, float):
            signature[name] = "fp32"
        elif kernel.params[index].do_not_specialize:
            signature[name] = "i32"
        elif value == 1:
            signature[name], constants[name] = "constexpr", 1
        else:
            signature[name] = "i32"
            if value % 16 == 0:
                attributes[(index,)] = [["tt.divisibility", 16]]
    signature = {name: signature[name] for name in kernel.arg_names}
    positions = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(kernel, signature, positions, attributes)
    target = GPUTarget("cuda", capability, 32)
    return triton.compile(source, target=target, options={"num_warps": options["num_warps"]})


def stack_bytes(cubin: bytes, folder: Path) -> int:
    """Bytes per thread that the compiled kernel keeps in local memory: registers that did not fit."""
    from triton import knobs

    file = folder / "kernel.cubin"
    file.write_bytes(cubin)
    command = [knobs.nvidia.cuobjdump.path, "--dump-resource-usage", str(file)]
    usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return sum(int(size) for size in re.findall(r"(?:STACK|LOCAL):(\d+)", usage))


@pytest.mark.integration
@needs_triton
@pytest.mark.parametrize(("storage", "capability"), [("float16", 90), ("bfloat16", 80), ("float32", 90)])
def test_every_kernel_compiles_to_16_byte_moves_without_spilling(storage, capability, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    batch, dtype = 300, getattr(torch, storage)
    steps = [torch.zeros(batch, 61, dtype=torch.uint8), torch.zeros(batch, 61, requires_grad=True)]
    seen = {}
    for kernel, args, options in [made for x in steps for made in launches_of_one_step(dtype, x)]:
        types = tuple(arg.dtype for arg in args if isinstance(arg, Tensor))
        seen[(kernel.__name__, types, *options.items())] = (kernel, args, options)
    assert {name for name, *_ in seen} >= {"forward_layer", "forward_groups", "backward_layer", "backward_weights"}
    for kernel, args, options in seen.values():
        result = compiled(kernel, args, options, capability)
        assert stack_bytes(result.asm["cubin"], tmp_path) == 0, kernel.__name__
        if kernel.__name__ == "forward_layer":
            moves = re.findall(r"(ld|st)\.global\S*\.v4\.b32", result.asm["ptx"])
            is_bits = args[0].dtype == torch.uint8
            assert moves == ["st"] if is_bits else ["ld", "ld", "st"]
        if kernel.__name__ == "backward_layer" and args[1].dtype == dtype:
            moves = re.findall(r"(ld|st)\.global\S*\.v4\.b32", result.asm["ptx"])
            assert moves.count("ld") == 1 + 2 * 2  # its own row, then two edges of two rows
            assert "atom" not in result.asm["ptx"]


def test_a_call_covers_any_batch_with_whole_pieces_of_16_bytes():
    network = LogicNetwork(8, [8], 1, 2, backend="eager")
    stack = gpu.Stack(torch, 8, [network.layers[0].wiring], 2, 1.0)
    for batch in (1, 15, 16, 17, 255, 256, 257, 5000):
        for storage in gpu.STORAGES:
            call = Call(stack, batch, storage, torch.device("cpu"))
            assert batch <= call.stride < batch + 16
            assert call.stride * storage.itemsize % 16 == 0
            assert call.chunks * call.tiling.columns >= call.stride


@pytest.mark.gpu
@needs_cuda
@needs_triton
@pytest.mark.parametrize("storage", gpu.STORAGES, ids=str)
def test_a_captured_step_gives_the_same_bits(storage):
    network = LogicNetwork(300, [500, 600, 700], 3, 10, backend="eager").cuda()
    weights = [layer.weight for layer in network.layers]
    kernels = gpu.find_kernel(torch.device("cuda"))
    assert not isinstance(kernels, str), kernels
    stack = gpu.Stack(kernels, 300, [layer.wiring for layer in network.layers], 10, network.head.tau)
    x = torch.rand(257, 300, device="cuda") < 0.4
    labels = torch.arange(257, device="cuda") % 10

    def step() -> list[Tensor]:
        loss = F.cross_entropy(gpu.run_with_logits(stack, x, weights, 1.0, storage=storage), labels)
        return list(torch.autograd.grad(loss, weights))

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        expected = step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    for _ in range(2):
        graph.replay()
        assert all(torch.equal(one, two) for one, two in zip(captured, expected, strict=True))
