"""AEDAT 2.0, the format of jAER: 32-bit address and 32-bit time in µs, big-endian, after a text header.

Source: https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-2.0.html. What the bits of an
address mean depends on the camera, and the datasets do not agree on where x begins either: hence the table of maps. For
the DVS128, bit 0 is 0 for ON, as jAER and all readers of the datasets have it (the page says the opposite).
"""

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from difflogic_tonic.errors import RecordingError
from difflogic_tonic.events.formats.recorded import (
    Decoder,
    Raw,
    Recorded,
    damaged,
    header_lines,
    outside,
    room,
    unwrapped,
    words_of,
)
from difflogic_tonic.events.jit import kernel

EVENT_BYTES = 8


class Field(NamedTuple):
    """A coordinate: its lowest bit in the address, how many bits, and whether it counts from the far side."""

    low: int
    bits: int
    mirrored: bool


class AddressMap(NamedTuple):
    """How an address is read. Addresses with a bit of `special` are triggers, frames or inertial samples: left out.

    Bits that belong to nothing must be 0.
    """

    width: int
    height: int
    x: Field
    y: Field
    polarity_bit: int
    on: int
    special: int

    @property
    def used(self) -> int:
        """All bits with a meaning."""
        fields = (((1 << field.bits) - 1) << field.low for field in (self.x, self.y))
        return sum(fields) | 1 << self.polarity_bit | self.special


DVS128_SYNC = 1 << 15
DAVIS_SPECIAL = 1 << 31 | 1 << 10  # frames and inertial samples; the trigger input


def davis(width: int, height: int) -> AddressMap:
    """The map of a DAVIS camera: as jAER shows it, x mirrored and row 0 at the bottom."""
    return AddressMap(width, height, Field(12, 10, True), Field(22, 9, True), 11, 1, DAVIS_SPECIAL)


MAPS = {
    "dvs128": AddressMap(128, 128, Field(1, 7, True), Field(8, 7, True), 0, 0, DVS128_SYNC),
    "cifar10dvs": AddressMap(128, 128, Field(8, 7, True), Field(1, 7, True), 0, 0, DVS128_SYNC),
    "pokerdvs": AddressMap(35, 35, Field(1, 7, False), Field(8, 7, False), 0, 0, DVS128_SYNC),
    "davis240": davis(240, 180),
    "davis346": davis(346, 260),
}
"""Name → map. "dvs128" and the DAVIS are as jAER shows them on the screen, with row 0 turned to the top; "cifar10dvs"
is how CIFAR10-DVS is read everywhere (the axes swapped); "pokerdvs" is the bits of a small clip as they are."""

CHIPS = {"DAVIS240": "davis240", "DAVIS346": "davis346", "DVS128": "dvs128", "TMPDIFF128": "dvs128"}
"""Part of the header's "AEChip" line → map; files without such a line are of a DVS128."""


def decode_aedat2(raw: Raw, where: str, name: str | None = None) -> Recorded:
    """The change events of an AEDAT 2.0 file by map `name`, or by the camera that its header names.

    `RecordingError` for another version, a cut-off event, an address that the map cannot have, and an unknown camera.
    """
    chip, start = read_header(raw, where)
    address_map = MAPS[name or map_of(chip, where)]
    words = words_of(raw, start, np.uint64, where).view(np.uint32)
    columns = room(len(words) // 2)
    width, height = address_map.width, address_map.height
    n, at, wraps = _aedat2(
        words, width, height, address_map.special, ~address_map.used & 0xFFFFFFFF, *address_map.x, *address_map.y,
        address_map.polarity_bit, 1 - address_map.on, *columns,
    )  # fmt: skip
    if at >= 0:
        raise bad_address(int(words[2 * at].byteswap()), address_map, start + EVENT_BYTES * int(at), where)
    if wraps:
        columns = columns._replace(t=unwrapped(columns.t[:n]))
    return Recorded(columns.events(int(n)), width, height)


def decoder_for(name: str) -> Decoder:
    """`decode_aedat2` with one of the `MAPS`."""
    return partial(decode_aedat2, name=name)


def read_header(raw: Raw, where: str) -> tuple[str | None, int]:
    """The camera as the header names it, and the byte where the events begin."""
    lines, start = header_lines(raw, "#", None, where)
    if lines and not lines[0].startswith("!AER-DAT2"):
        raise RecordingError(f"{where}: the first line is {lines[0][:20]!r}; expected '!AER-DAT2.0' after the #")
    if start == 0:
        raise damaged(where, "no header, expected #!AER-DAT2.0,", 0)
    chips = [line.removeprefix("AEChip:").strip() for line in lines if line.startswith("AEChip:")]
    return chips[0] if chips else None, start


def map_of(chip: str | None, where: str) -> str:
    """The name of the map for the camera of the header."""
    if chip is None:
        return "dvs128"
    for part, name in CHIPS.items():
        if part in chip.upper():
            return name
    raise RecordingError(f"{where}: recorded by {chip!r}; expected one of {', '.join(CHIPS)}, or a format with a map")


def bad_address(address: int, address_map: AddressMap, byte: int, where: str) -> RecordingError:
    """The error for an address that the map cannot have."""
    if address & ~address_map.used:
        return damaged(where, f"address 0x{address:08X} with bits that the camera does not use", byte)
    x, y = ((address >> field.low) & ((1 << field.bits) - 1) for field in (address_map.x, address_map.y))
    return outside(where, x, y, byte, address_map.width, address_map.height)


@kernel
def _aedat2(
    words: Any, width: int, height: int, special: int, unused: int,
    x_low: int, x_bits: int, x_mirrored: bool, y_low: int, y_bits: int, y_mirrored: bool,
    polarity_bit: int, inverted: int, x: Any, y: Any, t: Any, p: Any,
) -> Any:  # fmt: skip
    """Fill the columns: the number of events, -1 or the number of the bad record, whether the time starts again.

    Each record is written, and the cursor moves on only if it is an event: no branch to mispredict.
    """
    n, latest, wraps = np.int64(0), np.int64(0), False
    x_mask, y_mask = (1 << x_bits) - 1, (1 << y_bits) - 1
    x_from, x_sign = (width - 1, -1) if x_mirrored else (0, 1)
    y_from, y_sign = (height - 1, -1) if y_mirrored else (0, 1)
    for i in range(len(words) // 2):
        address, time = swapped(words[2 * i]), swapped(words[2 * i + 1])
        column, row = address >> x_low & x_mask, address >> y_low & y_mask
        is_event = address & special == 0
        if is_event and (address & unused or column >= width or row >= height):
            return n, i, wraps
        cursor = np.uint64(n)
        x[cursor], y[cursor] = x_from + x_sign * column, y_from + y_sign * row
        t[cursor], p[cursor] = time, address >> polarity_bit & 1 ^ inverted
        wraps |= is_event and latest - time > 1 << 31
        latest = time if is_event else latest
        n += np.int64(is_event)
    return n, -1, wraps


@kernel
def swapped(word: Any) -> Any:
    """A big-endian 32-bit word that was read as a little-endian one."""
    word = np.int64(word)
    return (word & 0xFF) << 24 | (word & 0xFF00) << 8 | word >> 8 & 0xFF00 | word >> 24
