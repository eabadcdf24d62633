"""Frames: where an event lands, what saturates, and that the kernel computes what the plain steps compute."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difflogic_tonic.config import SensorSize
from difflogic_tonic.events import (
    FrameRecipe,
    count_frames,
    encode_atis,
    frame_recording,
    frame_recording_plain,
    make_events,
    pack_bits,
    slice_by_count,
)

SENSOR = SensorSize(width=5, height=2, polarities=2)


def recording(*rows: tuple[int, int, int, int]) -> bytes:
    return encode_atis(make_events(*zip(*rows, strict=True)))


@pytest.mark.parametrize("frame", [frame_recording, frame_recording_plain])
def test_one_event_lands_on_its_own_pixel_and_polarity(frame):
    framed = frame(recording((3, 1, 0, 1)), FrameRecipe(SENSOR, 10), "a.bin")
    assert np.argwhere(framed.frames.reshape(-1, 2, 2, 5)).tolist() == [[0, 1, 1, 3]]
    assert framed.frames.sum() == framed.n_events == 1


@pytest.mark.parametrize("frame", [frame_recording, frame_recording_plain])
def test_bits_say_where_there_was_an_event_lowest_bit_first(frame):
    data = recording((0, 0, 0, 0), (3, 0, 1, 0), (3, 0, 2, 0), (4, 1, 3, 1))
    framed = frame(data, FrameRecipe(SENSOR, 4, storage="bits"), "a.bin")
    assert framed.frames.tolist() == [[0b1001, 0, 0b1000]]  # values 0 and 3, and the last of 20: 19 = 2 * 8 + 3
    assert framed.n_saturated == 0


@pytest.mark.parametrize("frame", [frame_recording, frame_recording_plain])
def test_counts_stop_at_255_and_the_pixels_concerned_are_counted(frame):
    rows = [(0, 0, 0, 0)] * 255 + [(1, 0, 0, 0)] * 256 + [(2, 0, 0, 0)] * 600
    framed = frame(recording(*rows), FrameRecipe(SENSOR, 2000), "a.bin")
    assert framed.frames[0, :3].tolist() == [255, 255, 255]
    assert framed.n_saturated == 2  # 255 events are a count of 255


def test_overlapping_frames_share_their_events():
    rows = [(x, 0, x, 0) for x in range(5)]
    framed = frame_recording(recording(*rows), FrameRecipe(SENSOR, 3, overlap=2), "a.bin")
    assert framed.frames[:, :5].tolist() == [[1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1]]


def test_a_sensor_of_one_channel_counts_both_polarities_in_it():
    recipe = FrameRecipe(SensorSize(width=5, height=2, polarities=1), 4)
    data = recording((3, 1, 0, 1), (3, 1, 1, 0))
    for frame in (frame_recording, frame_recording_plain):
        assert frame(data, recipe, "a.bin").frames.reshape(2, 5).tolist() == [[0] * 5, [0, 0, 0, 2, 0]]


@pytest.mark.parametrize("frame", [frame_recording, frame_recording_plain])
def test_a_recording_with_nothing_left_gives_no_frames(frame):
    framed = frame(recording((0, 0, 5000, 0)), FrameRecipe(SENSOR, 4, denoise_us=10), "a.bin")
    assert framed.frames.shape == (0, 20)
    assert framed[1:3] == (0, 0)


def test_denoising_comes_before_slicing():
    rows = [(4, 1, 9000, 0), (0, 0, 9001, 0), (1, 0, 9002, 0), (0, 0, 9003, 0)]  # the first two have no support
    framed = frame_recording(recording(*rows), FrameRecipe(SENSOR, 2, denoise_us=100), "a.bin")
    assert framed.n_events == 2
    assert framed.frames[:, :2].tolist() == [[1, 1]]


def test_packing_fills_the_last_byte_with_zeros():
    frames = np.array([[[[1, 0, 7, 0, 0, 0, 0, 0, 255]]]], np.uint8)
    assert pack_bits(frames).tolist() == [[0b101, 1]]


def test_counting_leaves_its_arguments_alone():
    events = make_events([3], [1], [0], [1])
    frames, _ = count_frames(events, slice_by_count(1, 1), SENSOR)
    assert (frames.shape, frames.dtype) == ((1, 2, 2, 5), np.uint8)
    assert events.p.tolist() == [1]


@st.composite
def recordings(draw: st.DrawFn) -> tuple[bytes, SensorSize]:
    """Raw records, overflow records and times out of order included, on a sensor of any shape."""
    sensor = SensorSize(draw(st.integers(1, 9)), draw(st.integers(1, 7)), draw(st.sampled_from([1, 2])))
    record = st.tuples(
        st.integers(0, sensor.width - 1),
        st.one_of(st.integers(0, sensor.height - 1), st.integers(0, sensor.height - 1), st.just(240)),
        st.sampled_from([0, 0, 128, 128, 1, 255]),  # mostly times close together, so that the limits are met
        st.sampled_from([0, 0, 0, 1, 255]),
        st.integers(0, 9),
    )
    rows = draw(st.lists(record, min_size=1, max_size=60))
    return b"".join(map(bytes, rows)), sensor


@settings(max_examples=300, deadline=None)
@given(recordings(), st.data())
def test_the_kernel_equals_the_plain_steps(given_: tuple[bytes, SensorSize], data: st.DataObject):
    content, sensor = given_
    slice_by, size = data.draw(
        st.one_of(
            st.tuples(st.just("events"), st.integers(1, 20)),
            st.tuples(st.sampled_from(["time_bins", "event_bins", "number", "number_by_time"]), st.integers(1, 20)),
            st.tuples(st.sampled_from(["time", "duration"]), st.integers(5_000, 9_000_000)),
        )
    )
    recipe = FrameRecipe(
        sensor,
        size,
        overlap=data.draw(st.integers(0, size - 1)) if slice_by in ("events", "time") and size <= 20 else 0,
        slice_by=slice_by,
        include_incomplete=data.draw(st.booleans()),
        denoise_us=data.draw(st.sampled_from([0, 1, 3, 6, 300, 10_000_000])),
        denoise_warmup=data.draw(st.sampled_from(["keep", "drop"])),
        storage=data.draw(st.sampled_from(["u8", "bits"])),
    )
    fast, plain = (frame(content, recipe, "a.bin") for frame in (frame_recording, frame_recording_plain))
    assert fast.frames.shape == plain.frames.shape
    assert np.array_equal(fast.frames, plain.frames)
    assert fast[1:] == plain[1:]


def test_saturation_in_overlapping_frames_is_counted_in_each():
    content = recording(*[(0, 0, 0, 0)] * 700)
    recipe = FrameRecipe(SENSOR, 300, overlap=100)
    fast, plain = frame_recording(content, recipe, "a.bin"), frame_recording_plain(content, recipe, "a.bin")
    assert fast.n_saturated == plain.n_saturated == 3


def test_threads_do_not_disturb_each_other():
    rng = np.random.default_rng(0)
    contents = [
        encode_atis(make_events(rng.integers(0, 5, n), rng.integers(0, 2, n), np.arange(n) * 50, rng.integers(0, 2, n)))
        for n in rng.integers(1, 4000, 40).tolist()
    ]
    recipe = FrameRecipe(SENSOR, 100, overlap=30, denoise_us=200)
    alone = [frame_recording(content, recipe, "a.bin").frames for content in contents]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda content: frame_recording(content, recipe, "a.bin").frames, contents))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))
