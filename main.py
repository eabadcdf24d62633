"""Train: `./train.sh CONFIG JOB_ID`. Arguments and config are checked before anything heavy is imported."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))
# OpenMP threads that wait by spinning take the core from those that work as soon as others use it too: on two shared
# cores the quick start then takes 2.7 times as long, and on idle ones nothing is gained.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from difflogic_tonic.arguments import parse, train_parser
from difflogic_tonic.errors import run_command

if TYPE_CHECKING:
    from difflogic_tonic.runs.folder import Start

STARTS: "dict[str | None, Start]" = {None: "new", "always": "resume", "auto": "auto", "fresh": "fresh"}


def main(argv: Sequence[str]) -> int:
    arguments = parse(train_parser(), argv)

    # Before the heavy imports, which take seconds: a scheduler's signal must not find the default handler.
    from difflogic_tonic.runs.signals import StopNow, listen

    stop = listen()
    try:
        from difflogic_tonic.config import (
            environment_ranks,
            environment_storage,
            load_train_config,
            slurm_restart_count,
        )

        config = load_train_config(arguments.config, arguments.override, arguments.job_id)
        places = environment_storage()
        start = STARTS["fresh" if arguments.fresh else arguments.resume]
        if slurm_restart_count() > 0 and start in ("new", "fresh"):
            start = "auto"  # what was to be refused or set aside, the first start of this job has dealt with
        ranks = environment_ranks()
        if ranks is not None:
            # What goes wrong between processes is said in one line; torch's own screens of C++ frames would hide it.
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
        with stop.leaving():
            from difflogic_tonic.train import rehearsal, session

        request = session.Request(config, start, argv, places, ranks)
        if arguments.classic is not None:
            with stop.leaving():
                from difflogic_tonic.train import classic

            return classic.train_classic(request, arguments.classic, arguments.override, stop, arguments.debug)
        return rehearsal.rehearse(request, stop) if arguments.debug else session.train(request, stop)
    except StopNow:
        print(f"stopped by {stop.reason} before the first step", file=sys.stderr)
        return stop.exit_code


if __name__ == "__main__":
    # A log file shows each line when it is written, not when a buffer is full.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.exit(run_command(main))
