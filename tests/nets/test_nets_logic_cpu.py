"""The C kernel against plain torch in float64."""

import copy
import dataclasses
import pickle
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from difflogic_tonic.errors import ConfigError
from difflogic_tonic.nets.logic import LogicNetwork, cpu, hard_mode, set_temperature
from difflogic_tonic.nets.logic.parametrization import PARAMETRIZATIONS

KERNEL = cpu.find_kernel()
pytestmark = pytest.mark.skipif(isinstance(KERNEL, str), reason=f"no C kernel: {KERNEL}")
ODD = {"in_features": 37, "num_neurons": [53, 41, 63], "num_layers": 3, "classes": 7}
BOUNDS = {"float32": 1e-5, "float16": 2e-3}
"""Largest error of a gradient over the largest gradient."""

in_both_storages = pytest.mark.parametrize("storage", BOUNDS)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors this small only lose time to a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def bits(batch: int, features: int, seed: int = 0) -> Tensor:
    return (torch.rand(batch, features, generator=torch.Generator().manual_seed(seed)) < 0.4).float()


def reals(batch: int, features: int, seed: int = 0) -> Tensor:
    return torch.rand(batch, features, generator=torch.Generator().manual_seed(seed))


def gradients(network: LogicNetwork, x: Tensor, noise_seed: int = 0) -> list[Tensor]:
    """Logits, then gradients of all weights and, for floats that ask for it, of x."""
    torch.manual_seed(noise_seed)
    network.zero_grad()
    logits = network(x)
    labels = torch.arange(len(x)) % logits.shape[1]
    F.cross_entropy(logits, labels).backward()
    return [logits.detach(), *(p.grad for p in network.parameters()), *([x.grad] if x.requires_grad else [])]


def reference(network: LogicNetwork, x: Tensor, noise_seed: int = 0) -> list[Tensor]:
    """The same by autograd in float64, with the noise that float32 draws."""
    exact = copy.deepcopy(network).double()
    exact.backend = "eager"
    for layer, single in zip(exact.layers, network.layers, strict=True):
        layer.coefficients = lambda layer=layer, single=single: coefficients_in_float64(layer, single)
    x = x.detach().double().requires_grad_(x.requires_grad) if x.is_floating_point() else x
    return gradients(exact, x, noise_seed)


def coefficients_in_float64(layer: torch.nn.Module, single: torch.nn.Module) -> Tensor:
    """float64 coefficients; gates and noise of an estimator carry over from float32, only the derivative is float64."""
    if layer.estimator == "soft" or not layer.training:
        return type(layer).coefficients(layer)
    rules = PARAMETRIZATIONS[layer.parametrization]
    state = torch.get_rng_state()
    hard = single.coefficients().detach().double()
    if layer.estimator == "gumbel":
        torch.set_rng_state(state)
        noise = rules.noise(rules.logits(single.weight.detach())).double()
    else:
        noise = 0.0
    soft = rules.relax((rules.logits(layer.weight) + noise) / layer.temperature)
    return hard + (soft - soft.detach())


def errors(ours: list[Tensor], exact: list[Tensor]) -> list[float]:
    """Largest difference over largest value, per tensor."""
    return [
        ((got.double() - expected).abs().max() / expected.abs().max().clamp_min(1e-30)).item()
        for got, expected in zip(ours, exact, strict=True)
    ]


def assert_close(ours: list[Tensor], exact: list[Tensor], storage: str = "float32") -> None:
    assert max(errors(ours, exact)) <= BOUNDS[storage], errors(ours, exact)


@pytest.mark.parametrize("batch", [1, 15, 16, 17, 257])
@pytest.mark.parametrize("estimator", ["soft", "hard", "gumbel"])
@pytest.mark.parametrize("parametrization", ["raw", "light", "walsh"])
@in_both_storages
def test_gradients_agree_with_float64(storage, parametrization, estimator, batch):
    kind = {"parametrization": parametrization, "estimator": estimator, "storage": storage}
    network = LogicNetwork(**ODD, backend="cpu", seed=batch, **kind)
    set_temperature(network, 0.8)
    for x in (bits(batch, 37), reals(batch, 37), reals(batch, 37).requires_grad_()):
        assert_close(gradients(network, x), reference(network, x), storage)


@in_both_storages
@pytest.mark.parametrize("variant", range(len(cpu.VARIANTS)))
def test_every_instruction_set_of_this_processor_agrees_with_float64(variant, storage, monkeypatch):
    if variant > KERNEL.best_variant:
        pytest.skip(f"no {cpu.VARIANTS[variant]} here")
    monkeypatch.setattr(cpu, "find_kernel", lambda: dataclasses.replace(KERNEL, best_variant=variant))
    network = LogicNetwork(**ODD, backend="cpu", storage=storage)
    for x in (bits(33, 37), reals(33, 37).requires_grad_()):
        assert_close(gradients(network, x), reference(network, x), storage)


