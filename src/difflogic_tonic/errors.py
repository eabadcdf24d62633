"""What can go wrong on the user's side, and the exit code of each.

    UserError 1
    ├── ConfigError 2            a key, value, argument or environment variable
    ├── DataError 3              raw recordings
    │   ├── RecordingError       one file is damaged
    │   ├── DatasetMissing       nothing to read
    │   └── DatasetMismatch      not the files that the dataset should have
    ├── CacheError 4             prepared frames
    │   ├── CacheMissing
    │   │   └── CacheAmbiguous   several variants fit
    │   └── CacheCorrupt
    ├── StorageError 5           a place cannot be read or written
    │   └── StorageFull
    ├── RunError 6               a run folder
    │   ├── RunExists
    │   └── ResumeMismatch
    ├── CheckpointMissing 7
    ├── CheckpointCorrupt 8
    ├── TrainingDiverged 9       non-finite loss
    ├── OutOfMemory 10
    ├── NetlistCorrupt 11        a netlist file
    ├── ExportDiffers 12         an exported circuit does not compute what its network computes
    └── RanksLost 13             another process of the same training

A message is one line: what, where, what was expected, and the next command to run. Anything that is not a `UserError`
is our own mistake and keeps its traceback.
"""

import sys
from collections.abc import Callable, Sequence

STOPPED = 75
"""Exit code of a run that was asked to stop, has saved, and should be queued again (EX_TEMPFAIL of sysexits.h)."""

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells report it."""


class UserError(Exception):
    """Something the user can mend. `str(error)` is the whole message, one line."""

    exit_code = 1


class ConfigError(UserError):
    exit_code = 2


class DataError(UserError):
    exit_code = 3


class RecordingError(DataError):
    pass


class DatasetMissing(DataError):
    pass


class DatasetMismatch(DataError):
    pass


class CacheError(UserError):
    exit_code = 4


class CacheMissing(CacheError):
    pass


class CacheAmbiguous(CacheMissing):
    pass


class CacheCorrupt(CacheError):
    pass


class StorageError(UserError):
    exit_code = 5


class StorageFull(StorageError):
    pass


class RunError(UserError):
    exit_code = 6


class RunExists(RunError):
    pass


class ResumeMismatch(RunError):
    pass


class CheckpointMissing(UserError):
    exit_code = 7


class CheckpointCorrupt(UserError):
    exit_code = 8


class TrainingDiverged(UserError):
    exit_code = 9


class OutOfMemory(UserError):
    exit_code = 10


class NetlistCorrupt(UserError):
    exit_code = 11


class ExportDiffers(UserError):
    exit_code = 12


class RanksLost(UserError):
    exit_code = 13


def run_command(main: Callable[[Sequence[str]], int], argv: Sequence[str] | None = None) -> int:
    """Call `main(argv)` and return its exit code; a `UserError` becomes one `error:` line on stderr and its code."""
    try:
        return main(sys.argv[1:] if argv is None else argv)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`… | head`): there is nobody left to tell.
        sys.stderr.close()
        return 0
