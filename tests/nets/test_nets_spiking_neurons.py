import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from difflogic_tonic.errors import ConfigError
from difflogic_tonic.nets.spiking import neuron_cpu, neuron_kernels
from difflogic_tonic.nets.spiking.neuron_reference import trace_neurons
from difflogic_tonic.nets.spiking.neurons import LeakyMembrane, Neuron, fused_neurons
from difflogic_tonic.nets.spiking.rule import KINDS, NeuronRule
from difflogic_tonic.nets.spiking.steps import PackedSteps, pack_steps
from difflogic_tonic.nets.spiking.surrogates import ALPHAS, SURROGATES

RULES = [
    NeuronRule(tau=2.7, threshold=0.75, reset=reset, detach_reset=detach, kind=kind, decay_input=decay)
    for kind in KINDS
    for decay in (True, False)
    for reset in ("hard", "soft")
    for detach in (True, False)
]
RAGGED = [7, 7, 4, 1]


def reference(x: Tensor, counts: list[int], rule: NeuronRule, share=None, v=None) -> tuple[Tensor, Tensor]:
    trace = trace_neurons(x, counts, rule, share, v)
    return trace.spikes, trace.last


def fused(x: Tensor, counts: list[int], rule: NeuronRule, share=None, v=None) -> tuple[Tensor, Tensor]:
    return fused_neurons(x, counts, rule, share, v, neuron_cpu)


both = pytest.mark.parametrize("neuron", [reference, fused])


def one_neuron(*currents: float) -> Tensor:
    return torch.tensor(currents).unsqueeze(1)


def results(neuron, x: Tensor, counts: list[int], rule: NeuronRule, from_rest: bool = True) -> list[Tensor]:
    """Spikes, last membranes, and the gradients of the input, of 1 / tau and of the first membranes."""
    x = x.clone().requires_grad_()
    share = torch.tensor(0.3).requires_grad_() if rule.kind == "plif" else None
    v = (
        None
        if from_rest
        else torch.linspace(-0.5, 0.7, x[: counts[0]].numel()).view_as(x[: counts[0]]).requires_grad_()
    )
    s, last = neuron(x, counts, rule, share, v)
    loss = (s * torch.linspace(-1, 2, s.numel()).view_as(s)).sum() + (last * last).sum()
    loss.backward()
    return [s.detach(), last.detach(), *(leaf.grad for leaf in (x, share, v) if leaf is not None)]


def assert_same(got: list[Tensor], want: list[Tensor]) -> None:
    assert torch.equal(got[0], want[0])
    assert torch.equal(got[1], want[1])
    for ours, theirs in zip(got[2:], want[2:], strict=True):
        assert (ours - theirs).abs().max() <= 2e-6 * max(1, theirs.abs().max())


@both
def test_a_constant_current_charges_halfway_each_step_until_the_spike(neuron):
    # tau 2 and x = 1.2: h = 0.6, 0.9, 1.05 -> spike, back to 0, 0.6
    s, _ = neuron(one_neuron(1.2, 1.2, 1.2, 1.2), [1] * 4, NeuronRule(tau=2))
    assert s.flatten().tolist() == [0, 0, 1, 0]


@both
def test_a_spike_at_exactly_the_threshold_counts(neuron):
    assert neuron(one_neuron(2.0), [1], NeuronRule(tau=2, threshold=1))[0].item() == 1


@both
def test_a_soft_reset_keeps_what_is_above_the_threshold(neuron):
    # h = 2.5 -> spike, v = 1.5 (soft) or 0 (hard); then x = 0.6: h = 1.05 -> spike, or 0.3 -> none
    currents = one_neuron(5.0, 0.6)
    assert neuron(currents, [1, 1], NeuronRule(tau=2, reset="soft"))[0].flatten().tolist() == [1, 1]
    assert neuron(currents, [1, 1], NeuronRule(tau=2, reset="hard"))[0].flatten().tolist() == [1, 0]


@both
def test_tau_of_one_step_remembers_nothing(neuron):
    s, _ = neuron(one_neuron(0.9, 0.9, 1.0), [1] * 3, NeuronRule(tau=1))
    assert s.flatten().tolist() == [0, 0, 1]


@both
def test_the_gradient_of_one_step_is_the_surrogate_times_the_decay(neuron):
    x = one_neuron(1.0).requires_grad_()  # h = 0.5, u = -0.5
    neuron(x, [1], NeuronRule(tau=2, surrogate="triangle"))[0].sum().backward()
    assert x.grad.item() == pytest.approx(0.5 * 0.5)


