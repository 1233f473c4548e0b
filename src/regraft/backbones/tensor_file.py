"""Named arrays in one file, in the safetensors format, read and written without torch.

Own code, because a model is saved by copying the bytes of its network and hashing them on the
way, which the package cannot do. Every number in a header is checked before it is used: nothing
is allocated, sliced or read that the file does not hold.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# More tensors than any network of timm has; a length above it is not a header's.
MAX_HEADER_BYTES = 16 * 2**20


class _Kind(NamedTuple):
    n_bytes: int
    numpy: str
    torch: str


# bfloat16 has no numpy kind; its two bytes are the upper half of a float32.
_KINDS = {
    "F64": _Kind(8, "<f8", "torch.float64"),
    "F32": _Kind(4, "<f4", "torch.float32"),
    "F16": _Kind(2, "<f2", "torch.float16"),
    "BF16": _Kind(2, "<u2", "torch.bfloat16"),
    "I64": _Kind(8, "<i8", "torch.int64"),
    "I32": _Kind(4, "<i4", "torch.int32"),
    "I16": _Kind(2, "<i2", "torch.int16"),
    "I8": _Kind(1, "|i1", "torch.int8"),
    "U8": _Kind(1, "|u1", "torch.uint8"),
    "BOOL": _Kind(1, "|b1", "torch.bool"),
}
_KIND_OF_NUMPY = {kind.numpy: name for name, kind in _KINDS.items() if name != "BF16"}


class TensorFileError(ValueError):
    """The file is no safetensors file, or not all of one."""


class Stored(NamedTuple):
    """A tensor as its bytes: kind in the format's words, shape, little-endian data."""

    kind: str
    shape: tuple[int, ...]
    data: bytes | memoryview

    @classmethod
    def from_array(cls, values: NDArray[Any]) -> Stored:
        """ValueError for kinds of numbers that the format has no word for."""
        kind = _KIND_OF_NUMPY.get(values.dtype.newbyteorder("<").str)
        if kind is None:
            raise ValueError(f"tensors of {values.dtype} cannot be saved")
        plain = np.ascontiguousarray(values, dtype=_KINDS[kind].numpy)
        return cls(kind, values.shape, plain.tobytes())

    def to_array(self) -> NDArray[Any]:
        """A writable copy; bfloat16 as float32, which holds each of its values exactly."""
        values = np.frombuffer(self.data, _KINDS[self.kind].numpy).reshape(self.shape)
        if self.kind != "BF16":
            return values.copy()
        return (values.astype(np.uint32) << 16).view(np.float32)


