"""The recordings that this package generates."""

import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from difflogic_tonic.cache.progress import Progress
from difflogic_tonic.cache.sources import (
    UNPACKED,
    Recording,
    check_counts,
    check_recordings,
    check_size,
    official_total,
)
from difflogic_tonic.config import DatasetFacts
from difflogic_tonic.events.layout import place
from difflogic_tonic.storage import Storage, storage_errors, write_text

log = logging.getLogger(__name__)


class EmbeddedSource:
    """Recordings that this package generates. Only their sizes are kept, so that a second look costs nothing."""

    subset = None

    def __init__(self, facts: DatasetFacts, storage: Storage, progress: bool) -> None:
        self.describe = f"{facts.name} (generated)"
        self._contents: dict[str, bytes] = {}
        self.format, self.classes = facts.format, facts.classes
        n = sum(map(official_total, facts.counts.values()))
        sizes = self._sizes(n, storage.scratch.raw_dir(facts.name) / UNPACKED, progress)
        placed = ((place(path, facts), size) for path, size in sizes.items())
        found = [(where, size) for where, size in placed if where]
        self.recordings = check_recordings(found, self.describe, facts, facts.classes)
        check_counts(self.recordings, self.describe, facts, allow_subset=False)

    def read(self, recording: Recording) -> bytes:
        data = self._contents.get(recording.path)
        if data is None:
            from difflogic_tonic.events.digits import recording as generate

            data = generate(int(recording.path.rpartition("/")[2].removesuffix(".bin")))
        return check_size(data, recording, self.describe)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_contents": {}}

    def _sizes(self, n: int, folder: Path, progress: bool) -> dict[str, int]:
        """Size of each of the `n` recordings by path; makes and keeps the list if there is none."""
        from difflogic_tonic.events.versions import DIGITS_VERSION

        memo = folder / f"digits-v{DIGITS_VERSION}.json"
        try:
            known = json.loads(memo.read_bytes())
            if isinstance(known, dict) and len(known) == n:
                return known
        except FileNotFoundError:
            pass
        except ValueError:
            log.warning("%s is damaged; making it again", memo)
        self._contents = _generate(progress)
        sizes = {path: len(data) for path, data in self._contents.items()}
        with storage_errors(folder, "making a folder"):
            folder.mkdir(parents=True, exist_ok=True)
        write_text(memo, json.dumps(sizes, separators=(",", ":")))
        return sizes


def _generate(progress: bool) -> dict[str, bytes]:
    from difflogic_tonic.events import digits

    contents = {}
    bar = Progress(len(digits.paths()), "recordings", "generating digits", progress)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool, bar:
        for path, data in zip(digits.paths(), pool.map(digits.recording, digits.numbers()), strict=True):
            contents[path] = data
            bar.advance()
            bar.show()
    return contents
