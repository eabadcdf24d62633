"""A command line into checked arguments."""

import argparse
import sys
from collections.abc import Sequence

from difflogic_tonic.arguments import classic
from difflogic_tonic.arguments.commands import check_job_id, override_texts, train_parser
from difflogic_tonic.errors import ConfigError


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse and check what can be checked without reading a file. Raises `ConfigError`.

    A command line of `main.py` that has `--classic NAME` is read as what it means: the same arguments, from its table.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    trains = parser.prog == train_parser().prog
    is_classic = trains and any(word.partition("=")[0] == "--classic" for word in words)
    arguments = classic.parse(words) if is_classic else parser.parse_args(words)
    job_id = getattr(arguments, "job_id", None)
    if job_id is not None:
        check_job_id(job_id)
    if getattr(arguments, "place", None) and not arguments.remove:
        raise ConfigError("--place belongs to --remove VARIANT; without it both places are looked at")
    arguments.override = override_texts(getattr(arguments, "override", ()))
    return arguments
