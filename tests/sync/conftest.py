"""A prepared dataset of a camera with 5 × 3 pixels, copied for each test; what a run leaves; and the command line."""

import logging
import shutil
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from difflogic_tonic import cache
from difflogic_tonic.arguments import parse, sync_parser
from difflogic_tonic.config import PrepareConfig, StoragePaths
from difflogic_tonic.runs.log import ROOT
from difflogic_tonic.storage import Storage, open_storage, write_json

WAVE = "t,x,y,p\n0,0,0,0\n10,4,2,1\n20,4,2,1\n30,1,2,0\n"
CLAP = "t,x,y,p\n0,2,1,1\n5,2,1,1\n9,2,1,1\n40,3,0,0\n"
VARIANTS = {
    "counts": {"events_per_frame": 2},
    "bits": {"events_per_frame": 4, "frames": "bits"},
    "levels": {"events_per_frame": 4, "frames": "thermometer", "levels": [1, 3]},
    "times": {"time_window": 20, "overlap": 10, "include_incomplete": True},
}


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage root with the four VARIANTS of six recordings; with two events a frame they have two frames each."""
    root = tmp_path_factory.mktemp("prepared")
    for split, names in (("train", "ab"), ("test", "c")):
        for label, text in (("wave", WAVE), ("clap", CLAP)):
            folder = root / "mine" / split / label
            folder.mkdir(parents=True)
            for name in names:
                (folder / f"{name}.csv").write_text(text)
    storage = open_storage(StoragePaths(root / "storage", root / "storage"))
    for options in VARIANTS.values():
        data = {"name": "FOLDER", "data_root": root / "mine", "sensor": [5, 3], "val_fraction": 0.0} | options
        cache.prepare(PrepareConfig.model_validate({"data": data}), storage, progress=False)
    return root / "storage"


@pytest.fixture
def storage(prepared: Path, tmp_path: Path) -> Storage:
    """Two places; scratch has the variants, project storage has nothing."""
    shutil.copytree(prepared, tmp_path / "scratch")
    return open_storage(StoragePaths(scratch=tmp_path / "scratch", project=tmp_path / "project"))


@pytest.fixture
def folder_of(storage: Storage) -> Callable[[str], Path]:
    """The folder in scratch of a variant by its name in VARIANTS."""

    def find(name: str) -> Path:
        for folder in storage.scratch.data_dir("FOLDER").iterdir():
            if not folder.name.startswith("."):
                parameters = cache.load_manifest(folder).parameters
                if all(
                    parameters.get("frames" if key == "frames" else key) == value
                    for key, value in VARIANTS[name].items()
                    if key != "overlap"
                ):
                    return folder
        raise AssertionError(name)

    return find


@pytest.fixture
def one_variant(storage: Storage, folder_of: Callable[[str], Path]) -> Path:
    """Leaves only the variant `counts`; its folder in scratch."""
    kept = folder_of("counts")
    for folder in storage.scratch.data_dir("FOLDER").iterdir():
        if folder != kept:
            shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
    return kept


@pytest.fixture(autouse=True)
def quiet_afterwards() -> Iterator[None]:
    """The command shows its log on the console, for one process; tests share theirs."""
    yield
    logging.getLogger(ROOT).handlers.clear()


@pytest.fixture
def command() -> Callable[..., Namespace]:
    """Parsed words of a command line."""
    return lambda *words: parse(sync_parser(), words)


@pytest.fixture
def make_job(storage: Storage) -> Callable[..., None]:
    """A job with a status, and files named `place/checkpoints-or-models/name`."""

    def make(job_id: str, state: str, files: dict[str, bytes], summary: bool = False) -> None:
        run = storage.project.run_dir(job_id)
        run.mkdir(parents=True)
        write_json(run / "status.json", {"state": state})
        if summary:
            write_json(run / "summary.json", {})
        for name, content in files.items():
            place, part, file = name.split("/")
            path = getattr(storage, place).root / part / job_id / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    return make
