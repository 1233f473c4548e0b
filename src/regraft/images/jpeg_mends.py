"""Faults of a JPEG that cost no pixel, each with a way to the same file without it.

libjpeg calls them errors as it does real damage. Here they are taken out, and what is left must
decode without any fault: that proves that every row is there, where reading over them would not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from regraft.images.end_marks import NO_END_MARK
from regraft.images.jpeg_header import (
    ARITHMETIC,
    EOI,
    FRAMES,
    SOS,
    read_jpeg_header,
    segments,
)

BYTES_AT_THE_END = "with bytes between its last row and its end mark"
BYTES_IN_THE_HEADER = "with bytes between the parts of its header"

# A file of more faults than this is damaged. (Bytes at its end may take two goes: the nearer the
# end mark is, the fewer bytes libjpeg reads ahead.)
MOST_FAULTS = 8
# Coded pixels hold no such run of zeros; with bytes left over after the last row, it tells that a
# part of the file was lost: zeros are codes too, of fewer bits for each pixel than there were.
_LOST = bytes(64)


class _Mend(NamedTuple):
    """What libjpeg says, what is told of it (nothing: it says nothing), and the way without it."""

    fault: re.Pattern[str]
    note: str
    mended: Callable[[bytes, re.Match[str]], bytes | None]


def without_fault(data: bytes, said: str) -> tuple[bytes, str] | None:
    """The file without the fault that libjpeg names, and a note of it; None if it may cost pixels.

    Parameters
    ----------
    data : bytes
        A JPEG.
    said : str
        libjpeg's words.

    Examples
    --------
    >>> without_fault(b"...", "Corrupt JPEG data: bad Huffman code") is None
    True
    """
    for mend in _MENDS:
        match = mend.fault.search(said)
        mended = mend.mended(data, match) if match else None
        if mended is not None and mended != data:
            return mended, mend.note
    return None


def _without_odd_values(data: bytes, said: re.Match[str]) -> bytes:
    """Values that a decoder does not use; some cameras and programs write them."""
    header, mended = read_jpeg_header(data), bytearray(data)
    if header.jfif_at >= 0:
        mended[header.jfif_at] = 1  # major version
    if not header.is_progressive:
        spectral = header.scan_at + 1 + 2 * data[header.scan_at]
        mended[spectral : spectral + 3] = b"\0\x3f\0"  # what a sequential scan must say
    return bytes(mended)


def _with_end_mark(data: bytes, said: re.Match[str]) -> bytes | None:
    end = _without_zeros(data, len(data))  # a copy that stopped often leaves zeros
    return data[:end] + bytes((0xFF, EOI)) if _has_all_scans(data) else None


def _without_bytes_at_the_end(data: bytes, said: re.Match[str]) -> bytes | None:
    *_, end = segments(data)
    if end.marker != EOI:
        return None
    last_row = _without_zeros(data, _back(data, end.start, int(said[1])))
    is_lost = _LOST in data[read_jpeg_header(data).scan_at : last_row]
    return None if is_lost else data[:last_row] + data[end.start :]


def _without_bytes_in_the_header(data: bytes, said: re.Match[str]) -> bytes | None:
    parts = [data[:2]]
    for marker, start, end in segments(data):
        if marker == SOS:
            return b"".join([*parts, data[start:]])
        parts.append(data[start:end])
    return None


def _back(data: bytes, at: int, n_bytes: int) -> int:
    """Where libjpeg began to look for the next mark, when it passed over so many bytes up to it."""
    while n_bytes > 0 and at > 0:
        step = 2 if data[at - 2 : at] == b"\xff\0" else 1
        at, n_bytes = at - step, n_bytes - step
    return at


def _without_zeros(data: bytes, at: int) -> int:
    """Where zeros up to here began: rows that need them are rows that were lost."""
    while data[at - 1] == 0 and data[at - 2] != 0xFF:  # after 0xFF it is a part of the pixels
        at -= 1
    return at


def _has_all_scans(data: bytes) -> bool:
    """Whether every coefficient of every colour was sent to its last bit, and that can be told.

    A progressive picture that lost its later scans has all rows, but only roughly. In arithmetic
    coding what is missing counts as zeros, without an error.
    """
    missing: set[tuple[int, int]] = set()
    for marker, start, end in segments(data):
        if marker in ARITHMETIC:
            return False
        if marker in FRAMES:
            colours = data[start + 10 : end : 3][: data[start + 9]]
            missing = {(colour, k) for colour in colours for k in range(64)}
        elif marker == SOS:
            colours = data[start + 5 : end : 2][: data[start + 4]]
            missing -= {(colour, k) for colour in colours for k in _sent(data, start, end)}
    return not missing


def _sent(data: bytes, start: int, end: int) -> range:
    """The coefficients whose last bit a scan gives."""
    if not read_jpeg_header(data).is_progressive:
        return range(64)
    first, last, bits = data[end - 3 : end]
    is_last_bit = bits & 0x0F == 0
    return range(first, last + 1) if is_last_bit else range(0)


_MENDS = (
    _Mend(
        re.compile("Invalid SOS parameters for sequential JPEG|unknown JFIF revision"),
        "",
        _without_odd_values,
    ),
    _Mend(re.compile("Premature end of JPEG file"), NO_END_MARK, _with_end_mark),
    _Mend(
        re.compile(r"(\d+) extraneous bytes before marker 0xd9"),
        BYTES_AT_THE_END,
        _without_bytes_at_the_end,
    ),
    _Mend(
        re.compile("extraneous bytes before marker 0x(?!d[0-79])"),
        BYTES_IN_THE_HEADER,
        _without_bytes_in_the_header,
    ),
)
