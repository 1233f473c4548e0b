"""Facts of many images as columns: a third of a kilobyte each, mapped from a file where many.

It reads like a list of `FileFacts`; what looks at all images takes a column.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from regraft.data.digests import N_BYTES, Digests
from regraft.images.facts import THUMB_PX, FileFacts
from regraft.machine import arrays

_WORDS = ("format", "mode", "note")  # few different ones: kept as numbers
_ROW = np.dtype(
    [
        ("digest", "V32"), ("n_bytes", "<i8"), ("format", "<u2"), ("mode", "<u2"),
        ("width", "<i4"), ("height", "<i4"), ("orientation", "u1"), ("n_frames", "<i4"),
        ("brightness", "<f8"), ("contrast", "<f8"), ("thumb", "u1", (THUMB_PX**2,)),
        ("note", "<u2"), ("peak", "<f8"), ("white", "<f8"),
    ]
)  # fmt: skip
_NO_ROWS = np.zeros((0, _ROW.itemsize), np.uint8)
_LAYOUT = hashlib.sha256(repr(_ROW.descr).encode()).hexdigest()[:8]


class FactsTable(Sequence[FileFacts]):
    """Facts of N good images; a row that was never set has no digest.

    Examples
    --------
    >>> table = FactsTable(2)
    >>> table[1] = FileFacts(bytes(range(32)), 7, "PNG", "L", 3, 4, thumb=bytes(256))
    >>> table[1].format, table.column("width").tolist()
    ('PNG', [0, 3])
    """

    def __init__(self, n_rows: int) -> None:
        self._rows = arrays.zeros((n_rows,), _ROW)
        self._words: list[str] = [""]
        self._number_of = {"": 0}

    @classmethod
    def of(cls, facts: Iterable[FileFacts]) -> FactsTable:
        """A table of these; itself if it is one."""
        if isinstance(facts, FactsTable):
            return facts
        listed = list(facts)
        table = cls(len(listed))
        for row, fact in enumerate(listed):
            table[row] = fact
        return table

    def __len__(self) -> int:
        return len(self._rows)

    def __setitem__(self, row: int, fact: FileFacts) -> None:
        thumb = fact.thumb or bytes(THUMB_PX**2)
        self._rows[row] = (
            fact.digest, fact.n_bytes, self._number(fact.format), self._number(fact.mode),
            fact.width, fact.height, fact.orientation, fact.n_frames,
            fact.brightness, fact.contrast, np.frombuffer(thumb, np.uint8),
            self._number(fact.note), fact.peak, fact.white,
        )  # fmt: skip

    @overload
    def __getitem__(self, row: int) -> FileFacts: ...
    @overload
    def __getitem__(self, row: slice) -> list[FileFacts]: ...
    def __getitem__(self, row: int | slice) -> FileFacts | list[FileFacts]:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        found = self._rows[row]
        return FileFacts(
            digest=found["digest"].tobytes(),
            n_bytes=int(found["n_bytes"]),
            format=self._words[found["format"]],
            mode=self._words[found["mode"]],
            width=int(found["width"]),
            height=int(found["height"]),
            orientation=int(found["orientation"]),
            n_frames=int(found["n_frames"]),
            brightness=float(found["brightness"]),
            contrast=float(found["contrast"]),
            thumb=found["thumb"].tobytes(),
            note=self._words[found["note"]],
            peak=float(found["peak"]),
            white=float(found["white"]),
        )

    def __iter__(self) -> Iterator[FileFacts]:
        return (self[row] for row in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FactsTable) and list(self) == list(other)

    def column(self, name: str) -> NDArray[Any]:
        """One attribute of all, ``(N,)``; of the words, an array of the few different str."""
        values = self._rows[name]
        return np.array(self._words, object)[values] if name in _WORDS else np.asarray(values)

    def coded(self, name: str) -> tuple[list[str], NDArray[np.uint16]]:
        """Of an attribute that is a word: the words that there are, sorted, and each one's place
        among them, ``(N,)``."""
        used, codes = np.unique(self._rows[name], return_inverse=True)
        words = sorted(self._words[number] for number in used)
        place = np.array([words.index(self._words[number]) for number in used], np.uint16)
        return words, place[codes.reshape(-1)] if len(used) else np.zeros(0, np.uint16)

    @property
    def median_side_px(self) -> float:
        """Of the shorter sides."""
        return float(np.median(np.minimum(self._rows["width"], self._rows["height"])))

    @property
    def digests(self) -> Digests:
        """Content digest of each image."""
        # NumPy gives no view of a field as bytes: each row begins with its digest.
        size = _ROW.itemsize
        rows = self._rows.view(np.uint8).reshape(len(self), size) if len(self) else _NO_ROWS
        return Digests(rows[:, :N_BYTES])

    @property
    def thumbs(self) -> NDArray[np.uint8]:
        """``(N, 256)`` luma thumbnails, a view."""
        return np.asarray(self._rows["thumb"])

    def select(self, rows: NDArray[Any]) -> FactsTable:
        """The table of some rows: a boolean mask or indices."""
        chosen = object.__new__(FactsTable)
        picked = np.flatnonzero(rows) if np.asarray(rows).dtype == bool else np.asarray(rows)
        chosen._rows = arrays.zeros((len(picked),), _ROW)
        for start in range(0, len(picked), 4096):
            part = slice(start, start + 4096)
            chosen._rows[part] = self._rows[picked[part]]
        chosen._words, chosen._number_of = self._words, self._number_of
        return chosen

    def take_over(self, rows: NDArray[Any], other: FactsTable, others: NDArray[Any]) -> None:
        """Rows of another table, (n,) indices, into (n,) rows of this one."""
        taken = other._rows[others]
        for name in _WORDS:
            numbers = np.array([self._number(word) for word in other._words], _ROW[name])
            taken[name] = numbers[taken[name]]
        self._rows[rows] = taken

    def to_columns(self) -> tuple[NDArray[np.uint8], list[str], str]:
        """``(N, B)`` bytes of the rows, the words in them, and how a row is laid out."""
        as_bytes = np.ascontiguousarray(self._rows).view(np.uint8)
        return as_bytes.reshape(len(self), _ROW.itemsize), list(self._words), _LAYOUT

    @classmethod
    def from_columns(cls, rows: NDArray[np.uint8], words: list[str], layout: str) -> FactsTable:
        """The inverse of :meth:`to_columns`; ValueError for rows of another layout."""
        if layout != _LAYOUT or rows.shape[1:] != (_ROW.itemsize,):
            raise ValueError(f"facts are laid out as {layout}, here as {_LAYOUT}")
        table = object.__new__(cls)
        table._rows = np.ascontiguousarray(rows).view(_ROW).reshape(-1)
        table._words, table._number_of = words, {word: n for n, word in enumerate(words)}
        for name in _WORDS:
            if len(rows) and int(table._rows[name].max()) >= len(words):
                raise ValueError(f"{name} has a number that stands for no word")
        return table

    def _number(self, word: str) -> int:
        if word not in self._number_of:
            self._number_of[word] = len(self._words)
            self._words.append(word)
        return self._number_of[word]
