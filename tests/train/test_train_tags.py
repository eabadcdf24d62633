"""Every TensorBoard tag of a run, read back from its event file and compared with a computation of its own.

The networks are simulated here with numpy from their weights alone; nothing of what counts in training is used.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from difflogic_tonic.nets.logic.gates import GATE_NAMES
from difflogic_tonic.runs.tags import MEMBRANE_RANGE

LAYER = "network.2"
NEURONS, FRAMES = 4 * 3 * 5, 2
THRESHOLD = 0.5


def read_back(folder: Path) -> dict[str, list[tuple[int, Any]]]:
    """Tag → (step, value) of every point; a histogram's value is (right edges, counts)."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    found: dict[str, list[tuple[int, Any]]] = {}
    (path,) = folder.glob("events.out.tfevents.*")
    for event in LegacyEventFileLoader(str(path)).Load():
        for value in event.summary.value:
            one = value.simple_value
            if value.HasField("histo"):
                one = (list(value.histo.bucket_limit), [int(n) for n in value.histo.bucket])
            found.setdefault(value.tag, []).append((event.step, one))
    return found


def last(points: dict[str, list[tuple[int, Any]]], tag: str) -> Any:
    return points[tag][-1][1]


def frames_of(batches: Any) -> tuple[np.ndarray, np.ndarray]:
    """f64[B, T, 2, 8, 12] and labels i64[B], in the order in which epoch 0 sees them."""
    (batch,) = batches.iterate(0)
    return batch.inputs.reshape(len(batch), FRAMES, 2, 8, 12).double().numpy(), batch.labels.numpy()


