"""Copies of one picture among the images: byte for byte, re-encoded, resized, mirrored, cropped.

Two pieces of evidence are kept for each image by the one pass: a 16x16 thumbnail and the network's
final features. The thumbnails decide alone when they agree to within the noise of re-encoding; a
crop blurs that, so there thumbnails (aligned) and features must agree. Neither is enough by itself:
features call two fields of the same crop alike, thumbnails two beaches. Thresholds were tuned on
photographs, aerial views and traffic signs with planted copies: benchmarks/duplicates.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from regraft.checks.near_copies import CROPPED, cosine_of_pairs, near_pairs
from regraft.data.digests import Digests

# N images, M pairs of rows, P pixels of a thumbnail (256), F final features.
Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

# Of aligned thumbnails whose correlation is CROPPED: it + 0.3 x cosine of features.
FEATURE_WEIGHT, CROPPED_SUM = 0.3, 1.20
MIN_FEATURE_ROWS = 50  # fewer say nothing about what is usual, and so cannot standardise


class Pair(NamedTuple):
    """Two rows that show one picture; `kind` is 'exact' or 'near', `similarity` is in (0, 1]."""

    i: int
    j: int
    kind: str
    similarity: float


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Which images are one picture.

    Attributes
    ----------
    unit : int array of shape (N,)
        Rows with equal numbers show one picture; counted from 0 in the order of the rows.
    content : int array of shape (N,)
        Rows with equal numbers are the same file, byte for byte.
    pairs : tuple of Pair
        The evidence, i < j. Of several exact copies each is paired with the first one only.
    """

    unit: Indices
    content: Indices
    pairs: tuple[Pair, ...] = ()

    def clusters(self) -> list[Indices]:
        """Rows of each picture that is there more than once, in the order of the first rows."""
        return _groups_of_several(self.unit)

    def exact_clusters(self) -> list[Indices]:
        """Rows of each file that is there more than once, byte for byte."""
        return _groups_of_several(self.content)


def find_duplicates(
    digests: Sequence[bytes],
    thumbs: Bytes,
    final: Floats | None = None,
) -> Duplicates:
    """Clusters of images that show one picture.

    Found are exact copies and those re-encoded, resized (50 to 200 %), mirrored left to right or
    cropped by up to 5 % of each side. Not found are turned and recoloured copies. Successive frames
    of one still scene count as copies, for they leak just as much. Up to 10,000 images are compared
    each with each; of more, only those that agree in a hash of the thumbnail, which finds fewer
    of the crops but needs time and memory in proportion to N.

    Parameters
    ----------
    digests : sequence of N bytes
        Content digests.
    thumbs : uint8 array of shape (N, 256)
        Luma thumbnails of 16x16 pixels (``FileFacts.thumb``).
    final : float array of shape (N, F), optional
        Final features; used for crops only, and only from 50 images up. May be memory-mapped.

    Returns
    -------
    Duplicates

    Examples
    --------
    >>> thumbs = np.random.default_rng(0).integers(0, 256, (4, 256), np.uint8)
    >>> thumbs[3] = thumbs[1].reshape(16, 16)[:, ::-1].ravel()
    >>> found = find_duplicates([b"a", b"b", b"a", b"c"], thumbs)
    >>> found.unit
    array([0, 1, 0, 1])
    >>> found.pairs
    (Pair(i=0, j=2, kind='exact', similarity=1.0), Pair(i=1, j=3, kind='near', similarity=1.0))
    """
    return compare(digests, thumbs).copies(final)


