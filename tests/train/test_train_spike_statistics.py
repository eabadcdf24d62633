"""Spikes counted in training and in evaluations."""

from typing import Any

import pytest
import torch

from difflogic_tonic.nets.spiking.neurons import Neuron
from difflogic_tonic.nets.spiking.spikes import SpikeCounts
from difflogic_tonic.runs.metrics import read_metrics
from difflogic_tonic.runs.signals import StopRequest
from difflogic_tonic.train import spike_statistics
from difflogic_tonic.train.fit import fit
from difflogic_tonic.train.saving import Saver
from difflogic_tonic.train.spike_statistics import rates_in, spike_lines, warn_of_busy_layers, warn_of_silent_layers

BATCHES, RECORDINGS = 2, 8
"""Of each evaluated split in a workshop, with batches of 7."""


def spikes_in(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if "_spikes_" in name or "_per_sample" in name}


def test_an_epoch_has_them_unless_they_are_switched_off(workshop: Any, another_workshop: Any) -> None:
    plain = workshop.train(workshop.config("SNN", epochs=1, measure_spikes=0)).rows[-1]
    measured = another_workshop.train(another_workshop.config("SNN", epochs=1, measure_spikes=1)).rows[-1]
    assert not spikes_in(plain)
    for split in ("val", "test"):
        assert measured[f"{split}_spikes_samples"] == RECORDINGS
        assert 0 < measured[f"{split}_spikes_global_rate"] < 1
        assert measured[f"{split}_synops_per_sample"] > 0
        bins = measured[f"{split}_spikes_histogram"]
        # 4C3-MP2 on 8 × 12 pixels: 4 × 3 × 5 neurons, two frames
        assert {name: sum(counts) for name, counts in bins.items()} == dict.fromkeys(bins, 60 * 2 * RECORDINGS)
    assert measured["train_spikes_samples"] == 20
    # looking changes nothing
    assert {name: measured[name] for name in plain if "loss" in name or "accuracy" in name} == {
        name: value for name, value in plain.items() if "loss" in name or "accuracy" in name
    }


def test_every_so_many_batches(workshop: Any) -> None:
    row = workshop.train(workshop.config("SNN", epochs=1, measure_spikes=BATCHES)).rows[-1]
    assert row["test_spikes_samples"] == 7
    assert row["train_spikes_samples"] == 7 + 6  # the first and the third of batches of 7, 7 and 6


def test_training_counts_the_spikes_of_its_own_steps(workshop: Any) -> None:
    """One step of an epoch, counted by hand from what the layer of neurons gave in it."""
    config = workshop.config("SNN", epochs=1, batch_size=20)
    given: list[torch.Tensor] = []
    with workshop.opened(config) as (state, plan, metrics, writer):
        (neuron,) = (module for module in state.model.modules() if isinstance(module, Neuron))
        (name,) = (name for name, module in state.model.named_modules() if module is neuron)

        def keep(module: Neuron, inputs: Any, spikes: torch.Tensor) -> None:
            if module.training:
                given.append(spikes.detach())

        neuron.register_forward_hook(keep)
        fit(state, plan, metrics, Saver(state, metrics, writer, StopRequest(), 1e9))
    (spikes,) = given
    row = read_metrics(workshop.storage.project.run_dir("job") / "metrics.jsonl")[-1]
    assert row["train_spikes_samples"] == 20
    assert row["train_spikes_per_sample"] == spikes.sum().item() / 20
    assert (
        row["train_spikes_global_rate"] == row[f"train_spikes_rate_{name}"] == spikes.mean(dtype=torch.float64).item()
    )
    assert sum(row["train_spikes_histogram"][name]) == 60 * 2 * 10  # neurons, frames, and every second of 20 samples
    assert "train_synops_per_sample" not in row


