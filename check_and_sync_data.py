"""Which prepared datasets lie where, and copying what a place lacks: `./check_and_sync_data.sh`."""

import io
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from difflogic_tonic.arguments import parse, sync_parser
from difflogic_tonic.errors import run_command


def main(argv: Sequence[str]) -> int:
    arguments = parse(sync_parser(), argv)
    if arguments.command == "doctor":
        from difflogic_tonic.sync import doctor

        return doctor.run(os.environ, Path(__file__).resolve().parent, arguments.json)

    from difflogic_tonic.runs.signals import StopNow, listen

    stop = listen()
    try:
        with stop.interruptible():  # everywhere: a copy appears whole or not at all
            return check_and_sync(arguments)
    except StopNow:
        print(f"stopped by {stop.reason}; the same command goes on where this one was", file=sys.stderr)
        return stop.exit_code


def check_and_sync(arguments: Namespace) -> int:
    """Find both storage places and do what was asked for."""
    from difflogic_tonic.config import environment_storage

    places = environment_storage()

    from difflogic_tonic.storage import open_storage
    from difflogic_tonic.sync.command import run

    return run(arguments, open_storage(places))


if __name__ == "__main__":
    # A log file shows each line when it is written, not when a buffer is full.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    sys.exit(run_command(main))
