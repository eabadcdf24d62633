"""`deploy.py stream`: a recording, or what is still coming in, through the circuit of a job."""

import logging
import os
import sys
from argparse import Namespace
from collections.abc import Callable

from difflogic_tonic.cache.manifest import Manifest
from difflogic_tonic.config import StoragePaths
from difflogic_tonic.deploy.job import Job, open_job
from difflogic_tonic.deploy.sources import STDIN, UDP, Ask, open_source
from difflogic_tonic.deploy.stream import Answers, Classifier, Totals, classify
from difflogic_tonic.deploy.stream_views import Animation, Lines, Screen
from difflogic_tonic.errors import ConfigError, RecordingError
from difflogic_tonic.events.atis import RECORD_BYTES
from difflogic_tonic.events.live import AtisStream, Framer
from difflogic_tonic.events.recipe import FrameRecipe, recipe_from_parameters
from difflogic_tonic.netlist.engine import Engine
from difflogic_tonic.runs.log import log_to_console

TIMED_PIECE = 1024
"""Events that are handed on at a time where frames are pieces of time: few, so that a frame waits for few behind it."""

log = logging.getLogger(__name__)


def stream(arguments: Namespace, places: StoragePaths) -> int:
    """Classify a stream frame by frame until it ends, or Ctrl-C ends it."""
    log_to_console()
    job = open_job(arguments.job, arguments.weights, places)
    recipe = recipe_of(job)
    framer = Framer(recipe)
    ask = Ask(
        source=arguments.recording,
        format=arguments.format,
        follow=arguments.follow,
        idle=arguments.idle,
        piece=_piece(recipe, arguments.batch),
    )
    if arguments.idle != Ask.idle and not (ask.follow or ask.source.startswith(UDP)):
        raise ConfigError("--idle ends a stream that may go on: it goes with --follow or udp://HOST:PORT")
    if ask.follow and (ask.source == STDIN or ask.source.startswith(UDP)):
        raise ConfigError(f"--follow is for a file that grows; {ask.source} is read as it comes anyway")
    animation = None
    if arguments.animation is not None:
        animation = Animation(arguments.animation, job.circuit.class_names, job.inputs.manifest)
    terminal = _terminal(arguments, job)
    views: list[Callable[[Answers], None]] = [view for view in (terminal, animation) if view is not None]
    engine = Engine(job.circuit.netlist, threads=arguments.threads)
    _warm_up(job, engine, recipe)
    classifier = Classifier(job.circuit, engine)
    totals = Totals()
    broken: RecordingError | None = None
    try:
        classify(open_source(ask, recipe), framer, classifier, arguments.batch, _all_of(views), totals)
    except KeyboardInterrupt:
        log.info("stopped")
    except BrokenPipeError:  # whoever read the lines has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except RecordingError as error:  # what was seen until then is shown first
        if not totals.frames:
            raise
        broken = error
    totals.events = framer.n_seen
    if isinstance(terminal, Screen):
        terminal.finish()
    if animation is not None:
        animation.write()
        cut = f", its first {len(animation)} frames" if animation.n_frames > len(animation) else ""
        log.info("%s%s", animation.path, cut)
    for line in summary(totals, job.circuit.class_names):
        log.info("%s", line)
    if broken is not None:
        raise broken
    return 0


def recipe_of(job: Job) -> FrameRecipe:
    """How the frames that the network was trained on were made. ConfigError where a stream cannot be framed so."""
    if job.config.view == "stacked":
        raise ConfigError(f"job {job.job_id} takes all frames of a recording at once, and a stream has no end")
    manifest: Manifest = job.inputs.manifest
    parameters = dict(manifest.parameters)
    if parameters.get("sensor") is None and not {"crop", "downsample"} & parameters.keys():
        levels = len(parameters.get("levels") or [0])
        width, height, channels = manifest.sensor
        parameters["sensor"] = [width, height, channels // levels]
    return recipe_from_parameters(parameters)


def summary(totals: Totals, class_names: tuple[str, ...]) -> list[str]:
    """What the stream was, for people."""
    if totals.vote is None:
        return [f"{totals.events:,} events, no frame"]
    best = int(totals.vote.argmax())
    rate = totals.events / max(totals.seconds, 1e-9)
    return [
        f"{totals.events:,} events, {totals.frames:,} frames: class {class_names[best]} (vote {totals.vote[best]:.3f})",
        f"latency of a frame: median {totals.latency(50) * 1e3:.3f} ms, 99 % within {totals.latency(99) * 1e3:.3f} ms; "
        f"{rate / 1e6:.2f} million events/s of computing",
    ]


def _piece(recipe: FrameRecipe, batch: int) -> int:
    """Events at a time: so many that about `batch` frames are complete with them."""
    if recipe.slice_by == "events":
        return (recipe.slice_size - int(recipe.overlap)) * batch
    return TIMED_PIECE * batch


def _warm_up(job: Job, engine: Engine, recipe: FrameRecipe) -> None:
    """Load the machine code before the first event comes, so that no frame waits for it."""
    framer = Framer(recipe)
    framer.take(AtisStream().take(bytes(RECORD_BYTES)))
    Classifier(job.circuit, engine)(framer.finish().frames, recipe.storage == "bits")


def _terminal(arguments: Namespace, job: Job) -> Lines | Screen | None:
    if arguments.quiet:
        return None
    if sys.stdout.isatty() and not arguments.lines:
        return Screen(job.circuit.class_names, job.inputs.manifest)
    return Lines(job.circuit.class_names)


def _all_of(views: list[Callable[[Answers], None]]) -> Callable[[Answers], None]:
    def show(answers: Answers) -> None:
        for view in views:
            view(answers)

    return show
