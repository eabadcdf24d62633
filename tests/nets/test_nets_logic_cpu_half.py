"""Half-precision storage of the C kernel: rounding, the range of numbers, and where it is refused."""

import logging
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from difflogic_tonic.errors import ConfigError
from difflogic_tonic.nets.logic import LogicNetwork, cpu, gpu
from difflogic_tonic.nets.logic.backend import Engine, run_on

KERNEL = cpu.find_kernel()
pytestmark = pytest.mark.skipif(isinstance(KERNEL, str), reason=f"no C kernel: {KERNEL}")
FIRST_ON = [0.0, 1.0, 0.0, 0.0]  # the coefficients of a neuron that passes its first input on


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def reals(batch: int, features: int) -> Tensor:
    return torch.rand(batch, features, generator=torch.Generator().manual_seed(0))


def gradients(network: LogicNetwork, x: Tensor, factor: float = 1.0) -> list[Tensor]:
    """Logits, then gradients of the weights and of x, for a loss that is `factor` times as large."""
    network.zero_grad()
    x = x.detach().requires_grad_()
    logits = network(x)
    labels = torch.arange(len(x)) % logits.shape[1]
    (torch.nn.functional.cross_entropy(logits, labels) * factor).backward()
    return [logits.detach(), *(p.grad for p in network.parameters()), x.grad]


def all_halves() -> Tensor:
    """Every finite half, everything in the middle of two neighbours, and the floats beside that."""
    halves = torch.arange(0x7C00, dtype=torch.int16).view(torch.float16).float()
    middle = (halves[1:] + halves[:-1]) / 2
    beside = [torch.nextafter(middle, torch.tensor(limit)) for limit in (0.0, torch.inf)]
    positive = torch.cat((halves, middle, *beside, torch.tensor([65519.0])))
    return torch.cat((positive, -positive))


@pytest.mark.parametrize("variant", range(len(cpu.VARIANTS)))
def test_values_are_rounded_as_torch_does(variant):
    if variant > KERNEL.best_variant:
        pytest.skip(f"no {cpu.VARIANTS[variant]} here")
    features = 251
    straight = torch.arange(features, dtype=torch.int32).repeat(2, 1)
    stack = cpu.Stack(KERNEL, features, [straight, straight], features, 1.0, storage="float16", variant=variant)
    values = all_halves()
    x = torch.cat((values, torch.zeros(-len(values) % features))).reshape(-1, features)
    result = cpu.run_with_coefficients(stack, x, torch.tensor(FIRST_ON).repeat(2 * features, 1))
    assert torch.equal(result, x.half().float())


@pytest.mark.parametrize("exponent", [-60, -20, 20, 60])
def test_the_size_of_the_loss_does_not_matter(exponent):
    network = LogicNetwork(37, [53, 41, 63], 3, 7, backend="cpu", storage="float16")
    plain = gradients(network, reals(40, 37))[1:]
    scaled = gradients(network, reals(40, 37), 2.0**exponent)[1:]
    assert all(torch.equal(one * 2.0**exponent, other) for one, other in zip(plain, scaled, strict=True))


def test_gradients_that_vanish_over_many_layers_keep_their_digits():
    """Each random layer makes them four to five times smaller: 1e-16 after 20, where halves end at 6e-8."""
    network = LogicNetwork(60, 100, 20, 10, backend="cpu", init="random", storage="float16")
    for half, single in both_storages(network, reals(32, 60)):
        assert float((half - single).abs().max()) < 0.03 * float(single.abs().max())
    assert float(single.abs().max()) < 1e-12


def both_storages(network: LogicNetwork, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    half = gradients(network, x)
    network.storage = "float32"
    return zip(half, gradients(network, x), strict=True)


def test_inputs_that_no_neuron_reads_get_no_gradient_and_those_that_many_read_a_rough_one():
    """Neuron 20 is read by every third or so of the next layer: as many roundings add up."""
    network = LogicNetwork(37, [53, 41, 63], 3, 7, backend="cpu", storage="float16")
    for layer in network.layers:
        layer.wiring.clamp_(max=20)
    for half, single in both_storages(network, reals(20, 37)):
        assert float((half - single).abs().max()) < 0.01 * float(single.abs().max())
    assert int(half[:, 21:].count_nonzero()) == 0


def test_a_batch_with_values_too_large_is_computed_in_float32_and_that_is_said_once(caplog):
    cpu._say_once_too_large.cache_clear()
    network = LogicNetwork(37, [53, 41, 63], 3, 7, backend="cpu", storage="float16")
    x = reals(40, 37)
    x[7, 3] = 1e5
    with caplog.at_level(logging.WARNING):
        assert all(torch.equal(half, single) for half, single in both_storages(network, x))
    assert [record.message for record in caplog.records] == [
        "values or gradients beyond 65504 in a logic network: such batches are computed with float32 storage"
    ]


def test_gradients_that_add_up_to_too_much_are_computed_in_float32():
    """4,000 outputs read one neuron: its gradient is the sum of as many, each between 32 and 64 in the tile."""
    network = LogicNetwork(4, [4, 8000, 8000], 3, 2, backend="cpu", parametrization="light", storage="float16")
    with torch.no_grad():
        for layer in network.layers[1:]:
            layer.weight[:] = torch.tensor([-9.0, -9.0, 9.0, 9.0])  # the first input goes on
        network.layers[1].wiring[0] = 0
        network.layers[2].wiring[0, :4000] = torch.arange(4000)
        network.layers[2].wiring[0, 4000:] = 1
    logits, *grads = both_storages(network, reals(1, 4))
    assert not torch.equal(*logits)  # these are not too large; their gradients are as both classes are equally likely
    assert all(torch.equal(half, single) for half, single in grads)


def test_weights_that_are_not_a_number_show():
    network = LogicNetwork(37, [53, 41, 63], 3, 7, backend="cpu", storage="float16")
    with torch.no_grad():
        network.layers[2].weight[0, 3] = torch.nan
    logits, *grads = gradients(network, reals(5, 37))
    assert bool(logits[:, 0].isnan().all())
    assert bool(grads[2].isnan().any())


def test_the_storage_can_be_changed_between_two_calls():
    network = LogicNetwork(37, [53, 41, 63], 3, 7, backend="cpu")
    exact = network(reals(40, 37))
    network.storage = "float16"
    assert not torch.equal(network(reals(40, 37)), exact)
    network.storage = "float32"
    assert torch.equal(network(reals(40, 37)), exact)


@pytest.mark.parametrize("options", [{"backend": "eager"}, {"backend": "triton"}, {"wiring": "learnable"}])
def test_where_it_has_no_effect_it_is_refused(options):
    with pytest.raises(ConfigError, match="storage float16 is for backend cpu or auto and fixed wiring"):
        LogicNetwork(37, 53, 2, 53, storage="float16", **options)


def test_training_on_a_gpu_refuses_it():
    network = LogicNetwork(37, 53, 2, 53, storage="float16")
    with pytest.raises(ConfigError, match="storage float16 is of the C kernel for CPUs"):
        run_on(Engine(gpu, None), network, list(network.layers), reals(2, 37), network.head, False, storage="float16")
