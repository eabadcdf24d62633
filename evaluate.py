"""Evaluate a trained model again: `./evaluate.sh JOB_ID`."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))
# OpenMP threads that wait by spinning take the core from those that work as soon as others use it too: on two shared
# cores the quick start then takes 2.7 times as long, and on idle ones nothing is gained.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from difflogic_tonic.arguments import evaluate_parser, parse
from difflogic_tonic.errors import run_command


def main(argv: Sequence[str]) -> int:
    arguments = parse(evaluate_parser(), argv)
    from difflogic_tonic.config import environment_storage

    places = environment_storage()
    from difflogic_tonic.train.evaluation import evaluate_run

    return evaluate_run(
        arguments.job_id, arguments.weights, arguments.device, places, arguments.spikes, arguments.save_es
    )


if __name__ == "__main__":
    sys.exit(run_command(main))