@in_both_storages
def test_neurons_with_one_input_twice_agree_with_float64(storage):
    network = LogicNetwork(**ODD, backend="cpu", storage=storage)
    for layer in network.layers:
        layer.wiring[1, ::2] = layer.wiring[0, ::2]
    for x in (bits(20, 37), reals(20, 37).requires_grad_()):
        assert_close(gradients(network, x), reference(network, x), storage)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_shape_agrees_with_float64(data):
    in_features = data.draw(st.integers(1, 50))
    classes = data.draw(st.integers(1, 6))
    widths = [in_features]
    for _ in range(data.draw(st.integers(0, 3))):
        widths.append(data.draw(st.integers((widths[-1] + 1) // 2, 60)))
    last = data.draw(st.integers((widths[-1] + 2 * classes - 1) // (2 * classes), 30)) * classes
    widths = [*widths[1:], last]
    network = LogicNetwork(in_features, widths, len(widths), classes, backend="cpu", seed=data.draw(st.integers(0, 9)))
    batch = data.draw(st.integers(1, 70))
    x = data.draw(st.sampled_from([bits, reals]))(batch, in_features)
    x.requires_grad_(data.draw(st.booleans()))
    exact = reference(network, x)
    ours = errors(gradients(network, x.detach().requires_grad_(x.requires_grad)), exact)
    network.backend = "eager"
    plain = errors(gradients(network, x.detach().requires_grad_(x.requires_grad)), exact)
    # a few neurons can have gradients that cancel to nearly nothing; plain torch in float32 has no better ones then
    assert all(mine <= max(1e-5, 5 * other) for mine, other in zip(ours, plain, strict=True)), (ours, plain)


@in_both_storages
@pytest.mark.parametrize("batch", [16, 300, 2000])
def test_results_are_the_same_to_the_bit_for_any_number_of_threads(batch, storage):
    network = LogicNetwork(90, [1300, 700, 630], 3, classes=7, backend="cpu", storage=storage)
    results = []
    for threads in (1, 2, 3, 7, 16, 1):
        torch.set_num_threads(threads)
        results.append(gradients(network, reals(batch, 90).requires_grad_()))
    for result in results[1:]:
        assert all(torch.equal(one, other) for one, other in zip(results[0], result, strict=True))


@in_both_storages
def test_inputs_of_zeros_and_ones_take_a_shorter_way_to_the_same_bits(storage):
    network = LogicNetwork(**ODD, backend="cpu", storage=storage)
    as_masks = gradients(network, bits(40, 37))
    as_rows = gradients(network, bits(40, 37).requires_grad_())[:-1]
    assert all(torch.equal(one, other) for one, other in zip(as_masks, as_rows, strict=True))


@in_both_storages
def test_floats_bytes_bools_integers_and_packed_bits_give_the_same(storage):
    network = LogicNetwork(**ODD, backend="cpu", storage=storage)
    x = bits(41, 37)
    padded = F.pad(x, (0, 3)).to(torch.int64).reshape(41, 5, 8)
    packed = (padded << torch.arange(8)).sum(-1).to(torch.uint8)
    expected = network(x)
    for same in (x.to(torch.uint8) * 3, x.bool(), x.to(torch.int32) * 1000, x.double(), x.to(torch.bfloat16)):
        assert torch.equal(network(same), expected)
    assert torch.equal(network(packed, packed=True), expected)
    network.backend = "eager"
    assert_close([expected], [network(packed, packed=True)], storage)


@in_both_storages
def test_hard_mode_on_the_kernel_is_exactly_that_of_plain_torch(storage):
    network = LogicNetwork(**ODD, tau=1.0, backend="cpu", storage=storage)
    x = bits(40, 37)
    with hard_mode(network):
        ours = network(x)
        network.backend = "eager"
        assert torch.equal(ours, network(x))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 3e3, 1e30])
@pytest.mark.parametrize("shift", [0.0, -90.0, 90.0, 1e6])
def test_the_softmax_of_large_and_far_off_logits_is_right(scale, shift):
    network = LogicNetwork(**ODD, backend="cpu")
    with torch.no_grad():
        for layer in network.layers:
            layer.weight.mul_(scale).add_(shift)
    ours, exact = gradients(network, reals(5, 37)), reference(network, reals(5, 37))
    assert all(bool(torch.isfinite(tensor).all()) for tensor in ours)
    assert_close(ours[:1], exact[:1])
    largest = max(float(gradient.abs().max()) for gradient in exact[1:])
    for got, expected in zip(ours[1:], exact[1:], strict=True):
        assert float((got.double() - expected).abs().max()) <= 1e-5 * largest + 1e-8


@pytest.mark.parametrize("backend", ["cpu", "eager"])
@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
@pytest.mark.parametrize("estimator", ["soft", "hard"])
def test_weights_that_are_not_a_number_show_in_the_logits_and_gradients(estimator, broken, backend):
    network = LogicNetwork(**ODD, estimator=estimator, backend=backend)
    with torch.no_grad():
        network.layers[2].weight[0, 3] = broken
    logits, *grads = gradients(network, bits(5, 37))
    assert bool(logits[:, 0].isnan().all())
    assert bool(grads[2].isnan().any())


def test_values_below_the_smallest_normal_float_do_not_slow_down_or_leak_into_torch():
    """Saturated gates make such gradients, and arithmetic with them takes several times as long: they count as 0."""
    stack = cpu.Stack(KERNEL, 1, [torch.zeros(2, 1, dtype=torch.int32)], 1, 1.0)
    x, pass_and_multiply = torch.tensor([[1e-40]]), torch.tensor([[0, 1e35, 0, 0]])
    assert cpu.run_with_coefficients(stack, x, pass_and_multiply).item() == 0
    assert (torch.tensor(1e-40) * 1e35).item() != 0


def test_frozen_inputs_and_no_grad_work():
    network = LogicNetwork(**ODD, backend="cpu").requires_grad_(False)
    x = reals(9, 37).requires_grad_()
    (ours,) = torch.autograd.grad(network(x).sum(), x)
    network.backend = "eager"
    (exact,) = torch.autograd.grad(network.double()(x.double()).sum(), x)
    assert_close([ours], [exact])
    network.float().backend = "cpu"
    with torch.no_grad():
        assert not network(bits(3, 37)).requires_grad


def test_an_empty_batch_gives_no_logits():
    assert LogicNetwork(**ODD)(torch.zeros(0, 37)).shape == (0, 7)


def test_a_second_derivative_is_refused_not_wrong():
    x = reals(3, 37).requires_grad_()
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(LogicNetwork(**ODD, backend="cpu")(x).sum(), x, create_graph=True)


def test_a_network_that_has_run_can_be_copied_and_pickled():
    network = LogicNetwork(**ODD, backend="cpu")
    x = bits(4, 37)
    expected = network(x)
    assert torch.equal(copy.deepcopy(network)(x), expected)
    assert torch.equal(pickle.loads(pickle.dumps(network))(x), expected)


def test_inputs_that_no_neuron_reads_get_no_gradient():
    network = LogicNetwork(**ODD, backend="cpu")
    for layer in network.layers:
        layer.wiring.clamp_(max=20)
    for x in (bits(20, 37), reals(20, 37).requires_grad_()):
        assert_close(gradients(network, x), reference(network, x))
    assert int(x.grad[:, 21:].count_nonzero()) == 0


def test_a_wiring_written_to_after_the_first_call_is_used_and_checked():
    network = LogicNetwork(**ODD, backend="cpu")
    x = bits(4, 37)
    before = network(x)
    other = LogicNetwork(**ODD, backend="cpu", seed=1)
    network.load_state_dict(other.state_dict())
    assert torch.equal(network(x), other(x))
    assert not torch.equal(network(x), before)
    network.layers[1].wiring[0, 2] = 53
    with pytest.raises(ConfigError, match="features 0 to 53 where there are 0 to 52"):
        network(x)


def test_wirings_that_are_exchanged_are_used_wherever_they_lie_in_memory():
    """What is freed by the first exchange may be where the second puts its own."""
    network, x = LogicNetwork(400, 600, 2, 3, backend="cpu"), bits(4, 400)
    for seed in range(0, 60, 2):
        network(x)
        for other in (LogicNetwork(400, 600, 2, 3, seed=seed), LogicNetwork(400, 600, 2, 3, seed=seed + 1)):
            network.load_state_dict({key: value.clone() for key, value in other.state_dict().items()}, assign=True)
        assert torch.equal(network(x), other(x))


def test_the_cpu_backend_refuses_what_it_cannot_take():
    with pytest.raises(ConfigError, match=r"backend cpu: weights torch.float64 .* float32 weights"):
        LogicNetwork(**ODD, backend="cpu").double()(bits(3, 37).double())


def test_triton_without_a_gpu_says_what_it_needs():
    with pytest.raises(ConfigError, match=r"backend triton: .*; backend auto falls back to plain torch"):
        LogicNetwork(**ODD, backend="triton")(bits(3, 37))