class Entry(NamedTuple):
    """What the header says of one tensor; ``start:stop`` are bytes from the start of the file."""

    kind: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class TensorFile:
    """The checked header of a file: which tensors, of which shape, and where.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "some.safetensors"
    >>> sha256 = write(path, {"w": Stored.from_array(np.ones((2, 3), np.float32))})
    >>> TensorFile.open(path).array("w").shape
    (2, 3)
    """

    path: Path
    entries: Mapping[str, Entry]

    @classmethod
    def open(cls, path: Path) -> TensorFile:
        """Read and check the header.

        Raises
        ------
        TensorFileError
            Not an ordinary file, no header, or a header that does not describe this file's bytes.
        """
        # Asked before it is opened: opening a pipe would wait for someone to write into it.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise TensorFileError("not an ordinary file")
        with open(path, "rb") as file:
            n_file = os.fstat(file.fileno()).st_size
            n_header = int.from_bytes(file.read(8), "little")
            if n_file < 8 or n_header > min(n_file - 8, MAX_HEADER_BYTES):
                raise TensorFileError(
                    f"its first bytes announce a header of {n_header} bytes, "
                    f"in a file of {n_file}: not safetensors, or cut off"
                )
            header = _parse(file.read(n_header))
        entries = {
            name: _entry(name, value, n_header + 8)
            for name, value in header.items()
            if name != "__metadata__"
        }
        _check_no_gaps(entries, n_header + 8, n_file)
        return cls(path, entries)

    def array(self, name: str) -> NDArray[Any]:
        """One tensor, read now; KeyError if there is none of this name."""
        kind, shape, start, stop = self.entries[name]
        with open(self.path, "rb") as file:
            file.seek(start)
            data = file.read(stop - start)
        if len(data) != stop - start:
            raise TensorFileError(f"{name!r} is cut off")
        return Stored(kind, shape, data).to_array()

    @contextmanager
    def mapped(self) -> Iterator[dict[str, Stored]]:
        """All tensors as views of the file; they must not be used after the ``with``."""
        with (
            open(self.path, "rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages,
            memoryview(pages) as view,
        ):
            parts = {name: view[e.start : e.stop] for name, e in self.entries.items()}
            try:
                yield {n: Stored(e.kind, e.shape, parts[n]) for n, e in self.entries.items()}
            finally:
                for part in parts.values():
                    part.release()


def write(path: Path, tensors: Mapping[str, Stored]) -> str:
    """Write a new file; its SHA-256 is returned, computed from what was written.

    The order is the one of the safetensors package: wide kinds first, so that all stay aligned.
    """
    order = sorted(tensors, key=lambda name: (-_KINDS[tensors[name].kind].n_bytes, name))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name in order:
        kind, shape, data = tensors[name]
        header[name] = {
            "dtype": kind,
            "shape": list(shape),
            "data_offsets": [start, start + len(data)],
        }
        start += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)

    total = hashlib.sha256()
    with open(path, "xb") as file:
        for part in (len(text).to_bytes(8, "little"), text, *(tensors[n].data for n in order)):
            total.update(part)
            file.write(part)
    return total.hexdigest()


def digest_of(tensors: Mapping[str, Stored]) -> str:
    """The digest that `regraft.backbones.weights.digest_of_tensors` gives to the same tensors."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        kind, shape, data = tensors[name]
        total.update(f"{name}|{_KINDS[kind].torch}|{shape}|".encode())
        total.update(data)
    return total.hexdigest()


def _parse(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_without_twins)
    except (ValueError, RecursionError) as error:
        raise TensorFileError(f"its header is not JSON: {str(error)[:120]}") from error
    if not isinstance(header, dict):
        raise TensorFileError("its header is not a JSON object")
    return header


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _entry(name: str, value: object, data_start: int) -> Entry:
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise TensorFileError(f"tensor {name[:80]!r} needs dtype, shape and data_offsets")
    kind, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(kind, str) or kind not in _KINDS:
        raise TensorFileError(f"tensor {name[:80]!r} is of an unknown kind {str(kind)[:40]!r}")
    if not _are_counts(shape) or len(shape) > 16:
        raise TensorFileError(f"the shape of tensor {name[:80]!r} is {str(shape)[:80]}")
    if not _are_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise TensorFileError(f"the offsets of tensor {name[:80]!r} are {str(offsets)[:80]}")
    n_bytes = math.prod(shape) * _KINDS[kind].n_bytes
    if n_bytes != offsets[1] - offsets[0]:
        raise TensorFileError(
            f"tensor {name[:80]!r} of shape {tuple(shape)} takes {n_bytes} bytes, "
            f"its offsets span {offsets[1] - offsets[0]}"
        )
    return Entry(kind, tuple(shape), data_start + offsets[0], data_start + offsets[1])


def _are_counts(values: object) -> bool:
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 2**63 for v in values)


def _check_no_gaps(entries: Mapping[str, Entry], data_start: int, n_file: int) -> None:
    """Tensors lie one after the other and fill the file: no overlap, nothing hidden, no end cut."""
    position = data_start
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].stop)):
        if entry.start != position:
            what = "overlaps the one before it" if entry.start < position else "follows a gap"
            raise TensorFileError(f"tensor {name[:80]!r} {what}")
        position = entry.stop
    if position != n_file:
        raise TensorFileError(f"{n_file} bytes long, but its header describes {position}")
