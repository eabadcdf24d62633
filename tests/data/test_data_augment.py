"""Augmentation of small frames by hand, and of a prepared dataset in batches of every kind."""

from dataclasses import replace

import numpy as np
import pytest

from difflogic_tonic.config.augment import Augment
from difflogic_tonic.data.augment import ONE, Augmenter, Mixes, Moves

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
