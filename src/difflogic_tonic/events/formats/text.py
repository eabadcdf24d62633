"""Text: one event a line, numbers separated by spaces, tabs, commas or semicolons, with or without a line of names.

What the columns are and in which unit the time is: see `columns`. Empty lines and lines that begin with # or % are left
out. Numbers are whole, decimal or with an exponent, and are read exactly to 18 digits.
"""

import re
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from difflogic_tonic.errors import RecordingError
from difflogic_tonic.events.formats.columns import has_roles, order_of, roles_of
from difflogic_tonic.events.formats.recorded import Decoder, Raw, Recorded, damaged, room, text_of
from difflogic_tonic.events.jit import kernel

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SAMPLE_BYTES = 1 << 16
COLUMNS_LIMIT = 64
SEPARATORS = re.compile(r"[\s,;]+")
SECONDS = 6

FRACTION = 4
WRONG = {
    1: "no number",
    2: "a line with too few columns",
    3: "a line with too many columns",
    5: "a coordinate that is not a whole number from 0 to 65,535",
    6: "a polarity that is not 0, 1 or -1",
    7: "a time beyond 64 bits",
}


ONES = np.uint64(0x0101010101010101)
LOW_BITS, HIGH_BITS, PAIR = ONES * np.uint64(0x7F), ONES * np.uint64(0x80), np.uint64(0x000000FF000000FF)


class Layout(NamedTuple):
    """Columns of a line, which of them are x, y, t and p, and the power of ten that makes µs of the time, if known."""

    n: int
    positions: tuple[int, int, int, int]
    power: int | None
    start: int


def decode_text(raw: Raw, where: str, order: str | None = None) -> Recorded:
    """The events of a text file. `order` says what columns without names are: "xytp" or "txyp".

    `RecordingError` for a line that is not an event, with its number and byte.
    """
    layout = layout_of(raw, order, where)
    columns = room(int(np.count_nonzero(raw == ord("\n"))) + 1)
    power, may_round = (0, False) if layout.power is None else (layout.power, True)
    n, at, wrong = _text(raw, layout.start, layout.n, *layout.positions, power, may_round, *columns)
    if wrong == FRACTION:
        n, at, wrong = _text(raw, layout.start, layout.n, *layout.positions, SECONDS, True, *columns)
    if wrong:
        line = int(np.count_nonzero(raw[: int(at)] == ord("\n"))) + 1
        raise damaged(where, f"{WRONG[int(wrong)]} in line {line:,}", int(at))
    return Recorded(columns.events(int(n)))


def decoder_for(order: str) -> Decoder:
    """`decode_text` for columns in a fixed order."""
    return partial(decode_text, order=order)


def layout_of(raw: Raw, order: str | None, where: str) -> Layout:
    """The columns by the line of names if there is one, else by the lines of the first 64 KiB."""
    start = len(BYTE_ORDER_MARK) if raw[:3].tobytes() == BYTE_ORDER_MARK else 0
    for line in text_of(raw, start, start + SAMPLE_BYTES).split("\n"):
        fields = [field for field in SEPARATORS.split(line.strip().lstrip("#% ")) if field]
        if has_roles(fields):
            return named(fields, start + len(line) + 1, where)
        if fields and line.lstrip()[0] not in "#%":
            break
        start += len(line) + 1
    if order is None and start < len(raw):
        first, third = _goes_back(raw, start, min(len(raw), start + SAMPLE_BYTES))
        order = order_of(first, third, where)
    x, y, t, p = map((order or "xytp").index, "xytp")
    return Layout(4, (x, y, t, p), None, start)


def named(fields: list[str], start: int, where: str) -> Layout:
    """The columns by their names; events begin at byte `start`."""
    if len(fields) > COLUMNS_LIMIT:
        raise RecordingError(f"{where}: {len(fields)} columns; expected at most {COLUMNS_LIMIT}")
    roles, power = roles_of(fields, where)
    x, y, t, p = (fields.index(roles[role]) for role in "xytp")
    return Layout(len(fields), (x, y, t, p), power, start)


@kernel
def _text(
    raw: Any, start: int, n_columns: int, at_x: int, at_y: int, at_t: int, at_p: int, power: int, may_round: bool,
    x: Any, y: Any, t: Any, p: Any,
) -> Any:  # fmt: skip
    """Fill the columns; the number of events, the byte reached, and the number in `WRONG` of what is, or 0."""
    n, at, end = np.int64(0), np.int64(start), np.int64(len(raw))
    while at < end:
        at = _skip_blanks(raw, at, end)
        if at < end and (raw[at] == 35 or raw[at] == 37):  # "#", "%"
            while at < end and raw[at] != 10:
                at += 1
        if at >= end:
            break
        if raw[at] == 10:
            at += 1
            continue
        for column in range(n_columns):
            if at >= end or raw[at] == 10:
                return n, at, 2
            before, lost, fits = at, False, True
            digits, at = _whole_number(raw, at, end)
            if at == before:
                digits, scale, at = _number(raw, at, end)
                if at == before:
                    return n, at, 1
                digits, lost, fits = _scaled(digits, scale + (power if column == at_t else 0))
            elif column == at_t and power != 0:
                digits, lost, fits = _scaled(digits, power)
            if column == at_t:
                t[n] = digits
                if not fits or (lost and not may_round):
                    return n, before, 7 if not fits else 4
            elif column in (at_x, at_y):
                (x if column == at_x else y)[n] = digits
                if lost or digits < 0 or digits > 65535:
                    return n, before, 5
            elif column == at_p:
                p[n] = digits > 0
                if lost or digits < -1 or digits > 1:
                    return n, before, 6
            if at < end and not (_is_blank(raw[at]) or raw[at] in (10, 44, 59)):  # newline, ",", ";"
                return n, before, 1
            at = _skip_blanks(raw, at, end)
            if at < end and (raw[at] == 44 or raw[at] == 59):
                at = _skip_blanks(raw, at + 1, end)
        if at < end and raw[at] != 10:
            return n, at, 3
        at += 1
        n += 1
    return n, at, 0


