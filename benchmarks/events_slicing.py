"""Sections `slicing`, `denoise` and `fused` of `events.py`: from events in memory, or from a `.bin` file, to frames.

Recordings are synthetic, three moving edges and a tenth of noise, as large as those of three datasets. Every way to
slice is compared with each peer that has one that makes the same frames, here 16 or 20 of them; where single events
fall elsewhere at the border of a frame, or are dropped by one, the table says how many. Each library gets the columns
of events in the types that it asks for: their conversion is not measured.
"""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from difflogic_tonic.config import SensorSize
from difflogic_tonic.events import Events, FrameRecipe, encode_atis, frame_events, frame_recording, make_events
from difflogic_tonic.events.framing import filter_events
from events import Case, Settings
from events_decode import spikingjelly
from events_files import structured

SLICING_FLOOR = 2.5
DENOISE_FLOOR = 100.0
DENOISE_US = 10_000
FRAMES = 16


class Stream(NamedTuple):
    name: str
    events: Events
    sensor: SensorSize

    @property
    def window(self) -> int:
        """µs of a frame if there are FRAMES of them."""
        return int(self.events.t[-1] - self.events.t[0]) // FRAMES


def streams(settings: Settings) -> Iterator[Stream]:
    """Like N-MNIST, CIFAR10-DVS and DVS Gesture, the second with as many events as the command line says."""
    yield stream("N-MNIST", 4000, 34, 300_000)
    yield stream("CIFAR10-DVS", settings.events, 128, 1_300_000)
    yield stream("DVS Gesture", 2 * settings.events, 128, 6_000_000)


def slicing_cases(settings: Settings) -> Iterator[Case]:
    for each in streams(settings):
        for name, (recipe, peers) in ways(each).items():
            yield case(
                f"{each.name}, {name}", each, lambda e=each, r=recipe: frame_events(e.events, r, ""), recipe, peers
            )


