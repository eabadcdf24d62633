"""CPU time from `.bin` recordings to a published cache of frames: ours against tonic's, in one run.

    python benchmarks/prepare.py [--data PATH] [--recordings N] [--rounds N] [--floor RATIO]

Both read the same files, denoise with 1,200 µs and make frames of 1,500 events that share 1,000. tonic does it with
`Denoise`, `ToFrame` and `DiskCachedDataset`; ours is `prepare`, with everything it does: listing, framing, checksums,
fsync, read-back, manifest, rename. Each variant runs in a process of its own, first once to warm up (compilation,
imports, page cache), then `--rounds` times; the median counts. CPU time is that of all threads of the process, so it is
time per core; the rate beside it is by the clock, with a thread on each core, and only means something on an idle
machine. `--data` is the folder with nmnist-raw-1100.tar.xz (default: DIFFLOGIC_TEST_DATA, else ../shared/data);
without it the recordings are those of DIGITS_DVS. Exit code 1 if the ratio is below `--floor`, or a second of two
cores' CPU time is not enough for `--rate` recordings.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from difflogic_tonic.cache import prepare
from difflogic_tonic.cache.sources import open_source
from difflogic_tonic.config import DATASETS, PrepareConfig, StoragePaths
from difflogic_tonic.storage import open_storage

EVENTS_PER_FRAME, OVERLAP, DENOISE_US = 1500, 1000, 1200
ARCHIVE = "nmnist-raw-1100.tar.xz"
DEFAULT_DATA = os.environ.get("DIFFLOGIC_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"


def main() -> int:
    arguments = parse()
    with tempfile.TemporaryDirectory(prefix="prepare-benchmark-") as name:
        folder = Path(name)
        files, what = write_recordings(arguments.data / ARCHIVE, folder / "raw", arguments.recordings)
        events = sum(path.stat().st_size for path in files) / 5 / len(files)
        print(f"{len(files)} recordings of {what}, {events:,.0f} events on average; {arguments.rounds} rounds")
        few = files[:: max(1, len(files) // arguments.tonic_recordings)]
        theirs = measure(tonic_round, folder, few, arguments.rounds)
        print_row("tonic Denoise + ToFrame + DiskCachedDataset", theirs, theirs)
        ours = {name: measure(round_, folder, files, arguments.rounds) for name, round_ in OURS.items()}
        for name, cost in ours.items():
            print_row(f"prepare, frames={name}", cost, theirs)
    slowest = max(cost.cpu for cost in ours.values())
    ratio, rate = theirs.cpu / slowest, 2 / slowest
    print(f"at least {ratio:.0f} times tonic; the floor is {arguments.floor:g}")
    print(f"at least {rate:,.0f} recordings in a second of two cores; the floor is {arguments.rate:,.0f}")
    return 0 if ratio >= arguments.floor and rate >= arguments.rate else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(DEFAULT_DATA), help="folder of the real recordings")
    parser.add_argument("--recordings", type=int, default=1100, help="how many to prepare")
    parser.add_argument("--tonic-recordings", type=int, default=60, help="how many of them tonic prepares in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--floor", type=float, default=50.0, help="least ratio of CPU times")
    parser.add_argument("--rate", type=float, default=5000.0, help="least recordings in a second of two cores")
    return parser.parse_args()


class Cost(NamedTuple):
    """Seconds a recording: of all cores together, and by the clock."""

    cpu: float
    clock: float


def print_row(name: str, cost: Cost, reference: Cost) -> None:
    rates = f"{cost.cpu * 1e3:>9.3f} ms CPU a recording{1 / cost.clock:>9,.0f}/s by the clock"
    print(f"{name:<46}{rates}{reference.cpu / cost.cpu:>8.1f}x", flush=True)


def write_recordings(archive: Path, folder: Path, n: int) -> tuple[list[Path], str]:
    """The first `n` recordings as files, in the layout of N-MNIST, and what they are."""
    storage = open_storage(StoragePaths(folder.parent / "unpacked", folder.parent / "unpacked"))
    name = "NMNIST" if archive.exists() else "DIGITS_DVS"
    root = archive if archive.exists() else None
    source = open_source(DATASETS[name], root, storage, True, False)
    files = []
    for recording in sorted(source.recordings, key=lambda each: each.split, reverse=True)[:n]:
        files.append(folder / recording.path)
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        files[-1].write_bytes(source.read(recording))
    return files, "N-MNIST" if root else "DIGITS_DVS"


def measure(round_: Callable[[Path, list[Path]], None], folder: Path, files: list[Path], rounds: int) -> Cost:
    """Medians of the seconds a recording over `rounds` rounds after one to warm up, in a new process."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=run_rounds, args=(round_, folder, files, rounds, queue))
    child.start()
    seconds = queue.get(timeout=3600)
    child.join()
    return Cost(*(statistics.median(each) / len(files) for each in zip(*seconds, strict=True)))


def run_rounds(
    round_: Callable[[Path, list[Path]], None],
    folder: Path,
    files: list[Path],
    rounds: int,
    queue: "multiprocessing.Queue[list[Cost]]",
) -> None:
    seconds = []
    for _ in range(rounds + 1):
        with tempfile.TemporaryDirectory(dir=folder) as name:
            start = Cost(time.process_time(), time.perf_counter())
            round_(Path(name), files)
            seconds.append(Cost(time.process_time() - start.cpu, time.perf_counter() - start.clock))
    queue.put(seconds[1:])


def tonic_round(folder: Path, files: list[Path]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import numpy as np
        import tonic
        import tonic.io

    event = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])
    sensor = tuple(DATASETS["NMNIST"].sensor)
    transform = tonic.transforms.Compose(
        [
            tonic.transforms.Denoise(filter_time=DENOISE_US),
            tonic.transforms.ToFrame(sensor_size=sensor, event_count=EVENTS_PER_FRAME, overlap=OVERLAP),
        ]
    )

    class Recordings:
        def __len__(self) -> int:
            return len(files)

        def __getitem__(self, i: int) -> tuple[np.ndarray, int]:
            return transform(tonic.io.read_mnist_file(str(files[i]), event)), int(files[i].parent.name)

    cache = tonic.DiskCachedDataset(Recordings(), cache_path=str(folder))
    for i in range(len(files)):
        cache[i]


def our_round(frames: str, folder: Path, files: list[Path]) -> None:
    config = PrepareConfig.model_validate(
        {
            "data": {
                "name": "NMNIST", "data_root": files[0].parents[2], "allow_subset": True, "frames": frames,
                "events_per_frame": EVENTS_PER_FRAME, "overlap": OVERLAP, "denoise_time": DENOISE_US,
            }
        }
    )  # fmt: skip
    prepared = prepare(config, open_storage(StoragePaths(folder, folder)), progress=False)
    assert prepared.built


def u8_round(folder: Path, files: list[Path]) -> None:
    our_round("u8", folder, files)


def bits_round(folder: Path, files: list[Path]) -> None:
    our_round("bits", folder, files)


OURS = {"u8": u8_round, "bits": bits_round}

if __name__ == "__main__":
    sys.exit(main())
