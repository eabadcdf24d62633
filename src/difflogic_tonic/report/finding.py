"""Which run folders a command line means."""

from collections.abc import Sequence
from pathlib import Path

from difflogic_tonic.config import StoragePaths
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.runs.folder import RunFolder

SET_ASIDE = ".old-"
"""In the job id of a run that `--fresh` has set aside."""

_PATTERN = set("*?[")
_SHOWN = 6


def runs_root(places: StoragePaths) -> Path:
    """The folder of all runs. It need not exist."""
    return places.project / "runs"


def find_runs(words: Sequence[str], places: StoragePaths) -> list[Path]:
    """The folders that `words` name, each once, in their order; those of a pattern by name.

    A word is a job id, a folder, or a pattern of either. Without words: every run but those that `--fresh` has set
    aside. Raises `ConfigError` for a word that names nothing.
    """
    root = runs_root(places)
    if not words:
        return [path for path in _folders(root) if SET_ASIDE not in path.name]
    found: dict[Path, Path] = {}
    for path in (path for word in words for path in _named(word, root)):
        found.setdefault(path.resolve(), path)  # a job id and the path of its folder are one run
    return list(found.values())


def find_run(word: str, places: StoragePaths) -> RunFolder:
    """The one run that `word` names. Raises `ConfigError` if there is none, or several."""
    found = find_runs([word], places)
    if len(found) > 1:
        raise ConfigError(f"{word} names {len(found)} runs; expected one, e.g. {found[0].name}")
    return RunFolder(found[0])


def _named(word: str, root: Path) -> list[Path]:
    if _PATTERN & set(word):
        # a pattern with a folder in it is a path
        base, pattern = (Path.cwd(), word) if "/" in word else (root, word)
        if Path(pattern).is_absolute():
            base, pattern = Path("/"), pattern.lstrip("/")
        found = sorted(path for path in base.glob(pattern) if _is_folder(path))
        if not found:
            raise ConfigError(f"no run fits {word!r} in {base}{_there_are(root)}")
        return found
    if not word:
        raise ConfigError(f"the name of a run is empty{_there_are(root)}")
    here = Path(word).expanduser()
    if word in (".", "..") or word.startswith(("./", "../")):  # no job is called so
        here = here.resolve()
        if here.is_dir():
            return [here]
        raise ConfigError(f"no run {word}: {here} is no folder{_there_are(root)}")
    for path in (root / word, here):
        if path.is_dir():
            return [path]
    raise ConfigError(f"no run {word}: neither {root / word} nor {here.absolute()} is a folder{_there_are(root)}")


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if _is_folder(path)) if root.is_dir() else []


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _there_are(root: Path) -> str:
    names = [path.name for path in _folders(root)]
    if not names:
        return f"; {root} holds no runs, train one: ./train.sh configs/quickstart.yaml demo"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"; there are {', '.join(names[:_SHOWN])}{more}"
