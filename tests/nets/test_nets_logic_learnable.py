"""Learnable wiring: the mean of candidates, its gradients, and the plain network that it becomes."""

import copy
import dataclasses
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from difflogic_tonic import models
from difflogic_tonic.config.networks import Model
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.models.discretise import to_netlist
from difflogic_tonic.netlist import class_scores
from difflogic_tonic.nets.logic import (
    LogicNetwork,
    cpu,
    freeze_wiring,
    hard_mode,
    learnable,
    learnable_cpu,
    logic_report,
    set_temperature,
)
from difflogic_tonic.nets.logic.learnable import draw_candidates, mix, readers_of
from difflogic_tonic.nets.logic.wiring import Place

KERNEL = cpu.find_kernel()
needs_kernel = pytest.mark.skipif(isinstance(KERNEL, str), reason=f"no C kernel: {KERNEL}")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors this small only lose time to a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network_of(seed: int = 0, **options) -> LogicNetwork:
    """With choices that differ from neuron to neuron, and from those of the start."""
    options = {"wiring_candidates": 5, **options}
    network = LogicNetwork(37, [53, 41, 63], 3, 7, seed=seed, wiring="learnable", **options)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in network.layers:
            layer.wiring_logits.copy_(2 * torch.randn(layer.wiring_logits.shape, generator=generator))
    return network


def bits(batch: int = 33) -> Tensor:
    return (torch.rand(batch, 37, generator=torch.Generator().manual_seed(1)) < 0.4).float()


def gradients(network: LogicNetwork, x: Tensor, noise_seed: int = 0) -> list[Tensor]:
    torch.manual_seed(noise_seed)
    network.zero_grad()
    logits = network(x)
    F.cross_entropy(logits, torch.arange(len(x)) % 7).backward()
    return [logits.detach(), *(p.grad for p in network.parameters()), *([x.grad] if x.requires_grad else [])]


def written_out(network: LogicNetwork, x: Tensor) -> Tensor:
    """Logits from the definition, with all candidates of all samples side by side."""
    values = x.t()
    for layer in network.layers:
        odds = torch.softmax(layer.wiring_logits / layer.temperature, -1)
        a, b = (values[layer.candidates.long()] * odds.unsqueeze(-1)).sum(2)
        c = layer.coefficients().t().unsqueeze(-1)
        values = c[0] + c[1] * a + c[2] * b + c[3] * a * b
    return network.head(values)


@pytest.mark.parametrize("backend", ["eager", pytest.param("cpu", marks=needs_kernel)])
@pytest.mark.parametrize("candidates", [2, 5, 8])
@pytest.mark.parametrize(("batch", "parametrization"), [(1, "raw"), (16, "light"), (33, "raw"), (257, "walsh")])
def test_gradients_agree_with_the_definition_in_float64(batch, parametrization, candidates, backend):
    network = network_of(parametrization=parametrization, wiring_candidates=candidates, backend=backend)
    set_temperature(network, 0.7)
    exact, x = copy.deepcopy(network).double(), bits(batch).double().requires_grad_()
    wanted = written_out(exact, x)
    F.cross_entropy(wanted, torch.arange(batch) % 7).backward()
    theirs = [wanted.detach(), *(p.grad for p in exact.parameters()), x.grad]
    for got, expected in zip(gradients(network, bits(batch).requires_grad_()), theirs, strict=True):
        assert ((got.double() - expected).abs().max() / expected.abs().max()).item() <= 1e-5


