"""Millions of texts as the bytes of all of them: on disk, and not an object of Python's each."""

from __future__ import annotations

import itertools
import mmap
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, overload

import numpy as np
import numpy.typing as npt

from regraft.machine import mapped
from regraft.machine.arrays import MAX_BYTES_IN_MEMORY
from regraft.wording import count

# Fewer texts than this are left as they are: what is small shall be simple, and quick.
MANY = 100_000
_AT_ONCE = 16_384
_WIDEST = 80  # bytes of a text, up to which all are sorted at one width
# A path is bytes to the file system, and need not be UTF-8: what is not is kept as it is.
_CODE = ("utf-8", "surrogatepass")


class Texts(Sequence[str]):
    """N texts that read like an array of str; more can be put at its end.

    Rows, a mask or a slice give an array of those texts, as of an array of NumPy. What is large
    lies in a file without a name, of which the system holds no more in memory than it has room for.

    Examples
    --------
    >>> some = Texts.of(["a/1.jpg", "b/2.jpg", "c/ü.jpg"])
    >>> len(some), some[2], some[1:].tolist(), list(some.take(np.array([2, 0])))
    (3, 'c/ü.jpg', ['b/2.jpg', 'c/ü.jpg'], ['c/ü.jpg', 'a/1.jpg'])
    """

    def __init__(self) -> None:
        self._waiting: list[str] = []
        self._encoded: list[bytes] = []
        self._lengths: list[npt.NDArray[np.int64]] = []
        self._n_kept = 0
        self._file: IO[bytes] | None = None
        self._content: bytes | mmap.mmap = b""
        self._ends = np.zeros(1, np.int64)  # of each text; before them the first one's start

    @classmethod
    def of(cls, texts: Iterable[str]) -> Texts:
        """Of these; itself if it is one."""
        if isinstance(texts, Texts):
            return texts
        made = cls()
        for text in texts:
            made.append(text)
        made._settle()  # several threads may read them, and one must not find another at this
        return made

    def append(self, text: str) -> None:
        """Put one more at the end."""
        self._waiting.append(text)
        if len(self._waiting) == _AT_ONCE:
            self._keep()

    def __len__(self) -> int:
        return self._n_kept + len(self._waiting)

    @overload  # type: ignore[override]
    def __getitem__(self, rows: int | np.integer[Any]) -> str: ...
    @overload
    def __getitem__(self, rows: slice | npt.NDArray[Any]) -> npt.NDArray[np.object_]: ...
    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, slice) or np.ndim(rows):
            chosen = _places(rows, len(self))
            found = np.empty(len(chosen), object)
            found[:] = [self._one(row) for row in chosen]
            return found
        row = range(len(self))[rows]
        return self._one(row)

    def __iter__(self) -> Iterator[str]:
        self._settle()
        for start in range(0, self._n_kept, _AT_ONCE):
            ends = self._ends[start : start + _AT_ONCE + 1]
            data = self._content[int(ends[0]) : int(ends[-1])]
            places = itertools.pairwise((ends - ends[0]).tolist())
            text = data.decode(*_CODE)
            if len(text) == len(data):  # ASCII: a letter is a byte
                yield from (text[a:b] for a, b in places)
            else:
                yield from (data[a:b].decode(*_CODE) for a, b in places)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return self[:] if dtype is None else self[:].astype(dtype)

    def tolist(self) -> list[str]:
        """All of them, as of an array."""
        return list(self)

    def take(self, rows: npt.NDArray[Any]) -> Texts:
        """Those of a mask or of row numbers, kept in the same way."""
        return Texts.of(map(self._one, _places(rows, len(self))))

    def order(self) -> npt.NDArray[np.intp]:
        """The rows that bring them into order, as `sorted` would."""
        self._settle()
        # UTF-8 sorts as the letters do. Bytes of one width take less memory, unless one is long.
        width = max(1, int(np.diff(self._ends).max(initial=0)))
        if width > _WIDEST:
            return np.array(sorted(range(len(self)), key=self._bytes), np.intp)
        padded = np.zeros(len(self), f"S{width}")
        for row in range(len(self)):
            padded[row] = self._bytes(row)
        return np.argsort(padded, kind="stable")

    def __reduce__(self) -> tuple[Any, ...]:
        return Texts.of, (list(self),)

    def _one(self, row: int) -> str:
        self._settle()
        return self._bytes(row).decode(*_CODE)

    def _bytes(self, row: int) -> bytes:
        return self._content[int(self._ends[row]) : int(self._ends[row + 1])]

    def _keep(self) -> None:
        """What waits becomes bytes; those of many go into the file."""
        encoded = [text.encode(*_CODE) for text in self._waiting]
        self._encoded.append(b"".join(encoded))
        self._lengths.append(np.fromiter(map(len, encoded), np.int64, len(encoded)))
        self._n_kept += len(encoded)
        self._waiting = []
        if self._file is None and sum(map(len, self._encoded)) > MAX_BYTES_IN_MEMORY:
            self._file = tempfile.TemporaryFile(prefix="regraft-")  # noqa: SIM115  (see below)
            weakref.finalize(self, self._file.close)
            self._file.write(self._content)
        if self._file is not None:
            self._file.writelines(self._encoded)
            self._encoded = []

    def _settle(self) -> None:
        """Make all of them readable; the file is looked at where it lies."""
        if self._waiting:
            self._keep()
        if not self._lengths:
            return
        lengths = np.concatenate([np.diff(self._ends), *self._lengths])
        self._ends = np.concatenate([[0], np.cumsum(lengths)])
        self._lengths = []
        if self._file is None:
            self._content = b"".join([bytes(self._content), *self._encoded])
            self._encoded = []
        else:
            self._file.flush()
            self._content = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
            mapped.watch(self._content)


def packed(texts: Any) -> Any:
    """A column of texts as `Texts`, if it has many; itself, if some are more than text: members of
    a shard know where they lie, pictures in memory are their pixels.

    Examples
    --------
    >>> packed(["a/1.jpg"])
    ['a/1.jpg']
    """
    if len(texts) < MANY or isinstance(texts, Texts) or not all(type(one) is str for one in texts):
        return texts
    return Texts.of(texts)


def _places(rows: Any, n: int) -> Sequence[int]:
    """Row numbers of a slice, a mask or row numbers, of n rows."""
    if isinstance(rows, slice):
        return range(n)[rows]
    some = np.asarray(rows)
    if some.dtype == bool:
        if len(some) != n:
            raise IndexError(f"the mask has {count(len(some), 'row')}, there are {n}")
        return np.flatnonzero(some).tolist()
    return (some.astype(np.intp) + np.where(some < 0, n, 0)).tolist() if some.size else []
