"""The recurrent logic network: gradients through time, padding, streaming, and the circuit that it becomes."""

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from difflogic_tonic import models
from difflogic_tonic.config.networks import Model
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.models.discretise import netlist_report, to_netlist
from difflogic_tonic.netlist import simplify, step_scores
from difflogic_tonic.nets.logic import RecurrentLogicNetwork, cpu, hard_mode, logic_report, set_temperature
from difflogic_tonic.nets.logic.recurrent import READOUTS

LENGTHS = torch.tensor([3, 6, 1, 4, 4, 2, 6, 5, 1, 3, 2, 6, 4, 1, 5, 3, 2])
KERNEL = cpu.find_kernel()
needs_kernel = pytest.mark.skipif(isinstance(KERNEL, str), reason=f"no C kernel: {KERNEL}")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors this small only lose time to a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network_of(**options) -> RecurrentLogicNetwork:
    """Random lanes instead of lanes that hold: after a few frames the state is as good as any."""
    network = RecurrentLogicNetwork(37, 11, [53, 51, 46], 3, 5, **options)
    generator = torch.Generator().manual_seed(options.get("seed", 0))
    with torch.no_grad():
        for layer in network.network.layers:
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))
    return network


def frames(steps: int = 6, seed: int = 0) -> Tensor:
    return (torch.rand(steps, len(LENGTHS), 37, generator=torch.Generator().manual_seed(seed)) < 0.4).float()


def gradients(network: RecurrentLogicNetwork, x: Tensor, noise_seed: int = 0) -> list[Tensor]:
    torch.manual_seed(noise_seed)
    network.zero_grad()
    logits = network(x, LENGTHS)
    F.cross_entropy(logits, torch.arange(len(LENGTHS)) % 5).backward()
    return [logits.detach(), *(p.grad for p in network.parameters()), *([x.grad] if x.requires_grad else [])]


def written_out(network: RecurrentLogicNetwork, x: Tensor) -> Tensor:
    """float64 logits, sample by sample and gate by gate, from the definition."""
    rows = []
    layers = list(network.network.layers)
    for sample, length in enumerate(LENGTHS.tolist()):
        state, scores = x.new_zeros(11), []
        for t in range(length):
            values = torch.cat((x[t, sample], state))
            for layer in layers:
                c, (a, b) = layer.coefficients(), values[layer.wiring.long()]
                values = c[:, 0] + c[:, 1] * a + c[:, 2] * b + c[:, 3] * a * b
            state = values[:11]
            scores.append(values[11:].reshape(5, 7).sum(1) / network.head.tau)
        rows.append(scores[-1] if network.readout == "last" else torch.stack(scores).mean(0))
    return torch.stack(rows)


@pytest.mark.parametrize("backend", ["eager", pytest.param("cpu", marks=needs_kernel)])
@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("parametrization", ["raw", "light"])
def test_logits_and_gradients_through_time_agree_with_the_definition_in_float64(parametrization, readout, backend):
    network = network_of(readout=readout, parametrization=parametrization, backend=backend)
    set_temperature(network, 0.8)
    exact = copy.deepcopy(network).double()
    wanted = written_out(exact, frames().double())
    F.cross_entropy(wanted, torch.arange(len(LENGTHS)) % 5).backward()
    for ours, theirs in zip(gradients(network, frames()), [wanted, *(p.grad for p in exact.parameters())], strict=True):
        assert ((ours.double() - theirs).abs().max() / theirs.abs().max()).item() <= 1e-5


