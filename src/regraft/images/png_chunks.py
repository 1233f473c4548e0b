"""Is a PNG whole? Each chunk carries a checksum, and Pillow leaves those of the pixels unread.

Its `verify` reads them, but passes a file that lacks its last 1 to 4 bytes, or whose end mark is
damaged, and takes longer: 11 µs for 4.6 kB and 1180 µs for 4.8 MB, where this takes 3 and 930.
"""

from __future__ import annotations

import struct
import zlib

from regraft.errors import DecodeError
from regraft.images.end_marks import NO_END_MARK
from regraft.images.signatures import DAMAGED, TRUNCATED

_END = b"\0\0\0\0IEND\xaeB`\x82"


def checked_png(data: bytes) -> tuple[bytes, str]:
    """The file with its end mark (IEND), and a note if it had none; what follows it plays no part.

    Where it ends among what follows the pixels, they are all there, if the last row is: whether
    it is, only decoding tells.

    Raises
    ------
    DecodeError
        If the file ends before or within the pixels, or a checksum is wrong.

    Examples
    --------
    >>> checked_png(b"\\x89PNG\\r\\n\\x1a\\n" + bytes(3))
    Traceback (most recent call last):
        ...
    regraft.errors.DecodeError: the file ends early: PNG without its end mark
      cure:  copy or download it again: the rest of the file is missing
    """
    view, at, kind, has_pixels = memoryview(data), 8, b"", False
    while kind != b"IEND":
        kind = data[at + 4 : at + 8]
        if at + 12 > len(data) or (end := at + 12 + _length(data, at)) > len(data):
            _refuse_loss(data, at, kind, has_pixels)
            return data[:at] + _END, NO_END_MARK
        if zlib.crc32(view[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            rule = f"damaged PNG (checksum of chunk {ascii(kind)[2:-1]} at byte {at})"
            raise DecodeError(rule, cure=DAMAGED)
        has_pixels, at = has_pixels or kind == b"IDAT", end
    return data, ""


def _refuse_loss(data: bytes, at: int, kind: bytes, has_pixels: bool) -> None:
    """Pixels and orientation (eXIf) are not to be done without."""
    if not has_pixels or kind in (b"IDAT", b"eXIf"):
        raise DecodeError("the file ends early: PNG without its end mark", cure=TRUNCATED)
    if kind == b"IEND" and not _END.startswith(data[at:]):
        raise DecodeError(f"damaged PNG (length of chunk IEND at byte {at})", cure=DAMAGED)


def _length(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")