@both
def test_the_gradient_reaches_back_through_the_membrane_and_not_through_a_detached_reset(neuron):
    # h1 = 0.5 without spike (u = -0.5, slope 0.5); h2 = 0.5 + (1 - 0.5) / 2 = 0.75 (slope 0.75)
    # only s2 is read: d s2 / d x2 = 0.75 / 2; d s2 / d x1 = 0.75 * (1 - 1/2) / 2
    x = one_neuron(1.0, 1.0).requires_grad_()
    neuron(x, [1, 1], NeuronRule(tau=2, surrogate="triangle"))[0][1].backward()
    assert x.grad.flatten().tolist() == pytest.approx([0.75 * 0.5 * 0.5, 0.75 * 0.5])
    # with the reset in the graph, dv1/dh1 = 1 - s1 - h1 * slope1 = 1 - 0.25
    x = one_neuron(1.0, 1.0).requires_grad_()
    neuron(x, [1, 1], NeuronRule(tau=2, surrogate="triangle", detach_reset=False))[0][1].backward()
    assert x.grad.flatten().tolist() == pytest.approx([0.75 * 0.5 * 0.75 * 0.5, 0.75 * 0.5])


@both
def test_neurons_that_only_integrate_add_up_their_input(neuron):
    # 0.25 + 0.5 = 0.75, + 0.25 = 1 -> spike
    s, last = neuron(one_neuron(0.25, 0.5, 0.25, 0.4), [1] * 4, NeuronRule(kind="if"))
    assert s.flatten().tolist() == [0, 0, 1, 0]
    assert last.item() == pytest.approx(0.4)


@both
def test_an_input_that_does_not_decay_counts_in_full(neuron):
    # tau 4: v = 0.6, then 0.6 - 0.15 + 0.6 = 1.05 -> spike
    s, _ = neuron(one_neuron(0.6, 0.6), [1, 1], NeuronRule(tau=4, decay_input=False))
    assert s.flatten().tolist() == [0, 1]


@both
def test_a_learned_time_constant_has_the_gradient_of_its_part_in_the_charge(neuron):
    # h1 = 0 + (1 - 0) * 0.5 = 0.5 (u = -0.5, slope 0.5); h2 = 0.5 + (1 - 0.5) * 0.5 = 0.75 (slope 0.75)
    # only s2 is read: dh1/dp = 1, dh2/dp = (1 - 0.5) + (1 - p) * dh1/dp = 1, times the slope
    share = torch.tensor(0.5).requires_grad_()
    s, _ = neuron(one_neuron(1.0, 1.0), [1, 1], NeuronRule(kind="plif", surrogate="triangle"), share)
    s[1].backward()
    assert share.grad.item() == pytest.approx(0.75)


def test_the_time_constant_of_parametric_neurons_starts_at_tau_and_is_one_number():
    neuron = Neuron(NeuronRule(kind="plif", tau=5.0))
    assert {name: value.shape for name, value in neuron.state_dict().items()} == {"w": torch.Size([])}
    assert 1 / neuron.share().item() == pytest.approx(5)
    assert not Neuron(NeuronRule()).state_dict()


@pytest.mark.parametrize("name", SURROGATES)
def test_a_surrogate_is_one_at_the_threshold_and_falls_off_on_both_sides(name):
    slope = SURROGATES[name](torch.tensor([-0.5, 0.0, 0.5]), ALPHAS[name])
    assert slope[1] == 1
    assert slope[0] == pytest.approx(slope[2])
    assert slope[0] < 1


@pytest.mark.parametrize("name", SURROGATES)
def test_a_larger_alpha_is_a_steeper_surrogate(name):
    near, steep = (SURROGATES[name](torch.tensor([0.0, 0.3]), alpha) for alpha in (1.0, 3.0))
    assert steep[1] / steep[0] < near[1] / near[0]


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("from_rest", [True, False], ids=["from rest", "charged"])
def test_the_fused_neuron_spikes_as_the_reference_and_has_its_gradients(rule, from_rest):
    torch.manual_seed(0)
    x = torch.randn(sum(RAGGED), 3, 5) * 2
    want = results(reference, x, RAGGED, rule, from_rest)
    assert 0 < want[0].mean() < 1
    assert_same(results(fused, x, RAGGED, rule, from_rest), want)


@pytest.mark.parametrize("alpha", [None, 1.7])
@pytest.mark.parametrize("surrogate", SURROGATES)
def test_the_fused_neuron_has_the_surrogates_of_the_reference(surrogate, alpha):
    torch.manual_seed(0)
    x = torch.randn(sum(RAGGED), 40) * 3
    rule = NeuronRule(surrogate=surrogate, alpha=alpha, detach_reset=False)
    assert_same(results(fused, x, RAGGED, rule), results(reference, x, RAGGED, rule))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("counts", [[3, 3, 3], [3, 1]])
