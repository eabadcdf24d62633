"""The house rules that a machine can check: imports run in one direction, light rooms stay light, files stay short."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOMS = (
    "errors",
    "arguments",
    "config",
    "storage",
    "events",
    "cache",
    "data",
    "nets",
    "netlist",
    "models",
    "runs",
    "train",
    "sync",
    "report",
    "deploy",
)
LIGHT = ("errors", "arguments", "config", "storage", "events", "cache", "netlist")
PACKAGE = Path(__file__).resolve().parents[2] / "src" / "difflogic_tonic"


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.name != "__init__.py")


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_from_rooms_to_its_left(path: Path) -> None:
    room = room_of(path)
    assert room in ROOMS
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "difflogic_tonic" and len(parts) > 1 and parts[1] in ROOMS:
            assert ROOMS.index(parts[1]) <= ROOMS.index(room), f"{room} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_rooms_before_data_never_import_torch_or_tonic(path: Path) -> None:
    if room_of(path) in LIGHT:
        assert not {name for name in imported(path) if name.split(".")[0] in ("torch", "tonic")}


@pytest.mark.parametrize("module", ["difflogic_tonic.config", "difflogic_tonic.cache", "difflogic_tonic.netlist"])
def test_light_rooms_leave_torch_unloaded(module: str) -> None:
    code = f"import sys, {module}; sys.exit(any(name in sys.modules for name in ('torch', 'tonic', 'tensorboard')))"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(PACKAGE.parent)}).returncode == 0


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_is_longer_than_a_person_reads_at_once(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 350


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_config_reads_environment_variables_and_yaml(path: Path) -> None:
    if room_of(path) in ("arguments", "config"):
        return
    text = path.read_text()
    assert "os.environ" not in text
    assert "os.getenv" not in text
    assert "yaml" not in {name.split(".")[0] for name in imported(path)} or room_of(path) == "runs"
