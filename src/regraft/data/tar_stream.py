"""The members of a tar, from its headers alone: a reader of our own that trusts none of them.

Python's reads extended headers whole, whatever they claim, takes a damaged header for the end, and
takes 40 microseconds a member. Here every number has a limit, checksums are compared, names that
lead elsewhere are refused, and how the file ended is told.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

BLOCK = 512
MAX_HEADER_BYTES = 2**20
# Behind the end mark tars are filled up with zeros, to a multiple of 10 KiB mostly.
_FILLED_UP = 2**20
_FILES, _SPARSE = (b"\0", b"0", b"7"), b"S"
_FOLDER, _LONG_NAME, _PAX, _PAX_ALL = b"5", b"L", b"x", b"g"
# From an offset and a number of bytes to these bytes, fewer at the end.
ReadAt = Callable[[int, int], bytes]


class Entry(NamedTuple):
    """A regular file in a tar: its name, where its content lies, and a checksum of the header that
    stands right before that."""

    name: str
    offset: int
    n_bytes: int
    header: int


@dataclass
class Listing:
    """What a tar holds, and how it ended.

    Attributes
    ----------
    refused : list of (str, str)
        Names and reasons of members that are none of ours: links, devices, unsafe names.
    problem : str
        Why the rest could not be read; '' if it ended as a tar does.
    goes_on : bool
        Something stands behind its end mark.
    """

    refused: list[tuple[str, str]]
    problem: str = ""
    goes_on: bool = False


@dataclass
class _Told:
    """What extended headers say of the member that follows them."""

    name: str = ""
    size: int = -1
    is_sparse: bool = False

    def hear_pax(self, extension: bytes) -> None:
        """Records of the form 'LENGTH KEY=VALUE\\n'."""
        at = 0
        while at < len(extension):
            digits = extension[at : at + 20].partition(b" ")[0]
            length = int(digits) if digits.isdigit() else 0
            if length <= len(digits) + 1:
                break
            key, _, value = extension[at + len(digits) + 1 : at + length - 1].partition(b"=")
            if key == b"path" and not self.is_sparse:
                self.name = _text(value)
            elif key == b"size" and value.isdigit() and len(value) < 20:
                self.size = int(value)
            elif key.startswith(b"GNU.sparse."):  # its bytes are a map and what is no hole
                self.is_sparse = True
                self.name = _text(value) if key == b"GNU.sparse.name" else self.name
            at += length


def members(read_at: ReadAt, size: int, listing: Listing) -> Iterator[Entry]:
    """Every regular file of a tar, in its order; what is wrong goes into `listing`.

    Parameters
    ----------
    read_at : callable(offset, n_bytes) -> bytes
    size : int
        Of the tar.

    Examples
    --------
    >>> import io, tarfile
    >>> file = io.BytesIO()
    >>> with tarfile.open(fileobj=file, mode="w") as tar:
    ...     one = tarfile.TarInfo("a/1.jpg")
    ...     one.size = 3
    ...     tar.addfile(one, io.BytesIO(b"..."))
    >>> data, listing = file.getvalue(), Listing([])
    >>> [one] = members(lambda at, n: data[at : at + n], len(data), listing)
    >>> one.name, one.offset, one.n_bytes, listing.problem
    ('a/1.jpg', 512, 3, '')
    """
    at, told = 0, _Told()
    while True:
        header = read_at(at, BLOCK)
        if len(header) < BLOCK:
            cut = len(header) > 0 or at > size
            listing.problem = "cut off within a header" if cut else "its end mark is missing"
            return
        if not any(header):
            if any(read_at(at + BLOCK, _FILLED_UP)):
                listing.goes_on = True
                listing.problem = f"it goes on after its end mark, at byte {at:,}"
            return
        if not _is_sound(header):
            listing.problem = f"damaged: byte {at:,} is no header"
            return
        kind, n_bytes = header[156:157], _number(header[124:136])
        start = at + BLOCK
        following = start + -(-n_bytes // BLOCK) * BLOCK if n_bytes >= 0 else -1
        if kind in (_LONG_NAME, _PAX, _PAX_ALL, b"K"):
            if not 0 <= n_bytes <= MAX_HEADER_BYTES:
                listing.problem = f"an extended header claims {n_bytes:,} bytes"
                return
            extension = read_at(start, n_bytes)
            if kind == _LONG_NAME:
                told.name = _text(extension.rstrip(b"\0"))
            elif kind == _PAX:
                told.hear_pax(extension)
            at = following
            continue
        name, is_sparse = told.name or _name(header), told.is_sparse or kind == _SPARSE
        if told.size >= 0 and kind in _FILES:
            n_bytes, following = told.size, start + -(-told.size // BLOCK) * BLOCK
        told = _Told()
        if n_bytes < 0:
            listing.problem = f"damaged: the size of {name[:80]!r} is no number"
            return
        if kind in _FILES and not is_sparse and not name.endswith("/"):
            if start + n_bytes > size:
                listing.problem = f"cut off within {name[:200]!r}"
                return
            if rule := why_unsafe(name):
                listing.refused.append((name, rule))
            else:
                yield Entry(name, start, n_bytes, zlib.crc32(header))
        elif kind != _FOLDER and not name.endswith("/"):
            what = "is stored sparse" if is_sparse else "is a link or device"
            listing.refused.append((name, f"{what}, not as a file"))
        at = following


def why_unsafe(name: str) -> str:
    """Why a name is refused: it leads elsewhere, or is none.

    Examples
    --------
    >>> why_unsafe("a/1.jpg"), why_unsafe("../1.jpg")
    ('', "has '..' in its name")
    """
    parts = name.split("/")
    if not name or "\0" in name or not any(part not in ("", ".") for part in parts):
        return "has no name"
    if "\\" in name:
        return "has a backslash in its name"
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "has an absolute path for a name"
    return "has '..' in its name" if ".." in parts else ""


def _is_sound(header: bytes) -> bool:
    """Whether the checksum is the sum of the header's bytes, itself counted as blanks."""
    total = sum(header) - sum(header[148:156]) + 8 * 32
    return _number(header[148:156]) == total


def _number(digits: bytes) -> int:
    """Octal, or binary where the first bit says so; -1 if it is none."""
    if digits[:1] and digits[0] & 0x80:
        return int.from_bytes(digits[1:], "big") if digits[0] == 0x80 else -1
    text = digits.strip(b" \0")
    try:
        return int(text, 8) if text else 0
    except ValueError:
        return -1


def _name(header: bytes) -> str:
    name, prefix = header[:100].partition(b"\0")[0], b""
    if header[257:262] == b"ustar" and header[257:265] != b"ustar  \0":
        prefix = header[345:500].partition(b"\0")[0]
    return _text(prefix + b"/" + name if prefix else name)


def _text(name: bytes) -> str:
    return os.fsdecode(name).removeprefix("./")
