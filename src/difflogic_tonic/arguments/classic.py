"""Command lines that users of other programs know, read as a config and overrides.

`main.py --classic NAME …` takes the options of a program by their own spelling. Each is a line of a table: what is
written on the command line, and which config key it sets. What has no key (folders, checkpoints of that program) is in
`Classic`. The table of docs/snn.md is this one.
"""

import argparse
import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from difflogic_tonic.arguments.commands import add_override_argument
from difflogic_tonic.arguments.one_line import OneLineParser, at_least_one
from difflogic_tonic.errors import ConfigError


@dataclass(frozen=True)
class Classic:
    """What a classic command line asks for besides its config. Paths are as they were written; None: not given."""

    name: str
    prepare: str
    """Prepare config of the dataset."""

    data_dir: str | None = None
    """Folder with the raw data: prepared from there if it is not prepared yet."""

    out_dir: str | None = None
    """Folder that takes the place of project storage."""

    save_es: str | None = None
    """Folder for pictures of the encoder's spikes."""

    notes: tuple[str, ...] = ()
    """What the user should know, one line each."""


@dataclass(frozen=True)
class Option:
    """One option: `flag` as it is written, the config `keys` it sets; without a type it is a switch that sets `value`.

    `values`: what it may be → the value of the key, where the two differ.
    """

    flag: str
    keys: tuple[str, ...]
    help: str
    type: Callable[[str], Any] | None = str
    value: str = ""
    note: str = ""
    values: dict[str, str] = field(default_factory=dict)

    @property
    def dest(self) -> str:
        return self.flag.strip("-").replace("-", "_").replace(".", "_")


@dataclass(frozen=True)
class Program:
    """A program whose command line is known: its options, and the shipped configs that stand for it.

    `choose`: from what was given to (config, prepare config, job id, further overrides).
    """

    about: str
    options: tuple[Option, ...]
    choose: Callable[[dict[str, Any]], tuple[str, str, str, list[str]]]


AMP = Option("-amp", ("train.amp",), "mixed precision", None, "auto")
FUSED = (
    "-cupy: there is no CuPy here; it picks model.snn.backend: auto, neurons fused into one pass over all time steps, "
    "in numba on a CPU and in Triton on a GPU"
)

_SHARED = (
    Option("-device", ("train.device",), "cpu, cuda:0"),
    Option("-b", ("train.dataloader.batch_size",), "batch size", int),
    Option("-epochs", ("train.epochs",), "passes over the training images", int),
    Option("-j", ("train.dataloader.num_workers",), "threads that read ahead", int),
    Option("-data-dir", (), "folder with the raw data; prepared from there, once"),
    Option("-out-dir", (), "folder for runs, models and checkpoints, in place of project storage"),
    Option("-resume", (), "checkpoint to go on from: of this program, or of the program with this command line"),
    AMP,
    Option("-cupy", ("model.snn.backend",), "fused neurons, on a CPU or GPU", None, "auto", FUSED),
    Option("-opt", ("train.optimizer",), "sgd or adam", values={"sgd": "sgd", "adam": "adam"}),
    Option("-momentum", ("train.momentum",), "momentum of sgd", float),
    Option("-lr", ("train.learning_rate",), "learning rate", float),
    Option("-channels", ("model.snn.channels",), "channels of the convolutions", int),
    Option("-save-es", (), "folder for pictures of the encoder's spikes; with -resume nothing is trained"),
)


def _fmnist(given: dict[str, Any]) -> tuple[str, str, str, list[str]]:
    name = "T{T}_b{b}_{opt}_lr{lr:g}_c{channels}".format_map(
        {"T": 4, "b": 128, "opt": "sgd", "lr": 0.1, "channels": 128} | given
    )
    name += "_amp" * ("amp" in given) + "_cupy" * ("cupy" in given)
    return "configs/fashionmnist_snn.yaml", "configs/prepare_fashionmnist.yaml", name, _fp32_unless_asked(given)


