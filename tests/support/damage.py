"""Damaged files for the fuzz tests: bytes set, flipped, inserted, removed; by hypothesis or a seeded generator."""

import os
import random
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hypothesis import strategies as st

LONG_RUN = int(os.environ.get("DIFFLOGIC_FUZZ", "100000"))
"""Inputs of a long run."""

FIRST = int(os.environ.get("DIFFLOGIC_FUZZ_FIRST", "0"))
"""Number of its first input, for a run in pieces."""

SLOWEST_SECONDS = 5.0
"""CPU time of one input beyond which something does not end."""

SPECIAL = (
    b"\xff" * 4,
    b"\xff\xff\xff\x7f",
    b"\0\0\0\x80",
    b"\0" * 8,
    b"\xff" * 8,
    b"\n",
    b"%",
    b"#",
    b"9" * 30,
    b"1e999",
)

positions = st.floats(0, 1, exclude_max=True)
changes = st.one_of(
    st.tuples(st.just("set"), positions, st.binary(min_size=1, max_size=1)),
    st.tuples(st.just("set"), positions, st.sampled_from(SPECIAL)),
    st.tuples(st.just("flip"), positions, st.integers(0, 7)),
    st.tuples(st.just("insert"), positions, st.one_of(st.binary(max_size=8), st.sampled_from(SPECIAL))),
    st.tuples(st.just("remove"), positions, st.integers(1, 64)),
    st.tuples(st.just("cut"), positions, st.just(0)),
)


def changed(data: bytes, steps: list[tuple[str, float, object]]) -> bytes:
    out = bytearray(data)
    for what, position, value in steps:
        at = int(position * len(out))
        if what == "set":
            out[at : at + len(value)] = value
        elif what == "insert":
            out[at:at] = value
        elif what == "remove":
            del out[at : at + value]
        elif what == "cut":
            del out[at:]
        elif out:
            out[at] ^= 1 << value
    return bytes(out)


def random_steps(rng: random.Random) -> list[tuple[str, float, object]]:
    """As `changes`, with the larger cuts rarer: most of the files should get past their headers."""
    steps: list[tuple[str, float, object]] = []
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        position, kind = rng.random(), rng.randrange(10)
        if kind < 4:
            steps.append(("flip", position, rng.randrange(8)))
        elif kind < 6:
            steps.append(("set", position, rng.choice(SPECIAL)))
        elif kind < 8:
            steps.append(("set", position, rng.randbytes(1)))
        elif kind == 8:
            steps.append(("insert", position, rng.choice((rng.randbytes(4), rng.choice(SPECIAL)))))
        else:
            steps.append(("cut", position, 0) if rng.random() < 0.2 else ("remove", position, rng.randrange(1, 16)))
    return steps


def long_run(seeds: Sequence[bytes], check: Callable[[bytes], None]) -> None:
    """`check` LONG_RUN damaged copies of `seeds`; the number of the input is the seed of its damage."""
    for number in range(FIRST, FIRST + LONG_RUN):
        rng = random.Random(number)
        data = changed(rng.choice(seeds), random_steps(rng))
        start = time.process_time()
        try:
            check(data)
        except BaseException as error:
            error.add_note(f"input {number}: {data!r}")
            raise
        assert time.process_time() - start < SLOWEST_SECONDS, f"input {number}: {data!r}"


def peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def flip(path: Path, at: int = -1) -> None:
    """Turn over a bit of the byte at `at`."""
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


def payload_byte(variant: Path) -> int:
    """The position of a byte in the middle of the frames of the first shard."""
    from difflogic_tonic.cache.shard import open_shard

    index = open_shard(variant / "train-00000.h5", variant.name)
    return index.payload_at + int(index.offsets[-1]) * index.frame_nbytes // 2