@both
def test_a_current_that_is_the_same_at_every_step_may_be_given_once(neuron, counts, kind):
    torch.manual_seed(0)
    rule, steps = NeuronRule(kind=kind, threshold=0.6), PackedSteps(counts, torch.arange(3))
    x = torch.rand(3, 11)

    def spread(x, counts, rule, share, v):
        return reference(steps.repeat(x), counts, rule, share, v)

    assert_same(results(neuron, x, counts, rule), results(spread, x, counts, rule))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_fused_and_reference_agree_for_any_lengths_and_widths(counts, neurons, seed):
    counts = sorted(counts, reverse=True)
    x = torch.randn(sum(counts), neurons, generator=torch.Generator().manual_seed(seed)) * 2
    rule = NeuronRule(kind="plif", detach_reset=False)
    assert_same(results(fused, x, counts, rule, False), results(reference, x, counts, rule, False))


def test_threads_and_blocks_change_nothing(monkeypatch):
    torch.manual_seed(0)
    counts, neurons = [5, 5, 2], 1000  # 5,000 neurons: three blocks, the last one part-filled
    x = torch.randn(sum(counts), neurons) * 2
    rule = NeuronRule(kind="plif", detach_reset=False)
    alone = results(fused, x, counts, rule)
    monkeypatch.setattr(neuron_cpu, "_SINGLE_THREADED", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    together = results(fused, x, counts, rule)
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))
    assert_same(alone, results(reference, x, counts, rule))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_bfloat16_currents_spike_as_in_float32_and_their_gradient_is_rounded(rule):
    torch.manual_seed(0)
    x = (torch.randn(sum(RAGGED), 60) * 2).to(torch.bfloat16)
    got, want = results(fused, x, RAGGED, rule), results(reference, x.float(), RAGGED, rule)
    assert got[0].dtype == got[2].dtype == torch.bfloat16
    assert got[1].dtype == torch.float32
    assert torch.equal(got[0].float(), want[0])
    assert torch.equal(got[1], want[1])
    # what is kept of a membrane has 8 bits
    assert all(
        (ours.float() - other).norm() <= 1e-2 * other.norm() for ours, other in zip(got[2:], want[2:], strict=True)
    )


def test_numbers_are_rounded_to_bfloat16_as_torch_does():
    values = torch.tensor([1.0, 1 + 2**-8, 1 + 3 * 2**-8, -1.001, 3.4e38, torch.inf, -torch.inf, 0.0, -0.0, 1e-40])
    words = [neuron_kernels.word(value, np.uint32(16)) for value in values.numpy()]
    assert words == values.to(torch.bfloat16).view(torch.uint16).tolist()
    not_a_number = torch.tensor([0x7FC00000, 0x7FFFFFFF, -1], dtype=torch.int32).view(torch.float32)
    kept = [neuron_kernels.word(value, np.uint32(16)) for value in not_a_number.numpy()]
    assert torch.tensor(kept, dtype=torch.int32).to(torch.uint16).view(torch.bfloat16).isnan().all()


@both
def test_a_current_that_is_not_a_number_shows_in_the_gradient(neuron):
    x = one_neuron(torch.nan, 1.0).requires_grad_()
    neuron(x, [1, 1], NeuronRule())[0].sum().backward()
    assert x.grad.isnan().any()


def test_nothing_is_kept_where_no_gradient_is_asked_for():
    x = torch.ones(2, 3)
    kept = neuron_cpu.forward(x, None, None, [1, 1], NeuronRule(), True, True)[1]
    assert kept.shape == x.shape
    with torch.no_grad():
        s, _ = fused(x.requires_grad_(), [1, 1], NeuronRule())
    assert s.grad_fn is None
    assert neuron_cpu.forward(x, None, None, [1, 1], NeuronRule(), False, True)[1].numel() == 0


def test_backends_that_do_not_exist_or_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="backend 'cupy'"):
        Neuron(NeuronRule(), "cupy")
    steps = PackedSteps([1], torch.tensor([0]))
    with pytest.raises(ConfigError, match="backend fused: input on meta; use compiled or auto"):
        Neuron(NeuronRule(), "fused")(torch.ones(1, 2, device="meta"), steps)
    with pytest.raises(ConfigError, match=r"backend compiled: .*; auto takes what there is"):
        Neuron(NeuronRule(), "compiled")(torch.ones(1, 2), steps)


def test_membranes_are_those_before_the_reset():
    steps = PackedSteps([1, 1, 1], torch.tensor([0]))
    h = Neuron(NeuronRule(tau=2)).membranes(one_neuron(1.2, 1.8, 0.6), steps)
    assert h.flatten().tolist() == pytest.approx([0.6, 1.2, 0.3])


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
    for wrong in (
        {"tau": 0.5},
        {"threshold": 0.0},
        {"reset": "none"},
        {"surrogate": "step"},
        {"alpha": 0.0},
        {"kind": "rf"},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            NeuronRule(**wrong)


def test_a_leaky_membrane_follows_its_input_without_firing():
    steps = PackedSteps([1, 1, 1], torch.tensor([0]))
    v = LeakyMembrane(0.5)(one_neuron(8.0, 8.0, 0.0), steps)
    assert v.flatten().tolist() == [4, 6, 3]
