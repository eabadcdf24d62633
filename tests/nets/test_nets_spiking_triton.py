"""The Triton kernels of spiking neurons: in the interpreter on any machine, and compiled on one that has a GPU."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from difflogic_tonic.nets.spiking import neuron_gpu
from difflogic_tonic.nets.spiking.neurons import fused_neurons
from difflogic_tonic.nets.spiking.rule import KINDS, NeuronRule

CASES = Path(__file__).with_name("neuron_triton_cases.py")
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed: pip install triton")


def run_cases(**variables: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(CASES)]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.integration
@needs_triton
def test_the_cases_hold_in_the_interpreter():
    run_cases(TRITON_INTERPRET="1")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@needs_triton
def test_the_cases_hold_on_a_gpu():
    run_cases(TRITON_CASES_DEVICE="cuda")


def test_without_a_cuda_device_there_is_a_reason_and_one_line_in_the_log(caplog):
    neuron_gpu._tell.cache_clear()
    try:
        reason = neuron_gpu.why_not(torch.device("cpu"), tell=False)
        assert not caplog.records, "who refuses this device says so, and nothing runs in plain torch"
        assert neuron_gpu.why_not(torch.device("cpu")) == neuron_gpu.why_not(torch.device("cpu")) == reason
    finally:
        neuron_gpu._tell.cache_clear()
    assert isinstance(reason, str)
    assert [record.message.endswith(reason) for record in caplog.records] == [True]


TYPES = {torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16", torch.int64: "*i64"}


class Launches:
    """Stands where the module of kernels stands, and keeps what would have been launched."""

    def __init__(self, kernels: Any) -> None:
        self.kernels = kernels
        self.made: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        kernel = getattr(self.kernels, name)
        return {(grid,): lambda *args, **options: self.made.append((kernel, args, options)) for grid in range(9)}


def compiled(kernel: Any, args: tuple[Any, ...], options: dict[str, Any], capability: int) -> Any:
    """The kernel as Triton would compile it at this launch, for a GPU of that compute capability."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    settings = {name: options.pop(name) for name in ("num_warps", "enable_fp_fusion")}
    signature, attributes = dict.fromkeys(options, "constexpr"), {}
    for index, (name, value) in enumerate(zip(kernel.arg_names, args, strict=False)):
        if isinstance(value, torch.Tensor):
            signature[name] = TYPES[value.dtype]
            attributes[(index,)] = [["tt.divisibility", 16]]
        else:
            signature[name] = "fp32" if isinstance(value, float) else "i32"
            if value % 16 == 0 and not kernel.params[index].do_not_specialize:
                attributes[(index,)] = [["tt.divisibility", 16]]
    signature = {name: signature[name] for name in kernel.arg_names}
    constants = {(kernel.arg_names.index(name),): value for name, value in options.items()}
    source = ASTSource(kernel, signature, constants, attributes)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=settings)


@pytest.mark.integration
@needs_triton
@pytest.mark.parametrize(("storage", "capability"), [(torch.float16, 90), (torch.bfloat16, 80), (torch.float32, 90)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_kernels_compile_for_gpus_that_are_not_there(kind, storage, capability, tmp_path, monkeypatch):
    from difflogic_tonic.nets.spiking import neuron_triton

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    launches = Launches(neuron_triton)
    monkeypatch.setattr(neuron_gpu, "_kernels", lambda: launches)
    rule = NeuronRule(kind=kind, detach_reset=False)
    share = torch.tensor(0.3).requires_grad_() if kind == "plif" else None
    for counts, charged in (([32, 32], True), ([5, 2], False)):
        x = torch.zeros(sum(counts), 3, dtype=storage, requires_grad=True)
        v = torch.zeros(counts[0], 3).requires_grad_() if charged else None
        s, last = fused_neurons(x, counts, rule, share, v, neuron_gpu)
        (s.float().sum() + last.sum()).backward()
    assert [kernel.__name__ for kernel, *_ in launches.made] == ["forward", "backward"] * 2
    for kernel, args, options in launches.made:
        result = compiled(kernel, args, options, capability)
        assert "fma.rn" not in result.asm["ptx"] or kernel.__name__ == "backward"
        assert "atom" not in result.asm["ptx"]
        assert ".local" not in result.asm["ptx"]
