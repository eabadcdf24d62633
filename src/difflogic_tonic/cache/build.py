"""From recordings to shards. A shard is a pure function of the recipe and its files, so resuming is skipping."""

import logging
import os
import threading
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from difflogic_tonic.cache.manifest import Shard
from difflogic_tonic.cache.progress import Progress
from difflogic_tonic.cache.shard import (
    SHARD_OVERHEAD_BYTES,
    ShardContent,
    ShardIndex,
    open_shard,
    payload_crc32,
    write_shard,
)
from difflogic_tonic.cache.splits import ShardPlan
from difflogic_tonic.errors import CacheCorrupt, RecordingError
from difflogic_tonic.storage import file_crc32

if TYPE_CHECKING:
    from difflogic_tonic.cache.sources import Recording, Source
    from difflogic_tonic.events import Framed, FrameRecipe
    from difflogic_tonic.events.images import ImageRecipe

log = logging.getLogger(__name__)

AUTO = "auto"
SAMPLED_RECORDINGS = 16
INDEX_BYTES = 48  # offsets, labels, source, n_events, assigned and a checksum for each recording


@dataclass(frozen=True)
class Job:
    """What all shards of one variant have in common."""

    source: "Source"
    recipe: "FrameRecipe | ImageRecipe"
    fingerprint: str
    on_empty: Literal["error", "skip"]


@dataclass(frozen=True)
class BuiltShard:
    """A shard on disk, checked, with its index."""

    plan: ShardPlan
    shard: Shard
    index: ShardIndex


class Stopped(Exception):
    """Raised in workers when another one has failed or the user wants to stop; never seen outside this module."""


def build_shards(
    job: Job, plans: Sequence[ShardPlan], folder: Path, workers: int, progress: Progress
) -> list[BuiltShard]:
    """Build the shards that are not in `folder` yet, one a thread; returns all of them, in the order of the plans.

    Kernels, checksums, reads and writes release the GIL. Each thread holds one shard in memory. When one fails, the
    others stop at their next recording and what is finished stays for the next run.
    """
    stop = threading.Event()

    def build(plan: ShardPlan) -> BuiltShard:
        return find_shard(job, plan, folder, progress) or _build_shard(job, plan, folder, progress, stop)

    with ThreadPoolExecutor(min(worker_count(workers), max(1, len(plans)))) as executor:
        futures = [executor.submit(build, plan) for plan in plans]
        try:
            while (state := wait(futures, timeout=0.1, return_when=FIRST_EXCEPTION)).not_done:
                progress.show()
                if any(future.exception() for future in state.done):
                    break
        finally:
            stop.set()
            executor.shutdown(wait=True, cancel_futures=True)
    failures = [future.exception() for future in futures if not future.cancelled() and future.exception()]
    for failure in sorted(failures, key=lambda error: isinstance(error, Stopped)):
        assert failure is not None
        raise failure
    return [future.result() for future in futures]


def find_shard(job: Job, plan: ShardPlan, folder: Path, progress: Progress | None = None) -> BuiltShard | None:
    """The shard of a plan if it is in `folder`, whole and intact; None if it must be built."""
    path = folder / plan.name
    if not path.exists():
        return None
    try:
        built = _check_shard(path, plan, job.fingerprint)
    except CacheCorrupt as error:
        log.warning("%s; building it again", error)
        return None
    if progress:
        progress.advance(len(plan.rows))
    return built


def estimate_bytes(job: Job, plans: Sequence[ShardPlan]) -> int:
    """Bytes of the finished variant, from framing a few recordings spread over the source."""
    recordings = job.source.recordings
    picked = [recordings[i] for i in np.linspace(0, len(recordings) - 1, SAMPLED_RECORDINGS).astype(int)]
    sampled = sum(len(_frame(job, recording, job.source.read(recording)).frames) for recording in picked)
    per_byte = sampled * job.recipe.frame_nbytes / max(1, sum(recording.size for recording in picked))
    payload = per_byte * sum(recording.size for recording in recordings)
    return int(payload) + INDEX_BYTES * len(recordings) + SHARD_OVERHEAD_BYTES * len(plans)


