"""What the network sees of a folder's pictures: each is looked at once, when it comes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from regraft.checks import duplicates
from regraft.data.table import ImageTable
from regraft.features import extract
from regraft.features.engines import BuiltEngine
from regraft.features.extraction import Extraction
from regraft.features.rows import Rows
from regraft.listener import SILENT, Listener
from regraft.teaching.project import Picture, Project

T = TypeVar("T", bound=np.generic)
# Rows for which there is room at first; doubled when it runs out.
ROWS = 256
# Of a new picture, how many others are compared closely, and from which correlation of their
# thumbnails on: copies that are cropped by a twentieth correlate more.
MOST_ALIKE, ALIKE = 8, 0.7
# New pictures that are held against all others at once.
FEW = 64


class Sight:
    """Features and thumbnails of pictures by their number, as rows that grow.

    Parameters
    ----------
    built : BuiltEngine
        The network.
    """

    def __init__(self, built: BuiltEngine) -> None:
        self.built = built
        self.bad: dict[int, str] = {}
        self._bad_files: dict[int, tuple[str, str]] = {}
        self._row_of: dict[int, int] = {}
        self._digests: dict[int, str] = {}
        self._X = np.empty((ROWS, built.info.n_features), np.float32)
        self._thumbs = np.empty((ROWS, 256), np.uint8)
        self._n = 0

    def __contains__(self, picture: Picture) -> bool:
        return self._digests.get(picture.number) == picture.digest

    def __len__(self) -> int:
        return len(self._digests)

    def features(self, pictures: Sequence[Picture]) -> NDArray[np.float32]:
        """Features of pictures that were seen, (N, D)."""
        return self._X[[self._row_of[one.number] for one in pictures]]

    def look(
        self, project: Project, *, most: int | None = None, listener: Listener = SILENT
    ) -> list[Picture]:
        """See the pictures that are new, and give them; copies of others are kept together.

        Those that cannot be read stand in ``bad`` with the reason, as long as they are the same.

        Parameters
        ----------
        project : Project
        most : int, optional
            See no more than these at once.
        listener : Listener
        """
        shown = {one.number: one for one in project.shown()}
        for number, (digest, _) in list(self._bad_files.items()):
            if number not in shown or shown[number].digest != digest:
                del self._bad_files[number], self.bad[number]
        fresh = [one for one in shown.values() if one not in self and one.number not in self.bad]
        fresh = fresh[:most]
        if not fresh:
            return []
        numbers = {str(project.path(one)): one for one in fresh}
        extraction = extract.through_store(
            ImageTable.from_paths(list(numbers)), self.built, listener=listener
        )
        for bad in extraction.table.rejected:
            one = numbers[bad.path]
            if project.path(one).exists():  # else it was moved meanwhile, and is seen next time
                self.bad[one.number] = bad.reason
                self._bad_files[one.number] = (one.digest, bad.mend)
        seen = [numbers[str(path)] for path in extraction.table.paths]
        self._keep(seen, extraction)
        actual = zip(seen, extraction.digests, strict=True)
        project.found({}, {}, {one.number: d.hex() for one, d in actual if d.hex() != one.digest})
        project.keep_together(self._copies(project, {one.number for one in seen}))
        return [project.pictures[one.number] for one in seen]

    def rows(self, pictures: Sequence[Picture]) -> Any:
        """The same, read when they are asked for: ten thousand rows are not held twice."""
        return Rows(self._X, np.array([self._row_of[one.number] for one in pictures], np.intp))

    def mend(self, number: int) -> str:
        """What to do about a picture that cannot be read."""
        return self._bad_files.get(number, ("", ""))[1]

    def copies(self, pictures: Sequence[Picture]) -> duplicates.Duplicates:
        """Which of these show one picture."""
        rows = [self._row_of[one.number] for one in pictures]
        return duplicates.find_duplicates(
            [bytes.fromhex(one.digest) for one in pictures], self._thumbs[rows]
        )

    def _keep(self, pictures: Sequence[Picture], extraction: Extraction) -> None:
        while len(self._X) < self._n + len(pictures):
            self._X, self._thumbs = _twice(self._X, self._n), _twice(self._thumbs, self._n)
        rows = slice(self._n, self._n + len(pictures))
        self._X[rows], self._thumbs[rows] = extraction.X, extraction.facts.thumbs
        digests = (digest.hex() for digest in extraction.digests)
        for row, (one, digest) in enumerate(zip(pictures, digests, strict=True), self._n):
            self._row_of[one.number], self._digests[one.number] = row, digest
        self._n = rows.stop

    def _alike(self, shown: Sequence[Picture], new: set[int]) -> list[Picture]:
        """The new pictures, and of the others those that each of them may be a copy of.

        To compare all with all whenever some come would take minutes of ten thousand.
        """
        rows = np.array([self._row_of[one.number] for one in shown])
        is_new = np.array([one.number in new for one in shown])
        is_wanted = is_new.copy()
        known = np.flatnonzero(~is_new)
        if len(known):
            seen = _unit_rows(self._thumbs[rows[known]])
            n = min(MOST_ALIKE, len(known))
            thumbs = self._thumbs[rows[is_new]]
            for start in range(0, len(thumbs), FEW):
                some = thumbs[start : start + FEW]
                turned = some.reshape(-1, 16, 16)[:, :, ::-1].reshape(-1, 256)
                cosine = np.maximum(_unit_rows(some) @ seen.T, _unit_rows(turned) @ seen.T)
                best = np.argpartition(-cosine, n - 1, axis=1)[:, :n]
                is_close = np.take_along_axis(cosine, best, axis=1) > ALIKE
                is_wanted[known[best[is_close]]] = True
        return [one for one, wanted in zip(shown, is_wanted, strict=True) if wanted]

    def _copies(self, project: Project, new: set[int]) -> dict[int, str]:
        """New pictures that show what another one shows; the first of them gives the key."""
        shown = [one for one in project.shown() if one.number in self._row_of]
        pictures = self._alike(shown, new)
        units = self.copies(pictures).unit
        first: dict[int, Picture] = {}
        found = {}
        for one, unit in zip(pictures, units.tolist(), strict=True):
            other = first.setdefault(unit, one)
            key = other.together or other.digest
            if one.number in new and one is not other and not one.together and one.digest != key:
                found[one.number] = key
        return found


def _twice(rows: NDArray[T], n: int) -> NDArray[T]:
    """Room for twice as many; memory that is not used yet is not touched."""
    found = np.empty((2 * len(rows), rows.shape[1]), rows.dtype)
    found[:n] = rows[:n]
    return found


def _unit_rows(thumbs: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Thumbnails less their mean and of length 1: products are correlations."""
    Z = thumbs.astype(np.float32)
    Z -= Z.mean(axis=1, keepdims=True)
    Z /= np.maximum(np.linalg.norm(Z, axis=1, keepdims=True), 1e-6)
    return Z