def _fp32_unless_asked(given: dict[str, Any]) -> list[str]:
    """These programs compute in fp32 where nothing is said, our configs in bf16 where that is fast."""
    return [] if "amp" in given else ["train.amp=off"]


def _rows(given: dict[str, Any]) -> tuple[str, str, str, list[str]]:
    _, prepare, name, further = _fmnist({"b": 256} | given)
    kind = {"plain": "plain", "ss": "synapse", "fb": "feedback"}[given.get("model", "plain")]
    job = f"{kind}_{re.sub(r'^T4_|_c128', '', name)}"
    return f"configs/fashionmnist_snn_rows_{kind}.yaml", prepare, job, further


def _dvsgesture(given: dict[str, Any]) -> tuple[str, str, str, list[str]]:
    # that program has no optimizer of its own: unless one is given it is the config's, with the config's rate
    optimizer = {"opt": "adam", "lr": 0.1 if "opt" in given else 1e-3}
    _, _, name, _ = _fmnist({"T": 16, "b": 16} | optimizer | given)
    rate = ["train.learning_rate=0.1"] if "opt" in given and "lr" not in given else []
    steps = given.get("T", 16)
    prepare = f"configs/prepare_dvsgesture_t{steps}.yaml"
    return (
        "configs/dvsgesture_snn_plif.yaml",
        prepare,
        f"dvsgesture_{name}",
        ["model.snn.neuron=lif", f"data.prepare={prepare}", *rate, *_fp32_unless_asked(given)],
    )


def _mnist(given: dict[str, Any]) -> tuple[str, str, str, list[str]]:
    spike = given.get("data_spike") == "true"
    overrides = [f"data.subset={1 / given['data_subset']:.6g}"] if given.get("data_subset", 1) > 1 else []
    job = given.get("exp_id", "spike" if spike else "static")
    if spike:
        return "configs/nmnist_snn_csnn.yaml", "configs/prepare_nmnist_t25.yaml", job, overrides
    return "configs/mnist_snn.yaml", "configs/prepare_mnist.yaml", job, overrides


_RESNET_SETS = {
    "cifar10": ("cifar10", "prepare_cifar10"),
    "cifar100": ("cifar100", "prepare_cifar100"),
    "tinyimagenet": ("tinyimagenet", "prepare_tinyimagenet"),
    "cifar10_dvs": ("cifar10dvs", "prepare_cifar10dvs_t32"),
    "dvsgesture": ("dvsgesture", "prepare_dvsgesture_t32"),
}


def _resnet(given: dict[str, Any]) -> tuple[str, str, str, list[str]]:
    dataset = given.get("dataset", "cifar10")
    name, prepare = _RESNET_SETS[dataset]
    events = name in ("cifar10dvs", "dvsgesture")
    steps = given.get("T", 32 if events else 4)
    overrides = [*([] if events else [f"model.snn.steps={steps}"]), *_fp32_unless_asked(given)]
    if events and steps != 32:
        raise ConfigError(
            f"--T {steps}: {dataset} is shipped with 32 frames a recording; copy configs/{prepare}.yaml with "
            f"frames_by_number: {steps} and add --override data.prepare=COPY"
        )
    parts = [name, given.get("model", "spiking_resnet18"), given.get("neuron"), f"T{steps}", given.get("tag")]
    job = re.sub(r"[^A-Za-z0-9._-]+", "-", "_".join(part for part in parts if part))
    return f"configs/{name}_snn_resnet18.yaml", f"configs/{prepare}.yaml", job, overrides


def _names(*names: str) -> dict[str, str]:
    return {name: name for name in names}


