"""How the recordings of a dataset lie in a folder or archive."""

import re
from functools import lru_cache
from typing import NamedTuple

from difflogic_tonic.config.datasets import DatasetFacts, Layout, Split


class Placed(NamedTuple):
    """A file in a folder of recordings. `path` is its standard path `Train/3/00012.bin`, whatever lies above `Train`.

    `label` is the name of its class, None if it is in the folder of no class; `number` tells the recordings of a class
    apart, and is None for a file that has not the name of a recording. Both are files that should not be there.
    """

    prefix: str
    path: str
    split: Split
    label: str | None
    number: str | None

    @property
    def is_recording(self) -> bool:
        return self.label is not None and self.number is not None


def place(path: str, facts: DatasetFacts) -> Placed | None:
    """Where the file with this relative POSIX path belongs in the layout of `facts`; None if it does not concern us.

    That is a file in no folder of recordings, a hidden one, or a system file. ATIS datasets, for example, lie as
    `Train/<class>/<number>.bin` and `Test/<class>/<number>.bin`, below any number of folders.
    """
    layout = facts.layout
    parent, _, name = path.rpartition("/")
    if is_hidden(name):
        return None
    if layout.holds != "recording":
        ours = re.fullmatch(layout.file, name) and not any(map(is_hidden, parent.split("/")))
        return Placed("", path, "all", "", path) if ours else None
    folder = place_folder(parent, layout, facts.classes)
    if folder is None:
        return None
    match = re.fullmatch(layout.file, name)
    if match is None and (folder.label is None or not layout.strict):
        return None
    groups = match.groupdict() if match else {}
    label = folder.label if "label" not in groups else _class_of(groups["label"], layout, facts.classes)
    number = None if match is None else str(int(groups["number"])) if "number" in groups else f"{folder.path}/{name}"
    return Placed(folder.prefix, f"{folder.path}/{name}".lstrip("/"), folder.split, label, number)


@lru_cache(maxsize=8192)  # tens of thousands of files lie in a few folders
def place_folder(path: str, layout: Layout, classes: tuple[str, ...]) -> Placed | None:
    """The folder at `path` as its files are placed, None if it is no folder of recordings.

    `label` is None if its name is that of no class, and empty where the names of the files tell the class.
    """
    match = re.fullmatch(rf"(?:(?P<above>.*)/)?(?P<standard>{layout.folders})", path)
    if match is None or any(map(is_hidden, path.split("/"))):
        return None
    groups = match.groupdict()
    standard, split, prefix = groups["standard"], "all", groups["above"] or ""
    if "split" in groups:
        found = next((each for each in layout.splits if each[0].lower() == groups["split"].lower()), None)
        if found is None:
            return None
        start = match.start("split") - match.start("standard")
        standard = f"{standard[:start]}{found[0]}{standard[start + len(groups['split']) :]}"
        prefix, split = f"{prefix}/{groups['split']}".lstrip("/"), found[1]
    label = _class_of(groups["label"], layout, classes) if "label" in groups else ""
    return Placed(prefix, standard, split, label, "")  # type: ignore[arg-type]


def _class_of(name: str, layout: Layout, classes: tuple[str, ...]) -> str | None:
    """The class that is called `name` in a path; any, if the dataset does not name its classes."""
    if layout.labels:
        return classes[layout.labels.index(name)] if name in layout.labels else None
    return name if name in classes or not classes else None


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is left out without a word."""
    return name.startswith(".") or name == "__MACOSX"


def expected(facts: DatasetFacts) -> str:
    """The layout in words, for messages."""
    classes = f", classes {facts.classes[0]}–{facts.classes[-1]}" if facts.classes else ""
    return " or ".join(layout.shown for layout in facts.layouts) + classes
