"""Splits are by recording, seeded, stratified, and do not depend on the order of a listing."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difflogic_tonic.cache.splits import assign_splits, plan_shards


@dataclass(frozen=True)
class Item:
    path: str
    label: int
    split: str


def items(counts: dict[int, int], split: str = "train") -> list[Item]:
    return [Item(f"{split}/{label}/{n}.bin", label, split) for label, count in counts.items() for n in range(count)]


def val_per_class(recordings: list[Item], fraction: float, seed: int = 1) -> dict[int, int]:
    splits = assign_splits(recordings, fraction, seed)
    counts = dict.fromkeys((item.label for item in recordings), 0)
    for item, split in zip(recordings, splits, strict=True):
        counts[item.label] += split == "val"
    return counts


def test_every_class_gives_its_part_to_validation() -> None:
    assert val_per_class(items({0: 100, 1: 40, 2: 12}), 0.1) == {0: 10, 1: 4, 2: 1}


@pytest.mark.parametrize(("count", "wanted"), [(1, 0), (2, 1), (3, 1), (10, 1)])
def test_at_least_one_recording_is_validated_on_and_at_least_one_trained_on(count: int, wanted: int) -> None:
    assert val_per_class(items({5: count}), 0.01) == {5: wanted}


def test_no_fraction_no_validation() -> None:
    assert val_per_class(items({0: 10}), 0.0) == {0: 0}


def test_test_recordings_stay_test() -> None:
    recordings = items({0: 20}, "test") + items({0: 20})
    splits = assign_splits(recordings, 0.5, 1)
    assert set(splits[:20]) == {"test"}
    assert splits.count("val") == 10


def test_another_seed_is_another_split() -> None:
    recordings = items({0: 50})
    assert assign_splits(recordings, 0.3, 1) != assign_splits(recordings, 0.3, 2)
    assert assign_splits(recordings, 0.3, 1) == assign_splits(recordings, 0.3, 1)


@settings(max_examples=30, deadline=None)
@given(st.permutations(items({0: 7, 1: 5}) + items({0: 3}, "test")), st.floats(0, 0.9))
def test_the_order_of_the_listing_changes_nothing(shuffled: list[Item], fraction: float) -> None:
    ordered = sorted(shuffled, key=lambda item: item.path)
    by_path = dict(zip(ordered, assign_splits(ordered, fraction, 7), strict=True))
    assert dict(zip(shuffled, assign_splits(shuffled, fraction, 7), strict=True)) == by_path


def test_one_recording_more_moves_at_most_one_other() -> None:
    before = items({0: 30})
    after = [*before, Item("train/0/new.bin", 0, "train")]
    moved = [a != b for a, b in zip(assign_splits(before, 0.2, 3), assign_splits(after, 0.2, 3), strict=False)]
    assert sum(moved) <= 1


def test_shards_hold_each_recording_of_a_split_once_in_order() -> None:
    plans = plan_shards(["train", "val", "train", "test", "train", "train"], 3)
    assert [(plan.name, plan.rows) for plan in plans] == [
        ("train-00000.h5", (0, 2, 4)),
        ("train-00001.h5", (5,)),
        ("val-00000.h5", (1,)),
        ("test-00000.h5", (3,)),
    ]
