"""A lock against doing the same work twice.

On some network file systems flock succeeds for everybody, so nothing here may be needed for correctness: that comes
from unique temporary names, verification and rename.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from difflogic_tonic.storage.space import storage_errors

UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


@contextmanager
def file_lock(path: Path, wait: bool = True) -> Iterator[bool]:
    """Hold an exclusive lock on `path` (made if absent, never removed) inside the block.

    Yields False where the lock was not had: another process has it and `wait` is false, or the file system has no
    locks. The lock goes when the process ends, however it ends.
    """
    with storage_errors(path.parent, "making a lock file"):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        yield _acquire(descriptor, wait)
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, wait: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return False
    return True