def worker_count(workers: int) -> int:
    """`workers`, or for 0 the number of cores that this process may use."""
    return workers or len(os.sched_getaffinity(0))


def _build_shard(job: Job, plan: ShardPlan, folder: Path, progress: Progress, stop: threading.Event) -> BuiltShard:
    content = frame_shard(job, plan, progress.advance, stop)
    write_shard(folder / plan.name, content)
    return _check_shard(folder / plan.name, plan, job.fingerprint)


def frame_shard(job: Job, plan: ShardPlan, advance: Callable[[int], None], stop: threading.Event) -> ShardContent:
    """Read and frame the recordings of one shard. RecordingError names a recording without events unless skipped."""
    frames, kept, n_events, spans, crcs, n_saturated = [], [], [], [], [], 0
    for row in plan.rows:
        if stop.is_set():
            raise Stopped
        recording = job.source.recordings[row]
        data = job.source.read(recording)
        crcs.append(zlib.crc32(data))
        framed = _frame(job, recording, data)
        if len(framed.frames):
            kept.append(row)
            frames.append(framed.frames)
            n_events.append(framed.n_events)
            spans.append(framed.span_us)
            n_saturated += framed.n_saturated
        advance(1)
    return ShardContent(
        fingerprint=job.fingerprint,
        storage=job.recipe.storage,
        frame_shape=job.recipe.frame_shape,
        frames=frames,
        labels=np.array([job.source.recordings[row].label for row in kept], np.int64),
        source=np.array(kept, np.int64),
        n_events=np.array(n_events, np.int64),
        assigned=np.array(plan.rows, np.int64),
        assigned_crc32=np.array(crcs, np.uint32),
        n_saturated=n_saturated,
        spans_us=np.array(spans, np.int64).reshape(-1, 2),
    )


def _frame(job: Job, recording: "Recording", data: bytes) -> "Framed":
    from difflogic_tonic.events import Framed, frame_recording
    from difflogic_tonic.events.images import ImageRecipe, frame_image
    from difflogic_tonic.events.packed import pack_recording

    where, recipe = f"{job.source.describe}: {recording.path}", job.recipe
    if isinstance(recipe, ImageRecipe):
        return frame_image(data, recipe, where)
    if not data and job.on_empty == "skip":  # in whatever format: most have no empty files
        return Framed(np.empty((0, recipe.frame_nbytes), np.uint8), n_events=0, n_saturated=0)
    if recipe.format == AUTO:
        recipe = replace(recipe, format=format_of(job.source, recording, data))
    make = pack_recording if recipe.storage == "events" else frame_recording
    framed = make(data, recipe, where)
    if not len(framed.frames) and job.on_empty == "error":
        raise RecordingError(
            f"{where}: no events{' are left after ' * bool(recipe.filters)}{', '.join(recipe.filters)}; "
            "expected at least one. Remove the recording, or leave such ones out with data.on_empty=skip"
        )
    return framed


def format_of(source: "Source", recording: "Recording", data: bytes) -> str:
    """The format of a recording: that of its source, or what its name and its first bytes say."""
    from difflogic_tonic.events.formats import FORMATS, HEAD_BYTES, detect

    found = source.format if source.format != AUTO else detect(recording.path, data[:HEAD_BYTES])
    if not data:
        raise RecordingError(f"{source.describe}: {recording.path} is empty; expected a recording; remove it")
    if found is None:
        raise RecordingError(
            f"{source.describe}: {recording.path} is in no format of recordings that is known; "
            f"expected one of {', '.join(name for name, each in FORMATS.items() if each.suffixes)}"
        )
    return found


def _check_shard(path: Path, plan: ShardPlan, fingerprint: str) -> BuiltShard:
    """Read a shard back as a whole: index, payload checksum, and the checksum of the file for the manifest."""
    index = open_shard(path, fingerprint)
    if index.assigned.tolist() != list(plan.rows) or payload_crc32(path, index) != index.payload_crc32:
        raise CacheCorrupt(f"{path} does not hold what its name says")
    n_frames = index.n_events.sum() if len(index.spans_us) else index.offsets[-1]
    shard = Shard(path.name, path.stat().st_size, file_crc32(path), len(index.labels), int(n_frames))
    return BuiltShard(plan, shard, index)
