"""Which files are recordings."""

import pytest

from difflogic_tonic.config import DATASETS
from difflogic_tonic.events.layout import place

NMNIST = DATASETS["NMNIST"]


@pytest.mark.parametrize(
    ("path", "prefix", "standard", "split", "label", "number"),
    [
        ("Train/3/00012.bin", "Train", "Train/3/00012.bin", "train", "3", "12"),
        ("Test/0/7.bin", "Test", "Test/0/7.bin", "test", "0", "7"),
        ("N-MNIST/data/Train/9/60000.bin", "N-MNIST/data/Train", "Train/9/60000.bin", "train", "9", "60000"),
        ("train/3/00012.bin", "train", "Train/3/00012.bin", "train", "3", "12"),
        ("Test/Test/1/5.bin", "Test/Test", "Test/1/5.bin", "test", "1", "5"),
    ],
)
def test_a_recording_is_placed_by_its_last_three_names(path, prefix, standard, split, label, number):
    placed = place(path, NMNIST)
    assert placed == (prefix, standard, split, label, number)
    assert placed.is_recording


@pytest.mark.parametrize("path", ["Train/3/notes.txt", "Train/3/00012.bin.tmp", "Train/3/a1.bin", "Train/10/00012.bin"])
def test_other_files_among_the_recordings_are_strays(path: str):
    placed = place(path, NMNIST)
    assert placed is not None
    assert not placed.is_recording


@pytest.mark.parametrize(
    "path",
    [
        "README.txt", "Train/README.txt", "3/00012.bin", "00012.bin", "Valid/3/00012.bin", "Train/3/._00012.bin",
        "__MACOSX/Train/3/00012.bin", "Train/.cache/00012.bin", ".git/Train/3/00012.bin", "Train/notes/a.txt",
    ],
)  # fmt: skip
def test_everything_else_is_left_out(path: str):
    assert place(path, NMNIST) is None