@kernel
def _goes_back(raw: Any, start: int, end: int) -> Any:
    """Whether the first and the third number of a line are ever smaller than those of the line before."""
    first_goes_back, third_goes_back = False, False
    first_before, third_before = -np.inf, -np.inf
    at = np.int64(start)
    while at < end:
        column, first, third = 0, -np.inf, -np.inf
        while at < end and raw[at] != 10:
            at = _skip_blanks(raw, at, end)
            before = at
            digits, scale, at = _number(raw, at, end)
            if at == before:
                at += 1 if at < end and raw[at] != 10 else 0
                continue
            if at == end and end < len(raw):  # perhaps cut off: not to be trusted
                return first_goes_back, third_goes_back
            column += 1
            if column == 1:
                first = digits * 10.0**scale
            elif column == 3:
                third = digits * 10.0**scale
        if column >= 3:
            first_goes_back |= first < first_before
            third_goes_back |= third < third_before
            first_before, third_before = first, third
        at += 1
    return first_goes_back, third_goes_back


@kernel
def _is_blank(byte: Any) -> Any:
    return byte == 32 or byte == 9 or byte == 13


@kernel
def _skip_blanks(raw: Any, at: Any, end: Any) -> Any:
    """The next byte that is not a space, tab or carriage return."""
    while at < end and _is_blank(raw[at]):
        at += 1
    return at


@kernel
def _whole_number(raw: Any, at: Any, end: Any) -> Any:
    """The number at `at` and the byte after it; `at` itself unless it is a whole number of 1 to 7 digits.

    Eight bytes at once, without a branch that depends on their number: a loop over digits is mispredicted for every
    second number. After Lemire, "Quickly parsing eight digits" (2018). What ends the file is left to `_number`.
    """
    if at + 9 > end:
        return np.int64(0), at
    negative = raw[at] == 45
    first = np.uint64(at) + np.uint64(negative)
    word = np.uint64(0)
    for k in range(8):
        word |= np.uint64(raw[first + np.uint64(k)]) << np.uint64(8 * k)
    digits = word ^ np.uint64(0x3030303030303030)
    others = ((digits & LOW_BITS) + np.uint64(0x7676767676767676) | digits) & HIGH_BITS
    below = (others - np.uint64(1)) & ~others  # all bits below the first byte that is no digit
    length = ((below & HIGH_BITS) >> np.uint64(7)) * ONES >> np.uint64(56)
    following = np.uint64(raw[first + np.uint64(length)])
    if length == 0 or length == 8 or following == 46 or following | np.uint64(32) == 101:  # ".", "e", "E"
        return np.int64(0), at
    digits <<= np.uint64(64) - length * np.uint64(8)
    pairs = digits * np.uint64(10) + (digits >> np.uint64(8))
    low, high = pairs & PAIR, pairs >> np.uint64(16) & PAIR
    value = np.int64((low * np.uint64(0x000F424000000064) + high * np.uint64(0x0000271000000001)) >> np.uint64(32))
    return -value if negative else value, np.int64(first + length)


@kernel
def _number(raw: Any, at: Any, end: Any) -> Any:
    """The number at `at` as digits · 10^scale, and the byte after it, which is `at` itself if there is no number."""
    start, negative = at, False
    if at < end and (raw[at] == 45 or raw[at] == 43):
        negative = raw[at] == 45
        at += 1
    digits, scale, first, point = np.int64(0), np.int64(0), at, np.int64(-1)
    while at < end:
        digit = np.int64(raw[at]) - 48
        if 0 <= digit <= 9:
            if digits < 10**17:
                digits = digits * 10 + digit
                scale -= np.int64(point >= 0)
            else:
                scale += np.int64(point < 0)
        elif raw[at] == 46 and point < 0:
            point = at
        else:
            break
        at += 1
    if at - first == np.int64(point >= 0):  # no digit
        return np.int64(0), np.int64(0), start
    if at + 1 < end and raw[at] | 32 == 101:  # "e", "E"
        sign = np.int64(-1 if raw[at + 1] == 45 else 1)
        from_here = at + 1 + np.int64(raw[at + 1] == 45 or raw[at + 1] == 43)
        exponent, after = np.int64(0), from_here
        while after < end and 48 <= raw[after] <= 57:
            exponent = min(exponent * 10 + np.int64(raw[after]) - 48, np.int64(9999))
            after += 1
        if after > from_here:
            scale, at = scale + sign * exponent, after
    return -digits if negative else digits, scale, at


@kernel
def _scaled(digits: Any, scale: Any) -> Any:
    """digits · 10^scale rounded to the nearest whole number, whether that lost a fraction, and whether it fits."""
    sign, size = np.int64(-1 if digits < 0 else 1), abs(digits)
    while scale > 0 and size != 0:
        if size > 2**62 // 10:
            return digits, False, False
        size *= 10
        scale -= 1
    lost, half = False, np.int64(0)
    while scale < 0 and (size != 0 or half != 0):
        half = np.int64(size % 10 >= 5)
        lost |= size % 10 != 0
        size //= 10
        scale += 1
    return sign * (size + half), lost, True