@dataclass(frozen=True, eq=False)
class Compared:
    """All pictures held against each other by content and thumbnails, once.

    Attributes
    ----------
    content : int array of shape (N,)
        Rows with equal numbers are the same file, byte for byte.
    firsts : int array
        The first row of each content.
    i, j : int arrays of shape (M,)
        Rows of the pairs that may be near copies.
    is_near : bool array of shape (M,)
        The thumbnails alone decide so.
    similarity : float array of shape (M,)
    """

    content: Indices
    firsts: Indices
    i: Indices
    j: Indices
    is_near: Mask
    similarity: Floats

    def copies(self, final: Floats | None = None) -> Duplicates:
        """The copies that thumbnails show; with final features, ``(N, F)``, the crops that these
        show too."""
        is_again = np.ones(len(self.content), np.bool_)
        is_again[self.firsts] = False
        rows = np.flatnonzero(is_again)
        exact = [Pair(int(self.firsts[self.content[row]]), int(row), "exact", 1.0) for row in rows]
        is_near = self.is_near
        if final is not None and len(final) >= MIN_FEATURE_ROWS:
            is_near = is_near | self._shown_by(final)
        near = [
            Pair(int(min(a, b)), int(max(a, b)), "near", round(float(min(s, 1)), 4))
            for a, b, s in zip(
                self.i[is_near], self.j[is_near], self.similarity[is_near], strict=True
            )
        ]
        pairs = (*exact, *sorted(near))
        ends = np.array([pair[:2] for pair in pairs], np.intp).reshape(-1, 2)
        return Duplicates(connected(len(self.content), ends), self.content, pairs)

    def _shown_by(self, final: Floats) -> Mask:
        """Crops for which thumbnails and features speak together, (M,)."""
        found = np.zeros(len(self.i), np.bool_)
        hopeful = np.flatnonzero(~self.is_near & (self.similarity >= CROPPED))
        if len(hopeful):
            cosine = cosine_of_pairs(final, self.i[hopeful], self.j[hopeful])
            found[hopeful] = self.similarity[hopeful] + FEATURE_WEIGHT * cosine >= CROPPED_SUM
        return found


def compare(digests: Sequence[bytes], thumbs: Bytes) -> Compared:
    """Hold all pictures against each other; the arguments are those of `find_duplicates`."""
    content, firsts = Digests.of(digests).numbered()
    return Compared(content, firsts, *near_pairs(np.asarray(thumbs), firsts))


def across_splits(duplicates: Duplicates, splits: npt.NDArray[np.object_]) -> list[Indices]:
    """Clusters that are in several splits, each as its rows. Rows without a split do not count.

    Examples
    --------
    >>> unit = np.array([0, 1, 0, 1])
    >>> across_splits(Duplicates(unit, unit), np.array(["train", "train", "val", "train"], object))
    [array([0, 2])]
    """
    return [rows for rows in duplicates.clusters() if len(set(splits[rows]) - {None}) > 1]


def leaked(duplicates: Duplicates, splits: npt.NDArray[np.object_], reported: str) -> Mask:
    """Which images of the reported split have a copy in another split: those a score may repeat.

    Examples
    --------
    >>> unit = np.array([0, 1, 0, 1])
    >>> splits = np.array(["train", "test", "test", "test"], object)
    >>> leaked(Duplicates(unit, unit), splits, "test")
    array([False, False,  True, False])
    """
    is_reported = splits == reported
    is_elsewhere = ~is_reported & (splits != None)  # noqa: E711  (element by element)
    seen = np.zeros(len(duplicates.unit) + 1, dtype=np.bool_)
    seen[duplicates.unit[is_elsewhere]] = True
    return np.asarray(is_reported & seen[duplicates.unit])


def conflicting(duplicates: Duplicates, labels: npt.NDArray[np.object_]) -> list[Indices]:
    """Clusters whose images have different labels, each as its rows. No label is no conflict.

    Examples
    --------
    >>> unit = np.array([0, 0, 1, 1])
    >>> conflicting(Duplicates(unit, unit), np.array(["ant", "bee", "ant", "ant"], object))
    [array([0, 1])]
    """
    return [rows for rows in duplicates.clusters() if len(set(labels[rows]) - {None}) > 1]


# ---- clusters -------------------------------------------------------------------------------


def _groups_of_several(group: Indices) -> list[Indices]:
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    sizes = np.diff(starts, append=len(group))
    several = np.flatnonzero(sizes > 1)
    return [order[starts[n] : starts[n] + sizes[n]] for n in several]


def connected(n_rows: int, ends: Indices) -> Indices:
    """What pairs of rows ``(P, 2)`` connect has one number, from 0 by the first rows, (N,).

    Examples
    --------
    >>> connected(5, np.array([[0, 2], [2, 4]]))
    array([0, 1, 0, 2, 0])
    """
    unit = np.arange(n_rows)
    while len(ends):
        smaller = unit[ends].min(axis=1)
        before = unit.copy()
        np.minimum.at(unit, ends[:, 0], smaller)
        np.minimum.at(unit, ends[:, 1], smaller)
        unit = unit[unit]
        if np.array_equal(unit, before):
            break
    number = np.cumsum(unit == np.arange(n_rows)) - 1  # by now each row knows its first
    return np.asarray(number[unit])
