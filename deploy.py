"""Take a trained logic network out of Python: `./deploy.sh export JOB_ID --format c`."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in evaluate.py: threads that spin take the core from others

from difflogic_tonic.arguments import deploy_parser, parse
from difflogic_tonic.errors import run_command


def main(argv: Sequence[str]) -> int:
    arguments = parse(deploy_parser(), argv)
    from difflogic_tonic.config import environment_storage

    places = environment_storage()
    from difflogic_tonic.deploy.commands import COMMANDS

    return COMMANDS[arguments.command](arguments, places)


if __name__ == "__main__":
    sys.exit(run_command(main))
