"""Where the events of a stream come from: a recording, a file that grows, standard input, the network.

All but recordings of other formats are ATIS records of five bytes (`events.atis`). A datagram is a sequence number, 32
bits, high byte first, that goes up by one, and whole records; one without records ends the stream.
"""

import logging
import os
import select
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from difflogic_tonic.errors import ConfigError, RecordingError
from difflogic_tonic.events import Events
from difflogic_tonic.events.atis import RECORD_BYTES
from difflogic_tonic.events.formats import FORMATS, HEAD_BYTES, detect
from difflogic_tonic.events.framing import decoded
from difflogic_tonic.events.live import AtisStream
from difflogic_tonic.events.recipe import FrameRecipe
from difflogic_tonic.storage import storage_errors

STDIN = "-"
UDP = "udp://"
LARGEST_DATAGRAM = 65_535
NUMBERS = 2**32
POLL_SECONDS = 0.02
"""How often a file that does not tell is asked whether it has grown."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ask:
    """What to read: `source` is a path, `-` or udp://HOST:PORT. `format`: of a recording, None for what its name and
    content say. `follow`: go on when the end of a file is reached. `idle`: seconds without events that end a stream
    that may go on. `piece`: events that are handed on at a time, where more are there."""

    source: str
    format: str | None = None
    follow: bool = False
    idle: float = 5.0
    piece: int = 4096


def open_source(ask: Ask, recipe: FrameRecipe) -> Iterator[Events]:
    """Events piece by piece. RecordingError for what cannot be read, ConfigError for what cannot be asked."""
    is_live = ask.follow or ask.source == STDIN or ask.source.startswith(UDP)
    if is_live and ask.format not in (None, "atis"):
        what = "--follow" if ask.follow else ask.source
        raise ConfigError(f"{what} is for ATIS records, not for --format {ask.format}")
    if ask.source.startswith(UDP):
        return _in_pieces(_of_records(_datagrams(ask), ask.source), ask.piece)
    if ask.source == STDIN:
        return _in_pieces(_of_records(_standard_input(ask), "standard input"), ask.piece)
    path = Path(ask.source).expanduser()
    with storage_errors(path):
        is_pipe = path.is_fifo()
        if not (is_pipe or path.is_file()):
            what = "a folder" if path.is_dir() else "no recording" if path.exists() else "no such recording"
            raise RecordingError(f"{path}: {what}; expected a file, a pipe, - for standard input, or udp://HOST:PORT")
    if is_pipe and ask.format not in (None, "atis"):
        raise ConfigError(f"{path} is a pipe, which is for ATIS records, not for --format {ask.format}")
    if is_pipe and not ask.follow:
        return _in_pieces(_of_records(_piped(path, ask), str(path)), ask.piece)
    if ask.follow:
        return _in_pieces(_of_records(_growing(path, ask), str(path)), ask.piece)
    return _in_pieces(iter([_whole(path, ask.format, recipe)]), ask.piece)


def _whole(path: Path, format: str | None, recipe: FrameRecipe) -> Events:
    with storage_errors(path):
        data = path.read_bytes()
    format = format or detect(path.name, data[:HEAD_BYTES])
    if format is None:
        raise RecordingError(f"{path} is in no format that is known by its name; give one with --format")
    if format not in FORMATS:
        raise ConfigError(f"--format {format}: expected one of {', '.join(FORMATS)}")
    return decoded(data, replace(recipe, format=format), str(path))


def _in_pieces(parts: Iterator[Events], size: int) -> Iterator[Events]:
    for events in parts:
        for start in range(0, len(events), size):
            yield events[start : start + size]


def _of_records(parts: Iterator[bytes], where: str) -> Iterator[Events]:
    stream = AtisStream()
    for part in parts:
        yield stream.take(part)
    if stream.cut_off:
        log.warning("%s: ended within a record; its last %d bytes are left out", where, stream.cut_off)


def _growing(path: Path, ask: Ask) -> Iterator[bytes]:
    """A file from its beginning, and what is added to it."""
    quiet_since = time.monotonic()
    with storage_errors(path), path.open("rb", buffering=0) as file:
        while True:
            part = file.read(ask.piece * RECORD_BYTES)
            if part:
                quiet_since = time.monotonic()
                yield part
            elif time.monotonic() - quiet_since > ask.idle:
                return
            else:
                time.sleep(POLL_SECONDS)


def _piped(path: Path, ask: Ask) -> Iterator[bytes]:
    """What comes through a named pipe, until nobody writes into it any more."""
    with storage_errors(path), path.open("rb", buffering=0) as file:
        while part := file.read(ask.piece * RECORD_BYTES):
            yield part


def _standard_input(ask: Ask) -> Iterator[bytes]:
    if sys.stdin is None:  # what Python makes of a closed one
        raise RecordingError("standard input is closed; expected ATIS records of 5 bytes, e.g. some_camera | …")
    descriptor = sys.stdin.fileno()
    while True:
        part = os.read(descriptor, ask.piece * RECORD_BYTES)
        if not part:
            return
        yield part


def _datagrams(ask: Ask) -> Iterator[bytes]:
    """The records of each datagram in its turn. What is lost is counted and said once, what comes too late left out."""
    host, _, port = ask.source.removeprefix(UDP).rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ConfigError(f"{ask.source}: expected {UDP}HOST:PORT, e.g. {UDP}0.0.0.0:3333")
    lost = late = 0
    expected: int | None = None
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as udp:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        try:
            udp.bind((host, int(port)))
        except OSError as error:
            raise ConfigError(
                f"{ask.source}: cannot listen there: {error.strerror}; choose another port,"
                f" or an address of this machine, e.g. {UDP}0.0.0.0:{port}"
            ) from None
        log.info("listening on %s", ask.source)
        while select.select([udp], [], [], ask.idle)[0]:
            datagram = udp.recv(LARGEST_DATAGRAM)
            number, records = int.from_bytes(datagram[:4]), datagram[4:]
            if len(datagram) < 4 or len(records) % RECORD_BYTES:
                raise RecordingError(
                    f"{ask.source}: a datagram of {len(datagram)} bytes; expected a number of 4 and records of 5"
                )
            ahead = 0 if expected is None else (number - expected) % NUMBERS
            if ahead >= NUMBERS // 2:
                late += 1
                continue
            lost += ahead
            expected = (number + 1) % NUMBERS
            if not records:
                break
            yield records
    if lost or late:
        log.warning("%s: %d datagrams lost or late, of which %d came late and were left out", ask.source, lost, late)
