"""Content digests of many images as one array: 32 bytes each, not an object of Python's each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from regraft.machine import arrays

Indices = npt.NDArray[np.intp]

N_BYTES = 32
_ROWS_AT_ONCE = 16_384


class Digests(Sequence[bytes]):
    """N digests of 32 bytes that read like a list of bytes; an array of many lies on disk.

    Parameters
    ----------
    rows : (N, 32) uint8
        Not copied.

    Examples
    --------
    >>> some = Digests.of([b"a", b"b", b"a"])
    >>> len(some), some[1][:2], [part.tolist() for part in some.numbered()]
    (3, b'b\\x00', [[0, 1, 0], [0, 1]])
    """

    def __init__(self, rows: npt.NDArray[np.uint8]) -> None:
        self._rows = rows

    @classmethod
    def of(cls, digests: Sequence[bytes] | npt.NDArray[np.object_]) -> Digests:
        """Of a list; itself if it is one. Shorter ones are filled up with zeros."""
        if isinstance(digests, Digests):
            return digests
        filled = b"".join(digest.ljust(N_BYTES, b"\0") for digest in digests)
        return cls(np.frombuffer(filled, np.uint8).reshape(-1, N_BYTES))

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, row: int) -> bytes: ...
    @overload
    def __getitem__(self, row: slice) -> list[bytes]: ...
    def __getitem__(self, row: int | slice) -> bytes | list[bytes]:
        if isinstance(row, slice):
            return [digest.tobytes() for digest in self._rows[row]]
        digest: bytes = self._rows[row].tobytes()
        return digest

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self), _ROWS_AT_ONCE):
            data = self._rows[start : start + _ROWS_AT_ONCE].tobytes()
            yield from (data[at : at + N_BYTES] for at in range(0, len(data), N_BYTES))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def take(self, rows: npt.NDArray[Any]) -> Digests:
        """Those of some rows, by their indices."""
        taken = arrays.zeros((len(rows), N_BYTES), np.uint8)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            taken[part] = self._rows[rows[part]]
        return Digests(taken)

    def numbered(self) -> tuple[Indices, Indices]:
        """The number of each row's digest, (N,), counted from 0 by the first rows; and these rows.

        Rows are sorted by the first eight bytes, which tell nearly all digests apart: a dictionary
        of millions would need ten times the memory.
        """
        keys = self._words(0)
        order = np.argsort(keys, kind="stable")
        is_new = np.diff(keys[order], prepend=~keys[order[:1]]) != 0
        again = np.flatnonzero(~is_new)
        if len(again) and (self._rows[order[again]] != self._rows[order[again - 1]]).any():
            columns = [self._words(place) for place in range(N_BYTES // 8)]
            order = np.lexsort(columns)
            is_new = np.zeros(len(self), bool)
            is_new[:1] = True
            for column in columns:
                is_new[1:] |= column[order[1:]] != column[order[:-1]]
        firsts = order[is_new]
        if len(firsts) == len(self):
            return np.arange(len(self)), np.arange(len(self))
        number = np.empty(len(firsts), np.intp)
        number[np.argsort(firsts)] = np.arange(len(firsts))
        numbers = np.empty(len(self), np.intp)
        numbers[order] = number[np.cumsum(is_new) - 1]
        return numbers, np.sort(firsts)

    def _words(self, place: int) -> npt.NDArray[np.uint64]:
        """Eight of the bytes of each as a number, (N,)."""
        some = np.ascontiguousarray(self._rows[:, 8 * place : 8 * place + 8])
        return some.view(np.uint64).reshape(-1)
