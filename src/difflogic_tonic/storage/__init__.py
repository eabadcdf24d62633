"""Scratch and project storage: where things lie, and how they appear there whole or not at all.

places     the two places and the folders in them
writing    a file beside its final name, fsynced, renamed; leftovers of dead writers
folders    the same for folders: copy, verify, publish, swap
space      free bytes and inodes, and the one line that a full or unwritable disk becomes
compiled   C libraries of this package, found or built
locks      best effort against doing the same work twice; nothing is correct because of a lock
"""

from difflogic_tonic.arguments import check_job_id
from difflogic_tonic.storage.folders import ChecksumMismatch, copy_files, file_crc32, publish_folder, swap_folders
from difflogic_tonic.storage.locks import file_lock
from difflogic_tonic.storage.places import Place, Storage, open_storage
from difflogic_tonic.storage.space import SAME_COMMAND, check_space, free_bytes, full_message, storage_errors
from difflogic_tonic.storage.writing import (
    append_bytes,
    atomic_write,
    dead_leftovers,
    fsync_dir,
    fsync_file,
    host_of_processes,
    needs_folder,
    partial_path,
    reap_leftovers,
    remove,
    write_json,
    write_text,
)

__all__ = [
    "SAME_COMMAND",
    "ChecksumMismatch",
    "Place",
    "Storage",
    "append_bytes",
    "atomic_write",
    "check_job_id",
    "check_space",
    "copy_files",
    "dead_leftovers",
    "file_crc32",
    "file_lock",
    "free_bytes",
    "fsync_dir",
    "fsync_file",
    "full_message",
    "host_of_processes",
    "needs_folder",
    "open_storage",
    "partial_path",
    "publish_folder",
    "reap_leftovers",
    "remove",
    "storage_errors",
    "swap_folders",
    "write_json",
    "write_text",
]
