"""Reading ahead in threads.

Reading releases the GIL (system calls and copies), so threads overlap with the training step at the price of a queue
entry; a worker process would cost more per batch than the reading itself.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Key = TypeVar("Key")
Item = TypeVar("Item")


def read_ahead(read: Callable[[Key], Item], keys: Iterable[Key], threads: int) -> Generator[Item, None, None]:
    """Yield `read(key)` for every key, in the order of `keys`, from `threads` >= 1 threads.

    At most two results per thread are read ahead, so memory is bounded however slow the consumer is. An exception of
    `read` is raised here, at its key's turn. Closing the iterator (or leaving it to be collected) drops what was not
    started, waits for what was, and ends the threads.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="read-ahead")
    waiting: deque[Future[Item]] = deque()
    try:
        for key in keys:
            waiting.append(pool.submit(read, key))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
