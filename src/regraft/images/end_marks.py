"""The end marks of GIF and WebP: whether a file has its own, and the same file with it.

What a picture needs stands before them: a file without one is read if all its rows are there.
"""

from __future__ import annotations

from regraft.errors import DecodeError
from regraft.images.signatures import TRUNCATED

NO_END_MARK = "without its end mark"
_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B


def has_gif_trailer(data: bytes) -> bool:
    """Whether the blocks of a GIF lead to its end mark; what follows it plays no part.

    Examples
    --------
    >>> picture = b"GIF89a" + bytes(7) + b"\\x2c" + bytes(9) + b"\\x02" + b"\\x01\\x44" + b"\\0"
    >>> has_gif_trailer(picture), has_gif_trailer(picture + b"\\x3b" + bytes(9))
    (False, True)
    """
    at = 13 + _palette_bytes(data, 10)
    while at < len(data):
        block = data[at]
        if block == _TRAILER:
            return True
        if block == _EXTENSION:
            at = _after_parts(data, at + 2)
        elif block == _IMAGE:
            at = _after_parts(data, at + 11 + _palette_bytes(data, at + 9))
        else:  # no block begins so: Pillow stops here too
            return False
    return False


def _palette_bytes(data: bytes, at: int) -> int:
    """Of the colours that a byte of flags announces."""
    flags = data[at] if at < len(data) else 0
    return 3 * 2 ** (1 + (flags & 7)) if flags & 0x80 else 0


def _after_parts(data: bytes, at: int) -> int:
    """Where a chain of parts, each after its length, ends with an empty one."""
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1


def whole_webp(data: bytes) -> tuple[bytes, str]:
    """The file with its last byte, which fills the last chunk to an even length and says nothing.

    Raises
    ------
    DecodeError
        If more is missing. (EXIF stands after the pixels of a WebP: without it nobody knows how
        they are turned.)

    Examples
    --------
    >>> whole_webp(b"RIFF" + (100).to_bytes(4, "little") + b"WEBPVP8 " + bytes(20))
    Traceback (most recent call last):
        ...
    regraft.errors.DecodeError: the file ends early (WebP: 36 of 108 bytes)
      cure:  copy or download it again: the rest of the file is missing
    """
    n_bytes = 8 + int.from_bytes(data[4:8], "little")
    if len(data) >= n_bytes:
        return data, ""
    filled = data + b"\0"
    if len(filled) == n_bytes and _ends_with_filling(filled):
        return filled, NO_END_MARK
    raise DecodeError(
        f"the file ends early (WebP: {len(data):,} of {n_bytes:,} bytes)", cure=TRUNCATED
    )


def _ends_with_filling(data: bytes) -> bool:
    at = 12
    while at + 8 <= len(data):
        n_bytes = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + n_bytes
        if at == len(data) - 1:
            return n_bytes % 2 == 1
        at += n_bytes % 2
    return False
