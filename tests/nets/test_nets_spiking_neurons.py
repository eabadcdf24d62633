import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from difflogic_tonic.nets.spiking import neuron_cpu
from difflogic_tonic.nets.spiking.neuron_cpu import KERNEL_SURROGATES
from difflogic_tonic.nets.spiking.neurons import Neuron, leaky_membrane, neuron_fused, neuron_reference
from difflogic_tonic.nets.spiking.rule import NeuronRule
from difflogic_tonic.nets.spiking.steps import PackedSteps, pack_steps
from difflogic_tonic.nets.spiking.surrogates import SURROGATES

RULES = [
    NeuronRule(tau=tau, threshold=0.75, reset=reset, detach_reset=detach, surrogate=surrogate)
    for tau in (1.0, 2.0, 5.5)
    for reset in ("hard", "soft")
    for detach in (True, False)
    for surrogate in SURROGATES
]


both = pytest.mark.parametrize("neuron", [neuron_reference, neuron_fused])


def one_neuron(*currents: float) -> Tensor:
    return torch.tensor(currents).unsqueeze(1)


def spikes_and_gradient(neuron, x: Tensor, counts: list[int], rule: NeuronRule) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    s = neuron(x, counts, rule)
    s.backward(torch.linspace(-1, 2, s.numel()).view_as(s))
    return s.detach(), x.grad


@both
def test_a_constant_current_charges_halfway_each_step_until_the_spike(neuron):
    # tau 2 and x = 1.2: h = 0.6, 0.9, 1.05 -> spike, back to 0, 0.6
    s = neuron(one_neuron(1.2, 1.2, 1.2, 1.2), [1] * 4, NeuronRule(tau=2))
    assert s.flatten().tolist() == [0, 0, 1, 0]


@both
def test_a_spike_at_exactly_the_threshold_counts(neuron):
    assert neuron(one_neuron(2.0), [1], NeuronRule(tau=2, threshold=1)).item() == 1


@both
def test_a_soft_reset_keeps_what_is_above_the_threshold(neuron):
    # h = 2.5 -> spike, v = 1.5 (soft) or 0 (hard); then x = 0.6: h = 1.05 -> spike, or 0.3 -> none
    currents = one_neuron(5.0, 0.6)
    assert neuron(currents, [1, 1], NeuronRule(tau=2, reset="soft")).flatten().tolist() == [1, 1]
    assert neuron(currents, [1, 1], NeuronRule(tau=2, reset="hard")).flatten().tolist() == [1, 0]


@both
def test_tau_of_one_step_remembers_nothing(neuron):
    s = neuron(one_neuron(0.9, 0.9, 1.0), [1] * 3, NeuronRule(tau=1))
    assert s.flatten().tolist() == [0, 0, 1]


@both
def test_the_gradient_of_one_step_is_the_surrogate_times_the_decay(neuron):
    x = one_neuron(1.0).requires_grad_()  # h = 0.5, u = -0.5
    neuron(x, [1], NeuronRule(tau=2, surrogate="triangle")).sum().backward()
    assert x.grad.item() == pytest.approx(0.5 * 0.5)


@both
def test_the_gradient_reaches_back_through_the_membrane_and_not_through_a_detached_reset(neuron):
    # h1 = 0.5 without spike (u = -0.5, slope 0.5); h2 = 0.5 + (1 - 0.5) / 2 = 0.75 (slope 0.75)
    # only s2 is read: d s2 / d x2 = 0.75 / 2; d s2 / d x1 = 0.75 * (1 - 1/2) / 2
    x = one_neuron(1.0, 1.0).requires_grad_()
    neuron(x, [1, 1], NeuronRule(tau=2, surrogate="triangle"))[1].backward()
    assert x.grad.flatten().tolist() == pytest.approx([0.75 * 0.5 * 0.5, 0.75 * 0.5])
    # with the reset in the graph, dv1/dh1 = 1 - s1 - h1 * slope1 = 1 - 0.25
    x = one_neuron(1.0, 1.0).requires_grad_()
    neuron(x, [1, 1], NeuronRule(tau=2, surrogate="triangle", detach_reset=False))[1].backward()
    assert x.grad.flatten().tolist() == pytest.approx([0.75 * 0.5 * 0.75 * 0.5, 0.75 * 0.5])


