"""Batches of 64 recordings in random order from the cache: CPU µs per recording, ours against tonic and memcpy.

    python benchmarks/load.py [--data FOLDER_OR_ARCHIVE] [--recordings 2000] [--events-per-frame 1500 --overlap 1000]

All contenders read the same recordings in the same order, round by round in turn; the median over rounds is printed.
Without --data the recordings are random events in the sizes of N-MNIST. The peer is tonic's DiskCachedDataset with
PadTensors (its defaults, one lzf file a recording); the floor is a copy of the same bytes from memory to the batch.
`events` is a variant of unsliced events, whose frames are made when they are read: the same ones, or six time bins, for
which the times are read as well. Before each cold run the system is asked to forget the files; the wall time tells.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from difflogic_tonic.cache import CacheReader, FrameSplit, load_manifest, prepare_source
from difflogic_tonic.cache.sources import Recording, open_source
from difflogic_tonic.config import PrepareConfig, StoragePaths
from difflogic_tonic.config.augment import Augment
from difflogic_tonic.config.slicing import Slice
from difflogic_tonic.data import Batches
from difflogic_tonic.data.augment import Augmenter
from difflogic_tonic.events import encode_atis, make_events
from difflogic_tonic.storage import open_storage

BATCH = 64
SEED = 1


@dataclass
class RandomSource:
    """N-MNIST's sizes: about 4,000 events in 300 ms, as many recordings as asked for."""

    n_recordings: int
    subset: str | None = "random events"
    describe: str = "random events"
    format: str = "atis"
    classes: tuple[str, ...] = tuple("0123456789")

    def __post_init__(self) -> None:
        self.files: dict[str, bytes] = {}
        rng = np.random.default_rng(SEED)
        for number in range(self.n_recordings):
            n = int(rng.integers(2000, 6000))
            x, y, p = rng.integers(0, 34, n), rng.integers(0, 34, n), rng.integers(0, 2, n)
            events = make_events(x, y, np.sort(rng.integers(0, 300_000, n)), p)
            self.files[f"Train/{number % 10}/{number:05d}.bin"] = encode_atis(events)
        self.recordings = tuple(
            Recording(path, len(data), int(path[6]), "train") for path, data in sorted(self.files.items())
        )

    def read(self, recording: Recording) -> bytes:
        return self.files[recording.path]


