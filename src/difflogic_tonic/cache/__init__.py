"""Frames on disk: an immutable folder of HDF5 shards and a manifest for each variant of each dataset.

fingerprint   what names a variant
manifest      what a variant says of itself
shard         one HDF5 file of frames
reader        frames into batches
event_split   frames made of stored events when they are read
sources       the raw recordings: a folder, archives, the generator, a download
splits        which recording goes where
build         recordings to shards, one a thread
publish       variants appear, are copied and are replaced as a whole
preparation   all of that: from recordings to a variant in both storage places
variants      how training finds its variant and brings it to scratch
verification  every checksum again
summary       what a preparation says at its end
"""

from difflogic_tonic.cache.fingerprint import LAYOUT_VERSION, fingerprint_of, parameters_hash, parameters_of
from difflogic_tonic.cache.manifest import Manifest, load_manifest
from difflogic_tonic.cache.preparation import Prepared, prepare, prepare_source
from difflogic_tonic.cache.reader import CacheReader, FrameSplit, SplitReader
from difflogic_tonic.cache.summary import summary_lines
from difflogic_tonic.cache.variants import Variant, describe, find_variant
from difflogic_tonic.cache.verification import check_prepared, verify

__all__ = [
    "LAYOUT_VERSION",
    "CacheReader",
    "FrameSplit",
    "Manifest",
    "Prepared",
    "SplitReader",
    "Variant",
    "check_prepared",
    "describe",
    "find_variant",
    "fingerprint_of",
    "load_manifest",
    "parameters_hash",
    "parameters_of",
    "prepare",
    "prepare_source",
    "summary_lines",
    "verify",
]