PROGRAMS = {
    "fmnist": Program(
        "SpikingJelly's conv_fashion_mnist",
        (Option("-T", ("model.snn.steps",), "time steps", int), *_SHARED),
        _fmnist,
    ),
    "seqfmnist": Program(
        "SpikingJelly's rsnn_sequential_fmnist",
        (
            Option("-model", (), "plain, ss (stateful synapse) or fb (feedback)", values=_names("plain", "ss", "fb")),
            *(option for option in _SHARED if option.flag not in ("-channels", "-save-es")),
        ),
        _rows,
    ),
    "dvsgesture": Program(
        "SpikingJelly's classify_dvsg",
        (
            Option("-T", ("data.prepare",), "frames of a recording: 16 or 20", int, values=_names("16", "20")),
            Option("-tau", ("model.snn.tau",), "membrane time constant", float),
            *_SHARED,
        ),
        _dvsgesture,
    ),
    "mnist": Program(
        "a convolutional spiking network on MNIST or N-MNIST, configured as key=value",
        (
            Option("exp_id", (), "name of the run"),
            Option("data.spike", (), "true: N-MNIST, false: MNIST", values=_names("true", "false")),
            Option(
                "data.subset", (), "train on one in so many samples (data.subset is then that fraction)", at_least_one
            ),
            Option("train.num_epochs", ("train.epochs",), "passes over the training samples", int),
        ),
        _mnist,
    ),
    "resnet": Program(
        "a script that trains spiking ResNets on images and on events",
        (
            Option("--dataset", (), ", ".join(_RESNET_SETS), values={name: name for name in _RESNET_SETS}),
            Option("--model", ("model.snn.architecture",), "spiking_resnet18 and its like"),
            Option("--neuron", ("model.snn.neuron",), "if or lif", values=_names("if", "lif")),
            Option("--T", (), "time steps (images: model.snn.steps; events: 32)", int),
            Option("--epochs", ("train.epochs",), "passes over the training samples", int),
            Option("--batch-size", ("train.dataloader.batch_size",), "batch size", int),
            Option("--tag", ("base.tag",), "a word kept with the results"),
            replace(AMP, flag="--amp"),
            Option("--save-model", (), "nothing", None, note="--save-model: the best model is always kept"),
        ),
        _resnet,
    ),
}
"""Name after `--classic` → the program."""


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The arguments of `train_parser`, from a command line with `--classic NAME`; `classic` holds the rest.

    Raises `ConfigError` in one line for a program, option or value that is not known.
    """
    chooser = OneLineParser(prog="--classic", add_help=False, allow_abbrev=False)
    chooser.add_argument("--classic", metavar="NAME")
    found, rest = chooser.parse_known_args(words)
    if found.classic not in PROGRAMS:
        raise ConfigError(f"--classic {found.classic}: expected one of {', '.join(PROGRAMS)}")
    program = PROGRAMS[found.classic]
    parser = _parser(found.classic, program)
    given, unknown = parser.parse_known_args(rest)
    assignments = [option for option in program.options if not option.flag.startswith("-")]
    values = {option.dest: getattr(given, option.dest) for option in program.options if option not in assignments}
    for word in unknown:
        values |= _assigned(found.classic, word, program, assignments)
    values = {name: value for name, value in values.items() if value is not None and value is not False}
    return _arguments(found.classic, program, values, given)


def _parser(name: str, program: Program) -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog=f"--classic {name}",
        usage=f"main.py --classic {name} [OPTION ...] [--override KEY=VALUE] [--job-id NAME]"
        " [--resume | --fresh] [--debug]",
        description=f"The command line of {program.about}, as configs of this program (docs/snn.md).",
        epilog=" ".join(f"{option.flag}=... {option.help}." for option in program.options if option.flag[0] != "-"),
        allow_abbrev=False,
    )
    for option in program.options:
        shown = f"{option.help} ({', '.join(option.keys)})" if option.keys else option.help
        if option.type is None:
            parser.add_argument(option.flag, dest=option.dest, action="store_true", help=shown)
        elif option.flag.startswith("-"):
            parser.add_argument(
                option.flag, dest=option.dest, type=option.type, choices=_choices(option), metavar="X", help=shown
            )
    parser.add_argument("--job-id", metavar="NAME", help="name of the run; default: made of the options")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--resume", dest="go_on", action="store_const", const="always", help="go on with the run itself")
    start.add_argument("--fresh", action="store_true", help="start anew although there is such a run")
    parser.add_argument("--debug", action="store_true", help="a few batches through every stage")
    add_override_argument(parser)
    return parser


def _choices(option: Option) -> list[Any] | None:
    return [option.type(text) for text in option.values] if option.values and option.type else None


def _assigned(name: str, word: str, program: Program, assignments: list[Option]) -> dict[str, Any]:
    """The value of a word like `data.spike=true`."""
    key, equals, text = word.partition("=")
    option = next((option for option in assignments if option.flag == key and equals), None)
    if option is None:
        known = [option.flag for option in program.options]
        near = difflib.get_close_matches(key, known, n=1)
        raise ConfigError(
            f"--classic {name}: unknown {word}{f' (did you mean {near[0]}?)' if near else ''}; "
            f"it knows {', '.join(known)}, and any key by --override"
        )
    assert option.type is not None
    try:
        value = option.type(text)
    except ValueError:
        raise ConfigError(f"--classic {name}: {word}: expected a whole number, found {text!r}") from None
    except argparse.ArgumentTypeError as error:
        raise ConfigError(f"--classic {name}: {key}: {error}") from None
    if option.values and text.lower() not in option.values:
        raise ConfigError(f"--classic {name}: {word}: expected one of {', '.join(option.values)}")
    return {option.dest: text.lower() if option.values else value}


def _arguments(name: str, program: Program, given: dict[str, Any], parsed: argparse.Namespace) -> argparse.Namespace:
    config, prepare, job_id, further = program.choose(given)
    overrides = [*_overrides(program, given, further), *further]
    checkpoint = given.get("resume")
    ours = _own_checkpoint(checkpoint, also_models="save_es" not in given)  # pictures are of the model that is named
    if checkpoint is not None and ours is None:
        key = "model.weights" if "save_es" in given else "train.continue_from"
        overrides.append(f"{key}={_quoted(checkpoint)}")
    notes = tuple(option.note for option in program.options if option.note and option.dest in given)
    classic = Classic(name, prepare, given.get("data_dir"), given.get("out_dir"), given.get("save_es"), notes)
    return argparse.Namespace(
        config=config,
        job_id=parsed.job_id or ours or job_id,
        resume="always" if ours else parsed.go_on,
        fresh=parsed.fresh,
        debug=parsed.debug,
        override=[overrides, *parsed.override],
        classic=classic,
    )


def _overrides(program: Program, given: dict[str, Any], further: list[str]) -> Iterator[str]:
    """`key=value` of every option that was given, unless `choose` has set that key."""
    settled = {text.partition("=")[0] for text in further}
    for option in program.options:
        if option.dest not in given:
            continue
        value = option.value if option.type is None else option.values.get(str(given[option.dest]), given[option.dest])
        for key in option.keys:
            if key not in settled:
                yield f"{key}={_quoted(value) if isinstance(value, str) else value}"


def _own_checkpoint(path: str | None, also_models: bool) -> str | None:
    """The job id, if `path` is a checkpoint of this program, …/checkpoints/<job_id>/step-….pt, or one of its models,
    …/models/<job_id>/best.pt or last.pt: training goes on from the newest checkpoint of that job either way."""
    kinds = [r"checkpoints/([^/]+)/step-[^/]*", *([r"models/([^/]+)/(?:best|last)"] if also_models else [])]
    found = (re.search(rf"(?:^|/){kind}\.pt$", path or "") for kind in kinds)
    return next((match[1] for match in found if match), None)


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[\w./:-]+", text) else "'" + text.replace("'", "''") + "'"
