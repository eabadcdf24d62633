"""Recordings and statistics of a prepared variant as arrays.

Axes: R recordings, T frames of one, P polarities or colours, H rows, W columns.
"""

from dataclasses import dataclass

import numpy as np

from difflogic_tonic.cache.manifest import Manifest
from difflogic_tonic.cache.reader import FrameSplit
from difflogic_tonic.cache.summary import is_images
from difflogic_tonic.events.slicing import overlap_units

READ_BYTES = 256 << 20
"""Statistics of pixels are made from so many bytes of evenly spaced frames, or from all if they are fewer."""

CHUNK_BYTES = 8 << 20
SAMPLE_FRAMES = 200
"""So many frames of a recording are read, evenly spaced: a long one of a large sensor has gigabytes."""


@dataclass(frozen=True)
class Sample:
    """One recording: counts u8[T, P, H, W] (levels, if they are stored as a thermometer), and what it is called.

    `frames` are the numbers of these T frames among the `n_frames` that it has.
    """

    row: int
    split: str
    counts: np.ndarray
    frames: tuple[int, ...]
    n_frames: int
    class_name: str
    source: str
    n_events: int


@dataclass(frozen=True)
class Statistics:
    """One split. Of all R recordings: labels, n_events and n_frames, each i64[R], and how many seconds each lasts,
    f64[R], where that is known (`durations_s`).

    Of `n_read` evenly spaced frames: per_frame i64[n_read], the sum of the counts of each; mean f64[P, H, W], the mean
    count of each pixel; values i64[256], how many pixels had each count.
    """

    split: str
    labels: np.ndarray
    n_events: np.ndarray
    n_frames: np.ndarray
    seconds: np.ndarray | None
    n_read: int
    per_frame: np.ndarray
    mean: np.ndarray
    values: np.ndarray


def read_sample(manifest: Manifest, reader: FrameSplit, split: str, row: int) -> Sample:
    """Recording `row` of a split, which must have it."""
    first, end = (int(frame) for frame in reader.offsets[row : row + 2])
    frames = evenly_spaced(end - first, SAMPLE_FRAMES)
    stored = np.empty((len(frames), manifest.frame_nbytes), np.uint8)
    reader.read_frames(first + np.array(frames), stored)
    return Sample(
        row=row,
        split=split,
        counts=counts_of(manifest, stored),
        frames=frames,
        n_frames=end - first,
        class_name=manifest.classes[int(reader.labels[row])],
        source=manifest.recordings.paths[int(reader.recording_ids[row])],
        n_events=int(reader.n_events[row]),
    )


def measure(manifest: Manifest, reader: FrameSplit, split: str, read_bytes: int = READ_BYTES) -> Statistics:
    """The statistics of a split with at least one recording."""
    n_read = max(1, min(reader.n_frames, read_bytes // manifest.sensor.values))
    frames = np.arange(n_read) * reader.n_frames // n_read
    per_frame = np.empty(n_read, np.int64)
    total, values = np.zeros(0), np.zeros(256, np.int64)
    chunk = max(1, CHUNK_BYTES // manifest.sensor.values)
    for start in range(0, n_read, chunk):
        part = frames[start : start + chunk]
        stored = np.empty((len(part), manifest.frame_nbytes), np.uint8)
        reader.read_frames(part, stored)
        counts = counts_of(manifest, stored)
        per_frame[start : start + len(part)] = counts.sum(axis=(1, 2, 3), dtype=np.int64)
        values += np.bincount(counts.reshape(-1), minlength=256)
        summed = counts.sum(axis=0, dtype=np.float64)
        total = summed if start == 0 else total + summed
    return Statistics(
        split=split,
        labels=reader.labels,
        n_events=reader.n_events,
        n_frames=np.diff(reader.offsets),
        seconds=durations_s(manifest, reader),
        n_read=n_read,
        per_frame=per_frame,
        mean=total / n_read,
        values=values,
    )


def evenly_spaced(total: int, most: int) -> tuple[int, ...]:
    """Up to `most` numbers below `total`, from 0 on."""
    count = min(total, most)
    return tuple(number * total // count for number in range(count))


def counts_of(manifest: Manifest, stored: np.ndarray) -> np.ndarray:
    """Stored frames u8[T, nbytes] as u8[T, P, H, W].

    Bits are unpacked, lowest first; the planes of a thermometer are summed, so that a value is the level reached.
    """
    channels, height, width = manifest.frame_shape
    if manifest.storage == "u8":
        return stored.reshape(-1, channels, height, width)
    bits = np.unpackbits(stored, axis=1, count=manifest.sensor.values, bitorder="little")
    levels = max(1, len(manifest.parameters.get("levels", ())))
    planes = bits.reshape(-1, channels // levels, levels, height, width)
    return planes.sum(axis=2, dtype=np.uint8)


def durations_s(manifest: Manifest, reader: FrameSplit) -> np.ndarray | None:
    """Seconds that each recording lasts, f64[R]: of stored events exactly, else to within one frame.

    None if neither tells, as frames of equally many events.
    """
    if len(reader.spans_us):
        exactly: np.ndarray = np.diff(reader.spans_us, axis=1)[:, 0] / 1e6
        return exactly
    parameters = manifest.parameters
    window = parameters.get("time_window") or parameters.get("frame_duration")
    if window is None or is_images(manifest):
        return None
    shared = overlap_units(parameters["overlap"], window)
    seconds: np.ndarray = (window + (np.diff(reader.offsets) - 1) * (window - shared)) / 1e6
    return seconds