@needs_kernel
@pytest.mark.parametrize("estimator", ["hard", "gumbel"])
def test_one_draw_of_noise_serves_all_frames_on_every_backend(estimator):
    network = network_of(estimator=estimator, backend="cpu")
    ours = gradients(network, frames())
    network.network.backend = "eager"
    for one, other in zip(ours, gradients(network, frames()), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("readout", READOUTS)
def test_frames_behind_the_end_and_more_of_them_change_nothing(readout):
    network = network_of(readout=readout)
    x = frames().requires_grad_()
    padded = torch.cat((frames(), 1 - frames(3)))
    behind = torch.arange(9).unsqueeze(1) >= LENGTHS
    padded[behind] = 1 - padded[behind]
    padded.requires_grad_()
    plain, other = gradients(network, x), gradients(network, padded)
    assert all(torch.equal(one, two) for one, two in zip(plain[:-1], other[:-1], strict=True))
    assert torch.equal(plain[-1], other[-1][:6])
    assert not other[-1][behind].any()


def test_no_lengths_means_all_frames():
    network = network_of()
    assert torch.equal(network(frames(2)), network(frames(2), torch.full_like(LENGTHS, 2)))
    with pytest.raises(ValueError, match="lengths from 1 to 6 in a batch of 5 steps"):
        network(frames(5), LENGTHS)


@needs_kernel
def test_results_are_the_same_to_the_bit_for_any_number_of_threads():
    network = network_of(backend="cpu")
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(gradients(network, frames()))
    for result in results[1:]:
        assert all(torch.equal(one, other) for one, other in zip(results[0], result, strict=True))


@pytest.mark.parametrize("readout", READOUTS)
def test_a_stream_of_steps_gives_the_logits_of_the_whole(readout):
    network = network_of(readout=readout).eval()
    state, scores = None, []
    for frame in frames():
        score, state = network.step(frame, state)
        scores.append(score)
    assert state.shape == (len(LENGTHS), 11)
    whole = scores[-1] if readout == "last" else torch.stack(scores).mean(0)
    assert torch.allclose(network(frames()), whole, atol=1e-6)


def test_hard_mode_is_zeros_and_ones_with_a_state_that_matters():
    network = network_of()
    state, last = None, []
    with torch.no_grad(), hard_mode(network):
        for frame in frames():
            scores, state = network.step(frame, state)
            assert set(state.unique().tolist()) <= {0.0, 1.0}
            assert torch.equal(scores * network.head.tau, (scores * network.head.tau).round())
            last.append(network.step(frame)[0])
    assert not torch.equal(last[-1], scores)


@pytest.mark.parametrize("parametrization", ["raw", "walsh"])
def test_the_circuit_of_one_frame_run_over_the_frames_is_the_hard_network(parametrization):
    network = network_of(readout="mean", parametrization=parametrization, tau=2.0)
    with torch.no_grad(), hard_mode(network):
        logits = network(frames(), LENGTHS)
    netlist = to_netlist(network)
    assert (netlist.n_inputs, netlist.n_state, netlist.n_outputs) == (48, 11, 35)
    for circuit in (netlist, simplify(netlist)):
        scores = torch.from_numpy(step_scores(circuit, frames().numpy()))
        for sample, length in enumerate(LENGTHS.tolist()):
            ones = np.rint(logits[sample].numpy() * 2 * length)
            assert ones.tolist() == scores[:length, sample].sum(0).tolist()
    report = netlist_report(network)
    assert report["before"]["state"] == report["after"]["state"] == 11
    assert logic_report(network)["gates"] == 150


def test_at_the_start_a_state_is_kept():
    network = RecurrentLogicNetwork(37, 11, [53, 51, 46], 3, 5)
    state = torch.arange(11).float().repeat(len(LENGTHS), 1) % 2
    with hard_mode(network):
        _, after = network.step(frames(1)[0], state)
    assert torch.equal(after, state)
    _, after = network.step(frames(1)[0], state)
    assert (after - state).abs().max() < 0.05


def test_the_state_comes_back_from_a_state_dict():
    network, other = network_of(seed=1), network_of(seed=2)
    other.load_state_dict(network.state_dict())
    assert torch.equal(network(frames(), LENGTHS), other(frames(), LENGTHS))


def test_the_config_builds_one_that_sees_whether_events_fell():
    logic = {"architecture": "recurrent", "num_neurons": 120, "num_layers": 2, "recurrent": {"state": 20}}
    model = models.build(Model(model_type="DiffLogic", difflogic=logic), (2, 7, 9), 4, 0)
    assert model.view == "sequence"
    counts = torch.randint(0, 3, (3, 5, 2, 7, 9), generator=torch.Generator().manual_seed(0)).float()
    assert torch.equal(model(counts), model((counts > 0).float()))
    assert models.describe(model, (2, 7, 9))["gates"] == 240


@pytest.mark.parametrize(
    ("widths", "options", "message"),
    [
        ([53, 51, 11], {}, "state 11 must be at least 1 and smaller than every layer"),
        ([34, 51, 46], {}, "23 neurons have 46 inputs and leave some of 48 .* fewer state bits"),
        ([53, 51, 47], {}, "num_neurons 47 without the 11 of the state does not split into 5 classes"),
        ([53, 51, 46], {"readout": "sum"}, "readout: 'sum' is none of mean, last"),
        ([53, 51, 46], {"wiring": "structured"}, "wiring: 'structured' is none of random, unique"),
    ],
)
def test_sizes_and_words_that_cannot_work_are_refused(widths, options, message):
    with pytest.raises(ConfigError, match=message):
        RecurrentLogicNetwork(37, 11, widths, 3, 5, **options)