@pytest.mark.parametrize("name", SURROGATES)
def test_a_surrogate_is_one_at_the_threshold_and_falls_off_on_both_sides(name):
    slope = SURROGATES[name](torch.tensor([-0.5, 0.0, 0.5]))
    assert slope[1] == 1
    assert slope[0] == pytest.approx(slope[2])
    assert slope[0] < 1


def test_the_kernel_knows_every_surrogate():
    assert KERNEL_SURROGATES.keys() == SURROGATES.keys()


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_fused_neuron_spikes_as_the_reference_and_has_its_gradient(rule):
    torch.manual_seed(0)
    x = torch.randn(7 + 7 + 4 + 1, 3, 5) * 2
    want, want_gradient = spikes_and_gradient(neuron_reference, x, [7, 7, 4, 1], rule)
    got, got_gradient = spikes_and_gradient(neuron_fused, x, [7, 7, 4, 1], rule)
    assert 0 < want.mean() < 1
    assert torch.equal(got, want)
    assert (got_gradient - want_gradient).abs().max() <= 5e-7 * max(1, want_gradient.abs().max())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_fused_and_reference_agree_for_any_lengths_and_widths(counts, neurons, seed):
    counts = sorted(counts, reverse=True)
    x = torch.randn(sum(counts), neurons, generator=torch.Generator().manual_seed(seed)) * 2
    want, want_gradient = spikes_and_gradient(neuron_reference, x, counts, NeuronRule())
    got, got_gradient = spikes_and_gradient(neuron_fused, x, counts, NeuronRule())
    assert torch.equal(got, want)
    assert torch.allclose(got_gradient, want_gradient, rtol=5e-7, atol=5e-7)


def test_threads_and_blocks_change_nothing(monkeypatch):
    torch.manual_seed(0)
    counts, neurons = [5, 5, 2], 1000  # 5,000 neurons: three blocks, the last one part-filled
    x = torch.randn(sum(counts), neurons) * 2
    rule = NeuronRule(detach_reset=False)
    alone = spikes_and_gradient(neuron_fused, x, counts, rule)
    monkeypatch.setattr(neuron_cpu, "_SINGLE_THREADED", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    together = spikes_and_gradient(neuron_fused, x, counts, rule)
    want = spikes_and_gradient(neuron_reference, x, counts, rule)
    assert torch.equal(alone[0], together[0])
    assert torch.equal(alone[1], together[1])
    assert torch.equal(alone[0], want[0])
    assert torch.allclose(alone[1], want[1], rtol=5e-7, atol=5e-7)


def test_no_state_is_left_for_the_next_call():
    neuron = Neuron(NeuronRule())
    steps = pack_steps(1, 1, None, torch.device("cpu"))
    assert [neuron(one_neuron(1.9), steps).item() for _ in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("backend", ["fused", "reference"])
def test_half_precision_currents_charge_a_float32_membrane(backend):
    # 100 steps of 1.0 towards a threshold of 0.999 with tau 100: increments of 0.01 are lost in a bfloat16 membrane
    steps = pack_steps(700, 1, None, torch.device("cpu"))
    currents = torch.ones(700, 1, dtype=torch.bfloat16)
    s = Neuron(NeuronRule(tau=100, threshold=0.999), backend)(currents, steps)
    assert s.dtype == torch.bfloat16
    assert s.sum() == 1


def test_constants_outside_their_ranges_are_refused():
    for wrong in ({"tau": 0.5}, {"threshold": 0.0}, {"reset": "none"}, {"surrogate": "step"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            NeuronRule(**wrong)


def test_a_leaky_membrane_follows_its_input_without_firing():
    steps = PackedSteps([1, 1, 1], torch.tensor([0]))
    v = leaky_membrane(one_neuron(8.0, 8.0, 0.0), steps, decay=0.5)
    assert v.flatten().tolist() == [4, 6, 3]
