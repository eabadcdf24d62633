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


@pytest.mark.parametrize(
    ("dataset", "layout", "path", "standard", "split", "label"),
    [
        ("CIFAR10DVS", 0, "x/cat/cifar10_cat_7.aedat", "cat/cifar10_cat_7.aedat", "all", "cat"),
        ("CIFAR10DVS", 1, "cat/cifar10_cat_7.aedat4", "cat/cifar10_cat_7.aedat4", "all", "cat"),
        (
            *("DVSGESTURE", 0, "a/ibmGestureTest/user24_led/10.npy", "ibmGestureTest/user24_led/10.npy"),
            *("test", "other_gestures"),
        ),
        ("NCALTECH101", 0, "Caltech101/ant/image_0001.bin", "Caltech101/ant/image_0001.bin", "all", "ant"),
        ("POKERDVS", 0, "pips_train/he/4.npy", "pips_train/he/4.npy", "train", "heart"),
        ("POKERDVS", 1, "poker_dvs/xclub02i.aedat", "poker_dvs/xclub02i.aedat", "all", "club"),
        ("POKERDVS", 1, "xspade04.aedat", "xspade04.aedat", "all", "spade"),
        ("NCARS", 0, "z/n-cars_train/cars/obj_004396_td.dat", "n-cars_train/cars/obj_004396_td.dat", "train", "cars"),
        (
            *("NCARS", 0, "n-cars_test/test/background/obj_000001_td.dat"),
            *("n-cars_test/test/background/obj_000001_td.dat", "test", "background"),
        ),
        ("ASL_DVS", 0, "a/a_0001.mat", "a/a_0001.mat", "all", "a"),
        ("DVSLIP", 0, "DVS-Lip/train/accused/0.npy", "Train/accused/0.npy", "train", "accused"),
        ("IMAGENET", 0, "val/n01440764/v_1.JPEG", "Val/n01440764/v_1.JPEG", "test", "n01440764"),
        ("FOLDER", 0, "train/wave/a.aedat4", "Train/wave/a.aedat4", "train", "wave"),
        ("FOLDER", 1, "wave/a.aedat4", "wave/a.aedat4", "all", "wave"),
        ("IMAGEFOLDER", 1, "cat/a b.JPG", "cat/a b.JPG", "all", "cat"),
    ],
)  # fmt: skip
def test_each_dataset_lies_in_its_own_way(dataset, layout, path, standard, split, label):
    facts = DATASETS[dataset].in_layout(DATASETS[dataset].layouts[layout])
    placed = place(path, facts)
    assert placed is not None
    assert (placed.path, placed.split, placed.label) == (standard, split, label)
    assert placed.is_recording


@pytest.mark.parametrize(
    ("dataset", "layout", "path"),
    [
        ("CIFAR10DVS", 0, "cat/cifar10_cat_7.aedat4"),
        ("CIFAR10DVS", 0, "cat/readme.txt"),
        ("DVSGESTURE", 0, "ibmGestureTest/user24_led/11.npy"),
        ("NCARS", 0, "n-cars_train/bicycles/obj_000001_td.dat"),
        ("ASL_DVS", 0, "j/a_0001.mat"),
    ],
)
def test_a_stray_among_recordings_is_seen(dataset, layout, path):
    facts = DATASETS[dataset].in_layout(DATASETS[dataset].layouts[layout])
    placed = place(path, facts)
    assert placed is not None
    assert not placed.is_recording


@pytest.mark.parametrize(
    ("dataset", "layout", "path"),
    [
        ("CIFAR10DVS", 0, "readme.txt"),
        ("POKERDVS", 1, "poker_dvs/notes.txt"),
        ("NCALTECH101", 0, "Caltech101_annotations/ant/annotation_0001.bin"),
        ("FOLDER", 0, "wave/a.aedat4"),
    ],
)
def test_files_elsewhere_are_left_out(dataset, layout, path):
    assert place(path, DATASETS[dataset].in_layout(DATASETS[dataset].layouts[layout])) is None


def test_the_files_that_hold_many_recordings_are_found_at_any_depth():
    gesture = DATASETS["DVSGESTURE"]
    cuts = gesture.in_layout(gesture.layouts[1])
    for name in ("user01_fluorescent_led.aedat", "user01_natural_labels.csv", "trials_to_test.txt"):
        placed = place(f"DvsGesture/{name}", cuts)
        assert placed is not None
        assert placed.path == f"DvsGesture/{name}"
    assert place("DvsGesture/LICENSE.txt", cuts) is None
    assert place(".trash/user01_led.aedat", cuts) is None
