"""The Triton kernels against plain torch in float64, on a CPU in Triton's interpreter.

Not collected by itself: TRITON_INTERPRET has to be set before triton is imported, and then counts for the whole
process, so test_nets_logic_triton.py runs this file in a process of its own. On a machine with a CUDA device it runs
there, compiled, where TRITON_CASES_DEVICE=cuda is set instead.
"""

import copy
import os
import random
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from difflogic_tonic.data.batch import unpack_bits
from difflogic_tonic.nets.logic import LogicNetwork, gpu, hard_mode, set_temperature
from difflogic_tonic.nets.logic.gpu_call import Call
from difflogic_tonic.nets.logic.gpu_stack import Tiling, edges_of, tiling_of

DEVICE = torch.device(os.environ.get("TRITON_CASES_DEVICE", "cpu"))
KERNELS = gpu.find_kernel(DEVICE)
assert not isinstance(KERNELS, str), KERNELS

# largest error of a gradient over the largest gradient. Rounding of what is stored between layers: 2^-11 of each value
# in float16, 2^-8 in bfloat16 here (the interpreter cuts digits off where a GPU rounds)
BOUNDS = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 4e-2}
MARGIN = 64  # numbers on both sides of every tensor that a kernel writes


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _poison(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Memory of the kernels starts as NaN (or 0xAA), and what lies around it must stay so."""
    fences: list[tuple[Tensor, int]] = []

    def empty(call: Call, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        size = torch.Size(shape).numel()
        whole = torch.full((size + 2 * MARGIN,), 0xAA if dtype == torch.uint8 else torch.nan, dtype=dtype)
        whole = whole.to(call.device)
        fences.append((whole, size))
        return whole[MARGIN : MARGIN + size].view(shape)

    monkeypatch.setattr(Call, "empty", empty)
    yield
    for whole, size in fences:
        for fence in (whole[:MARGIN], whole[MARGIN + size :]):
            assert bool((fence == 0xAA).all() if whole.dtype == torch.uint8 else fence.isnan().all())


def bits(batch: int, features: int, seed: int = 0) -> Tensor:
    return torch.rand(batch, features, generator=torch.Generator().manual_seed(seed)) < 0.4


def reals(batch: int, features: int, seed: int = 0) -> Tensor:
    return torch.rand(batch, features, generator=torch.Generator().manual_seed(seed))


def packed(x: Tensor) -> Tensor:
    padded = F.pad(x.to(torch.uint8), (0, -x.shape[1] % 8)).unflatten(1, (-1, 8))
    return (padded << torch.arange(8, dtype=torch.uint8)).sum(-1).to(torch.uint8)


def on_kernels(
    network: LogicNetwork,
    x: Tensor,
    grad: Tensor,
    *,
    storage: torch.dtype = torch.float32,
    tiling: Tiling | None = None,
    is_packed: bool = False,
    mix: bool = True,
) -> list[Tensor]:
    """Logits, then gradients of all weights and, for floats that ask for it, of x."""
    network = copy.deepcopy(network).to(DEVICE)
    x = x.detach().to(DEVICE).requires_grad_(x.requires_grad)
    wirings = [layer.wiring for layer in network.layers]
    head = network.head
    stack = gpu.Stack(KERNELS, network.in_features, wirings, head.classes, head.tau, packed=is_packed, tiling=tiling)
    if mix:
        weights = [layer.weight for layer in network.layers]
        logits = gpu.run_with_logits(stack, x, weights, network.layers[0].temperature, storage=storage)
    else:
        coefficients = torch.cat([layer.coefficients() for layer in network.layers])
        logits = gpu.run_with_coefficients(stack, x, coefficients, storage=storage)
    assert logits.dtype == torch.float32
    logits.backward(grad.to(DEVICE))
    results = [
        logits.detach(),
        *(layer.weight.grad for layer in network.layers),
        *([x.grad] if x.requires_grad else []),
    ]
    return [result.cpu() for result in results]


def reference(network: LogicNetwork, x: Tensor, grad: Tensor) -> list[Tensor]:
    exact = copy.deepcopy(network).double()
    exact.backend = "eager"
    x = x.detach().double().requires_grad_(x.requires_grad)
    logits = exact(x)
    logits.backward(grad.double())
    return [logits.detach(), *(layer.weight.grad for layer in exact.layers), *([x.grad] if x.requires_grad else [])]


def assert_agree(ours: list[Tensor], exact: list[Tensor], storage: torch.dtype = torch.float32) -> None:
    for got, expected in zip(ours, exact, strict=True):
        assert got.shape == expected.shape
        error = (got.double() - expected).abs().max() / expected.abs().max().clamp_min(1e-30)
        assert error <= BOUNDS[storage], error


def gradient(batch: int, classes: int) -> Tensor:
    return torch.randn(batch, classes, generator=torch.Generator().manual_seed(batch)) / batch


def network_of(seed: int) -> LogicNetwork:
    """Random odd shapes of one to three layers, with neurons that have one input twice (odd seeds), and one row with
    many readers while others have none (multiples of three)."""
    draw = random.Random(seed)
    widths = [draw.randint(1, 16)]
    for _ in range(draw.randint(0, 2)):
        widths.append(draw.randint((widths[-1] + 1) // 2, 16))
    classes = draw.randint(1, 5)
    fewest = (widths[-1] + 2 * classes - 1) // (2 * classes)
    widths.append(draw.randint(fewest, fewest + 2) * classes)
    network = LogicNetwork(widths[0], widths[1:], len(widths) - 1, classes, backend="eager", seed=seed)
    for layer in network.layers:
        wiring = layer.wiring
        if seed % 2:
            wiring[1, ::3] = wiring[0, ::3]
        if seed % 3 == 0:
            wiring[draw.randint(0, 1), : wiring.shape[1] // 2] = draw.randrange(layer.in_features)
    return network


@pytest.mark.parametrize("batch", [1, 15, 17, 33])
def test_gradients_agree_with_float64(batch):
    for seed in range(3 * batch, 3 * batch + 2):
        network = network_of(seed)
        set_temperature(network, 0.8)
        grad = gradient(batch, network.head.classes)
        for x in (bits(batch, network.in_features), reals(batch, network.in_features).requires_grad_()):
            assert_agree(on_kernels(network, x, grad), reference(network, x, grad))


@pytest.mark.parametrize("batch", [1, 33])
@pytest.mark.parametrize("storage", gpu.STORAGES[1:], ids=str)
def test_gradients_agree_with_float64_when_half_the_digits_are_stored(storage, batch):
    network = network_of(batch + 8)
    grad = gradient(batch, network.head.classes)
    for x in (bits(batch, network.in_features), reals(batch, network.in_features).requires_grad_()):
        assert_agree(on_kernels(network, x, grad, storage=storage), reference(network, x, grad), storage)


@pytest.mark.parametrize("tiling", [Tiling(1, 64), Tiling(4, 16), Tiling(16, 32, 1)])
def test_any_tiling_agrees_with_float64(tiling):
    network = LogicNetwork(5, [7, 9], 2, 3, backend="eager")
    grad = gradient(37, network.head.classes)  # with 16 columns: three blocks of the batch, the last not full
    for x in (bits(37, network.in_features), reals(37, network.in_features).requires_grad_()):
        assert_agree(on_kernels(network, x, grad, tiling=tiling), reference(network, x, grad))


@pytest.mark.parametrize("storage", gpu.STORAGES, ids=str)
def test_tilings_are_powers_of_two_and_cover_a_row_of_16_bytes_per_thread(storage):
    for stride in (16, 32, 48, 64, 128, 256, 4096):
        tiling = tiling_of(stride, storage)
        assert tiling.rows & (tiling.rows - 1) == 0
        assert tiling.columns & (tiling.columns - 1) == 0
        assert tiling.rows * tiling.columns * storage.itemsize == 16 * 32 * tiling.warps


def test_bytes_bools_and_packed_bits_are_the_same_inputs():
    network = network_of(4)
    x = bits(19, network.in_features)
    grad = gradient(19, network.head.classes)
    assert torch.equal(unpack_bits(packed(x), network.in_features, torch.uint8), x.to(torch.uint8))
    results = [
        on_kernels(network, x, grad),
        on_kernels(network, x.to(torch.uint8) * 7, grad),
        on_kernels(network, packed(x), grad, is_packed=True),
        on_kernels(network, x.float(), grad),
    ]
    for other in results[1:]:
        assert all(torch.equal(one, two) for one, two in zip(results[0], other, strict=True))


def test_coefficients_from_outside_get_the_gradient_of_the_logits():
    network = network_of(5)
    x = reals(18, network.in_features).requires_grad_()
    grad = gradient(18, network.head.classes)
    assert_agree(on_kernels(network, x, grad, mix=False), reference(network, x, grad))
    several_blocks = on_kernels(network, x, grad, mix=False, tiling=Tiling(4, 16))
    assert_agree(several_blocks, reference(network, x, grad))


@pytest.mark.parametrize("storage", gpu.STORAGES, ids=str)
def test_hard_gates_on_bits_count_exactly(storage):
    network = LogicNetwork(11, [30, 26], 2, 2, tau=1.0, backend="eager")
    x = bits(21, 11)
    wirings = [layer.wiring.to(DEVICE) for layer in network.layers]
    with hard_mode(network):
        stack = gpu.Stack(KERNELS, 11, wirings, 2, 1.0)
        coefficients = torch.cat([layer.coefficients() for layer in network.layers]).to(DEVICE)
        logits = gpu.run_with_coefficients(stack, x.to(DEVICE), coefficients, storage=storage)
        assert torch.equal(logits.cpu(), network(x))


def test_a_network_of_one_layer_reads_bits_and_is_summed_at_once():
    network = LogicNetwork(9, [15], 1, 5, backend="eager")
    grad = gradient(20, 5)
    for x in (bits(20, 9), reals(20, 9).requires_grad_()):
        assert_agree(on_kernels(network, x, grad), reference(network, x, grad))


def test_two_calls_give_the_same_bits():
    network = network_of(3)
    x = reals(33, network.in_features).requires_grad_()
    grad = gradient(33, network.head.classes)
    first, second = (on_kernels(network, x, grad, storage=torch.float16) for _ in range(2))
    assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True))


@pytest.mark.parametrize("size", [1e-30, 1e-9, 1e9])
def test_half_precision_keeps_gradients_of_any_size(size):
    network = network_of(9)
    x = reals(17, network.in_features).requires_grad_()
    grad = gradient(17, network.head.classes) * size
    assert_agree(on_kernels(network, x, grad, storage=torch.float16), reference(network, x, grad), torch.float16)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # numpy's, in the interpreter
def test_no_gradient_is_zero_and_a_broken_one_is_not_hidden():
    network = network_of(9)
    x = bits(17, network.in_features)
    grad = torch.zeros(17, network.head.classes)
    for result in on_kernels(network, x, grad, storage=torch.float16)[1:]:
        assert not result.any()
    for broken in (torch.nan, torch.inf):
        grad[3, 0] = broken
        for result in on_kernels(network, x, grad, storage=torch.float16)[1:]:
            assert not result.isfinite().all()


def test_a_last_layer_in_many_pieces_is_summed_in_order(monkeypatch):
    monkeypatch.setattr("difflogic_tonic.nets.logic.gpu_call._SUMMED_PROGRAMS", 2)
    network = LogicNetwork(9, [20, 99], 2, 3, backend="eager")
    grad = gradient(17, 3)
    x = bits(17, 9)
    assert_agree(on_kernels(network, x, grad, tiling=Tiling(4, 32)), reference(network, x, grad))


def test_edges_list_the_readers_of_every_row():
    wiring = torch.tensor([[2, 0, 2, 2], [0, 0, 3, 2]], dtype=torch.int32)  # row 1 is read by nobody
    edges = edges_of(wiring, 5)
    assert edges.starts.tolist() == [0, 3, 3, 7, 8, 8]
    assert edges.readers.tolist() == [1, 2, 3, 0, 4, 6, 7, 5]  # 2 * neuron, + 1 for b
    assert edges.others.tolist() == [2, 0, 0, 0, 3, 2, 2, 2]


def test_there_is_no_second_derivative():
    network = LogicNetwork(9, [15], 1, 5, backend="eager").to(DEVICE)
    stack = gpu.Stack(KERNELS, 9, [network.layers[0].wiring], 5, 1.0)
    x = reals(3, 9).to(DEVICE).requires_grad_()
    logits = gpu.run_with_logits(stack, x, [network.layers[0].weight], 1.0)
    with pytest.raises(RuntimeError, match="second derivative"):
        torch.autograd.grad(logits.sum(), x, create_graph=True)


@pytest.mark.parametrize("estimator", ["soft", "hard", "gumbel"])
@pytest.mark.parametrize("parametrization", ["raw", "light", "walsh"])
def test_the_network_trains_on_the_kernels_whatever_its_neurons_are_written_in(parametrization, estimator):
    kinds = {"parametrization": parametrization, "estimator": estimator}
    network = LogicNetwork(6, [5, 6], 2, 3, backend="triton", **kinds).to(DEVICE)
    plain = copy.deepcopy(network)
    plain.backend = "eager"
    x = bits(5, 6).to(DEVICE)
    for one in (network, plain):
        torch.manual_seed(0)  # the same noise
        F.cross_entropy(one(x), torch.arange(5, device=DEVICE) % 3).backward()
    pairs = [(one.weight.grad, two.weight.grad) for one, two in zip(network.layers, plain.layers, strict=True)]
    for ours, expected in pairs:
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