def simulate(weights: dict[str, torch.Tensor], frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spikes and membranes (in thresholds) [B, T, 60] and logits [B, 3] of 4C3-MP2-FC3, leaky neurons of tau 2."""
    kernel, bias, dense, offset = (
        weights[f"network.{name}"].double().numpy() for name in ("0.weight", "0.bias", "4.weight", "4.bias")
    )
    x = np.log1p(frames)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(3, 4))  # [B, T, 2, 6, 10, 3, 3]
    convolved = np.einsum("btcyxij,ocij->btoyx", windows, kernel) + bias[:, None, None]
    pooled = convolved.reshape(len(x), FRAMES, 4, 3, 2, 5, 2).max(axis=(4, 6)).reshape(len(x), FRAMES, NEURONS)
    v, charge = np.zeros((len(x), NEURONS)), np.zeros((len(x), 3))
    spikes, membranes, scores = [], [], []
    for t in range(FRAMES):
        v = v + (pooled[:, t] - v) / 2
        fired = v >= THRESHOLD
        membranes.append(v / THRESHOLD)
        spikes.append(fired)
        v = np.where(fired, 0.0, v)
        charge = charge + (fired @ dense.T + offset - charge) / 2
        scores.append(charge)
    return np.stack(spikes, 1), np.stack(membranes, 1), np.mean(scores, 0)


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    right = logits[np.arange(len(labels)), labels]
    return float(np.mean(np.log(np.exp(logits).sum(1)) - right))


@pytest.fixture
def spiking(workshop: Any) -> tuple[Any, Any, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Plan, points, and the weights before and after a run of one epoch with one step, without dropout."""
    config = workshop.config("SNN", epochs=1, batch_size=20)
    snn = config.model.snn.model_copy(update={"dropout": 0.0, "threshold": THRESHOLD})
    config = config.model_copy(update={"model": config.model.model_copy(update={"snn": snn})})
    before = workshop.state(config)
    outcome = workshop.train(config)
    points = read_back(workshop.storage.project.run_dir("job") / "tensorboard")
    return workshop.plan(config, before), points, before.model.state_dict(), outcome.state.model.state_dict()


def test_loss_and_accuracy_of_a_spiking_network(spiking: Any) -> None:
    plan, points, before, after = spiking
    for phase, batches, weights, names in (
        ("Train", plan.train, before, ("EpochLoss", "EpochAcc")),
        ("Test", plan.evaluated["test"], after, ("Loss", "Acc")),
        ("Val", plan.evaluated["val"], after, ("Loss", "Acc")),
    ):
        frames, labels = frames_of(batches)
        _, _, logits = simulate(weights, frames)
        assert last(points, f"{phase}/{names[0]}") == pytest.approx(cross_entropy(logits, labels), rel=1e-5)
        assert last(points, f"{phase}/{names[1]}") == pytest.approx(np.mean(logits.argmax(1) == labels))


def test_spikes_and_membranes_of_a_spiking_network(spiking: Any) -> None:
    plan, points, before, after = spiking
    for phase, batches, weights, every in (
        ("Train", plan.train, before, 2),
        ("Test", plan.evaluated["test"], after, 1),
    ):
        frames, _ = frames_of(batches)
        spikes, membranes, _ = simulate(weights, frames)
        assert spikes.any()
        assert last(points, f"Spikes/{phase}/{LAYER}_mean") == pytest.approx(spikes.mean())
        assert last(points, f"Spikes/{phase}/GlobalRate") == pytest.approx(spikes.mean())
        assert last(points, f"Efficiency/{phase}/SpikesPerSample") == pytest.approx(spikes.sum() / len(frames))
        looked_at = membranes[::every]  # at most 16 samples, evenly spread: every second of 20
        near = last(points, f"PotentialNearThresh/{phase}/{LAYER}")
        assert near == pytest.approx(np.mean(np.abs(looked_at - 1) < 0.1))
        limits, counts = last(points, f"PotentialHist/{phase}/{LAYER}")
        edges = np.linspace(*MEMBRANE_RANGE, 41)
        assert limits == pytest.approx(edges[1:])
        assert counts == np.histogram(looked_at.clip(*MEMBRANE_RANGE), edges)[0].tolist()


def test_operations_of_a_spiking_network(spiking: Any) -> None:
    plan, points, _, after = spiking
    frames, _ = frames_of(plan.evaluated["test"])
    spikes, _, _ = simulate(after, frames)
    assert last(points, "Efficiency/Test/SynOpsPerSample") == pytest.approx(3 * spikes.sum() / len(frames))
    # 4 × 6 × 10 outputs of 2 × 3 × 3 weights, for each frame
    assert last(points, "Efficiency/Test/MacsPerSample") == 240 * 18 * FRAMES


def evaluate_gates(weights: dict[str, torch.Tensor], bits: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Gates i64[n] of both layers, and the class sums [B, 3] of a discretised network on bits bool[B, 192]."""
    gates, values = [], bits.astype(np.int64)
    for layer in (0, 1):
        chosen = weights[f"network.layers.{layer}.weight"].argmax(1).numpy()
        a, b = (values[:, pins] for pins in weights[f"network.layers.{layer}.wiring"].long().numpy())
        values = chosen >> (3 - 2 * a - b) & 1  # gate number = 8 f(0,0) + 4 f(0,1) + 2 f(1,0) + f(1,1)
        gates.append(chosen)
    return gates, values.reshape(len(bits), 3, 40).sum(2)


def test_tags_of_a_logic_network(workshop: Any) -> None:
    config = workshop.config("DiffLogic", epochs=2, batch_size=16)
    outcome = workshop.train(config)
    points = read_back(workshop.storage.project.run_dir("job") / "tensorboard")
    weights = outcome.state.model.state_dict()
    frames, labels = frames_of_samples(workshop.plan(config, outcome.state).evaluated["test"])
    gates, sums = evaluate_gates(weights, frames)
    tau = math.sqrt(40) / 3
    assert last(points, "Test/HardLoss") == pytest.approx(cross_entropy(sums / tau, labels), rel=1e-5)
    assert last(points, "Test/HardFrameAcc") == pytest.approx(np.mean(sums.argmax(1) == labels))
    # rounded as the network does: frames whose sums differ by the same number may give two classes exactly as much
    shares = (torch.from_numpy(sums).float() / tau).double().softmax(1).numpy()
    of_recordings = shares.reshape(-1, FRAMES, 3).sum(1).argmax(1)
    assert last(points, "Test/HardAcc") == pytest.approx(np.mean(of_recordings == labels[::FRAMES]))
    gap = last(points, "Test/Acc") - last(points, "Test/HardAcc")
    assert last(points, "Test/Gap") == pytest.approx(gap, abs=1e-6)

    histograms = [np.bincount(layer, minlength=16).tolist() for layer in gates]
    for number, counts in enumerate(histograms, 1):
        assert last(points, f"Logic/GateHist/layer{number}") == ([0.5 + n for n in range(16)], counts)
    assert last(points, "Logic/GateHist")[1] == np.sum(histograms, 0).tolist()
    assert last(points, "Logic/Gates/XOR") == sum(counts[GATE_NAMES.index("XOR")] for counts in histograms)
    assert last(points, "Logic/Gates") == 240

    def reads(gate: int, pin: int) -> bool:
        f = {(a, b): gate >> (3 - 2 * a - b) & 1 for a in (0, 1) for b in (0, 1)}
        return any(f[0, x] != f[1, x] if pin == 0 else f[x, 0] != f[x, 1] for x in (0, 1))

    wiring = weights["network.layers.1.wiring"].tolist()
    read = {wiring[pin][n] for n, gate in enumerate(gates[1].tolist()) for pin in (0, 1) if reads(gate, pin)}
    assert last(points, "Logic/UnusedGates/layer1") == 120 - len(read)
    assert last(points, "Logic/UnusedGates/layer2") == 0
    assert last(points, "Logic/UnusedGates") == 120 - len(read)


def frames_of_samples(batches: Any) -> tuple[np.ndarray, np.ndarray]:
    (batch,) = batches.iterate(0)
    return batch.inputs.reshape(len(batch), -1).numpy() > 0, batch.labels.numpy()


def test_every_point_is_there_once_and_at_its_step(workshop: Any) -> None:
    workshop.train(workshop.config("SNN", epochs=2, batch_size=10))
    points = read_back(workshop.storage.project.run_dir("job") / "tensorboard")
    for tag in ("Train/EpochLoss", "Test/Acc", f"Spikes/Train/{LAYER}_mean", f"PotentialHist/Test/{LAYER}"):
        assert [step for step, _ in points[tag]] == [2, 4], tag
    assert [step for step, _ in points["Step/LearningRate"]] == [1, 2, 3, 4]


def test_a_network_without_spikes_or_gates_has_no_such_tags(workshop: Any) -> None:
    workshop.train(workshop.config("MLP", epochs=1))
    tags = read_back(workshop.storage.project.run_dir("job") / "tensorboard").keys()
    assert {tag.partition("/")[0] for tag in tags} == {"Train", "Val", "Test", "Step", "Epoch"}


@pytest.mark.parametrize("model_type", ["SNN", "DiffLogic"])
def test_a_run_that_was_stopped_leaves_the_points_of_one_that_was_not(
    model_type: str, workshop: Any, another_workshop: Any
) -> None:
    config = workshop.config(model_type, epochs=2)
    workshop.train(config)
    whole = read_back(workshop.storage.project.run_dir("job") / "tensorboard")
    another_workshop.train(config, stop_after=2)
    # rows that the checkpoint does not know of, as after a kill
    another_workshop.train(config, stop_after=5, resume=True)
    folder = another_workshop.storage.project.run_dir("job") / "tensorboard"
    with next(folder.iterdir()).open("ab") as file:
        file.write(b"half a record")
    another_workshop.train(config, resume=True)
    resumed = read_back(folder)
    timed = ("Epoch/Seconds", "SamplesPerSecond", "PeakMemoryBytes")
    assert {tag: values for tag, values in resumed.items() if not tag.endswith(timed)} == {
        tag: values for tag, values in whole.items() if not tag.endswith(timed)
    }
    assert resumed.keys() == whole.keys()
