"""Frames on disk: an immutable folder of HDF5 shards and a manifest for each variant of each dataset.

fingerprint   what names a variant
manifest      what a variant says of itself
shard         one HDF5 file of frames
reader        frames into batches
"""

from difflogic_tonic.cache.fingerprint import LAYOUT_VERSION, fingerprint_of, parameters_hash, parameters_of
from difflogic_tonic.cache.manifest import Manifest, load_manifest
from difflogic_tonic.cache.reader import CacheReader, SplitReader

__all__ = [
    "LAYOUT_VERSION",
    "CacheReader",
    "Manifest",
    "SplitReader",
    "fingerprint_of",
    "load_manifest",
    "parameters_hash",
    "parameters_of",
]
