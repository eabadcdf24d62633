"""What one core and one gigabyte do in a preparation: the numbers of docs/scaling.md.

    python benchmarks/scale.py rates [--recordings N] [--folder PATH]     every step on one core
    python benchmarks/scale.py memory [--recordings N] [--folder PATH]    peak memory by size of the shards
    python benchmarks/scale.py listing [--rows N] [--folder PATH]         what grows with the number of recordings

`rates` takes the steps of `prepare` apart, on one thread: reading recordings, decoding and framing, writing a shard,
reading it back, copying the variant to the other place. CPU time counts, for it is time per core; elapsed time is
printed beside it, since writing and copying wait for the disk. Recordings are those of DIGITS_DVS as files, and random
ones of a camera of 640 x 480 pixels, 80,000 events each, as compressed `.npz`. `listing` makes real files for the cost
of finding one, and rows in memory for the rest.
"""

import argparse
import gc
import resource
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from difflogic_tonic.cache import load_manifest, prepare
from difflogic_tonic.cache.archives import Member
from difflogic_tonic.cache.build import Job, find_shard, frame_shard
from difflogic_tonic.cache.fingerprint import fingerprint_of, parameters_hash, parameters_of
from difflogic_tonic.cache.manifest import Manifest, Recordings, SplitFacts, manifest_text
from difflogic_tonic.cache.preparation import facts_of
from difflogic_tonic.cache.publish import copy_variant
from difflogic_tonic.cache.shard import write_shard
from difflogic_tonic.cache.sources import check_recordings, open_source
from difflogic_tonic.cache.splits import assign_splits, plan_shards
from difflogic_tonic.cache.unpack import Index
from difflogic_tonic.config import DATASETS, PrepareConfig, SensorSize, StoragePaths
from difflogic_tonic.events import recipe_from_config
from difflogic_tonic.events.layout import place
from difflogic_tonic.storage import open_storage

CAMERA = (640, 480)
CAMERA_EVENTS = 80_000
ROWS: dict[str, dict[str, Any]] = {
    "DIGITS_DVS, u8": {"name": "DIGITS_DVS", "events_per_frame": 1500, "overlap": 1000, "denoise_time": 1200},
    "camera, downsample 4, bits": {"name": "FOLDER", "event_bins": 10, "downsample": 4, "frames": "bits"},
    "camera, downsample 4, u8": {"name": "FOLDER", "event_bins": 10, "downsample": 4},
    "camera, denoise, downsample 4, bits": {
        "name": "FOLDER", "event_bins": 10, "downsample": 4, "frames": "bits", "denoise_time": 5000,
    },
}  # fmt: skip


def main() -> int:
    arguments = parse()
    gc.set_threshold(200_000)  # as prepare_data.py does
    with tempfile.TemporaryDirectory(prefix="scale-", dir=arguments.folder) as name:
        {"rates": rates, "memory": memory, "memory-of": memory_of, "listing": listing}[arguments.what](
            Path(name), arguments
        )
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("rates", "memory", "memory-of", "listing"))
    parser.add_argument("--recordings", type=int, default=200, help="of the camera; eight times as many digits")
    parser.add_argument("--rows", type=int, default=200_000, help="recordings of the listing")
    parser.add_argument("--shard-recordings", type=int, default=50)
    parser.add_argument("--folder", type=Path, help="where to work; default: the folder for temporary files")
    return parser.parse_args()


class Steps:
    """CPU and elapsed seconds of each step."""

    def __init__(self) -> None:
        self.seconds: dict[str, tuple[float, float]] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        cpu, start = time.process_time(), time.perf_counter()
        yield
        self.seconds[name] = (time.process_time() - cpu, time.perf_counter() - start)


