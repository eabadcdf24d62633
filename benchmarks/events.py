"""Million events per CPU second of every stage between a file and a batch, ours and each peer's, in one run.

    python benchmarks/events.py [--section NAME] [--case TEXT] [--events N] [--rounds N] [--data PATH] [--floor RATIO]

A section is a list of cases; a case does the same work with our code and with each peer that is installed, on the same
input. The variants of a case take turns: first once to warm up (compilation, imports, page cache), then `--rounds`
times, and the median counts. CPU time is that of all threads of the process, so it is time per core, and a variant
that uses four cores is not faster for it. Peers that are not installed are named and left out. Exit code 1 if a case is
below the floor of its section (or `--floor`).
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

DEFAULT_DATA = os.environ.get("DIFFLOGIC_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
SHORTEST_S = 0.02  # a variant is repeated within a round until it takes so long: clocks are coarse


class Case(NamedTuple):
    """One line of the table: `ours` and `peers` do the same with `n_events` events and return how many they saw.

    `floor` is the least ratio of our speed to the best peer's, None where none is promised.
    """

    name: str
    n_events: int
    ours: Callable[[], int]
    peers: dict[str, Callable[[], int]]
    floor: float | None = None


class Settings(NamedTuple):
    """What sections make their cases from. `folder` is for files and is removed at the end."""

    events: int
    data: Path
    folder: Path


def decode_section(settings: Settings) -> Iterator[Case]:
    from events_decode import cases

    return cases(settings)


def slicing_section(settings: Settings) -> Iterator[Case]:
    from events_slicing import slicing_cases

    return slicing_cases(settings)


def denoise_section(settings: Settings) -> Iterator[Case]:
    from events_slicing import denoise_cases

    return denoise_cases(settings)


def fused_section(settings: Settings) -> Iterator[Case]:
    from events_slicing import fused_cases

    return fused_cases(settings)


SECTIONS: dict[str, Callable[[Settings], Iterator[Case]]] = {
    "decode": decode_section,
    "slicing": slicing_section,
    "denoise": denoise_section,
    "fused": fused_section,
}
"""Name → its cases, which live in `events_decode.py` and `events_slicing.py`."""


def main() -> int:
    arguments = parse()
    passed = True
    with tempfile.TemporaryDirectory(prefix="events-benchmark-") as name:
        settings = Settings(arguments.events, arguments.data, Path(name))
        for section in arguments.section or SECTIONS:
            print(f"{section}: million events per CPU second, median of {arguments.rounds} rounds")
            for case in SECTIONS[section](settings):
                if arguments.case in case.name:
                    passed &= run(case, arguments.rounds, arguments.floor)
    return 0 if passed else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--section", action="append", choices=SECTIONS, help="only this one; may be repeated")
    parser.add_argument("--case", default="", help="only cases with this in their name")
    parser.add_argument("--events", type=int, default=200_000, help="events of a synthetic recording")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=Path(DEFAULT_DATA), help="folder of real recordings, if any")
    parser.add_argument("--floor", type=float, help="least ratio to the best peer, instead of each case's own")
    return parser.parse_args()


def run(case: Case, rounds: int, floor: float | None) -> bool:
    """Measure and print a case; whether it reaches its floor."""
    variants = {"ours": case.ours, **case.peers}
    notes = {}
    for name, variant in list(variants.items()):
        try:
            seen = variant()
        except ImportError as error:
            del variants[name]
            notes[name] = f"not installed ({error.name})"
        else:
            notes[name] = "" if seen == case.n_events else f"sees {seen:,} events"
    speeds = {name: case.n_events / seconds / 1e6 for name, seconds in measure(variants, rounds).items()}
    print(f"  {case.name}, {case.n_events:,} events")
    for name in ["ours", *case.peers]:
        figures = f"{speeds[name]:>9.1f}   {speeds['ours'] / speeds[name]:>7.2f}x" if name in speeds else " " * 20
        print(f"    {name:<28}{figures}   {notes[name]}".rstrip(), flush=True)
    best = max((speed for name, speed in speeds.items() if name != "ours"), default=0.0)
    floor = case.floor if floor is None else floor
    if best == 0 or floor is None or speeds["ours"] >= floor * best:
        return True
    print(f"    below the floor of {floor:g} times the best peer")
    return False


def measure(variants: dict[str, Callable[[], int]], rounds: int) -> dict[str, float]:
    """Median CPU seconds of a call of each variant, over rounds in which they take turns."""
    repeats = {}
    for name, variant in variants.items():
        seconds = cpu_seconds(variant, 1)
        repeats[name] = max(1, int(SHORTEST_S / max(seconds, 1e-6)))
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, variant in variants.items():
            taken[name].append(cpu_seconds(variant, repeats[name]) / repeats[name])
    return {name: statistics.median(each) for name, each in taken.items()}


def cpu_seconds(variant: Callable[[], int], repeats: int) -> float:
    start = time.process_time()
    for _ in range(repeats):
        variant()
    return time.process_time() - start


if __name__ == "__main__":
    sys.exit(main())
