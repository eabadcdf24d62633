"""Check an image from inside it, with its own code: `apptainer test IMAGE`.

Versions, imports and ten optimizer steps. Prints one line for each thing checked; the first that is wrong ends it
with a non-zero exit code.
"""

import importlib
import importlib.metadata
import json
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ROOT / "requirements"
TRAINED_STEPS = 10
CONFIG = "configs/quickstart.yaml"
TRAIN = (
    "data.name=FOLDER train.epochs=1 train.device=cpu train.dataloader.batch_size=8 "
    "model.difflogic.num_neurons=400 model.difflogic.num_layers=2"
)
PREPARE = """
data:
  name: FOLDER
  data_root: {raw}
  sensor: [8, 8]
  time_bins: 4
  test_fraction: 0.1
  val_fraction: 0.1
  workers: 1
"""


def main() -> int:
    sys.path.insert(0, str(ROOT / "src"))
    for check in (_check_versions, _check_imports, _check_steps):
        print(check(), flush=True)
    return 0


def _check_versions() -> str:
    """Every package has the version of its lock file, and comes from the image rather than from the user's home."""
    import torch

    rows = dict(_locked("torch-cuda.lock" if torch.version.cuda else "torch-cpu.lock"))
    for name, version in rows.items():
        found = importlib.metadata.distribution(name)
        if found.version.split("+")[0] != version:
            raise SystemExit(f"error: {name} is {found.version}, the lock file says {version}; build the image again")
        if not Path(str(found.locate_file(""))).is_relative_to(sys.prefix):
            raise SystemExit(f"error: {name} comes from {found.locate_file('')}, not from the image")
    return f"{len(rows)} packages have their locked versions"


def _locked(torch_lock: str) -> Iterator[tuple[str, str]]:
    for name in ("config.lock", "base.lock", torch_lock):
        for line in (LOCKS / name).read_text().splitlines():
            if match := re.match(r"([\w.-]+)==([\w.]+)", line):
                yield match[1], match[2]


def _check_imports() -> str:
    """Every module of the pipeline. What is made for other machines (Triton without its package) says so itself."""
    import torch

    import difflogic_tonic

    names = [module.name for module in pkgutil.walk_packages(difflogic_tonic.__path__, "difflogic_tonic.")]
    skipped = []
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != "triton":  # only the CUDA build of torch brings it
                raise
            skipped.append(name)
    cuda = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
    if torch.version.cuda and skipped:
        raise SystemExit(
            f"error: {', '.join(skipped)} cannot be imported without triton, which this torch should bring"
        )
    seen = "a GPU is visible" if torch.cuda.is_available() else "no GPU is visible"
    return f"{len(names) - len(skipped)} modules imported; torch {torch.__version__}, {cuda}; {seen}"


def _check_steps() -> str:
    """Prepare some recordings and train a logic network on them, in a folder that is thrown away."""
    with tempfile.TemporaryDirectory(prefix="difflogic-image-") as folder:
        _write_recordings(Path(folder) / "raw")
        prepare = Path(folder) / "prepare.yaml"
        prepare.write_text(PREPARE.format(raw=json.dumps(f"{folder}/raw")))
        overrides = f"{TRAIN} data.prepare='{prepare}'"
        # The image cannot be written, and Matplotlib would look for a place of its own in the home folder.
        places = {"PROJECT_STORAGE_DIR": folder, "SCRATCH_STORAGE_DIR": folder, "MPLCONFIGDIR": folder}
        for words in (["prepare_data.py", str(prepare)], ["main.py", CONFIG, "image", "--override", overrides]):
            command = [sys.executable, *words]
            done = subprocess.run(command, env={**os.environ, **places}, cwd=ROOT, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"error: {words[0]} ended with code {done.returncode}:\n{done.stdout}{done.stderr}")
        step = json.loads((Path(folder) / "runs" / "image" / "status.json").read_text())["step"]
    if step < TRAINED_STEPS:
        raise SystemExit(f"error: {CONFIG} trained {step} steps, expected at least {TRAINED_STEPS}")
    return f"{step} optimizer steps trained"


def _write_recordings(folder: Path) -> None:
    """Twenty of each of two classes as text: a bar of 8 pixels that moves along x, and one that moves along y."""
    for name in ("x", "y"):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            events = ((time, (time // 8 + number) % 8, time % 8) for time in range(256))
            rows = (f"{t} {a} {b} {t % 2}\n" if name == "x" else f"{t} {b} {a} {t % 2}\n" for t, a, b in events)
            (folder / name / f"{number}.txt").write_text("t x y p\n" + "".join(rows))


if __name__ == "__main__":
    sys.exit(main())
