"""The parts of a folder, read in the order of the data, whatever order they were made in.

An image is found by its name and the stamp of its file. Where the stamp is another one (the file
was copied, or touched) the file is read once more and found by its content, or computed anew.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from regraft.data.remote import is_address
from regraft.data.table import ImageTable, first_few
from regraft.errors import ArtefactError, UsageError
from regraft.features.part import SUFFIX, UNKNOWN, Part, stamp_of, stat_of
from regraft.features.recipe import Recipe
from regraft.features.shard import Shard
from regraft.images.facts import FileFacts
from regraft.images.facts_table import FactsTable
from regraft.machine import mapped
from regraft.wording import count

_ROWS_AT_ONCE = 4_096
Progress = Callable[[int, int], None]
Found = tuple[FileFacts, NDArray[np.float32]]


class Filled(Protocol):
    """What is filled: a row for each image of a table."""

    @property
    def X(self) -> NDArray[np.float32]: ...  # noqa: N802
    @property
    def facts(self) -> FactsTable: ...
    @property
    def rejected(self) -> dict[int, FileFacts]: ...


def name_in(table: ImageTable, path: str) -> str:
    """By which a part knows an image: its path below the data, wherever these are mounted; of one
    at an address all of that, for no stamp tells it from another of its name elsewhere.

    Examples
    --------
    >>> from dataclasses import replace
    >>> table = replace(ImageTable.from_paths(["/mnt/photos/a/1.jpg"]), root="/mnt/photos")
    >>> name_in(table, table.paths[0])
    'a/1.jpg'
    """
    base = table.root or os.path.dirname(table.source)
    if base and not is_address(path) and path.startswith(base.rstrip(os.sep) + os.sep):
        return path[len(base.rstrip(os.sep)) + 1 :]
    return str(path)


@dataclass(frozen=True, eq=False)
class Parts:
    """Parts of one recipe, made before; nothing if there are none (:data:`NO_PARTS`).

    Attributes
    ----------
    parts : list of Part
        In the order of the shards.
    folder : Path
    say : callable(text)
        Hears what they lack.
    progress : callable(done, total)
    """

    parts: list[Part] = field(default_factory=list)
    folder: Path = Path()
    say: Callable[[str], None] = lambda text: None
    progress: Progress = lambda done, total: None
    _unsure: dict[bytes, tuple[Part, int]] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        recipe: Recipe,
        *,
        say: Callable[[str], None] = lambda text: None,
        progress: Progress = lambda done, total: None,
    ) -> Parts:
        """Every part of a folder, its checksum and its recipe compared.

        Raises
        ------
        UsageError
            There are none.
        ArtefactError
            One is damaged, or was made by another recipe; or shards are missing.
        """
        from regraft.features import part_file  # with the readers of its format

        place = Path(folder)
        files = sorted(place.glob(f"part-*{SUFFIX}"))
        if not files:
            raise UsageError(
                f"there are no parts in {str(folder)!r}",
                cure=f"regraft features DATA --shard 1/1 --out {shlex.quote(str(folder))}",
            )
        found = []
        for n_done, file in enumerate(files, 1):
            found.append(part_file.read(file))
            found[-1].require_recipe(recipe, place=str(file))
            progress(n_done, len(files))
        _require_all([part.shard for part in found], place)
        return cls(
            sorted(found, key=lambda part: (part.shard.of, part.shard.number)), place, say, progress
        )

    def __bool__(self) -> bool:
        return bool(self.parts)

    def fill(self, table: ImageTable, seen: Filled) -> list[int]:
        """Put what the parts know into the rows of a table; the others are returned.

        An image that stands in several parts is taken from the first that fits. One that could not
        be read when its part was made is asked for again.
        """
        names = _Places(table)
        is_open = np.ones(len(table), bool)
        n_changed = n_foreign = 0
        for part in self.parts:
            rows = names.rows_of(part)
            n_foreign += int((rows < 0).sum())
            is_read = np.ones(len(part), bool)
            is_read[part.unread] = False
            places = np.flatnonzero((rows >= 0) & is_read & is_open[rows])
            is_same = _are_same(table.paths, rows[places], part.stamps[places])
            n_changed += int((~is_same).sum())
            self._keep_for_later(part, places[~is_same])
            self._keep_for_later(part, np.flatnonzero(rows < 0))  # it may have another name now
            _copy(part, places[is_same], rows[places[is_same]], seen)
            is_open[rows[places[is_same]]] = False
            mapped.let_go(part.X)
        missing = np.flatnonzero(is_open).tolist()
        self._tell(len(table), len(missing), n_changed, n_foreign)
        return missing

    def of_content(self, digest: bytes) -> Found | None:
        """Facts and features of an image whose stamp did not fit, by what the file holds."""
        if digest not in self._unsure:
            return None
        part, at = self._unsure[digest]
        return part.facts[at], part.X[at]

    def may_know(self, rows: Sequence[int]) -> bool:
        """Whether files have to be read here, to be told by their content."""
        return bool(self._unsure) and bool(rows)

    def _keep_for_later(self, part: Part, places: NDArray[np.intp]) -> None:
        for at in np.flatnonzero(np.isin(part.good, places)) if len(places) else ():
            self._unsure[part.facts[int(at)].digest] = (part, int(at))

    def _tell(self, n_rows: int, n_missing: int, n_changed: int, n_foreign: int) -> None:
        text = f"{count(n_rows - n_missing, 'image')} from {count(len(self.parts), 'part')}"
        if n_missing:
            why = f" ({n_changed:,} with another size or time)" if n_changed else ""
            text += f"; {n_missing:,} are read here{why}"
        if n_foreign:
            are = "is" if n_foreign == 1 else "are"
            text += f"; {count(n_foreign, 'image')} of the parts {are} not among the data"
        self.say(f"{self.folder}: {text}")


NO_PARTS = Parts()


class _Places:
    """From a part's names to the rows of a table; of this very table they need no search."""

    def __init__(self, table: ImageTable) -> None:
        self._table = table
        self._row_of: dict[str, int] | None = None

    def rows_of(self, part: Part) -> NDArray[np.intp]:
        """(N,) rows, -1 for images that are not in the table."""
        rows = part.shard.rows(len(self._table))
        paths = map(self._table.paths.__getitem__, rows)
        if len(rows) == len(part) and all(
            name_in(self._table, path) == name for path, name in zip(paths, part.names, strict=True)
        ):
            return np.arange(rows.start, rows.stop)
        if self._row_of is None:
            every = enumerate(self._table.paths)
            self._row_of = {name_in(self._table, path): row for row, path in every}
        return np.array([self._row_of.get(name, -1) for name in part.names], np.intp)


