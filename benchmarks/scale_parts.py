"""A preparation in a thousand parts of which many die: does it end with the bytes of an undisturbed run?

    python benchmarks/scale_parts.py [--parts N] [--recordings N] [--seed N] [--fail P] [--kill P]

Small recordings in the layout of N-MNIST are prepared once as a whole, and once as `prepare_data.sh --shard i/N` does
it: every part calls `prepare` from the listing on, in random order. Some raise an error at a random recording, some run
in a forked process that is killed with SIGKILL, either at a random recording, or between writing a shard and renaming
it, or between renaming and checking it. A killed process calls itself another host, so that what it leaves cannot be
known to be dead. What died runs again, in random order, with the same chance to die, until all parts have ended well.

Exit code 1 unless the last part published, both storage places have the bytes of the undisturbed run, and nothing else.
"""

import argparse
import logging
import os
import random
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from difflogic_tonic.cache import Prepared, prepare, verify
from difflogic_tonic.cache.folders import FolderSource
from difflogic_tonic.config import PrepareConfig, StoragePaths
from difflogic_tonic.errors import StorageError
from difflogic_tonic.events import encode_atis, make_events
from difflogic_tonic.storage import open_storage

KILLS = ("reading", "before the rename", "after the rename")


def main() -> int:
    arguments = parse()
    logging.getLogger("difflogic_tonic").setLevel(logging.ERROR)
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="scale-parts-", dir=arguments.folder) as name:
        folder = Path(name)
        write_recordings(folder / "raw", arguments.recordings, arguments.seed)
        start = time.process_time()
        whole = run_part(folder, "whole", arguments, None)
        print(f"undisturbed, as a whole: {time.process_time() - start:.1f} s of CPU time", flush=True)
        last, seconds, outcomes = run_parts(folder, arguments, chance)
        print_parts(seconds, outcomes)
        return check(folder, whole, last)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=int, default=1000)
    parser.add_argument("--recordings", type=int, default=2000, help="one shard has so many per part")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fail", type=float, default=0.1, help="chance that a part raises an error")
    parser.add_argument("--kill", type=float, default=0.1, help="chance that a part is killed")
    parser.add_argument("--folder", type=Path, help="where to work; default: the folder for temporary files")
    return parser.parse_args()


def write_recordings(root: Path, n: int, seed: int) -> None:
    """`n` recordings of 200 to 400 events, four of five for training."""
    rng = np.random.default_rng(seed)
    for number in range(n):
        events = int(rng.integers(200, 401))
        x, y, p = (rng.integers(0, high, events) for high in (34, 34, 2))
        path = root / ("Test" if number % 5 == 0 else "Train") / str(number % 10) / f"{number:05d}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_atis(make_events(x, y, np.sort(rng.integers(0, 300_000, events)), p)))


def run_part(folder: Path, name: str, arguments: argparse.Namespace, shard: tuple[int, int] | None) -> Prepared:
    config = PrepareConfig.model_validate(
        {
            "data": {
                "name": "NMNIST", "data_root": folder / "raw", "allow_subset": True, "events_per_frame": 100,
                "val_fraction": 0, "workers": 1, "shard_recordings": max(1, arguments.recordings // arguments.parts),
            }
        }
    )  # fmt: skip
    storage = open_storage(StoragePaths(folder / name / "scratch", folder / name / "project"))
    return prepare(config, storage, progress=False, shard=shard)


def run_parts(
    folder: Path, arguments: argparse.Namespace, chance: random.Random
) -> tuple[Prepared | None, list[float], Counter[str]]:
    """Every part until it ended well: what the last one returned, CPU seconds of each, and what happened how often."""
    waiting, seconds, outcomes = list(range(1, arguments.parts + 1)), [], Counter[str]()
    last = None
    while waiting:
        chance.shuffle(waiting)
        left = []
        for part in waiting:
            start = time.process_time()
            outcome, prepared = attempt(folder, arguments, (part, arguments.parts), chance)
            outcomes[outcome] += 1
            if prepared is None:
                left.append(part)
            else:
                last = prepared
                seconds.append(time.process_time() - start)
        print(f"round: {len(waiting):,} parts, {len(left):,} of them died", flush=True)
        waiting = left
    return last, seconds, outcomes


def attempt(
    folder: Path, arguments: argparse.Namespace, shard: tuple[int, int], chance: random.Random
) -> tuple[str, Prepared | None]:
    fate, at = chance.random(), chance.randrange(18)  # estimating the size reads 16 recordings
    if fate < arguments.kill:
        how = chance.choice(KILLS)
        return f"killed {how}", run_killed(lambda: run_part(folder, "parts", arguments, shard), how, at)
    if fate < arguments.kill + arguments.fail:
        try:
            with failing_read(at, fail):
                return "well, failure not reached", run_part(folder, "parts", arguments, shard)
        except StorageError:
            return "failed", None
    return "well", run_part(folder, "parts", arguments, shard)


def run_killed(run: Callable[[], Any], how: str, at: int) -> None:
    """Run in a process that kills itself on the way. AssertionError if it ends in another way."""
    child = os.fork()
    if child == 0:
        socket.gethostname = lambda: f"node{os.getpid()}"
        replace = os.replace

        def replace_and_die(source: Any, target: Any) -> None:
            if how == "after the rename":
                replace(source, target)
            die()

        if how != "reading":
            os.replace = replace_and_die  # type: ignore[assignment]
        with failing_read(at if how == "reading" else 10**9, die):
            run()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    died = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    # a part whose shard was there already has nothing to write
    assert died or os.waitstatus_to_exitcode(status) == 0, status


@contextmanager
def failing_read(at: int, failure: Callable[[], None]) -> Iterator[None]:
    """The read number `at` of a recording ends with `failure`."""
    read, count = FolderSource.read, iter(range(10**9))

    def counted(self: FolderSource, recording: Any) -> bytes:
        if next(count) == at:
            failure()
        return read(self, recording)

    FolderSource.read = counted  # type: ignore[method-assign]
    try:
        yield
    finally:
        FolderSource.read = read  # type: ignore[method-assign]


def fail() -> None:
    raise StorageError("a disk that fails now and then")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def print_parts(seconds: list[float], outcomes: Counter[str]) -> None:
    tenth = max(1, len(seconds) // 10)
    for name, count in sorted(outcomes.items()):
        print(f"{name:<28}{count:>7,}")
    print(
        f"CPU ms of a part that ended well: {1e3 * statistics.median(seconds[:tenth]):.0f} in the first tenth, "
        f"{1e3 * statistics.median(seconds[-tenth:]):.0f} in the last, {1e3 * max(seconds):.0f} of the longest"
    )


def check(folder: Path, whole: Prepared, last: Prepared | None) -> int:
    if last is None or last.manifest is None:
        print("FAILED: the last part did not publish")
        return 1
    wanted = contents(whole.path)
    good = all(contents(path) == wanted and not verify(path) for path in (*whole.paths, *last.paths))
    extra = [entry for path in last.paths for entry in path.parent.iterdir() if not entry.name.startswith(".")]
    good = good and len(extra) == len(last.paths)
    print(f"{len(wanted):,} files, {sum(map(len, wanted.values())) / 1e6:.1f} MB in each place")
    print("every byte is as in the undisturbed run" if good else "FAILED: the bytes differ, or something was left")
    return 0 if good else 1


def contents(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


if __name__ == "__main__":
    sys.exit(main())
