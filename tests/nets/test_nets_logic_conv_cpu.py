"""The C kernel of convolutional logic trees against plain torch in float64."""

import copy
import dataclasses
import pickle
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from difflogic_tonic.errors import ConfigError
from difflogic_tonic.nets.logic import ConvLogicNetwork, LogicConv, conv_cpu, cpu, hard_mode, set_temperature
from difflogic_tonic.nets.logic.conv_cpu import run_trees
from difflogic_tonic.nets.logic.parametrization import PARAMETRIZATIONS

KERNEL = conv_cpu.find_kernel()
pytestmark = pytest.mark.skipif(isinstance(KERNEL, str), reason=f"no C kernel: {KERNEL}")
SHAPE = (3, 9, 11)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors this small only lose time to a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def stack(*, seed: int = 0, pools: tuple[bool, ...] = (True, True), shape=SHAPE, channels: int = 5, **changes):
    """Layers that follow each other. Their weights spread enough for no two cells of a pool to be equal by rounding."""
    generator = torch.Generator().manual_seed(seed)
    layers = torch.nn.ModuleList()
    for pool in pools:
        layer = LogicConv(shape, channels, pool=pool, init="random", generator=generator, **changes)
        with torch.no_grad():
            layer.weight.mul_(4)
        layers.append(layer)
        shape, channels = layer.output_shape, channels + 2
    return layers


def bits(batch: int, seed: int = 0, shape=SHAPE) -> Tensor:
    return (torch.rand(batch, *shape, generator=torch.Generator().manual_seed(seed)) < 0.4).float()


def reals(batch: int, seed: int = 0, shape=SHAPE) -> Tensor:
    return torch.rand(batch, *shape, generator=torch.Generator().manual_seed(seed))


def collect(layers: torch.nn.ModuleList, output: Tensor, x: Tensor) -> list[Tensor]:
    """Outputs, then gradients of all weights and, for floats that ask for it, of x."""
    layers.zero_grad()
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(5)).to(output.dtype)
    (output * weights).sum().backward()
    return [output.detach(), *(p.grad.clone() for p in layers.parameters()), *([x.grad] if x.requires_grad else [])]


def ours(layers: torch.nn.ModuleList, x: Tensor, noise_seed: int = 0) -> list[Tensor]:
    torch.manual_seed(noise_seed)
    x = x.detach().requires_grad_(x.requires_grad)
    return collect(layers, run_trees(layers, list(layers), x), x)


