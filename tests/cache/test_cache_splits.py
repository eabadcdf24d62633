"""Splits are by recording, seeded, stratified, and do not depend on the order of a listing."""

from collections import Counter
from collections.abc import Sequence
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


UNDECIDED = [Item(f"{label}/cifar10_{label}_{n}.aedat", label, "all") for label in (0, 1) for n in range(20)]


def chosen(splits: Sequence[str], name: str) -> list[str]:
    return [recording.path for recording, split in zip(UNDECIDED, splits, strict=True) if split == name]


def test_without_an_official_split_test_is_a_seeded_part_of_every_class_and_val_of_the_rest() -> None:
    splits = assign_splits(UNDECIDED, 0.25, 1, 0.2)
    for name, of_each in (("test", 4), ("val", 4), ("train", 12)):
        assert Counter(path.split("/")[0] for path in chosen(splits, name)) == {"0": of_each, "1": of_each}
    assert splits == assign_splits(UNDECIDED, 0.25, 1, 0.2)
    assert splits != assign_splits(UNDECIDED, 0.25, 2, 0.2)
    backwards = assign_splits(UNDECIDED[::-1], 0.25, 1, 0.2)
    assert backwards[::-1] == splits  # the order of a listing decides nothing


def test_test_recordings_do_not_depend_on_how_many_are_for_validation() -> None:
    assert chosen(assign_splits(UNDECIDED, 0.0, 1, 0.2), "test") == chosen(
        assign_splits(UNDECIDED, 0.5, 1, 0.2), "test"
    )


def test_the_fixed_split_takes_the_first_recordings_by_number_whatever_the_seed() -> None:
    expected = [f"{label}/cifar10_{label}_{n}.aedat" for label in (0, 1) for n in (0, 1, 2)]
    for seed in (1, 2):
        assert chosen(assign_splits(UNDECIDED, 0.1, seed, 0.15, "fixed"), "test") == expected


def test_a_class_of_two_gives_one_to_test_and_one_to_train() -> None:
    few = [Item(f"0/{n}", 0, "all") for n in range(2)]
    assert Counter(assign_splits(few, 0.5, 1, 0.1)) == {"test": 1, "train": 1}


def test_official_parts_are_left_as_they_are_beside_recordings_without() -> None:
    mixed = [Item("Test/0/1", 0, "test"), Item("Train/0/1", 0, "train"), *UNDECIDED]
    assert assign_splits(mixed, 0.0, 1, 0.5)[:2] == ("test", "train")
