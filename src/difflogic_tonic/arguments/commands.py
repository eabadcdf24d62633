"""The parser of each entry point."""

import argparse
import difflib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from difflogic_tonic.arguments.deployment import deploy_parser
from difflogic_tonic.arguments.one_line import OneLineParser, whole_number
from difflogic_tonic.arguments.report import report_parser
from difflogic_tonic.errors import ConfigError

OVERRIDE_EXAMPLE = '--override "train.epochs=10 train.learning_rate=0.001"'
CONFIGS_SHOWN = 6
_JOB_ID = re.compile(r"(?!\.+$)(?!-)[A-Za-z0-9._-]{1,128}")


def train_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="train.sh",
        description="Train a network on a prepared dataset; the embedded DIGITS_DVS is prepared if it is not there.",
        epilog="Exit codes: 0 done, 75 stopped and saved (run again with --resume), 130 Ctrl-C, others are errors. "
        "Command lines of other programs: --classic NAME ..., with --classic NAME --help for its options.",
    )
    parser.set_defaults(classic=None)
    parser.add_argument("config", metavar="CONFIG", help="training config, e.g. configs/quickstart.yaml")
    parser.add_argument(
        "job_id", metavar="JOB_ID", nargs="?", help="name of the run; default: base.job_id of the config"
    )
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--resume",
        nargs="?",
        const="always",
        choices=("always", "auto"),
        metavar="auto",
        help="go on from the newest checkpoint; without one an error, unless --resume=auto, which then starts anew",
    )
    start.add_argument(
        "--fresh", action="store_true", help="start anew although the job id has a run; the old one is kept aside"
    )
    add_override_argument(parser)
    parser.add_argument("--debug", action="store_true", help="a few batches through every stage, with anomaly checks")
    return parser


def prepare_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="prepare_data.sh",
        description="Turn raw event recordings into a cached dataset of frames, in scratch and project storage.",
        epilog="A killed run goes on where it was when the same command is run again.",
    )
    parser.add_argument("config", metavar="CONFIG", help="prepare config, e.g. configs/prepare_nmnist.yaml")
    add_override_argument(parser, example='--override "data.denoise_time=0 data.overlap=0.5"')
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="also read everything again and compare every checksum, raw files included",
    )
    parser.add_argument(
        "--shard",
        type=_part,
        metavar="I/N",
        help="build part I of N in project storage, for jobs side by side; the one that completes the set publishes it",
    )
    return parser


def _part(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9][0-9]*)/([1-9][0-9]*)", text)
    if not match or int(match[1]) > int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r}: expected I/N with I from 1 to N, e.g. 3/8")
    return int(match[1]), int(match[2])


def _device(text: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r}: expected auto, cpu, cuda or cuda:N, e.g. cuda:0")
    return text


def evaluate_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="evaluate.sh",
        description="Evaluate a trained model again on the test recordings; prints the numbers of its run.",
    )
    parser.add_argument("job_id", metavar="JOB_ID", help="name of the run")
    parser.add_argument("--device", type=_device, default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument(
        "--weights", choices=("best", "last"), default="best", help="which model of the run (default: best)"
    )
    parser.add_argument("--spikes", action="store_true", help="also count the spikes of a spiking network")
    parser.add_argument(
        "--save-es", type=Path, metavar="FOLDER", help="draw the spikes of its encoder for a few test samples"
    )
    return parser


def sync_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="check_and_sync_data.sh",
        description="Show which prepared datasets lie in scratch and project storage, and copy what one of them lacks.",
        epilog="Exit codes: 0 all is well, 4 a copy is corrupt and was not mended, 5 a place or a copy failed.",
    )
    parser.add_argument("--dry-run", action="store_true", help="only print what would be done")
    parser.add_argument("--json", action="store_true", help="print JSON for scripts instead of a table")
    parser.add_argument("--verify", action="store_true", help="read every byte again and compare its checksum")
    parser.add_argument(
        "--remove", metavar="VARIANT", help="remove a variant: the start of its fingerprint, or DATASET/START"
    )
    parser.add_argument("--place", choices=("scratch", "project"), help="with --remove: only from this place")
    parser.add_argument("--yes", action="store_true", help="with --remove: also if no complete copy is left")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="other commands")
    _add_show_parser(commands)
    _add_gc_parser(commands)
    doctor = commands.add_parser(
        "doctor",
        help="is this machine fit for a run? storage, environment, container, GPU, SLURM, compiler; what to do if not",
        description="Look at storage, environment, container, GPU, SLURM and compiler, and say what to do.",
        epilog="Exit codes: 0 nothing fails, 1 something does.",
    )
    doctor.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON for scripts")
    return parser