def main() -> None:
    arguments = parse()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        paths = {kind: prepared_path(arguments, Path(folder), kind) for kind in ("u8", "bits", "events")}
        readers = {kind: CacheReader(path, slicing_of(arguments, kind)).split("train") for kind, path in paths.items()}
        readers["bins"] = CacheReader(paths["events"], Slice(time_bins=6)).split("train")
        for kind, path in paths.items():
            print(f"{kind:7s} {load_manifest(path).n_bytes / readers[kind].n_recordings / 1000:6.1f} kB a recording")
        rows = np.random.default_rng(SEED).permutation(readers["u8"].n_recordings)[: arguments.recordings]
        lengths = np.diff(readers["u8"].offsets)[rows]
        print(f"{len(rows):,} recordings, {lengths.mean():.1f} frames of 2 x 34 x 34 each (1 to {lengths.max()})")
        contenders: dict[str, Callable[[], object]] = {
            "memcpy of the u8 batch": lambda: list(copied(readers["u8"], rows)),
            "read_recordings, u8": lambda: list(read(readers["u8"], rows)),
            "memcpy of the packed batch": lambda: list(copied(readers["bits"], rows)),
            "read_recordings, bits": lambda: list(read(readers["bits"], rows)),
            "read_recordings, events": lambda: list(read(readers["events"], rows)),
            "read_recordings, events in 6 time bins": lambda: list(read(readers["bins"], rows)),
            **{
                f"cold: read_recordings, {kind}": cold(paths[kind], readers[kind], rows)
                for kind in ("u8", "bits", "events")
            },
            "Batches (sequence), u8": loader(readers["u8"], len(rows)),
            "Batches (sequence), bits": loader(readers["bits"], len(rows)),
            "Batches (sequence), events": loader(readers["events"], len(rows)),
            "the same, u8, 2 readers": loader(readers["u8"], len(rows), workers=2),
            "the same, events, 2 readers": loader(readers["events"], len(rows), workers=2),
            "one reader, u8, flipped and shifted": loader(readers["u8"], len(rows), Augment(flip=True, shift=2)),
            "the same, bits, flipped and shifted": loader(readers["bits"], len(rows), Augment(flip=True, shift=2)),
        }
        if arguments.tonic:
            contenders["tonic DiskCachedDataset + PadTensors"] = tonic_loader(readers["u8"], rows, Path(folder))
        report(measure(contenders, len(rows), arguments.rounds))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="N-MNIST recordings as for data.data_root")
    parser.add_argument("--folder", type=Path, help="where the caches go; default: the system's temporary folder")
    parser.add_argument("--recordings", type=int, default=2000)
    parser.add_argument("--events-per-frame", type=int, default=1500)
    parser.add_argument("--overlap", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-tonic", dest="tonic", action="store_false", help="leave the peer out")
    return parser.parse_args()


def slicing_of(arguments: argparse.Namespace, kind: str) -> Slice | None:
    """The slicing of all kinds, which of events is done by the reader."""
    sliced = Slice(events_per_frame=arguments.events_per_frame, overlap=arguments.overlap)
    return sliced if kind == "events" else None


def prepared_path(arguments: argparse.Namespace, folder: Path, kind: str) -> Path:
    keys = {"events_per_frame": arguments.events_per_frame, "overlap": arguments.overlap, "val_fraction": 0.0}
    config = PrepareConfig.model_validate({"data": {"name": "NMNIST", "frames": kind, "allow_subset": True} | keys})
    storage = open_storage(StoragePaths(scratch=folder / "storage", project=folder / "storage"))
    if arguments.data:
        source = open_source(config.facts, arguments.data, storage, True, progress=False)
    else:
        source = RandomSource(arguments.recordings)
    return prepare_source(config, storage, source, progress=False).path


def batches_of(reader: FrameSplit, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of each batch with an empty batch [64, longest, nbytes] for them."""
    for first in range(0, len(rows), BATCH):
        batch = rows[first : first + BATCH]
        longest = int((reader.offsets[batch + 1] - reader.offsets[batch]).max())
        yield batch, np.empty((len(batch), longest, reader.frame_nbytes), np.uint8)


def read(reader: FrameSplit, rows: np.ndarray) -> Iterator[int]:
    for batch, out in batches_of(reader, rows):
        reader.read_recordings(batch, out)
        yield out.shape[1]


_memory: dict[str, np.ndarray] = {}


def copied(reader: FrameSplit, rows: np.ndarray) -> Iterator[int]:
    """The same batches from frames in memory: no system call, no file."""
    if reader.storage not in _memory:
        _memory[reader.storage] = np.empty((reader.n_frames, reader.frame_nbytes), np.uint8)
        reader.read_frames(np.arange(reader.n_frames), _memory[reader.storage])
    frames = _memory[reader.storage]
    for batch, out in batches_of(reader, rows):
        for place, row in enumerate(batch.tolist()):
            first, last = int(reader.offsets[row]), int(reader.offsets[row + 1])
            out[place, : last - first] = frames[first:last]
            out[place, last - first :] = 0
        yield out.shape[1]


def cold(path: Path, reader: FrameSplit, rows: np.ndarray) -> Callable[[], object]:
    """Reading after the system was asked to forget the shards."""

    def forget_and_read() -> object:
        for shard in path.glob("*.h5"):
            with open(shard, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return list(read(reader, rows))

    return forget_and_read


def loader(
    reader: FrameSplit, n_recordings: int, augment: Augment | None = None, workers: int = 0
) -> Callable[[], object]:
    augmenter = augment and Augmenter(augment, SEED, highest=1)
    batches = Batches(reader, "sequence", BATCH, SEED, True, workers=workers, subset=n_recordings, augmenter=augmenter)
    return lambda: sum(1 for _ in batches.iterate(0))


def tonic_loader(reader: FrameSplit, rows: np.ndarray, folder: Path) -> Callable[[], object]:
    """tonic's cache of the same frames, filled once, then read as its documentation shows."""
    import torch
    from tonic import DiskCachedDataset
    from tonic.collation import PadTensors

    torch.set_num_threads(1)  # CPU time of idle threads that spin would be charged to the peer

    class Frames(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(rows)

        def __getitem__(self, place: int) -> tuple[np.ndarray, int]:
            row = int(rows[place])
            first, last = int(reader.offsets[row]), int(reader.offsets[row + 1])
            out = np.empty((last - first, reader.frame_nbytes), np.uint8)
            reader.read_frames(np.arange(first, last), out)
            return out.reshape(-1, *reader.frame_shape).astype(np.int16), int(reader.labels[row])

    dataset = DiskCachedDataset(Frames(), cache_path=str(folder / "tonic"))
    for place in range(len(rows)):
        dataset[place]
    order = list(range(len(rows)))
    batches = torch.utils.data.DataLoader(dataset, BATCH, sampler=order, collate_fn=PadTensors())
    return lambda: sum(1 for _ in batches)


def measure(contenders: dict[str, Callable[[], object]], n: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Name → CPU and wall µs per recording, medians over rounds in which each runs once; one round warms up."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, run in contenders.items():
            cpu, wall = time.process_time(), time.perf_counter()
            run()
            if number:
                times[name].append(((time.process_time() - cpu) / n * 1e6, (time.perf_counter() - wall) / n * 1e6))
    return {
        name: (statistics.median(cpu for cpu, _ in each), statistics.median(wall for _, wall in each))
        for name, each in times.items()
    }


def report(times: dict[str, tuple[float, float]]) -> None:
    slowest = max(cpu for cpu, _ in times.values())
    print(f"{'':40s} CPU µs/recording   wall   times faster than the slowest")
    for name, (cpu, wall) in times.items():
        print(f"{name:40s} {cpu:16.1f} {wall:6.1f} {slowest / cpu:12.0f}")


if __name__ == "__main__":
    main()
