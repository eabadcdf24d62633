"""Spikes counted in evaluations."""

from typing import Any

import pytest
import torch

from difflogic_tonic.nets.spiking.spikes import SpikeCounts
from difflogic_tonic.train.spike_statistics import spike_lines, warn_of_busy_layers

BATCHES, RECORDINGS = 2, 8
"""Of each evaluated split in a workshop, with batches of 7."""


def spikes_in(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if "_spikes_" in name or "_per_sample" in name}


def test_an_epoch_has_them_only_if_asked_for(workshop: Any, another_workshop: Any) -> None:
    plain = workshop.train(workshop.config("SNN", epochs=1)).rows[-1]
    measured = another_workshop.train(another_workshop.config("SNN", epochs=1, measure_spikes=1)).rows[-1]
    assert not spikes_in(plain)
    for split in ("val", "test"):
        assert measured[f"{split}_spikes_samples"] == RECORDINGS
        assert 0 < measured[f"{split}_spikes_global_rate"] < 1
        assert measured[f"{split}_synops_per_sample"] > 0
        bins = measured[f"{split}_spikes_histogram"]
        # 4C3-MP2 on 8 × 12 pixels: 4 × 3 × 5 neurons, two frames
        assert {name: sum(counts) for name, counts in bins.items()} == dict.fromkeys(bins, 60 * 2 * RECORDINGS)
    # looking changes nothing
    assert {name: measured[name] for name in plain if "loss" in name or "accuracy" in name} == {
        name: value for name, value in plain.items() if "loss" in name or "accuracy" in name
    }


def test_every_so_many_batches(workshop: Any) -> None:
    row = workshop.train(workshop.config("SNN", epochs=1, measure_spikes=BATCHES)).rows[-1]
    assert row["test_spikes_samples"] == 7


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
    assert workshop.train(workshop.config("SNN", epochs=1), resume=True).finished


def test_lines_say_what_was_counted_and_nothing_where_nothing_was() -> None:
    counts = SpikeCounts(2, {"a": 60, "b": 3}, {"a": 100, "b": 100}, synops={"c": 4000}, macs={"d": 70})
    metrics = {f"test_{name}": value for name, value in counts.metrics().items()}
    first, second = spike_lines(metrics, "test")
    assert first == (
        "test spikes: 0.3150 per neuron and step, 32 per sample; 2,000 SynOps and 35 MACs per sample (mean of 2)"
    )
    assert second == "test spikes by layer: a 0.6000, b 0.0300"
    assert spike_lines({}, "test") == []


def test_a_layer_that_is_not_sparse_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_busy_layers(SpikeCounts(1, {"a": 31, "b": 30}, {"a": 100, "b": 100}), "test")
    (record,) = caplog.records
    assert "test: layer a spikes 0.31 times per neuron and step, above 0.3" in record.getMessage()
