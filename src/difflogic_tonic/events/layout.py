"""How the recordings of a dataset lie in a folder or archive."""

import re
from functools import lru_cache
from typing import NamedTuple

from difflogic_tonic.config.datasets import DatasetFacts, Split

SPLIT_FOLDERS: dict[str, Split] = {"train": "train", "test": "test"}
"""Folder name in lower case → split."""

_RECORDING_NAME = re.compile(r"(\d+)\.bin", re.ASCII)


class Placed(NamedTuple):
    """A file inside a class folder. `path` is its standard path `Train/3/00012.bin`, whatever lies above `Train`.

    `label` is -1 for a recording in the folder of no class, `number` is -1 for a file that has not the name of a
    recording: both are files that should not be there.
    """

    prefix: str
    path: str
    split: Split
    label: int
    number: int

    @property
    def is_recording(self) -> bool:
        return self.label >= 0 and self.number >= 0


def place(path: str, facts: DatasetFacts) -> Placed | None:
    """Where the file with this relative POSIX path belongs; None if it is in no class folder, hidden, or a system file.

    ATIS datasets lie as `Train/<class>/<number>.bin` and `Test/<class>/<number>.bin`, below any number of folders.
    """
    parent, _, name = path.rpartition("/")
    folder = _class_folder(parent, facts.classes)
    if folder is None or is_hidden(name):
        return None
    match = _RECORDING_NAME.fullmatch(name)
    if folder.label < 0 and match is None:
        return None
    number = int(match[1]) if match else -1
    return Placed(folder.prefix, f"{folder.path}/{name}", folder.split, folder.label, number)


@lru_cache(maxsize=256)  # tens of thousands of files lie in a few folders
def _class_folder(path: str, classes: tuple[str, ...]) -> Placed | None:
    """The class folder at `path` as its files are placed, `label` -1 if its name is no class; None if it is none."""
    *above, split_folder, name = ("", "", *path.split("/"))
    split = SPLIT_FOLDERS.get(split_folder.lower())
    if split is None or any(map(is_hidden, (*above, name))):
        return None
    prefix = "/".join((*above, split_folder)).lstrip("/")
    label = classes.index(name) if name in classes else -1
    return Placed(prefix, f"{split.capitalize()}/{name}", split, label, -1)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is left out without a word."""
    return name.startswith(".") or name == "__MACOSX"


def expected(facts: DatasetFacts) -> str:
    """The layout in words, for messages."""
    return f"Train/<class>/<number>.bin and Test/<class>/<number>.bin, classes {facts.classes[0]}–{facts.classes[-1]}"