def denoise_cases(settings: Settings) -> Iterator[Case]:
    for each in list(streams(settings))[:2]:
        recipe = FrameRecipe(each.sensor, len(each.events) // 20, denoise_us=DENOISE_US)
        n, array = len(each.events), structured(each.events)
        kept = len(filter_events(each.events, recipe))

        def ours(each: Stream = each, recipe: FrameRecipe = recipe, n: int = n, kept: int = kept) -> int:
            return n - abs(len(filter_events(each.events, recipe)) - kept)

        def tonics(array: Any = array, n: int = n, kept: int = kept) -> int:
            return n - abs(len(tonic_transforms().Denoise(filter_time=DENOISE_US)(array)) - kept)

        yield Case(f"{each.name}, denoise 10 ms", n, ours, {"tonic": tonics}, DENOISE_FLOOR)
        peers = {
            "tonic": lambda a=array, e=each, r=recipe: tonic_frames(a, e.sensor, r.denoise_us, event_count=r.slice_size)
        }
        name = f"{each.name}, denoise 10 ms and frames"
        yield case(name, each, lambda e=each, r=recipe: frame_events(e.events, r, ""), recipe, peers, DENOISE_FLOOR)


def fused_cases(settings: Settings) -> Iterator[Case]:
    for each in list(streams(settings))[:2]:
        path = settings.folder / f"{each.name}.bin"
        path.write_bytes(encode_atis(each.events))
        for name, denoise_us, floor in (
            ("file to frames", 0, SLICING_FLOOR),
            ("file, denoise, frames", DENOISE_US, DENOISE_FLOOR),
        ):
            for way, slice_by, size in (
                ("events", "events", len(each.events) // 20),
                ("time bins", "time_bins", FRAMES),
            ):
                recipe = FrameRecipe(each.sensor, size, slice_by=slice_by, denoise_us=denoise_us)  # type: ignore[arg-type]
                peers = file_peers(path, each, recipe)
                read = lambda p=path, r=recipe: frame_recording(p.read_bytes(), r, "")  # noqa: E731
                yield case(f"{each.name}, {name}, {way}", each, read, recipe, peers, floor)


def ways(each: Stream) -> dict[str, tuple[FrameRecipe, dict[str, Callable[[], Any]]]]:
    """Every way to slice, and the peers that make the same frames."""
    n, window, array = len(each.events), each.window, structured(each.events)
    height, width = each.sensor.height, each.sensor.width
    columns = {name: getattr(each.events, name) for name in "txyp"}
    wide = [np.ascontiguousarray(columns[name].astype(np.int64)) for name in "txyp"]

    def recipe(slice_by: Any, size: int) -> FrameRecipe:
        return FrameRecipe(each.sensor, size, slice_by=slice_by)

    def jelly(split_by: str, frames: int) -> Callable[[], Any]:
        return lambda: spikingjelly("utils").integrate_events_by_fixed_frames_number(
            columns, split_by, frames, height, width
        )

    def tonics(**way: int) -> Callable[[], Any]:
        return lambda: tonic_frames(array, each.sensor, 0, **way)

    duration = {
        "SpikingJelly": lambda: spikingjelly("utils").integrate_events_by_fixed_duration(columns, window, height, width)
    }
    histogram = {"evlib": lambda: evlib_frames(wide, each.sensor, window)}
    by_number = {"SpikingJelly": jelly("number", FRAMES), "tonic": tonics(n_event_bins=FRAMES)}
    by_time = {"SpikingJelly": jelly("time", FRAMES), "tonic": tonics(n_time_bins=FRAMES), **histogram}
    return {
        "events_per_frame": (
            recipe("events", n // 20), {"SpikingJelly": jelly("number", 20), "tonic": tonics(event_count=n // 20)},
        ),
        "time_window": (recipe("time", window), {**duration, "tonic": tonics(time_window=window), **histogram}),
        "time_bins": (recipe("time_bins", FRAMES), by_time),
        "event_bins": (recipe("event_bins", FRAMES), by_number),
        "frames_by_number": (recipe("number", FRAMES), by_number),
        "frames_by_time": (recipe("number_by_time", FRAMES), by_time),
        "frame_duration": (recipe("duration", window), {**duration, "tonic": tonics(time_window=window), **histogram}),
    }  # fmt: skip


def case(
    name: str, each: Stream, ours: Callable[[], Any], recipe: FrameRecipe, peers: dict[str, Callable[[], Any]],
    floor: float = SLICING_FLOOR,
) -> Case:  # fmt: skip
    """A case whose variants say how many events lie where ours has them."""
    n = len(each.events)
    expected = ours().frames.reshape(-1, *recipe.frame_shape).astype(np.int64)

    def compared(make: Callable[[], Any]) -> Callable[[], int]:
        agreeing: list[int] = []

        def variant() -> int:
            frames = make()
            if not agreeing:
                frames = np.asarray(frames.frames if hasattr(frames, "frames") else frames)
                count = min(len(frames), len(expected))
                first = frames.reshape(-1, *recipe.frame_shape)[:count].astype(np.int64)
                agreeing.append(n - int(np.abs(first - expected[:count]).sum()))
            return agreeing[0]

        return variant

    return Case(name, n, compared(ours), {peer: compared(make) for peer, make in peers.items()}, floor)


def file_peers(path: Path, each: Stream, recipe: FrameRecipe) -> dict[str, Callable[[], Any]]:
    """The peers that read the file and make the frames of the recipe."""
    way = {"events": "event_count", "time_bins": "n_time_bins"}[recipe.slice_by]

    def tonics() -> Any:
        import tonic.io

        events = tonic.io.read_mnist_file(str(path), np.dtype([("x", int), ("y", int), ("t", int), ("p", int)]))
        return tonic_frames(events, each.sensor, recipe.denoise_us, **{way: recipe.slice_size})

    def jelly() -> Any:
        utils, height, width = spikingjelly("utils"), each.sensor.height, each.sensor.width
        split_by, frames = ("time", FRAMES) if way == "n_time_bins" else ("number", 20)
        return utils.integrate_events_by_fixed_frames_number(utils.load_ATIS_bin(path), split_by, frames, height, width)

    return {"tonic": tonics} if recipe.denoise_us else {"tonic": tonics, "SpikingJelly": jelly}


def stream(name: str, n: int, side: int, duration_us: int) -> Stream:
    rng = np.random.default_rng(0)
    t = np.sort(rng.integers(0, duration_us, n))
    turn = 2 * np.pi * (t / duration_us + rng.integers(0, 3, n) / 3)
    angle = rng.uniform(0, 2 * np.pi, n)
    x = np.clip(side * (0.5 + 0.28 * np.sin(turn) + 0.18 * np.cos(angle)), 0, side - 1)
    y = np.clip(side * (0.5 + 0.28 * np.cos(turn) + 0.18 * np.sin(angle)), 0, side - 1)
    noise = rng.random(n) < 0.1
    x, y = (np.where(noise, rng.integers(0, side, n), column).astype(np.int64) for column in (x, y))
    p = np.where(noise, rng.integers(0, 2, n), np.cos(angle - turn) > 0).astype(np.int64)
    return Stream(name, make_events(x, y, t, p), SensorSize(side, side, 2))


def tonic_transforms() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tonic.transforms
    return tonic.transforms


def tonic_frames(events: Any, sensor: SensorSize, denoise_us: int, **way: int) -> Any:
    transforms = tonic_transforms()
    if denoise_us:
        events = transforms.Denoise(filter_time=denoise_us)(events)
    return transforms.ToFrame(sensor_size=tuple(sensor), **way)(events)


def evlib_frames(columns: list[Any], sensor: SensorSize, window: int) -> Any:
    """evlib's Rust histogram, one bin for each of FRAMES windows, which it wants by their ends."""
    import evlib

    t, x, y, p = columns
    ends = t[0] + (np.arange(FRAMES) + 1) * window
    rows, across = np.arange(sensor.height, dtype=np.int64), np.arange(sensor.width, dtype=np.int64)
    return evlib.representations_rs.stacked_histogram_dense(
        t, x, y, p, ends, window, 1, 255, rows, across, sensor.height, sensor.width
    )
