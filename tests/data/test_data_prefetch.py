import threading
import time

import pytest

from difflogic_tonic.data.prefetch import read_ahead


def reading_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


def test_results_come_in_order_however_long_each_takes():
    def slow_first(key: int) -> int:
        time.sleep(0.02 if key == 0 else 0)
        return key * 10

    assert list(read_ahead(slow_first, range(20), threads=3)) == [key * 10 for key in range(20)]


def test_an_error_of_a_reader_surfaces_at_its_turn_and_ends_the_threads():
    def failing(key: int) -> int:
        if key == 3:
            raise OSError("gone")
        return key

    items = read_ahead(failing, range(10), threads=2)
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="gone"):
        next(items)
    assert not reading_threads()


def test_reading_ahead_is_bounded():
    started: list[int] = []
    items = read_ahead(lambda key: started.append(key) or key, range(1000), threads=2)
    next(items)
    time.sleep(0.05)
    assert len(started) <= 5
    items.close()


def test_closing_early_stops_the_threads_and_reads_no_more():
    started: list[int] = []
    items = read_ahead(lambda key: started.append(key) or key, range(1000), threads=2)
    next(items)
    assert reading_threads()
    items.close()
    assert not reading_threads()
    after = len(started)
    time.sleep(0.02)
    assert len(started) == after


def test_leaving_the_loop_stops_the_threads_too():
    for _ in read_ahead(lambda key: key, range(1000), threads=2):
        break
    assert not reading_threads()


def test_nothing_to_read_is_no_batch():
    assert list(read_ahead(lambda key: key, [], threads=1)) == []
