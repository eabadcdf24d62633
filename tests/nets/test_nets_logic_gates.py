import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from difflogic_tonic.nets.logic.gates import (
    GATE_NAMES,
    USES_A,
    USES_B,
    bilinear,
    corners_to_coefficients,
    gate_coefficients,
    gate_corners,
)
from difflogic_tonic.nets.logic.parametrization import (
    PARAMETRIZATIONS,
    hard_coefficients,
    soft_coefficients,
    straight_through_coefficients,
)

TRUTH = {
    "FALSE": lambda a, b: 0,
    "AND": lambda a, b: a & b,
    "A_AND_NOT_B": lambda a, b: a & (1 - b),
    "A": lambda a, b: a,
    "NOT_A_AND_B": lambda a, b: (1 - a) & b,
    "B": lambda a, b: b,
    "XOR": lambda a, b: a ^ b,
    "OR": lambda a, b: a | b,
    "NOR": lambda a, b: 1 - (a | b),
    "XNOR": lambda a, b: 1 - (a ^ b),
    "NOT_B": lambda a, b: 1 - b,
    "A_OR_NOT_B": lambda a, b: a | (1 - b),
    "NOT_A": lambda a, b: 1 - a,
    "NOT_A_OR_B": lambda a, b: (1 - a) | b,
    "NAND": lambda a, b: 1 - (a & b),
    "TRUE": lambda a, b: 1,
}
A = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
B = torch.tensor([[0.0, 1.0, 0.0, 1.0]])


@pytest.mark.parametrize("gate", range(16))
def test_the_coefficients_of_a_gate_give_its_truth_table(gate):
    outputs = bilinear(gate_coefficients()[gate : gate + 1], A, B)[0]
    expected = [TRUTH[GATE_NAMES[gate]](a, b) for a in (0, 1) for b in (0, 1)]
    assert outputs.tolist() == expected
    assert gate_corners()[gate].tolist() == expected


def test_a_gate_uses_an_input_when_flipping_it_can_change_the_output():
    for gate, name in enumerate(GATE_NAMES):
        truth = TRUTH[name]
        assert USES_A[gate] == any(truth(0, b) != truth(1, b) for b in (0, 1)), name
        assert USES_B[gate] == any(truth(a, 0) != truth(a, 1) for a in (0, 1)), name


def test_raw_is_the_softmax_weighted_mean_of_sixteen_gates():
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(5, 16, generator=generator, dtype=torch.float64)
    a, b = torch.rand(2, 5, 7, generator=generator, dtype=torch.float64)
    coefficients = soft_coefficients(PARAMETRIZATIONS["raw"], weight)
    mean = torch.zeros(5, 7, dtype=torch.float64)
    for gate in range(16):
        one = gate_coefficients(torch.float64)[gate].expand(5, 4)
        mean += torch.softmax(weight, -1)[:, gate, None] * bilinear(one, a, b)
    torch.testing.assert_close(bilinear(coefficients, a, b), mean)


def test_light_puts_the_sigmoid_of_each_number_on_its_corner():
    weight = torch.tensor([[-1.0, 0.5, 2.0, 0.0]])
    outputs = bilinear(soft_coefficients(PARAMETRIZATIONS["light"], weight), A, B)
    torch.testing.assert_close(outputs, torch.sigmoid(weight))


def test_walsh_is_the_sigmoid_of_the_walsh_expansion_in_plus_minus_one():
    weight = torch.tensor([[0.3, -1.0, 0.7, 0.2]])
    a, b = 2 * A - 1, 2 * B - 1
    expansion = weight[:, :1] + weight[:, 1:2] * a + weight[:, 2:3] * b + weight[:, 3:] * a * b
    outputs = bilinear(soft_coefficients(PARAMETRIZATIONS["walsh"], weight), A, B)
    torch.testing.assert_close(outputs, torch.sigmoid(expansion))


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
@given(seed=st.integers(0, 2**31))
def test_the_hard_coefficients_are_those_of_one_gate_and_the_limit_of_low_temperature(name, seed):
    rules = PARAMETRIZATIONS[name]
    weight = rules.random(6, torch.Generator().manual_seed(seed))
    hard = hard_coefficients(rules, weight)
    assert torch.equal(hard, gate_coefficients()[rules.gates(rules.logits(weight))])
    cold = soft_coefficients(rules, weight.double(), 1e-9).float()
    torch.testing.assert_close(hard, cold, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_the_residual_start_passes_a_on(name):
    rules = PARAMETRIZATIONS[name]
    weight = rules.residual(3)
    assert weight.shape == (3, rules.size)
    outputs = bilinear(soft_coefficients(rules, weight), A, B)[0]
    assert GATE_NAMES[int(rules.gates(rules.logits(weight))[0])] == "A"
    assert outputs[:2].max() < 0.1 < 0.9 < outputs[2:].min()


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
@pytest.mark.parametrize("noisy", [False, True])
def test_straight_through_has_the_values_of_gates_and_the_gradient_of_the_relaxation(name, noisy):
    rules = PARAMETRIZATIONS[name]
    weight = rules.random(40, torch.Generator().manual_seed(3)).requires_grad_()
    torch.manual_seed(7)
    coefficients = straight_through_coefficients(rules, weight, 0.7, noisy=noisy)
    assert all(row in gate_coefficients().tolist() for row in coefficients.tolist())
    upstream = torch.randn(40, 4, generator=torch.Generator().manual_seed(4))
    (gradient,) = torch.autograd.grad(coefficients, weight, upstream)

    torch.manual_seed(7)
    logits = rules.logits(weight)
    frozen = rules.noise(logits.detach()) if noisy else 0
    (expected,) = torch.autograd.grad(rules.relax((logits + frozen) / 0.7), weight, upstream)
    torch.testing.assert_close(gradient, expected)


def test_gumbel_draws_gates_with_the_probabilities_of_the_softmax():
    rules = PARAMETRIZATIONS["raw"]
    logits = torch.linspace(-1, 2, 16).repeat(40_000, 1)
    torch.manual_seed(0)
    drawn = torch.bincount((logits + rules.noise(logits)).argmax(-1), minlength=16) / 40_000
    torch.testing.assert_close(drawn, torch.softmax(logits[0], -1), atol=0.01, rtol=0)


def test_logistic_noise_turns_a_corner_on_with_its_sigmoid():
    rules = PARAMETRIZATIONS["light"]
    logits = torch.tensor([-1.0, 0.0, 0.5, 2.0]).repeat(40_000, 1)
    torch.manual_seed(0)
    on = ((logits + rules.noise(logits)) > 0).float().mean(0)
    torch.testing.assert_close(on, torch.sigmoid(logits[0]), atol=0.01, rtol=0)


def test_coefficients_of_corners_are_their_finite_differences():
    corners = torch.tensor([1.0, 3.0, 7.0, 20.0])
    assert corners_to_coefficients(corners).tolist() == [1, 6, 2, 11]
