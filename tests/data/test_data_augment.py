"""Augmentation of small frames by hand, and of a prepared dataset in batches of every kind."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from difflogic_tonic.config.augment import Augment
from difflogic_tonic.data.augment import ONE, Augmenter, Mixes, Moves
from difflogic_tonic.data.draws import keys, words_on_device

FRAME = np.array([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]], np.uint8)


def moves(n: int = 1, length: int = 1, **changed: int) -> Moves:
    """`n` samples of `length` frames to which nothing happens, but for `changed`."""
    zeros = np.zeros(n, np.int64)
    still = Moves(
        zeros.astype(bool), zeros, zeros, zeros + ONE, zeros, zeros, zeros + length, np.arange(n, dtype=np.uint64)
    )
    return replace(still, **{name: np.full_like(getattr(still, name), value) for name, value in changed.items()})


def moved(frame: np.ndarray, **changed: int) -> list[list[int]]:
    out = np.full((1, 1, 1, *frame.shape), 99, np.uint8)
    Augmenter(Augment(), 0, 1).move(frame.reshape(out.shape), moves(**changed), out)
    return out[0, 0, 0].tolist()


def test_a_flip_mirrors_rows():
    assert moved(FRAME, flip=True) == [[4, 3, 2, 1], [8, 7, 6, 5], [12, 11, 10, 9]]


def test_a_shift_moves_right_and_down_and_fills_with_zeros():
    assert moved(FRAME, right=1, down=2) == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 2, 3]]
    assert moved(FRAME, right=-3, down=-1) == [[8, 0, 0, 0], [12, 0, 0, 0], [0, 0, 0, 0]]


def test_a_shift_beyond_the_frame_leaves_nothing():
    assert moved(FRAME, right=5) == moved(FRAME, right=-4) == moved(FRAME, down=3) == [[0] * 4] * 3


def test_a_flip_comes_before_a_shift():
    assert moved(FRAME, flip=True, right=1) == [[0, 4, 3, 2], [0, 8, 7, 6], [0, 12, 11, 10]]
    assert moved(FRAME, flip=True, right=-1) == [[3, 2, 1, 0], [7, 6, 5, 0], [11, 10, 9, 0]]


def test_a_half_turn_reverses_both_axes():
    assert moved(FRAME, cosine=-ONE) == FRAME[::-1, ::-1].tolist()


def test_a_quarter_turn_of_a_square_is_exact():
    square = np.arange(9, dtype=np.uint8).reshape(3, 3)
    assert moved(square, cosine=0, sine=ONE) == np.rot90(square, -1).tolist()
    even = np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert moved(even, cosine=0, sine=-ONE) == np.rot90(even).tolist()


def test_nothing_drawn_changes_nothing():
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 256, (3, 2, 2, 5, 7), dtype=np.uint8)
    out = np.empty_like(frames)
    augmenter = Augmenter(Augment(), 5, 255)
    augmenter.move(frames, augmenter.moves(2, np.arange(3), np.full(3, 2)), out)
    assert (out == frames).all()


def test_frames_left_out_at_the_beginning_leave_zeros_at_the_end():
    frames = np.arange(1, 7, dtype=np.uint8).reshape(1, 3, 1, 1, 2)
    out = np.full_like(frames, 99)
    Augmenter(Augment(), 0, 1).move(frames, moves(skip=1, kept=2), out)
    assert out[0].reshape(3, 2).tolist() == [[3, 4], [5, 6], [0, 0]]


def test_all_frames_and_planes_of_a_recording_move_alike():
    frames = np.broadcast_to(FRAME, (2, 3, 2, *FRAME.shape)).copy()
    augmenter = Augmenter(Augment(flip=True, shift=2, rotate=40.0), 1, 1)
    out = np.empty_like(frames)
    augmenter.move(frames, augmenter.moves(0, np.array([4, 9]), np.array([3, 3])), out)
    assert (out == out[:, :1, :1]).all()
    assert (out[0] != out[1]).any()


@pytest.mark.parametrize(("share", "zeros"), [(0.0, 0), (0.25, 0.25), (1.0, 1)])
def test_drop_empties_its_share_of_the_pixels(share, zeros):
    out = disturbed(np.full((4, 2, 2, 25, 21), 7, np.uint8), Augment(drop=share))
    assert set(np.unique(out)) <= {0, 7}
    assert (out == 0).mean() == pytest.approx(zeros, abs=0.02)


@pytest.mark.parametrize("highest", [1, 255])
def test_noise_sets_half_of_its_pixels_to_each_end(highest):
    out = disturbed(np.full((4, 2, 2, 25, 21), 7, np.uint8), Augment(noise=0.4), highest)
    assert [(out == value).mean() for value in (0, 7, highest)] == pytest.approx([0.2, 0.6, 0.2], abs=0.02)


def test_each_frame_and_sample_has_noise_of_its_own():
    out = disturbed(np.full((2, 2, 1, 30, 30), 7, np.uint8), Augment(drop=0.5))
    different = [(one != other).mean() for one, other in ((out[0, 0], out[0, 1]), (out[0, 0], out[1, 0]))]
    assert different == pytest.approx([0.5, 0.5], abs=0.06)


def test_noise_leaves_the_padding_empty():
    frames = np.ones((1, 3, 1, 4, 4), np.uint8)
    augmenter = Augmenter(Augment(noise=1.0), 1, 1)
    out = np.empty_like(frames)
    augmenter.move(frames, moves(kept=2), out)
    assert out[0, :2].any()
    assert not out[0, 2].any()


def disturbed(frames: np.ndarray, config: Augment, highest: int = 1) -> np.ndarray:
    augmenter = Augmenter(config, 3, highest)
    out = np.empty_like(frames)
    augmenter.move(frames, augmenter.moves(1, np.arange(len(frames)), np.full(len(frames), frames.shape[1])), out)
    return out


def mixes(boxed: bool, weight: int, box: tuple[int, int, int, int] = (0, 0, 0, 0)) -> Mixes:
    """Of a batch of two, the second is mixed."""
    one = np.array([1])
    return Mixes(one, one, np.array([boxed]), np.array([weight]), np.array([box]), np.array([5], np.uint64))


def test_cutmix_pastes_a_rectangle():
    frames, others = np.zeros((2, 1, 1, 3, 4), np.uint8), FRAME.reshape(1, 1, 1, 3, 4)
    Augmenter(Augment(), 0, 1).mix(frames, np.array([1, 1]), others, mixes(True, ONE // 2, (1, 1, 3, 3)))
    assert frames[1, 0, 0].tolist() == [[0, 0, 0, 0], [0, 6, 7, 0], [0, 10, 11, 0]]
    assert not frames[0].any()


def test_mixup_is_the_weighted_mean_rounded_by_chance():
    frames, others = np.full((2, 1, 2, 50, 40), 2, np.uint8), np.full((1, 1, 2, 50, 40), 3, np.uint8)
    Augmenter(Augment(), 0, 1).mix(frames, np.array([1, 1]), others, mixes(False, 3 * ONE // 4))
    assert set(np.unique(frames[1])) == {2, 3}
    assert frames[1].mean() == pytest.approx(2.25, abs=0.02)
    assert (frames[0] == 2).all()


def test_mixup_of_equal_frames_changes_nothing():
    frames = np.stack([FRAME, FRAME]).reshape(2, 1, 1, 3, 4)
    Augmenter(Augment(), 0, 1).mix(frames, np.array([1, 1]), frames[:1].copy(), mixes(False, 5 * ONE // 8))
    assert (frames == FRAME).all()


def test_the_own_sample_keeps_at_least_half_and_a_rectangle_covers_the_rest():
    drawn = Augmenter(Augment(mixup=0.25, cutmix=0.5), 8, 1).mixes(3, np.arange(4000), 4000, 34, 30)
    assert len(drawn.into) / 4000 == pytest.approx(0.75, abs=0.03)
    assert drawn.boxed.mean() == pytest.approx(2 / 3, abs=0.03)
    assert ((drawn.weights >= ONE // 2) & (drawn.weights <= ONE)).all()
    assert (drawn.weights / ONE).mean() == pytest.approx(0.75, abs=0.02)
    top, left, bottom, right = drawn.boxes.T
    assert ((top >= 0) & (left >= 0) & (bottom <= 34) & (right <= 30)).all()
    uncovered = 1 - (bottom - top) * (right - left) / (34 * 30)
    assert drawn.weights[drawn.boxed] / ONE == pytest.approx(uncovered[drawn.boxed], abs=2e-5)
    assert drawn.partners.min() >= 0
    assert drawn.partners.max() < 4000


def test_draws_cover_their_ranges_evenly():
    drawn = Augmenter(Augment(flip=True, shift=2, rotate=90.0, time_jitter=3), 8, 1).moves(
        5, np.arange(6000), np.full(6000, 3)
    )
    for values, wanted in ((drawn.right, range(-2, 3)), (drawn.down, range(-2, 3))):
        assert {int(v) for v in values} == set(wanted)
        assert np.bincount(values + 2) / 6000 == pytest.approx(0.2, abs=0.03)
    assert drawn.flip.mean() == pytest.approx(0.5, abs=0.03)
    assert (drawn.cosine >= 0).all()
    assert abs(drawn.sine).max() > 0.99 * ONE
    assert sorted(set(zip(drawn.skip.tolist(), drawn.kept.tolist(), strict=True))) == [
        (0, 1), (0, 2), (0, 3), (1, 2), (2, 1)
    ]  # fmt: skip
    assert abs(np.corrcoef(drawn.right, drawn.down)[0, 1]) < 0.05


def test_a_draw_is_this_one_for_ever():
    """A resumed run must draw what the run that it goes on with would have drawn."""
    assert keys(np.array([0, 1]), 42, 3, 1).tolist() == [int(word) for word in slow_keys((0, 1), 42, 3, 1)]
    drawn = Augmenter(Augment(shift=3, flip=True), 42, 1).moves(0, np.arange(6), np.ones(6, np.int64))
    assert (drawn.right.tolist(), drawn.down.tolist(), drawn.flip.tolist()) == (
        [0, -1, 1, 2, 3, -2],
        [-1, -3, 2, -1, -2, 1],
        [1, 0, 0, 0, 1, 1],
    )


def slow_keys(samples: tuple[int, ...], *parts: int) -> list[int]:
    """SplitMix64 of one word after the other, in plain integers."""
    found = []
    for sample in samples:
        key = 0
        for word in (*parts, sample):
            key = ((key ^ word) + 0x9E3779B97F4A7C15) % 2**64
            key = (key ^ key >> 30) * 0xBF58476D1CE4E5B9 % 2**64
            key = (key ^ key >> 27) * 0x94D049BB133111EB % 2**64
            key ^= key >> 31
        found.append(key)
    return found


def test_splitmix_gives_the_published_numbers():
    """The first three outputs for seed 1234567 of the reference implementation."""
    found = words_on_device(torch.tensor([1234567]), 3)[0].numpy().view(np.uint64)
    assert found.tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]