def _add_show_parser(commands: "argparse._SubParsersAction[OneLineParser]") -> None:
    show = commands.add_parser("show", help="pictures of a prepared dataset and of one of its recordings")
    show.add_argument("dataset", metavar="DATASET", help="e.g. NMNIST")
    show.add_argument("--variant", metavar="START", default="", help="start of its fingerprint, if there are several")
    show.add_argument("--split", choices=("train", "val", "test"), default="train", help="default: train")
    show.add_argument("--sample", type=whole_number, default=0, metavar="K", help="recording K of the split, from 0")
    show.add_argument("--slice", metavar="WORDS", help="how unsliced events are shown, e.g. 'time_bins=8 overlap=0.5'")
    show.add_argument("--output", type=Path, metavar="FOLDER", help="default: pictures/ in project storage")


def _add_gc_parser(commands: "argparse._SubParsersAction[OneLineParser]") -> None:
    gc = commands.add_parser(
        "gc",
        help="remove old checkpoints of finished runs, failed runs and leftovers; asks first",
        description="List what is of no more use, with sizes, ask, and remove it.",
    )
    # Options of the command before `gc` are not undone by their absence after it.
    absent: dict[str, Any] = {"action": "store_true", "default": argparse.SUPPRESS}
    gc.add_argument("--dry-run", **absent, help="only list it")
    gc.add_argument("--json", **absent, help="print JSON for scripts")
    gc.add_argument("--yes", **absent, help="do not ask")
    gc.add_argument(
        "--days",
        type=whole_number,
        default=7,
        metavar="N",
        help="what could still be gone on from is kept for so many days (default: 7)",
    )


PARSERS: dict[str, Callable[[], argparse.ArgumentParser]] = {
    "main.py": train_parser,
    "prepare_data.py": prepare_parser,
    "evaluate.py": evaluate_parser,
    "check_and_sync_data.py": sync_parser,
    "report.py": report_parser,
    "deploy.py": deploy_parser,
}
"""Entry point → its command line."""


def add_override_argument(parser: argparse.ArgumentParser, example: str = OVERRIDE_EXAMPLE) -> None:
    """Add `--override`: one quoted string with several assignments, several arguments, or the option repeated."""
    parser.add_argument(
        "--override",
        action="append",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help=f"replace config values, e.g. {example}; may be repeated; lists as [1, 2], text with spaces in quotes",
    )


def override_texts(groups: Iterable[Iterable[str]]) -> list[str]:
    """The strings of a parsed `--override`, in the order of the command line."""
    return [text for group in groups for text in group]


def check_job_id(job_id: str) -> str:
    """`job_id` if it is one path component of letters, digits, `.`, `_`, `-` (at most 128); `ConfigError` if not."""
    if not _JOB_ID.fullmatch(job_id):
        raise ConfigError(
            f"job id {job_id!r}: expected letters, digits, '.', '_' or '-' (at most 128, not '-' first), e.g. job_001"
        )
    return job_id


def checkout_path(given: str | Path, root: Path) -> Path:
    """`given` relative to the current folder or, if it is not there, to the checkout `root`."""
    path = Path(given).expanduser()
    return root / path if not path.is_absolute() and not path.exists() and (root / path).exists() else path


def configs_near(given: str | Path, folder: Path) -> str:
    """`; in FOLDER there are: a.yaml, b.yaml and 3 more`, those with names like `given` first; empty without any."""
    names = sorted(path.name for path in folder.glob("*.yaml"))
    nearest = difflib.get_close_matches(Path(given).name, names, n=CONFIGS_SHOWN, cutoff=0)
    more = f" and {len(names) - len(nearest)} more" if len(names) > len(nearest) else ""
    return f"; in {folder} there are: {', '.join(nearest)}{more}" if names else ""
