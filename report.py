"""Reports over finished and running jobs: `./report.sh aggregate | dashboard | run | compare | watch`."""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from difflogic_tonic.arguments import parse, report_parser
from difflogic_tonic.errors import run_command


def main(argv: Sequence[str]) -> int:
    arguments = parse(report_parser(), argv)
    from difflogic_tonic.config import environment_storage

    places = environment_storage()
    from difflogic_tonic.report.command import report

    return report(arguments, places)


if __name__ == "__main__":
    sys.exit(run_command(main))
