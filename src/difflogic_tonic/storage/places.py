"""The two storage places and the layout that both share.

<root>/raw/<dataset>/                        recordings as they were downloaded
<root>/data/<dataset>/<fingerprint>/         prepared frames, immutable
<root>/checkpoints/<job_id>/                 scratch first, mirrored to project
<root>/models/<job_id>/  <root>/runs/<job_id>/
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from difflogic_tonic.config.environment import PROJECT_VARIABLE, SCRATCH_VARIABLE, StoragePaths
from difflogic_tonic.errors import StorageError

PlaceName = Literal["scratch", "project"]

VARIABLES: dict[PlaceName, str] = {"scratch": SCRATCH_VARIABLE, "project": PROJECT_VARIABLE}


@dataclass(frozen=True)
class Place:
    """One storage place. The folders that its methods name need not exist."""

    name: PlaceName
    root: Path

    def data_dir(self, dataset: str) -> Path:
        """Where the prepared variants of a dataset lie, one folder per fingerprint."""
        return self.root / "data" / dataset

    def raw_dir(self, dataset: str) -> Path:
        return self.root / "raw" / dataset

    def checkpoints_dir(self, job_id: str) -> Path:
        return self.root / "checkpoints" / job_id

    def models_dir(self, job_id: str) -> Path:
        return self.root / "models" / job_id

    def run_dir(self, job_id: str) -> Path:
        return self.root / "runs" / job_id


@dataclass(frozen=True)
class Storage:
    """Scratch (fast, may be wiped, often local to one node) and project storage (persistent, slow)."""

    scratch: Place
    project: Place

    @property
    def is_shared(self) -> bool:
        """Whether both names mean one folder, as when neither variable is set."""
        return self.scratch.root.resolve() == self.project.root.resolve()

    @property
    def places(self) -> tuple[Place, ...]:
        """The distinct places in the order in which they are read: scratch first."""
        return (self.scratch,) if self.is_shared else (self.scratch, self.project)


def open_storage(paths: StoragePaths) -> Storage:
    """Make both roots and see that they can be written; StorageError names the place and its variable otherwise."""
    storage = Storage(Place("scratch", Path(paths.scratch)), Place("project", Path(paths.project)))
    for place in storage.places:
        _check_writable(place)
    return storage


def _check_writable(place: Place) -> None:
    hint = f"set {VARIABLES[place.name]} to a folder that can be written"
    try:
        place.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        where = f"{place.name} storage {place.root}"
        raise StorageError(f"{where} cannot be made ({error.strerror}); {hint}") from error
    if not os.access(place.root, os.W_OK | os.X_OK):
        raise StorageError(f"{place.name} storage {place.root} cannot be written; {hint}")
