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
    whole_words,
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
    columns = room(whole_words(raw, start, EVENT_BYTES, where))
    width, height = address_map.width, address_map.height
    n, at = _aedat2(
        raw, start, width, height, address_map.special, ~address_map.used & 0xFFFFFFFF, *address_map.x, *address_map.y,
        address_map.polarity_bit, 1 - address_map.on, *columns,
    )  # fmt: skip
    if at >= 0:
        at = start + EVENT_BYTES * int(at)
        raise bad_address(int.from_bytes(raw[at : at + 4].tobytes(), "big"), address_map, at, where)
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
    raw: Any, start: int, width: int, height: int, special: int, unused: int,
    x_low: int, x_bits: int, x_mirrored: bool, y_low: int, y_bits: int, y_mirrored: bool,
    polarity_bit: int, inverted: int, x: Any, y: Any, t: Any, p: Any,
) -> Any:  # fmt: skip
    """Fill the columns: the number of events and -1, or the number before a bad record and where it is.

    Each record is written as if it were an event, in a loop without branches that the compiler turns into vector
    instructions. Only a recording with other records is gone through once more, to close the gaps.
    """
    words = raw[start : start + 8 * len(t)].view(np.uint64)
    x_mask, y_mask = (1 << x_bits) - 1, (1 << y_bits) - 1
    x_from, x_sign = (width - 1, -1) if x_mirrored else (0, 1)
    y_from, y_sign = (height - 1, -1) if y_mirrored else (0, 1)
    others: Any = np.int64(0)
    impossible: Any = np.int64(0)
    for i in range(len(t)):
        word = swapped(words[i])
        address = np.int64(word >> np.uint64(32))
        column, row = address >> x_low & x_mask, address >> y_low & y_mask
        x[i], y[i] = x_from + x_sign * column, y_from + y_sign * row
        t[i], p[i] = word & np.uint64(0xFFFFFFFF), address >> polarity_bit & 1 ^ inverted
        others |= address & special
        impossible |= address & unused | int(column >= width) | int(row >= height)
    if not (others or impossible):
        return np.int64(len(t)), -1
    n = np.int64(0)
    for i in range(len(t)):
        address = np.int64(swapped(words[i]) >> np.uint64(32))
        if address & special:
            continue
        if address & unused or address >> x_low & x_mask >= width or address >> y_low & y_mask >= height:
            return n, i
        x[n], y[n], t[n], p[n] = x[i], y[i], t[i], p[i]
        n += 1
    return n, -1


@kernel
def swapped(word: Any) -> Any:
    """A big-endian 64-bit word that was read as a little-endian one: one instruction, which the compiler recognises."""
    low = np.uint64(word & np.uint64(0xFF)) << np.uint64(56) | (word & np.uint64(0xFF00)) << np.uint64(40)
    low |= (word & np.uint64(0xFF0000)) << np.uint64(24) | (word & np.uint64(0xFF000000)) << np.uint64(8)
    high = word >> np.uint64(8) & np.uint64(0xFF000000) | word >> np.uint64(24) & np.uint64(0xFF0000)
    return low | high | word >> np.uint64(40) & np.uint64(0xFF00) | word >> np.uint64(56)
