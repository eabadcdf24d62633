"""The parser of `deploy.py`: one sub-command per line of a table."""

import argparse
from collections.abc import Callable
from pathlib import Path

from difflogic_tonic.arguments.one_line import OneLineParser, at_least_one, whole_number

FORMATS: dict[str, str] = {
    "netlist": "JSON: gates, wires, classes and how a frame becomes bits",
    "c": "one C99 file with header, and a program that checks it on test vectors",
    "blif": "gates as truth tables, counting and comparing of classes included, for ABC, Yosys and VTR",
    "aiger": "the same as and-inverter graph (binary AIGER)",
    "verilog": "a module, one that takes frames in words around it, and a testbench that checks itself",
}
"""Forms of a circuit → their help. The code of each is in `deploy.formats.FORMATS`."""

NETWORKS: dict[str, str] = {
    "onnx": "a CNN, MLP or spiking network (unrolled over its frames) for ONNX runtimes",
}
"""Forms of the networks that do not become circuits."""

LONGEST_IDLE = 10**9
"""Seconds: what the system waits for without complaint."""


def deploy_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="deploy.sh",
        description="Take a trained network out of Python: write it in another form, check that form, time it.",
        epilog="deploy.sh COMMAND --help lists the arguments of a command.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", required=True)
    for name, (text, add_arguments) in COMMANDS.items():
        add_arguments(commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + "."))
    return parser


def _add_job(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job_id", metavar="JOB_ID", help="name of the run")
    parser.add_argument(
        "--weights", choices=("best", "last"), default="best", help="which model of the run (default: best)"
    )


def _add_export(parser: argparse.ArgumentParser) -> None:
    _add_job(parser)
    forms = FORMATS | NETWORKS
    listed = "; ".join(f"{name}: {text}" for name, text in forms.items())
    parser.add_argument("--format", choices=tuple(forms), required=True, metavar="NAME", help=listed)
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="default: models/JOB_ID/deploy in project storage"
    )
    parser.add_argument(
        "--pipeline", type=whole_number, metavar="K", help="verilog: a register after every K levels of gates; 0: none"
    )
    parser.add_argument(
        "--frames", type=at_least_one, metavar="T", help="onnx: frames of a spiking network's graph (default: as most)"
    )


def _add_bench(parser: argparse.ArgumentParser) -> None:
    _add_job(parser)
    parser.add_argument("--threads", type=at_least_one, metavar="N", help="default: all cores that there are")


def _add_synth(parser: argparse.ArgumentParser) -> None:
    _add_job(parser)
    parser.add_argument("--lut", type=int, choices=(4, 5, 6), default=6, help="inputs of a look-up table (default: 6)")
    parser.add_argument(
        "--pipeline", type=whole_number, metavar="K", default=0, help="registers after every K levels (default: none)"
    )


def _add_stream(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recording",
        metavar="RECORDING",
        help="a file; a named pipe, - or udp://HOST:PORT for ATIS records of 5 bytes as they come",
    )
    parser.add_argument("--job", metavar="JOB_ID", required=True, help="name of the run whose network classifies")
    parser.add_argument(
        "--weights", choices=("best", "last"), default="best", help="which model of the run (default: best)"
    )
    parser.add_argument("--format", metavar="NAME", help="of the recording; default: what its name and content say")
    parser.add_argument("--follow", action="store_true", help="a file of ATIS records that another program is writing")
    parser.add_argument(
        "--idle",
        type=_seconds,
        default=5.0,
        metavar="SECONDS",
        help="without events that end such a stream (default: 5)",
    )
    parser.add_argument(
        "--batch", type=at_least_one, default=1, metavar="N", help="classify up to N frames at a time (default: 1)"
    )
    parser.add_argument("--threads", type=at_least_one, default=1, metavar="N", help="of the evaluator (default: 1)")
    parser.add_argument("--animation", type=Path, metavar="FILE", help="events and prediction over time, .gif or .mp4")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--lines", action="store_true", help="a line for each frame also in a terminal")
    shown.add_argument("--quiet", action="store_true", help="only the summary")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LONGEST_IDLE:
        raise argparse.ArgumentTypeError(f"{text!r}: expected seconds from 0 to {LONGEST_IDLE}, e.g. 5")
    return seconds


def _add_verify(parser: argparse.ArgumentParser) -> None:
    _add_job(parser)
    parser.add_argument(
        "--format",
        choices=(*FORMATS, *NETWORKS),
        action="append",
        metavar="NAME",
        help=f"only this one, may be repeated; default: all of a circuit ({', '.join(FORMATS)}); or onnx",
    )
    parser.add_argument("--samples", type=at_least_one, metavar="N", help="only the first N of the test set")


COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "export": ("write the circuit of a trained logic network, or another network as ONNX", _add_export),
    "verify": ("compare every exported form, bit by bit, with the network on the test set", _add_verify),
    "bench": ("time the evaluator on the test frames, on one core and on all", _add_bench),
    "synth": ("let Yosys map the circuit to look-up tables, before and after simplification", _add_synth),
    "stream": ("classify a recording, or events as they come in, frame by frame", _add_stream),
}
"""Command → its help and what adds its arguments. The code of each is in `deploy.commands.COMMANDS`."""
