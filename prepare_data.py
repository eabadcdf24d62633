"""Prepare a dataset: `./prepare_data.sh CONFIG`. Arguments and config are checked before anything heavy is imported."""

import gc
import io
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from difflogic_tonic.arguments import parse, prepare_parser
from difflogic_tonic.errors import run_command


def main(argv: Sequence[str]) -> int:
    arguments = parse(prepare_parser(), argv)

    from difflogic_tonic.runs.signals import StopNow, listen

    stop = listen()
    try:
        with stop.interruptible():  # everywhere: a stop, even a kill, leaves what the same command goes on from
            return prepare(arguments)
    except StopNow:
        print(f"stopped by {stop.reason}; the same command goes on where this one was", file=sys.stderr)
        return stop.exit_code


def prepare(arguments: Namespace) -> int:
    """Prepare, say what is there now, and on request check every byte of it."""
    from difflogic_tonic.config import environment_storage, load_prepare_config

    config = load_prepare_config(arguments.config, arguments.override)
    places = environment_storage()

    from difflogic_tonic import cache
    from difflogic_tonic.runs.log import log_to_console
    from difflogic_tonic.storage import open_storage

    log_to_console()
    gc.set_threshold(200_000)  # 70,000 recordings are no garbage, but its collector would search them time and again
    storage = open_storage(places)
    prepared = cache.prepare(config, storage, progress=not arguments.quiet, shard=arguments.shard)
    print(*cache.summary_lines(prepared, config), sep="\n")
    if arguments.verify and prepared.manifest:
        print(cache.check_prepared(prepared, config, storage))
    return 0


if __name__ == "__main__":
    # A log file shows each line when it is written, not when a buffer is full.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    sys.exit(run_command(main))
