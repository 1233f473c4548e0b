"""What the segments before a JPEG's pixels say: size, kind, orientation, number of pictures.

Read here and not by Pillow because it is needed for every photograph (10 microseconds) and to
set the limits before anything is decoded.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

EOI, SOS = 0xD9, 0xDA
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # DHT, JPG, DAC are no frames
ARITHMETIC = {*range(0xC9, 0xD0)}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_LOSSLESS = {0xC3, 0xC7, 0xCB, 0xCF}
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length: TEM, RST0-7, SOI

_ORIENTATION = 0x0112
_N_PICTURES = 0xB001
_SHORT, _LONG = 3, 4


@dataclass(slots=True)
class JpegHeader:
    """Facts from the segments up to the first scan; ``scan_at`` is -1 if there is none.

    Attributes
    ----------
    width, height : int
        Pixels as stored, before orientation.
    precision : int
        Bits per sample.
    n_components : int
        1 grey, 3 colour, 4 CMYK.
    is_progressive, is_lossless : bool
    is_multiscan : bool
        The decoder must hold the whole picture before it can scale it.
    orientation : int in 1..8
        From EXIF; 1 if there is none or it cannot be read.
    n_pictures : int
        More than 1 in a multi-picture file (MPO).
    jfif_at, scan_at : int
        Where the JFIF version and the first scan's header stand in the file; -1 if absent.
    """

    width: int = 0
    height: int = 0
    precision: int = 0
    n_components: int = 0
    is_progressive: bool = False
    is_lossless: bool = False
    is_multiscan: bool = False
    orientation: int = 1
    n_pictures: int = 1
    jfif_at: int = -1
    scan_at: int = -1


def read_jpeg_header(data: bytes) -> JpegHeader:
    """Header of a JPEG; stops quietly where the bytes do, and then ``scan_at`` is -1."""
    header, has_exif = JpegHeader(), False
    for marker, start, end in segments(data):
        body = start + 4
        if marker == EOI:
            break
        if marker == SOS:
            header.scan_at = body
            header.is_multiscan = header.is_progressive or data[body] < header.n_components
            break
        if marker in FRAMES:
            _read_frame(header, marker, data[body:end])
        elif marker == 0xE0 and data.startswith(b"JFIF\0", body):
            header.jfif_at = body + 5
        elif marker == 0xE1 and data.startswith(b"Exif\0\0", body) and not has_exif:
            has_exif = True
            value = first_ifd_value(data[body + 6 : end], _ORIENTATION)
            header.orientation = value if 1 <= value <= 8 else 1
        elif marker == 0xE2 and data.startswith(b"MPF\0", body):
            header.n_pictures = max(1, first_ifd_value(data[body + 4 : end], _N_PICTURES))
    return header


class Segment(NamedTuple):
    """A marker, where its 0xFF stands, and where what belongs to it ends."""

    marker: int
    start: int
    end: int


def segments(data: bytes) -> Iterator[Segment]:
    """What stands between a JPEG's start and end mark, one whole segment after the other.

    Coded pixels and bytes of no meaning are passed over; the end mark is the last one given.

    Examples
    --------
    >>> list(segments(bytes.fromhex("ffd8 ffda0003aa 12ff0034ffd0 ffd9")))
    [Segment(marker=218, start=2, end=7), Segment(marker=217, start=13, end=15)]
    """
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 2 <= len(data):
        marker = data[at + 1]
        if marker == 0xFF or marker == 0 or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker == EOI:
            yield Segment(marker, at, at + 2)
            return
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if end > len(data) or at + 4 > len(data):
            return
        yield Segment(marker, at, end)
        at = end


def _read_frame(header: JpegHeader, marker: int, body: bytes) -> None:
    if len(body) < 6:
        return
    header.precision, header.height, header.width, header.n_components = struct.unpack_from(
        ">BHHB", body
    )
    header.is_progressive = marker in _PROGRESSIVE
    header.is_lossless = marker in _LOSSLESS


def first_ifd_value(tiff: bytes, tag: int) -> int:
    """A number in the first directory of a TIFF block such as EXIF; 0 if it is not to be had.

    Examples
    --------
    >>> import struct
    >>> exif = struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, 6, 0, 0)
    >>> first_ifd_value(exif, 0x0112), first_ifd_value(exif[:15], 0x0112)
    (6, 0)
    """
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 0
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (n_entries,) = struct.unpack_from(order + "H", tiff, start)
        for at in range(start + 2, start + 2 + 12 * n_entries, 12):
            found, kind, count = struct.unpack_from(order + "HHI", tiff, at)
            if found == tag and count == 1 and kind in (_SHORT, _LONG):
                form = order + ("H" if kind == _SHORT else "I")
                return int(struct.unpack_from(form, tiff, at + 8)[0])
    except struct.error:
        pass
    return 0
