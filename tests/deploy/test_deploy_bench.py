"""What `bench` measures."""

from collections.abc import Iterator

import numpy as np
import pytest

from difflogic_tonic.deploy import bench
from difflogic_tonic.netlist import Circuit, InputCode, Netlist


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(bench, "AT_ONCE", 600)


@pytest.mark.parametrize("state", [[], [4]])
def test_every_way_in_is_timed_once_for_one_thread_and_once_for_all(quick, state):
    netlist = Netlist(3 + len(state), [1, 6], [0, 1], [1, 2], [3 + len(state), 4 + len(state)], 2, next_state=state)
    circuit = Circuit(netlist, InputCode((1, 1, 3), np.ones((1, 1))), ("a", "b"), "mean" if state else "frame")
    found = list(bench.rates(circuit, np.eye(3, dtype=bool), threads=2))
    names = ["packed frames", "frames of bytes"]
    assert [rate.name for rate in found] == [*names, *(f"{name}, 2 threads" for name in names), "one packed frame"]
    assert [rate.samples for rate in found] == [600] * 4 + [1]
    assert all(rate.seconds > 0 for rate in found)
    assert len(list(bench.rates(circuit, np.eye(3, dtype=bool), threads=1))) == 3


def test_frames_are_gathered_up_to_what_a_call_takes(monkeypatch: pytest.MonkeyPatch):
    taken = []

    def batches() -> Iterator[np.ndarray]:
        for number in range(9):
            taken.append(number)
            yield np.full((3, 100, 40), number % 2 == 0)  # three frames of each of a hundred sequences

    assert bench.frames_at_once(2312) == 8192
    assert bench.frames_at_once(2**16) == 1024
    assert bench.frames_at_once(2**20) == 512
    monkeypatch.setattr(bench, "BYTES_AT_ONCE", 700 * 40)
    bits = bench.first_frames(batches(), 40)
    assert taken == [0, 1, 2]
    assert bits.shape == (700, 40)
    assert bits.all(1).tolist() == [True] * 300 + [False] * 300 + [True] * 100
    assert len(bench.first_frames([np.ones((5, 40), bool)], 40)) == 5


def test_the_fastest_of_several_calls_counts(monkeypatch: pytest.MonkeyPatch):
    clock = iter([0.0, 1.0, 1.0, 6.0, 6.0, 6.0, 8.0, 100.0])  # until; then look, start, end, again and again
    monkeypatch.setattr(bench, "LEAST_SECONDS", 50.0)
    monkeypatch.setattr(bench.time, "perf_counter", lambda: next(clock))
    calls = []
    assert bench.fastest(lambda: calls.append(1)) == 2.0
    assert len(calls) == 3