def rates(folder: Path, arguments: argparse.Namespace) -> None:
    for name, values in ROWS.items():
        work = folder / name.replace(" ", "-")
        n = arguments.recordings * (8 if values["name"] == "DIGITS_DVS" else 1)
        config = config_of(write_recordings(values["name"], folder, n), values, n)
        storage = open_storage(StoragePaths(work / "scratch", work / "project"))
        warm_up(config, folder)
        steps, source = Steps(), open_source(config.facts, config.data.data_root, storage, True, False)
        parameters = parameters_of(config)
        fingerprint = fingerprint_of(parameters, source.recordings)
        job = Job(source, recipe_from_config(config, facts_of(config, source)), fingerprint, "error")
        (plan,) = plan_shards(["train"] * len(source.recordings), 10**6)
        with steps.step("read"):
            size = sum(len(source.read(recording)) for recording in source.recordings)
        with steps.step("read, decode, frame"):
            content = frame_shard(job, plan, lambda units: None, threading.Event())
        with steps.step("write"):
            write_shard(folder / plan.name, content)
        with steps.step("read back"):
            assert find_shard(job, plan, folder)
        (folder / plan.name).unlink()
        one = open_storage(StoragePaths(work / "one", work / "one"))
        with steps.step("prepare, one place"):
            prepared = prepare(config, one, progress=False)
        with steps.step("copy to the other"):
            copy_variant(prepared.path, work / "two" / prepared.path.name)
        assert prepared.manifest
        print_rates(name, steps, len(source.recordings), size, prepared.manifest.n_bytes)


def print_rates(name: str, steps: Steps, n: int, size: int, stored: int) -> None:
    print(f"\n{name}: {n:,} recordings of {size / n / 1e3:.1f} kB, {stored / n / 1e3:.1f} kB each in the cache")
    for step, (cpu, elapsed) in steps.seconds.items():
        handled = stored if step in ("write", "read back", "copy to the other") else size
        print(
            f"  {step:<22}{1e3 * cpu / n:>8.3f} ms CPU{1e3 * elapsed / n:>9.3f} ms elapsed a recording"
            f"{n / cpu:>10,.0f} recordings/s a core{handled / cpu / 1e6:>9,.0f} MB/s",
            flush=True,
        )