def winners_of(layers: torch.nn.ModuleList, x: Tensor) -> list[Tensor]:
    """Per layer, which of its four cells each output [batch, *output_shape] was taken from."""
    torch.manual_seed(0)
    *_, winners = run_trees(layers, list(layers), x).grad_fn.next_functions[0][0].saved_tensors
    per_tile = winners.view(-(-len(x) // 16), -1).long()
    found = []
    for layer in layers:
        channels, rows, columns = layer.output_shape
        count = channels * rows * columns * 16 if layer.pool else 0
        own, per_tile = per_tile[:, :count], per_tile[:, count:]
        images = own.reshape(-1, channels, rows, columns, 16) if layer.pool else own
        found.append(images.movedim(-1, 1).flatten(0, 1)[: len(x)])
    return found


def exact(layers: torch.nn.ModuleList, x: Tensor, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """The same by autograd in float64 (or in `dtype`), with the gates and the noise that float32 draws.

    Cells that differ by less than float32 resolves may win either way: the kernel's choice is taken here, after a look
    at whether it is as large as any.
    """
    winners = winners_of(layers, x)
    torch.manual_seed(0)
    double = copy.deepcopy(layers).to(dtype)
    x = x.detach().to(dtype).requires_grad_(x.requires_grad)
    h = x
    for layer, single, chosen in zip(double, layers, winners, strict=True):
        coefficients = coefficients_in_float64(layer, single)
        layer.coefficients = lambda coefficients=coefficients: coefficients
        pool, layer.pool = layer.pool, False
        h = layer(h)
        if pool:
            rows, columns = single.grid
            cells = h[:, :, :rows, :columns].unflatten(3, (-1, 2)).unflatten(2, (-1, 2))
            cells = cells.transpose(3, 4).flatten(4)
            h = cells.gather(4, chosen[..., None])[..., 0]
            assert float((cells.amax(4) - h).detach().abs().max()) < 1e-5
    return collect(double, h, x)


def coefficients_in_float64(layer: LogicConv, single: LogicConv) -> Tensor:
    """float64 coefficients; gates and noise of an estimator carry over from float32, only the derivative is float64."""
    if layer.estimator == "soft" or not layer.training:
        return layer.coefficients()
    rules = PARAMETRIZATIONS[layer.parametrization]
    state = torch.get_rng_state()
    hard = single.coefficients().detach().double()
    noise: Tensor | float = 0.0
    if layer.estimator == "gumbel":
        torch.set_rng_state(state)
        noise = rules.noise(rules.logits(single.weight.detach())).double()
    soft = rules.relax((rules.logits(layer.weight) + noise) / layer.temperature)
    return hard + (soft - soft.detach())


def errors(got: list[Tensor], expected: list[Tensor]) -> list[float]:
    """Largest difference over largest value, per tensor."""
    return [
        ((a.double() - b).abs().max() / b.abs().max().clamp_min(1e-30)).item()
        for a, b in zip(got, expected, strict=True)
    ]


def assert_close(got: list[Tensor], expected: list[Tensor]) -> None:
    assert max(errors(got, expected)) <= 1e-5, errors(got, expected)


@pytest.mark.parametrize("batch", [1, 15, 16, 17])
@pytest.mark.parametrize("estimator", ["soft", "hard", "gumbel"])
@pytest.mark.parametrize("parametrization", ["raw", "light", "walsh"])
def test_gradients_agree_with_float64(parametrization, estimator, batch):
    layers = stack(parametrization=parametrization, estimator=estimator, seed=batch)
    set_temperature(layers, 0.8)
    for x in (bits(batch), reals(batch), reals(batch).requires_grad_()):
        assert_close(ours(layers, x), exact(layers, x))


@pytest.mark.parametrize("variant", range(len(cpu.VARIANTS)))
@pytest.mark.parametrize("pools", [(True, False), (False, True)])
def test_every_instruction_set_of_this_processor_agrees_with_float64(pools, variant, monkeypatch):
    if variant > KERNEL.best_variant:
        pytest.skip(f"no {cpu.VARIANTS[variant]} here")
    monkeypatch.setattr(conv_cpu, "find_kernel", lambda: dataclasses.replace(KERNEL, best_variant=variant))
    layers = stack(pools=pools)
    for x in (bits(19), reals(19).requires_grad_()):
        assert_close(ours(layers, x), exact(layers, x))


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_shape_agrees_with_float64(data):
    tree_depth = data.draw(st.integers(1, 4))
    kernel_size = data.draw(st.integers(1, 4))
    padding = data.draw(st.integers(0, kernel_size - 1))
    side = st.integers(3 * kernel_size + 1, 16)
    shape = (data.draw(st.integers(1, 4)), data.draw(side), data.draw(side))
    layers = stack(
        seed=data.draw(st.integers(0, 9)),
        pools=tuple(data.draw(st.lists(st.booleans(), min_size=1, max_size=2))),
        shape=shape,
        tree_depth=tree_depth,
        kernel_size=kernel_size,
        padding=padding,
        tree_channels=data.draw(st.integers(1, 3)),
    )
    x = reals(data.draw(st.integers(1, 40)), shape=shape).requires_grad_(data.draw(st.booleans()))
    with torch.no_grad():
        output = run_trees(layers, list(layers), x)
        h = x
        for layer in layers:
            h = layer(h)
    torch.testing.assert_close(output, h, rtol=1e-5, atol=1e-6)
    result = ours(layers, x)
    assert torch.equal(result[0], output)
    reference = exact(layers, x)
    mine, plain = errors(result, reference), errors(exact(layers, x, torch.float32), reference)
    # a few trees can have gradients that cancel to nearly nothing; plain torch in float32 has no better ones then
    assert all(one <= max(1e-5, 5 * other) for one, other in zip(mine, plain, strict=True)), (mine, plain)


def test_trees_with_one_tap_twice_agree_with_float64():
    layers = stack()
    for layer in layers:
        layer.taps[:, 1::2] = layer.taps[:, ::2]
    for x in (bits(20), reals(20).requires_grad_()):
        assert_close(ours(layers, x), exact(layers, x))


@pytest.mark.parametrize("batch", [5, 16, 300])
def test_results_are_the_same_to_the_bit_for_any_number_of_threads(batch):
    layers = stack()
    results = []
    for threads in (1, 2, 3, 7, 1):
        torch.set_num_threads(threads)
        results.append(ours(layers, reals(batch).requires_grad_()))
    for result in results[1:]:
        assert all(torch.equal(one, other) for one, other in zip(results[0], result, strict=True))


def test_of_equal_cells_the_first_wins_as_in_torch():
    layers = stack(estimator="hard", pools=(True,))
    x = bits(30).requires_grad_()
    got = ours(layers, x)
    expected = collect(layers, layers[0](x), x)
    assert torch.equal(got[0], expected[0])
    assert_close(got, [tensor.double() for tensor in expected])


def test_floats_bytes_bools_and_integers_give_the_same():
    layers = stack()
    x = bits(18)
    expected = run_trees(layers, list(layers), x)
    for same in (x.to(torch.uint8) * 3, x.bool(), x.to(torch.int32) * 1000, x.double(), x.to(torch.bfloat16)):
        assert torch.equal(run_trees(layers, list(layers), same), expected)
    assert torch.equal(run_trees(layers, list(layers), x.transpose(2, 3).contiguous().transpose(2, 3)), expected)


def network(backend: str = "cpu") -> ConvLogicNetwork:
    return ConvLogicNetwork(
        SHAPE, 5, channels=(6, 8), num_neurons=60, num_layers=2, tau=1.0, init="random", backend=backend
    )


def test_networks_reach_the_kernel_and_agree_with_plain_torch(monkeypatch):
    calls = []
    monkeypatch.setattr(
        "difflogic_tonic.nets.logic.conv_network.run_trees", lambda *given: calls.append(1) or run_trees(*given)
    )
    x = bits(9)
    for backend in ("cpu", "auto"):
        torch.testing.assert_close(network(backend)(x), network("eager")(x))
    assert len(calls) == 2
    assert network("auto").double()(x).dtype == torch.float64
    assert network("auto")(x[:0]).shape == (0, 5)
    assert len(calls) == 2


def test_hard_mode_on_the_kernel_is_exactly_that_of_plain_torch():
    kernel, plain = network("cpu"), network("eager")
    with torch.no_grad(), hard_mode(kernel), hard_mode(plain):
        assert torch.equal(kernel(bits(40)), plain(bits(40)))


def test_weights_that_are_not_a_number_show_in_outputs_and_gradients():
    layers = stack()
    with torch.no_grad():
        layers[0].weight[3, 2] = float("nan")
    output, first, *_ = ours(layers, bits(5))
    assert bool(output.isnan().any())
    assert bool(first.isnan().any())


def test_values_below_the_smallest_normal_float_do_not_slow_down_or_leak_into_torch():
    ours(stack(), bits(5))
    assert (torch.tensor(1e-40) * 1).item() != 0


def test_frozen_trees_and_no_grad_work():
    layers = stack().requires_grad_(False)
    x = reals(9).requires_grad_()
    (got,) = torch.autograd.grad(run_trees(layers, list(layers), x).sum(), x)
    h = reals(9).double().requires_grad_()
    output = h
    for layer in copy.deepcopy(layers).double():
        output = layer(output)
    (expected,) = torch.autograd.grad(output.sum(), h)
    assert_close([got], [expected])
    with torch.no_grad():
        assert not run_trees(layers, list(layers), bits(3)).requires_grad


def test_a_second_derivative_is_refused_not_wrong():
    x = reals(3).requires_grad_()
    layers = stack()
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(run_trees(layers, list(layers), x).sum(), x, create_graph=True)


def test_a_network_that_has_run_can_be_copied_and_pickled():
    one = network()
    x = bits(4)
    expected = one(x)
    assert torch.equal(copy.deepcopy(one)(x), expected)
    assert torch.equal(pickle.loads(pickle.dumps(one))(x), expected)


def test_taps_written_to_after_the_first_call_are_used_and_checked():
    one, x = network(), bits(4)
    before = one(x)
    other = ConvLogicNetwork(SHAPE, 5, channels=(6, 8), num_neurons=60, num_layers=2, tau=1.0, init="random", seed=1)
    one.load_state_dict(other.state_dict())
    assert torch.equal(one(x), other(x))
    assert not torch.equal(one(x), before)
    one.trees[1].taps[0, 0, 1] = 3
    with pytest.raises(ConfigError, match="taps read"):
        one(x)


def test_what_the_kernel_cannot_take_is_refused():
    with pytest.raises(ConfigError, match=r"backend cpu: weights torch.float64 .* float32 weights"):
        network("cpu").double()(bits(3).double())
