"""A variant that comes back when its place loses it while it is read: scratch may be cleaned under a running job."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from difflogic_tonic.cache.variants import Variant, find_variant
from difflogic_tonic.storage import Storage

MOST_RETURNS = 3
"""How often one read is tried again: a place that loses its files again and again is no place to read from."""

log = logging.getLogger(__name__)


class Returning:
    """What every reader of one variant in this process asks for it again. Threads may share it.

    `generation` counts how often it was brought back, `path` and `place_name` say where it is read from since. While it
    is copied, `watch` is called now and then in the thread that copies, and may raise what is to end the waiting.
    """

    def __init__(self, storage: Storage, dataset: str, variant: Variant) -> None:
        self._storage, self._dataset, self._fingerprint = storage, dataset, variant.fingerprint
        self._lock = threading.Lock()
        self.path, self.place_name = variant.path, variant.place_name
        self.generation = 0
        self.watch: Callable[[], None] = lambda: None

    def bring_back(self, generation: int, error: Exception) -> tuple[int, Path]:
        """The generation and folder to go on with, for a reader of `generation` that failed with `error`.

        Scratch again, staged from project storage, or project storage itself if scratch cannot take it. Raises
        `CacheError` if neither has it.
        """
        with self._lock:
            if generation == self.generation:
                log.warning("%s; looking for another copy", error)
                self.watch()
                found = find_variant(
                    self._storage,
                    self._dataset,
                    parameters_hash=None,
                    prefix=self._fingerprint,
                    prepare_command="prepare it again with ./prepare_data.sh",
                    progress=lambda n_bytes: self.watch(),
                )
                log.info("going on with %s, at the same sample", found.path)
                self.path, self.place_name = found.path, found.place_name
                self.generation += 1
            return self.generation, self.path
