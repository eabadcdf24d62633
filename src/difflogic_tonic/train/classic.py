"""A command line of another program, carried out: what it asks for besides its config (`arguments.classic`)."""

import dataclasses
import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

from difflogic_tonic import cache
from difflogic_tonic.arguments.classic import Classic
from difflogic_tonic.config import StoragePaths, TrainConfig, load_prepare_config
from difflogic_tonic.errors import CacheAmbiguous, CacheMissing
from difflogic_tonic.runs.log import log_to_console
from difflogic_tonic.runs.model_file import load_model
from difflogic_tonic.runs.signals import StopRequest
from difflogic_tonic.storage import Storage, open_storage
from difflogic_tonic.train import rehearsal, session
from difflogic_tonic.train.evaluation import draw_encoder
from difflogic_tonic.train.inputs import build_model, choose_device, find_or_prepare, open_inputs

log = logging.getLogger(__name__)


def train_classic(
    request: session.Request, classic: Classic, overrides: Sequence[str], stop: StopRequest, debug: bool = False
) -> int:
    """What `main.py --classic …` asks for. Returns an exit code; raises `UserError`.

    Data are prepared from `-data-dir` if they are not prepared yet. With `-save-es` pictures of the encoder's spikes
    are drawn: of the best model at the end, or, where a checkpoint is given, of that one, and nothing is trained.
    """
    log_to_console()
    say(request.config, classic, overrides)
    places = request.places
    if classic.out_dir is not None:
        places = StoragePaths(scratch=places.scratch, project=Path(classic.out_dir).expanduser().absolute())
    with stop.interruptible():
        storage = open_storage(places)
        if classic.data_dir is not None:
            prepare_from(classic, request.config, storage)
        if classic.save_es is not None and request.config.model.weights is not None:
            draw(request.config, storage, Path(classic.save_es))
            return 0
    request = dataclasses.replace(request, places=places)
    code = rehearsal.rehearse(request, stop) if debug else session.train(request, stop)
    if classic.save_es is not None and code == 0 and not debug:
        with stop.interruptible():
            draw(request.config, storage, Path(classic.save_es), trained=True)
    return code


def say(config: TrainConfig, classic: Classic, overrides: Sequence[str]) -> None:
    """The same in this program's own words, and what is different here."""
    command = ["./train.sh", str(config.source), config.base.job_id or "JOB_ID"]
    if overrides:
        command += ["--override", " ".join(overrides)]
    log.info("--classic %s is: %s", classic.name, shlex.join(command))
    for note in classic.notes:
        log.info("%s", note)


def prepare_from(classic: Classic, config: TrainConfig, storage: Storage) -> None:
    """Prepare the dataset from `-data-dir`, unless it is prepared; then that is used, and said."""
    try:
        found = find_or_prepare(config, storage)
        log.info(
            "-data-dir %s is not read: %s has been prepared with the same parameters", classic.data_dir, found.path
        )
    except CacheAmbiguous:
        raise
    except CacheMissing:
        root = str(classic.data_dir).replace("'", "''")
        cache.prepare(load_prepare_config(classic.prepare, [f"data.data_root='{root}'"]), storage)


def draw(config: TrainConfig, storage: Storage, folder: Path, trained: bool = False) -> None:
    """Pictures of what the encoder makes of the first test batch: a whole one, as in the program that this is from.

    The weights are those of `model.weights` or, with `trained`, the best of the run.
    """
    device = choose_device(config.train.device)
    variant = find_or_prepare(config, storage)
    inputs = open_inputs(config, variant.path, variant.place_name, device)
    model = build_model(config, inputs, device, with_weights=not trained)
    if trained:
        assert config.base.job_id is not None
        model.load_state_dict(load_model(storage.project.models_dir(config.base.job_id) / "best.pt").model)
    draw_encoder(model, inputs, folder, device, samples=config.train.dataloader.batch_size)
