"""The Triton kernels of spiking neurons against the reference, on a CPU in Triton's interpreter.

Not collected by itself: TRITON_INTERPRET has to be set before triton is imported, and then counts for the whole
process, so test_nets_spiking_triton.py runs this file in a process of its own. On a machine with a CUDA device it runs
there, compiled, where TRITON_CASES_DEVICE=cuda is set instead.
"""

import itertools
import os

import pytest
import torch
from torch import Tensor

from difflogic_tonic.nets.spiking import neuron_cpu, neuron_gpu
from difflogic_tonic.nets.spiking.neuron_reference import trace_neurons
from difflogic_tonic.nets.spiking.neurons import Neuron, fused_neurons
from difflogic_tonic.nets.spiking.rule import KINDS, NeuronRule
from difflogic_tonic.nets.spiking.steps import PackedSteps
from difflogic_tonic.nets.spiking.surrogates import SURROGATES

DEVICE = torch.device(os.environ.get("TRITON_CASES_DEVICE", "cpu"))
assert neuron_gpu.why_not(DEVICE) is None, neuron_gpu.why_not(DEVICE)

RULES = [
    NeuronRule(tau=2.7, threshold=0.75, reset=reset, detach_reset=detach, kind=kind, decay_input=decay)
    for kind, decay, reset, detach in itertools.product(KINDS, (True, False), ("hard", "soft"), (True, False))
]
RAGGED, EVEN = [7, 7, 4, 1], [6, 6, 6]


@pytest.fixture(autouse=True)
def _fences(monkeypatch):
    """Memory of the kernels starts as NaN, and what lies around it must stay so."""
    fences: list[tuple[Tensor, int]] = []

    def empty(shape, dtype, device):
        size = torch.Size(shape).numel()
        whole = torch.full((size + 128,), torch.nan, dtype=dtype, device=device)
        fences.append((whole, size))
        return whole[64 : 64 + size].view(shape)

    monkeypatch.setattr(neuron_gpu, "_empty", empty)
    yield
    for whole, size in fences:
        assert whole[:64].isnan().all()
        assert whole[64 + size :].isnan().all()


def results(kernels, x: Tensor, counts: list[int], rule: NeuronRule, from_rest: bool) -> list[Tensor]:
    """Spikes, last membranes, and the gradients of the input, of 1 / tau and of the first membranes."""
    x = x.clone().requires_grad_()
    share = torch.tensor(0.3, device=x.device).requires_grad_() if rule.kind == "plif" else None
    v = None
    if not from_rest:
        v = torch.linspace(-0.5, 0.7, x[: counts[0]].numel(), device=x.device).view_as(x[: counts[0]]).requires_grad_()
    if kernels is None:
        trace = trace_neurons(x.float(), counts, rule, share, v)
        s, last = trace.spikes, trace.last
    else:
        s, last = fused_neurons(x, counts, rule, share, v, kernels)
    loss = (s.float() * torch.linspace(-1, 2, s.numel(), device=x.device).view_as(s)).sum()
    if not from_rest:
        loss = loss + (last * last).sum()
    loss.backward()
    return [s.detach(), last.detach(), *(leaf.grad for leaf in (x, share, v) if leaf is not None)]


def currents(counts: list[int], width: int, static: bool = False, dtype: torch.dtype = torch.float32) -> Tensor:
    frames = counts[0] if static else sum(counts)
    x = torch.randn(frames, width, generator=torch.Generator().manual_seed(0)) * 2
    return x.to(DEVICE, dtype)


def assert_same(got: list[Tensor], want: list[Tensor], bound: float) -> None:
    assert torch.equal(got[0].float(), want[0].float())
    assert torch.equal(got[1], want[1])
    for ours, theirs in zip(got[2:], want[2:], strict=True):
        assert (ours.float() - theirs.float()).norm() <= bound * theirs.float().norm()


@pytest.mark.parametrize("from_rest", [True, False], ids=["from rest", "charged"])
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_rule(rule, from_rest):
    x = currents(RAGGED, 90)  # 630 neurons: two programs
    assert_same(results(neuron_gpu, x, RAGGED, rule, from_rest), results(None, x, RAGGED, rule, from_rest), 2e-6)


@pytest.mark.parametrize("alpha", [None, 1.7])
@pytest.mark.parametrize("surrogate", SURROGATES)
def test_every_surrogate(surrogate, alpha):
    x, rule = currents(EVEN, 90), NeuronRule(surrogate=surrogate, alpha=alpha, detach_reset=False)
    assert_same(results(neuron_gpu, x, EVEN, rule, True), results(None, x, EVEN, rule, True), 2e-6)


@pytest.mark.parametrize("counts", [RAGGED, EVEN], ids=["ragged", "even"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_current_that_is_the_same_at_every_step(kind, counts):
    x, rule = currents(counts, 20, static=True), NeuronRule(kind=kind, threshold=0.6)
    assert_same(results(neuron_gpu, x, counts, rule, False), results(None, x, counts, rule, False), 2e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_of_what_is_stored_only(kind, dtype):
    x, rule = currents(EVEN, 90, dtype=dtype), NeuronRule(kind=kind)
    got = results(neuron_gpu, x, EVEN, rule, False)
    assert got[0].dtype == got[2].dtype == dtype
    assert_same(got, results(None, x, EVEN, rule, False), 1e-2)


@pytest.mark.parametrize("rule", RULES[::3], ids=str)
def test_it_is_what_the_cpu_computes(rule):
    x = currents(EVEN, 50)
    got = [value.cpu() for value in results(neuron_gpu, x, EVEN, rule, False)]
    assert_same(got, results(neuron_cpu, x.cpu(), EVEN, rule, False), 2e-6)


def test_nothing_is_kept_where_no_gradient_is_asked_for():
    x = currents(EVEN, 50)
    s, u, _ = neuron_gpu.forward(x, None, None, EVEN, NeuronRule(), False, True)
    assert u.numel() == 0
    assert torch.equal(s, neuron_gpu.forward(x, None, None, EVEN, NeuronRule(), True, False)[0])


def test_a_module_chooses_them():
    x = currents(EVEN, 50)
    steps = PackedSteps(EVEN, torch.arange(6, device=DEVICE))
    neuron = Neuron(NeuronRule(kind="plif"), "compiled").to(DEVICE)
    assert torch.equal(neuron(x, steps), Neuron(neuron.rule, "reference").to(DEVICE)(x, steps))
