"""Neurons, containers and their options against SpikingJelly 2.0.0, and against snnTorch where both mean the same."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from difflogic_tonic.nets.spiking.neurons import Neuron
from difflogic_tonic.nets.spiking.recurrence import LinearRecurrence, SelfConnection, SynapseFilter
from difflogic_tonic.nets.spiking.rule import KINDS, NeuronRule
from difflogic_tonic.nets.spiking.steps import Memory, PackedSteps, pack_steps
from difflogic_tonic.nets.spiking.stepwise import StepModule, StepSequential

neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
from spikingjelly.activation_based import functional, layer, surrogate  # noqa: E402

STEPS, SAMPLES, WIDTH = 6, 5, 40
THEIR_SURROGATES = {
    "atan": lambda: surrogate.ATan(),
    "sigmoid": lambda: surrogate.Sigmoid(),
    "triangle": lambda: surrogate.PiecewiseQuadratic(),
}
NODES = {"if": neuron.IFNode, "lif": neuron.LIFNode, "plif": neuron.ParametricLIFNode}


def rules() -> list[NeuronRule]:
    """Every option with every other."""
    made = []
    for kind, tau, decay in itertools.product(KINDS, (1.7, 2.0), (True, False)):
        if kind != "if" or (tau == 2.0 and decay):
            for reset, detach in itertools.product(("hard", "soft"), (True, False)):
                made.append(
                    NeuronRule(tau=tau, threshold=0.9, reset=reset, detach_reset=detach, kind=kind, decay_input=decay)
                )
    return made


def their_node(rule: NeuronRule, step_mode: str = "m", make_surrogate=None) -> nn.Module:
    constants = {
        "if": {},
        "lif": {"tau": rule.tau, "decay_input": rule.decay_input},
        "plif": {"init_tau": rule.tau, "decay_input": rule.decay_input},
    }
    return NODES[rule.kind](
        v_threshold=rule.threshold,
        v_reset=0.0 if rule.reset == "hard" else None,
        detach_reset=rule.detach_reset,
        surrogate_function=(make_surrogate or THEIR_SURROGATES[rule.surrogate])(),
        step_mode=step_mode,
        **constants[rule.kind],
    )


def currents(width: int = WIDTH, seed: int = 0) -> Tensor:
    return torch.randn(STEPS, SAMPLES, width, generator=torch.Generator().manual_seed(seed)) * 2


def assert_equal_to(theirs: nn.Module, ours: StepModule, x: Tensor) -> None:
    """The same state keys, spikes, and gradients of input and parameters."""
    assert {name: value.shape for name, value in ours.state_dict().items()} == {
        name: value.shape for name, value in theirs.state_dict().items()
    }
    ours.load_state_dict(theirs.state_dict())
    steps = pack_steps(len(x), x.shape[1], None, torch.device("cpu"))
    found = []
    for run in (lambda x: theirs(x), lambda x: ours(x.flatten(0, 1), steps).unflatten(0, x.shape[:2])):
        leaf = x.clone().requires_grad_()
        out = run(leaf)
        (out * torch.linspace(-1, 2, out.numel()).view_as(out)).sum().backward()
        found.append((out.detach(), leaf.grad))
    assert torch.equal(found[0][0], found[1][0])
    gradients = [(found[1][1], found[0][1])]
    for (name, mine), (their_name, other) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert name == their_name
        gradients.append((mine.grad, other.grad))
    for mine, other in gradients:
        assert (mine - other).abs().max() <= 1e-5 * max(1, other.abs().max())


@pytest.mark.parametrize("backend", ["fused", "reference"])
@pytest.mark.parametrize("rule", rules(), ids=str)
def test_neurons_are_those_of_spikingjelly(rule, backend):
    assert_equal_to(their_node(rule), Neuron(rule, backend), currents())


@pytest.mark.parametrize("name", THEIR_SURROGATES)
def test_surrogates_have_its_definition_and_its_alpha(name):
    rule = NeuronRule(surrogate=name, detach_reset=False)
    assert_equal_to(their_node(rule), Neuron(rule), currents())


@pytest.mark.parametrize(("name", "alpha", "theirs"), [
    ("atan", 3.0, surrogate.ATan(3.0)),
    ("sigmoid", 2.5, surrogate.Sigmoid(2.5)),
    ("triangle", 0.5, surrogate.PiecewiseQuadratic(0.5)),
])  # fmt: skip
def test_surrogates_have_its_definition_with_another_alpha(name, alpha, theirs):
    rule = NeuronRule(surrogate=name, alpha=alpha)
    assert_equal_to(their_node(rule, make_surrogate=lambda: theirs), Neuron(rule), currents())


@pytest.mark.parametrize("rule", rules()[::3], ids=str)
def test_frames_one_by_one_with_a_memory_are_its_single_steps(rule):
    theirs, ours, memory = their_node(rule, "s"), Neuron(rule), Memory()
    with torch.no_grad():
        for frame in currents():
            steps = pack_steps(1, SAMPLES, None, torch.device("cpu"), memory)
            assert torch.equal(ours(frame, steps), theirs(frame))
    state = memory.recall(ours, torch.arange(SAMPLES))
    assert torch.equal(state, theirs.v)


@pytest.mark.parametrize("combine", [torch.add, lambda y, x: x * (1 - y)], ids=["add", "gate"])
def test_self_connections_are_its_element_wise_containers(combine):
    rule = NeuronRule(kind="plif", detach_reset=False)
    theirs = layer.ElementWiseRecurrentContainer(their_node(rule, "s"), combine, step_mode="m")
    assert_equal_to(theirs, SelfConnection(Neuron(rule), combine), currents())


def test_linear_recurrence_is_its_container():
    rule = NeuronRule(tau=3.0, reset="soft", detach_reset=False)
    torch.manual_seed(0)
    theirs = layer.LinearRecurrentContainer(nn.Sequential(nn.Linear(6, 9), their_node(rule, "s")), 6, 9, step_mode="m")
    assert_equal_to(theirs, LinearRecurrence(StepSequential(nn.Linear(6, 9), Neuron(rule)), 6, 9), currents(6))


@pytest.mark.parametrize("learnable", [True, False])
def test_synapses_are_its_filters(learnable):
    spikes = (currents() > 0.5).float()
    assert_equal_to(layer.SynapseFilter(7.0, learnable, "m"), SynapseFilter(7.0, learnable), spikes)


def test_what_ends_earlier_in_a_packed_batch_is_as_alone_in_spikingjelly():
    rule = NeuronRule(kind="plif")
    theirs = layer.ElementWiseRecurrentContainer(their_node(rule, "s"), torch.add, step_mode="m")
    ours, x, lengths = SelfConnection(Neuron(rule)), currents(), torch.tensor([6, 2, 1, 4, 6])
    steps = pack_steps(STEPS, SAMPLES, lengths, torch.device("cpu"))
    together = steps.sum(ours(steps.pack(x), steps))
    for sample, length in enumerate(lengths):
        functional.reset_net(theirs)
        assert torch.equal(theirs(x[:length, sample : sample + 1]).sum(0)[0], together[sample])


@pytest.mark.parametrize(("name", "argument"), [("atan", {}), ("fast_sigmoid", {}), ("fast_sigmoid", {"alpha": 8.0})])
@pytest.mark.parametrize(
    ("reset", "options"),
    [
        ("hard", {"reset_mechanism": "zero"}),  # at the next step, which is the same for a membrane that goes to zero
        ("hard", {"reset_mechanism": "zero", "reset_delay": False}),
        ("soft", {"reset_mechanism": "subtract", "reset_delay": False}),
    ],
    ids=str,
)
def test_neurons_whose_input_does_not_decay_are_leaky_of_snntorch(name, argument, reset, options):
    snntorch = pytest.importorskip("snntorch")
    make = {"atan": snntorch.surrogate.atan, "fast_sigmoid": snntorch.surrogate.fast_sigmoid}[name]
    grad = make(slope=argument["alpha"]) if argument else make()
    leaky = snntorch.Leaky(beta=0.75, threshold=0.9, spike_grad=grad, **options)
    delayed = options.get("reset_delay", True)
    rule = NeuronRule(
        tau=4.0, threshold=0.9, reset=reset, detach_reset=delayed, surrogate=name, decay_input=False, **argument
    )
    x = (currents() * 0.5).clamp(max=1)  # no membrane is above the threshold after its reset, where the two differ
    results = []
    for ours in (True, False):
        leaf = x.clone().requires_grad_()
        if ours:
            steps = PackedSteps([SAMPLES] * STEPS, torch.arange(SAMPLES))
            out = Neuron(rule)(leaf.flatten(0, 1), steps).unflatten(0, (STEPS, SAMPLES))
        else:
            v, spikes = torch.zeros(SAMPLES, WIDTH), []
            for frame in leaf:
                s, v = leaky(frame, v)
                spikes.append(s)
            out = torch.stack(spikes)
        (out * torch.linspace(-1, 2, out.numel()).view_as(out)).sum().backward()
        results.append((out.detach(), leaf.grad))
    assert 0.01 < results[0][0].mean() < 0.5
    assert torch.equal(results[0][0], results[1][0])
    assert torch.allclose(results[0][1], results[1][1], rtol=1e-5, atol=1e-5)