def test_a_mean_of_rows_has_its_gradients():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(7, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(6, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    index = torch.randint(6, (6, 4), generator=generator, dtype=torch.int32)  # nobody reads row 6
    readers = readers_of(index, 7)
    assert torch.autograd.gradcheck(lambda x, weights: mix(x, index, weights, readers), (x, weights))


def test_a_batch_of_no_samples_has_no_logits_and_no_gradient():
    network = network_of()
    logits = network(bits(0))
    assert logits.shape == (0, 7)
    logits.sum().backward()
    assert not network.layers[-1].wiring_logits.grad.any()


@pytest.mark.parametrize("estimator", ["hard", "gumbel"])
def test_straight_through_computes_with_one_candidate_and_learns_about_all(estimator):
    network = network_of(estimator=estimator).train()
    x = bits()
    values = gradients(network, x)
    assert torch.equal(values[0] * network.head.tau, (values[0] * network.head.tau).round())
    for layer in network.layers:
        moved = layer.wiring_logits.grad != 0  # a gate that ignores an input teaches nothing about it
        assert moved.any()
        assert moved[moved.any(-1)].float().mean() > 0.9
    if estimator == "hard":
        with torch.no_grad(), hard_mode(network):
            assert torch.equal(network(x), values[0])
    again = gradients(network, x)
    assert all(torch.equal(one, other) for one, other in zip(values, again, strict=True))


@pytest.mark.parametrize("backend", ["eager", pytest.param("cpu", marks=needs_kernel)])
def test_results_are_the_same_to_the_bit_for_any_number_of_threads(backend):
    network = LogicNetwork(300, [700, 630], 2, 7, wiring="learnable", backend=backend)
    x = torch.rand(300, 300, generator=torch.Generator().manual_seed(1))
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(gradients(network, x.clone().requires_grad_()))
    for result in results[1:]:
        assert all(torch.equal(one, other) for one, other in zip(results[0], result, strict=True))


def test_hard_mode_the_circuit_and_the_frozen_network_are_the_likeliest_choices():
    network = network_of(tau=2.0).eval()
    for layer in network.layers:
        best = layer.wiring_logits.argmax(-1)
        for row in range(2):
            for neuron in range(0, layer.out_features, 9):
                assert layer.wiring[row, neuron] == layer.candidates[row, neuron, best[row, neuron]]
    x = bits()
    with torch.no_grad(), hard_mode(network):
        hard = network(x)
    scores = torch.from_numpy(class_scores(to_netlist(network), x.numpy()))
    assert torch.equal((hard * 2).round().int(), scores)
    report = logic_report(network)
    freeze_wiring(network)
    assert not any("candidates" in key or "wiring_logits" in key for key in network.state_dict())
    assert logic_report(network) == report
    with torch.no_grad(), hard_mode(network):
        assert torch.equal(network(x), hard)


@needs_kernel
@pytest.mark.parametrize("variant", range(len(cpu.VARIANTS)))
def test_every_instruction_set_of_this_processor_agrees(variant, monkeypatch):
    kernel = learnable_cpu.find_kernel()
    if variant > kernel.best_variant:
        pytest.skip(f"no {cpu.VARIANTS[variant]} here")
    network = network_of(backend="eager")
    expected = gradients(network, bits().requires_grad_())
    monkeypatch.setattr(learnable, "find_kernel", lambda: dataclasses.replace(kernel, best_variant=variant))
    network.backend = "cpu"
    for got, wanted in zip(gradients(network, bits().requires_grad_()), expected, strict=True):
        assert ((got - wanted).abs().max() / wanted.abs().max()).item() <= 1e-5


@needs_kernel
def test_hard_mode_on_the_kernel_follows_every_change_of_a_choice():
    network = network_of()
    for seed in range(3):
        with torch.no_grad():
            for layer in network.layers:
                layer.wiring_logits.copy_(torch.randn(layer.wiring_logits.shape))
        with torch.no_grad(), hard_mode(network):
            network.backend = "auto"
            fast = network(bits())
            network.backend = "eager"
            assert torch.equal(fast, network(bits())), seed


def test_the_choice_comes_back_from_a_state_dict_and_a_wrong_one_is_noticed():
    network, other = network_of(seed=1), network_of(seed=2)
    other(bits())
    other.load_state_dict(network.state_dict())
    assert torch.equal(network(bits()), other(bits()))
    assert torch.equal(network.layers[0].wiring, other.layers[0].wiring)
    other.layers[0].candidates[0, 0, 0] = 37
    with pytest.raises(ConfigError, match="reads features 0 to 37 where there are 0 to 36"):
        other(bits())


def test_every_input_is_a_candidate_and_the_first_ones_reach_all():
    candidates = draw_candidates(6, Place(37, 40), torch.Generator().manual_seed(0))
    assert candidates.shape == (2, 40, 6)
    assert candidates[:, :, 0].unique().tolist() == list(range(37))
    uses = torch.bincount(candidates[:, :, 1:].flatten())
    assert uses.max() - uses.min() <= 1


def test_a_choice_moves_to_the_input_that_tells_the_classes_apart():
    torch.manual_seed(0)
    network = LogicNetwork(40, 40, 1, 2, wiring="learnable", wiring_candidates=40, tau=2.0)
    x = (torch.rand(512, 40) < 0.5).float()
    labels = x[:, 7].long()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(network(x), labels).backward()
        optimizer.step()
    with torch.no_grad(), hard_mode(network):
        assert (network(x).argmax(1) == labels).float().mean() > 0.99
    assert (network.layers[0].wiring == 7).any(0).float().mean() > 0.5


def test_the_config_builds_one():
    logic = {"wiring": "learnable", "wiring_candidates": 3, "num_neurons": 80, "num_layers": 2}
    model = models.build(Model(model_type="DiffLogic", difflogic=logic), (2, 7, 9), 4, 0)
    assert model.network.layers[1].candidates.shape == (2, 80, 3)
    conv = {"architecture": "conv", "conv": {"channels": [8]}}
    trees = models.build(Model(model_type="DiffLogic", difflogic=logic | conv), (2, 6, 8), 4, 0)
    assert trees.network.dense.layers[1].candidates.shape == (2, 80, 3)
    with pytest.raises(ConfigError, match="backend triton has no learnable wiring"):
        network_of(backend="triton")