def _are_same(paths: Any, rows: NDArray[np.intp], stamps: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each file is the one that was read, as far as size and time tell.

    What is no file on this machine (an address) is told by its name alone.
    """
    pairs = zip(rows.tolist(), stamps.tolist(), strict=True)
    same = (_is_same(paths[row], tuple(stamp)) for row, stamp in pairs)
    return np.fromiter(same, bool, len(rows))


def _is_same(path: str, stamp: tuple[int, ...]) -> bool:
    if is_address(path):
        return True
    stat = stat_of(path)
    if stat is None:
        return "://" in path
    return stamp != UNKNOWN and stamp_of(stat) == stamp


def _copy(part: Part, places: NDArray[np.intp], rows: NDArray[np.intp], seen: Filled) -> None:
    """Some of a part's images into the rows of a table, a few thousand at a time."""
    for place in sorted(part.rejected):
        found = int(np.searchsorted(places, place))
        if found < len(places) and places[found] == place:
            seen.rejected[int(rows[found])] = part.rejected[place]
    at = np.flatnonzero(np.isin(part.good, places))
    targets = rows[np.searchsorted(places, part.good[at])]
    for start in range(0, len(at), _ROWS_AT_ONCE):
        some, into = at[start : start + _ROWS_AT_ONCE], targets[start : start + _ROWS_AT_ONCE]
        seen.X[into] = part.X[some]
        seen.facts.take_over(into, part.facts, some)


def _require_all(shards: list[Shard], folder: Path) -> None:
    """Refuse a folder in which shards are missing, with what makes them."""
    there = dict[int, set[int]]()
    for shard in shards:
        there.setdefault(shard.of, set()).add(shard.number)
    if any(len(numbers) == of for of, numbers in there.items()):
        return  # beside them may lie some of another division
    most = max(there, key=lambda of: len(there[of]))
    every = (Shard(number, most) for number in range(1, most + 1))
    lacking = [shard for shard in every if shard.number not in there[most]]
    if lacking:
        raise ArtefactError(
            f"{count(len(lacking), 'shard')} of {most} {'is' if len(lacking) == 1 else 'are'} "
            f"missing: {first_few(map(str, lacking))}",
            place=str(folder),
            cure=f"regraft features DATA --shard {lacking[0]} --out {shlex.quote(str(folder))}",
            missing=[shard.number for shard in lacking],
        )