@pytest.mark.parametrize("steps", [None, 1])
def test_what_is_computed_again_counts_once(workshop: Any, another_workshop: Any, steps: int | None) -> None:
    kept = workshop.train(workshop.config("SNN", epochs=1)).rows[-1]
    again = another_workshop.config("SNN", epochs=1, recompute=True, recompute_steps=steps)
    counted = spikes_in(another_workshop.train(again).rows[-1])
    assert counted == spikes_in(kept)
    assert counted["train_spikes_samples"] == 7  # of the first step


def test_an_evaluation_counts_the_same_in_parts_of_any_size(
    workshop: Any, another_workshop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = workshop.train(workshop.config("SNN", epochs=1)).rows[-1]
    monkeypatch.setattr(spike_statistics, "FRAMES_AT_ONCE", 3 * 2)  # three samples of two frames, of seven
    parts = another_workshop.train(another_workshop.config("SNN", epochs=1)).rows[-1]
    assert spikes_in(parts) == spikes_in(whole)


def test_an_interrupted_epoch_counts_what_a_whole_one_does(workshop: Any, another_workshop: Any) -> None:
    config = workshop.config("SNN", epochs=2, measure_spikes=2)
    whole = workshop.train(config)
    another_workshop.train(config, stop_after=2)
    resumed = another_workshop.train(config, resume=True)
    assert spikes_in(resumed.rows[-1]) == spikes_in(whole.rows[-1])
    assert [spikes_in(row) for row in resumed.rows] == [spikes_in(row) for row in whole.rows]


def test_an_interrupted_evaluation_counts_what_a_whole_one_does(workshop: Any, another_workshop: Any) -> None:
    config = workshop.config("SNN", epochs=1, measure_spikes=1)
    whole = workshop.train(config)
    training_batches = 3
    stopped = another_workshop.train(config, stop_after=training_batches + 1)
    assert stopped.state.progress.spikes.n_samples == 7
    torch.manual_seed(9)
    resumed = another_workshop.train(config, resume=True)
    assert spikes_in(resumed.rows[-1]) == spikes_in(whole.rows[-1])
    assert spikes_in(whole.rows[-1])


def test_they_can_be_switched_off_within_an_evaluation(workshop: Any) -> None:
    workshop.train(workshop.config("SNN", epochs=1, measure_spikes=1), stop_after=4)
    assert workshop.train(workshop.config("SNN", epochs=1, measure_spikes=0), resume=True).finished


def test_lines_say_what_was_counted_and_nothing_where_nothing_was() -> None:
    counts = SpikeCounts(2, {"a": 60, "b": 3, "c": 20}, dict.fromkeys("abc", 100), synops={"c": 4000}, macs={"d": 70})
    metrics = {f"test_{name}": value for name, value in counts.metrics().items()}
    first, second = spike_lines(metrics, "test")
    assert first == (
        "test spikes: 0.2767 per neuron and step, 42 per sample; 2,000 SynOps and 35 MACs per sample (mean of 2)"
    )
    assert second == "test spikes by layer: a 0.6000 (busy), b 0.0300 (sparse), c 0.2000"
    assert spike_lines({}, "test") == []


def test_a_network_without_layers_that_are_known_has_spikes_only() -> None:
    metrics = {f"test_{name}": value for name, value in SpikeCounts(2, {"a": 60}, {"a": 100}).metrics().items()}
    assert spike_lines(metrics, "test")[0] == "test spikes: 0.6000 per neuron and step, 30 per sample (mean of 2)"


def test_a_layer_that_is_not_sparse_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_busy_layers({"a": 0.31, "b": 0.30}, "test")
    (record,) = caplog.records
    assert "test: layer a spikes 0.31 times per neuron and step, above 0.3" in record.getMessage()


def test_a_layer_that_never_spikes_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_silent_layers({"a": 0.0, "b": 0.001}, "test")
    (record,) = caplog.records
    assert "test: layer a never spikes" in record.getMessage()


def test_rates_are_found_by_their_split() -> None:
    assert rates_in({"test_spikes_rate_x.1": 0.2, "val_spikes_rate_y": 0.1, "test_loss": 1}, "test") == {"x.1": 0.2}
