"""DIGITS_DVS: the same bytes everywhere, and a camera that behaves like one."""

import hashlib
from collections import Counter

import numpy as np
import pytest

from difflogic_tonic.config import DATASETS
from difflogic_tonic.events import FrameRecipe, decode_atis, digits, frame_recording

FACTS = DATASETS["DIGITS_DVS"]
SHA256 = "dea0246042028a5b1b10ec2cf96c8fbd5309e6f739baa2259ce46be3abbeed6c"
SHA256_OF_FIRST = "c6302ca88fd7b5c4c15790487e144b837659d5892ad13c752fc7e29d4f046755"


def image(number: int) -> np.ndarray:
    return digits._images()[0][number - 1]


def test_the_first_recording_has_these_bytes():
    assert hashlib.sha256(digits.recording(1)).hexdigest() == SHA256_OF_FIRST


@pytest.mark.integration
def test_all_recordings_have_these_bytes():
    digest, lengths = hashlib.sha256(), []
    for path, content in digits.recordings():
        digest.update(path.encode() + b"\0" + content)
        lengths.append(len(content) // 5)
    assert digest.hexdigest() == SHA256
    assert len(lengths) == 1797
    assert min(lengths) > 2000
    assert max(lengths) < 7000


def test_the_split_has_the_counts_of_the_table_of_datasets():
    counts = Counter(path.rpartition("/")[0] for path in digits.paths())
    for split, official in FACTS.counts.items():
        assert tuple(counts[f"{split.capitalize()}/{name}"] for name in FACTS.classes) == official


def test_a_path_states_class_and_number_of_the_image():
    labels = digits._images()[1].tolist()
    for number, path in zip(digits.numbers(), digits.paths(), strict=True):
        assert path.split("/")[1:] == [str(labels[number - 1]), f"{number:05d}.bin"]


def test_recordings_do_not_depend_on_the_order_in_which_they_are_made():
    later = digits.recording(500)
    digits.recording(2)
    assert digits.recording(500) == later != digits.recording(501)


@pytest.mark.parametrize("number", [1, 2, 1000])
def test_the_kernels_equal_the_plain_versions(number: int):
    assert np.array_equal(digits.log_scene(image(number)), digits.log_scene_plain(image(number)))
    fast, plain = digits.watch(image(number), number), digits.watch_plain(image(number), number)
    assert all(np.array_equal(getattr(fast, name), getattr(plain, name)) for name in "xytp")


def test_noise_alone_is_seen_of_a_blank_image():
    events = digits.watch(np.zeros((8, 8), np.int64), 1)
    assert len(events) == digits.NOISE_EVENTS


def test_recordings_decode_on_the_sensor_in_order_of_time_within_three_saccades():
    events = decode_atis(digits.recording(3), FACTS.sensor, "3")
    assert (np.diff(events.t) >= 0).all()
    assert 0 <= events.t[0] < 5000
    assert 290_000 < events.t[-1] < 301_000
    assert 0.3 < events.p.mean() < 0.7


def test_a_brighter_picture_does_not_change_what_moves_where():
    """ON events lie where brightness grew: the picture first moves to the left, so its left edge turns brighter.

    The sensor samples the scene at growing x, so the picture moves towards smaller x.
    """
    bar = np.zeros((8, 8), np.int64)
    bar[:, 3:5] = 16
    events = digits.watch(bar, 1)
    first = events[events.t < 90_000]
    assert np.median(first.x[first.p == 1]) < 15 < 18 < np.median(first.x[first.p == 0])


def test_on_and_off_events_follow_the_brightness_of_each_pixel():
    """ON events times their threshold minus OFF events times theirs is the change of log brightness of a pixel, but for
    less than a threshold. The path is closed, so over a whole recording there is no change. Noise is taken out."""
    events, noise = digits.watch(image(7), 7), digits.watch(np.zeros((8, 8), np.int64), 7)
    counts = np.zeros((2, 34, 34), int)
    np.add.at(counts, (events.p, events.y, events.x), 1)
    np.subtract.at(counts, (noise.p, noise.y, noise.x), 1)
    off, on = counts * digits.thresholds()
    assert counts.sum() > 3000
    assert (np.abs(on - off) < digits.thresholds().max(axis=0)).all()


def test_interpolation_is_exact_at_image_pixels_and_between_them():
    weights = digits.interpolation_weights()
    inside = weights[weights.sum(1) == 2 * digits.PIXEL]
    assert (inside >= 0).all()
    assert len(inside) == 7 * digits.PIXEL  # between the middles of the first and the last image pixel
    assert weights.max() <= 2 * digits.PIXEL


@pytest.mark.integration
def test_digits_can_be_told_apart_by_their_frames():
    """A nearest-mean classifier on whole recordings, the weakest there is: far above chance, on recordings unseen."""
    recipe = FrameRecipe(FACTS.sensor, 100_000)
    train: dict[int, list[np.ndarray]] = {label: [] for label in range(10)}
    test = []
    for path, content in digits.recordings():
        split, label, _ = path.split("/")
        frame = frame_recording(content, recipe, path).frames[0].astype(float)
        if split == "Train":
            train[int(label)].append(frame)
        else:
            test.append((int(label), frame))
    means = np.stack([np.mean(train[label], axis=0) for label in range(10)])
    right = [int(((means - frame) ** 2).sum(1).argmin()) == label for label, frame in test]
    assert np.mean(right) > 0.8
