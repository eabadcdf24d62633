"""What `prepare_data.sh` says at its end."""

import re
from pathlib import Path

from difflogic_tonic.arguments import checkout_path
from difflogic_tonic.cache.fingerprint import parameters_hash, parameters_of, short_fingerprint
from difflogic_tonic.cache.manifest import Manifest
from difflogic_tonic.cache.preparation import Prepared
from difflogic_tonic.config import PrepareConfig, SensorSize, load_prepare_config, repository_root
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.events.recipe import position_words

NUMBER = re.compile(r"[0-9]+(e[0-9]+)?")
"""A start of a fingerprint that would be read as a number."""


def summary_lines(prepared: Prepared, config: PrepareConfig) -> list[str]:
    """What was built or found, where, how much, what is special about it, and the next command."""
    manifest = prepared.manifest
    if manifest is None:
        return [
            f"this part of {config.data.name} is built in {prepared.path}",
            "the part that completes the set publishes it; run this command again should one have failed",
        ]
    return [
        f"{manifest.dataset}: {'prepared' if prepared.built else 'already prepared, nothing to do'}",
        *(f"  {'in' if number == 0 else 'and'} {path}" for number, path in enumerate(prepared.paths)),
        f"  fingerprint {prepared.fingerprint}",
        f"  {_shape(manifest)}, {manifest.n_bytes / 1e6:,.1f} MB",
        *_split_lines(manifest),
        *_notices(manifest),
        f"next: {_next_command(manifest, config)}",
    ]


def _shape(manifest: Manifest) -> str:
    channels, height, width = manifest.frame_shape
    if manifest.storage == "events":
        return f"events on {channels} x {height} x {width}, {2 * position_words(manifest.sensor)} bytes a position"
    values = "values" if is_images(manifest) else "counts"
    kind = f"{values} up to 255" if manifest.storage == "u8" else "bits"
    return f"frames of {channels} x {height} x {width} {kind}"


def is_images(manifest: Manifest) -> bool:
    """Whether the frames are images, not counts of events."""
    return manifest.parameters.get("kind") == "images"


def _split_lines(manifest: Manifest) -> list[str]:
    unit = "events" if manifest.storage == "events" else "frames"
    lines = []
    for name, split in manifest.splits.items():
        spread = sorted(count for count in split.per_class if count) or [0]
        a_class = f"{spread[0]:,}" if spread[0] == spread[-1] else f"{spread[0]:,} to {spread[-1]:,}"
        lines.append(f"  {name:5s} {split.n_recordings:7,} recordings, {split.n_frames:9,} {unit}, {a_class} a class")
    return lines


def _notices(manifest: Manifest) -> list[str]:
    notices = []
    if manifest.subset:
        notices.append(f"  not the whole dataset: {manifest.subset}")
    if manifest.skipped:
        first = manifest.recordings.paths[manifest.skipped[0]]
        notices.append(f"  {len(manifest.skipped):,} recordings without events were left out, {first} first")
    if manifest.storage == "events" and position_words(manifest.sensor) > 1:
        notices.append(f"  data.downsample={_fitting(manifest.sensor)} would make positions of 2 bytes of them")
    if manifest.storage == "u8" and not is_images(manifest):
        notices.append(f"  {manifest.n_saturated:,} pixels had more than 255 events and were cut to that")
    return notices


def _next_command(manifest: Manifest, config: PrepareConfig) -> str:
    """The training command whose config finds this variant, or is told to."""
    shipped = Path(config.facts.prepare_config)
    training = shipped.with_name(shipped.name.replace("prepare_", "").replace(".yaml", "_difflogic.yaml"))
    found = _hash_of(shipped) == manifest.parameters_hash
    start = short_fingerprint(manifest.fingerprint)
    variant = f"'{start}'" if NUMBER.fullmatch(start) else start
    overrides = [] if found else ["data.prepare=null", f"data.variant={variant}"]
    if not checkout_path(training, repository_root()).exists():
        training = Path("configs/nmnist_cnn.yaml")  # a convolutional net takes frames of any size
        overrides = [f"data.name={manifest.dataset}", *(overrides or [f"data.prepare={shipped}"])]
    if manifest.storage == "events":
        given = config.data.as_slice().model_dump(exclude_defaults=True)
        overrides += [f"data.slice.{key}={value}" for key, value in given.items()]
    command = f"./train.sh {training} my_job"
    return f'{command} --override "{" ".join(overrides)}"' if overrides else command


def _fitting(sensor: SensorSize) -> int:
    """The least factor of downsampling that makes positions of one word."""
    factors = range(1, max(sensor.width, sensor.height) + 1)
    sizes = (SensorSize(-(-sensor.width // each), -(-sensor.height // each), sensor.polarities) for each in factors)
    return next(factor for factor, size in zip(factors, sizes, strict=True) if position_words(size) == 1)


def _hash_of(prepare_config: Path) -> str | None:
    try:
        return parameters_hash(parameters_of(load_prepare_config(prepare_config)))
    except ConfigError:
        return None  # not run from a checkout, or the shipped config was changed: the command then names the variant