def warm_up(config: PrepareConfig, folder: Path) -> None:
    """Compile the kernels, once for each config."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        prepare(config, open_storage(StoragePaths(Path(name), Path(name))), progress=False)


def config_of(root: Path, values: dict[str, Any], shard_recordings: int) -> PrepareConfig:
    name = "NMNIST" if values["name"] == "DIGITS_DVS" else values["name"]  # they are files in its layout
    own = {"sensor": list(CAMERA)} if name == "FOLDER" else {"allow_subset": True}
    common = {"name": name, "data_root": root, "workers": 1, "shard_recordings": shard_recordings}
    return PrepareConfig.model_validate({"data": values | own | common})


def write_recordings(name: str, folder: Path, n: int) -> Path:
    """`n` recordings as files, made once in `folder`."""
    root = folder / name
    if root.exists():
        return root
    if name == "DIGITS_DVS":
        storage = open_storage(StoragePaths(folder / "digits", folder / "digits"))
        source = open_source(DATASETS[name], None, storage, False, False)
        for recording in source.recordings[:n]:
            path = root / recording.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source.read(recording))
        return root
    rng = np.random.default_rng(1)
    for number in range(n):
        path = root / f"class-{number % 10}" / f"{number:06d}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        # a moving edge: times run on evenly, and neighbours in time are neighbours in the picture
        t = np.sort(rng.integers(0, 50_000, CAMERA_EVENTS))
        x = ((t * 400 // 50_000 + rng.integers(0, 240, CAMERA_EVENTS)) % CAMERA[0]).astype(np.uint16)
        y = rng.integers(0, CAMERA[1], CAMERA_EVENTS).astype(np.uint16)
        np.savez_compressed(path, x=x, y=y, t=t, p=rng.integers(0, 2, CAMERA_EVENTS).astype(bool))
    return root


def memory(folder: Path, arguments: argparse.Namespace) -> None:
    """Each size in a process of its own, since a peak never falls."""
    script = [sys.executable, __file__, "memory-of", "--recordings", str(arguments.recordings)]
    for size in (10, arguments.recordings // 2, arguments.recordings):
        subprocess.run([*script, "--shard-recordings", str(size), "--folder", folder], check=True)


def memory_of(folder: Path, arguments: argparse.Namespace) -> None:
    values = ROWS["camera, downsample 4, u8"]
    config = config_of(write_recordings("FOLDER", folder, arguments.recordings), values, arguments.shard_recordings)
    before = peak_bytes()
    prepared = prepare(config, open_storage(StoragePaths(folder / "one", folder / "one")), progress=False)
    assert prepared.manifest
    largest = max(shard.size for shard in prepared.manifest.shards)
    print(
        f"{arguments.shard_recordings:>6,} recordings a shard: shards up to {largest / 1e6:,.0f} MB, peak "
        f"{peak_bytes() / 1e6:,.0f} MB with one thread, {before / 1e6:,.0f} MB before",
        flush=True,
    )


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def listing(folder: Path, arguments: argparse.Namespace) -> None:
    config = PrepareConfig.model_validate(
        {"data": {"name": "FOLDER", "data_root": folder / "raw", "sensor": list(CAMERA)}}
    )
    facts = config.facts.in_layout(config.facts.layouts[-1])  # a folder for each class, no train and test
    storage = open_storage(StoragePaths(folder / "one", folder / "one"))
    n_files = min(20_000, arguments.rows)
    for number in range(n_files):
        path = folder / "raw" / f"class-{number % 100:04d}" / f"n{number:08d}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    root = folder / "raw"
    source = print_step(
        "opening a folder of files", n_files, lambda: open_source(config.facts, root, storage, False, False)
    )
    assert len(source.recordings) == n_files
    archive = folder / "raw.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in root.rglob("*.npz"):
            packed.write(path, path.relative_to(root))
    for when in ("the first time", "again"):
        print_step(f"opening a zip {when}", n_files, lambda: open_source(config.facts, archive, storage, False, False))
    n = arguments.rows
    names = [f"class-{number % 1000:04d}/n{number:08d}.npz" for number in range(n)]
    found = print_step("placing paths", n, lambda: [(place(name, facts), 280_000) for name in names])
    classes = tuple(f"class-{number:04d}" for number in range(1000))
    kept = print_step("checking what was found", n, lambda: check_recordings(found, "here", facts, classes))
    index = Index((), kept, (tuple(range(n)),) * len(Member._fields), classes)
    text = print_step("index of an archive: writing", n, index.to_json)
    print_step("index of an archive: reading", n, lambda: Index.from_json(text.encode()))
    parameters = parameters_of(config)
    fingerprint = print_step("fingerprint", n, lambda: fingerprint_of(parameters, kept))
    splits = print_step("splits", n, lambda: assign_splits(kept, 0.1, 42, 0.1))
    print_step("plan of the shards", n, lambda: plan_shards(splits, 1000))
    columns = Recordings(
        tuple(each.path for each in kept), tuple(each.size for each in kept), tuple(range(n)),
        tuple(each.label for each in kept), tuple(splits),
    )  # fmt: skip
    empty = SplitFacts((), 0, 0, (0,) * len(classes))
    manifest = Manifest(
        *(
            "FOLDER",
            fingerprint,
            parameters,
            parameters_hash(parameters),
            classes,
            SensorSize(*CAMERA, polarities=2),
            "bits",
        ),
        *({"train": empty, "val": empty, "test": empty}, columns, (), None, 0, {}),
    )
    written = print_step("manifest: writing", n, lambda: manifest_text(manifest))
    (folder / "manifest.json").write_text(written)
    print(f"  {len(written) / n:.0f} bytes a recording in the manifest")
    print_step("manifest: reading", n, lambda: load_manifest(folder))
    print(f"  peak memory {peak_bytes() / 1e6:,.0f} MB, {peak_bytes() / n:,.0f} bytes a recording")


def print_step(name: str, n: int, run: Callable[[], Any]) -> Any:
    start = time.process_time()
    result = run()
    seconds = time.process_time() - start
    print(
        f"  {name:<32}{1e6 * seconds / n:>8.2f} µs a recording{seconds * 1.8e6 / n:>9.1f} s for 1.8 million", flush=True
    )
    return result


if __name__ == "__main__":
    sys.exit(main())
