"""Which images teach and which are asked: assignment by content, folds, and the role of each split.

Assignment hashes what is in the file, not its name or its place in the list. So adding files moves
no others but in a class that chance had divided far from what was asked (:func:`assign`), renaming
moves nothing, and two copies of one picture cannot end on two sides.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from regraft.data.cells import names_for
from regraft.data.digests import Digests
from regraft.data.table import SPLITS, ObjectArray, quoted
from regraft.errors import SplitError

# N images, K classes, U units: what must stay together (a group, or the copies of one picture).
Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]

# How far the tested share of a class may be from what was asked: a quarter of it, or one unit.
LEEWAY = 0.25
# The fractions tried for a class beyond that: a quarter apart in log odds, the nearest first.
RUNGS = np.arange(1, 41) / 4


class GroupAcross(NamedTuple):
    """A group whose images are in more than one split, so that it leaks from train to test."""

    group: str
    splits: tuple[str, ...]


@dataclass(frozen=True)
class Roles:
    """What each split is for. Masks of shape (N,).

    Attributes
    ----------
    train : mask
        Teaches, and chooses by cross-validation inside itself.
    chooses : mask or None
        May choose (early stopping); None unless there are both val and test.
    reports : mask
        Is scored and chooses nothing.
    reported : 'val' or 'test'
        The name of the split that `reports` stands for.
    """

    train: Mask
    chooses: Mask | None
    reports: Mask
    reported: str


def assign(
    labels: ObjectArray,
    digests: Sequence[bytes] | ObjectArray,
    *,
    groups: ObjectArray | None = None,
    seed: int = 0,
    test_fraction: float = 0.2,
) -> ObjectArray:
    """Say for each image whether it is in train or in test, by a hash of its content.

    Each unit (the copies of one picture, or a group) gets a number u in [0, 1) from its digest and
    the seed; it is test if u is below the fraction of its class. That is `test_fraction`, unless
    chance has put far more or far less of the class below it (more than a quarter of what was
    asked, and more than one unit): then it is the nearest of a fixed row of fractions that brings
    the share back. So what is added moves no others while the class's share stays within the
    leeway, which it does for most classes of some size; no rule that looks at each picture alone
    could do better than chance, and no rule that divides exactly could keep any picture in place.

    Of every class, the unit with the largest u is always train, so no class is without one; and if
    no unit at all is tested, the smallest is. There adding images can move others too: a newcomer
    with a larger u takes over the place in train, or one below the fraction that in test.

    Parameters
    ----------
    labels : ndarray of shape (N,), of str or None
    digests : sequence of N bytes
        Content digests of the image files.
    groups : ndarray of shape (N,), of str or None, optional
        Groups are never cut. An image whose group is None (NaN, blank) is on its own.
    seed : int
    test_fraction : float in (0, 1)

    Returns
    -------
    splits : ndarray of shape (N,), of 'train' or 'test'

    Raises
    ------
    SplitError
        If every unit is the only one of its class.
    ValueError
        If there is not one group for each image.

    Examples
    --------
    >>> labels = np.array(["ant", "ant", "bee", "bee"], dtype=object)
    >>> assign(labels, [b"1", b"2", b"3", b"4"], test_fraction=0.5, seed=3)
    array(['test', 'train', 'test', 'train'], dtype=object)
    """
    if not 0 < test_fraction < 1:
        raise ValueError(f"need 0 < test_fraction < 1, got {test_fraction}")
    u, unit_of_row = _unit_numbers(digests, groups, seed)
    y = _codes_in_order(labels)
    is_test = u < _fraction_of_each_unit(u, unit_of_row, y, test_fraction)
    stays = _largest_of_each_class(y, u, unit_of_row)
    is_test[stays] = False
    if not is_test.any() and len(np.unique(stays)) < len(u):
        free = np.ones(len(u), bool)
        free[stays] = False
        is_test[np.argmin(np.where(free, u, 2.0))] = True
    if not is_test.any():
        raise SplitError(
            f"none of {len(u)} {'groups' if groups is not None else 'different images'} can be "
            "tested on: one of each class must stay in train",
            cure="give more images, or put some of them into a folder named test",
            n_units=len(u),
        )
    # Two texts, and not one for each image.
    return np.array(["train", "test"], object)[is_test[unit_of_row].astype(np.intp)]


def _unit_numbers(
    digests: Sequence[bytes] | ObjectArray, groups: ObjectArray | None, seed: int
) -> tuple[Floats, Indices]:
    """u of each unit, (U,), and the unit of each row, (N,)."""
    unit_of_row, firsts = Digests.of(digests).numbered()
    if groups is None:
        return _hashed((digests[row] for row in firsts.tolist()), len(firsts), seed), unit_of_row
    unit_of_name: dict[str, int] = {}
    for row, group in enumerate(names_for(groups, len(unit_of_row), "groups")):
        if group is not None:
            unit_of_row[row] = unit_of_name.setdefault(group, len(firsts) + len(unit_of_name))
    used, unit_of_row = np.unique(unit_of_row, return_inverse=True)
    keys = chain(
        (digests[firsts[unit]] for unit in used[used < len(firsts)].tolist()),
        (b"group:" + name.encode("utf-8", "surrogateescape") for name in unit_of_name),
    )
    return _hashed(keys, len(used), seed), unit_of_row.reshape(-1)


def _hashed(keys: Iterable[bytes], n: int, seed: int) -> Floats:
    """A number in [0, 1) for each key, (n,)."""
    secret = str(seed).encode()
    digests = (hashlib.blake2b(key, digest_size=8, key=secret).digest() for key in keys)
    hashes = np.fromiter((int.from_bytes(one, "little") for one in digests), np.uint64, n)
    # The 53 bits that a float holds exactly; all 64 could round up to 1.
    u: Floats = (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return u


def _codes_in_order(labels: ObjectArray) -> Indices:
    """Codes of the labels in the order of their names, -1 without one, (N,)."""
    code_of = {label: i for i, label in enumerate(sorted(set(labels) - {None}))}
    return np.fromiter((code_of.get(label, -1) for label in labels), np.intp, len(labels))


def _fraction_of_each_unit(u: Floats, unit_of_row: Indices, y: Indices, fraction: float) -> Floats:
    """Below which u a unit is tested, (U,): that of its most frequent class."""
    fractions = np.full(len(u), fraction)
    class_of_unit = _class_of_unit(y, unit_of_row)
    sizes = np.bincount(unit_of_row).astype(np.float64)
    order = np.lexsort((u, class_of_unit))
    starts = np.flatnonzero(np.diff(class_of_unit[order], prepend=-2))
    for units in np.split(order, starts[1:]):
        if class_of_unit[units[0]] >= 0:
            fractions[units] = _fraction_of_class(u[units], sizes[units], fraction)
    return fractions


def _fraction_of_class(u: Floats, sizes: Floats, fraction: float) -> float:
    """The fraction that was asked or, where it divides the class too unevenly, the nearest of
    :data:`RUNGS` that does not; of the rising numbers u of its units, and their images."""
    below = np.concatenate([[0.0], np.cumsum(sizes)])
    n_images, asked = below[-1], fraction * below[-1]
    leeway = max(LEEWAY * asked, n_images / len(u))
    fewest, most = math.floor(asked - leeway), math.ceil(asked + leeway)
    if asked >= 1 and len(u) > 1:
        fewest = max(1, fewest)

    def n_tested(fractions: Any) -> Any:
        return below[np.searchsorted(u, fractions)]

    def is_uneven(n: Any) -> Any:
        return (n < fewest) | (n > most)

    n = n_tested(fraction)
    if not is_uneven(n):
        return fraction
    odds = fraction / (1 - fraction) * np.exp(RUNGS if n < asked else -RUNGS)
    rungs = odds / (1 + odds)
    tested = n_tested(rungs)
    fits = np.flatnonzero(~is_uneven(tested))
    # Where units are large, none may fit: then the one that comes nearest.
    return float(rungs[fits[0] if len(fits) else np.argmin(np.abs(tested - asked))])


def _largest_of_each_class(y: Indices, u: Floats, unit_of_row: Indices) -> Indices:
    """The unit with the largest u of every class; unlabelled images have none."""
    order = np.lexsort((u[unit_of_row], y))
    rows = order[np.flatnonzero(np.diff(y[order], append=-2))]
    return unit_of_row[rows[y[rows] >= 0]]


def check_groups_across(splits: ObjectArray, groups: ObjectArray | None) -> list[GroupAcross]:
    """Groups that are in several splits, sorted; empty if all is well.

    Examples
    --------
    >>> splits = np.array(["train", "val", "val"], dtype=object)
    >>> check_groups_across(splits, np.array(["p1", "p1", "p2"], dtype=object))
    [GroupAcross(group='p1', splits=('train', 'val'))]
    """
    if groups is None:
        return []
    splits_of: dict[str, set[str]] = {}
    named = names_for(groups, len(splits), "groups")
    for group, split in set(zip(named, splits, strict=True)):
        if group is not None and split is not None:
            splits_of.setdefault(group, set()).add(split)
    return [
        GroupAcross(group, tuple(split for split in SPLITS if split in splits_of[group]))
        for group in sorted(splits_of)
        if len(splits_of[group]) > 1
    ]


def carve(
    y: npt.ArrayLike, n_folds: int, *, units: npt.ArrayLike | None = None, seed: int = 0
) -> npt.NDArray[np.int32]:
    """Folds for cross-validation: stratified by class, and no unit in two of them.

    Units are put in a row, class after class, within a class from large to small and at random
    among equals, and dealt out to the folds in turn. So a class with fewer images than folds is
    spread, and the images of a class differ between folds by no more than its largest unit (by one
    image without units). A unit of several classes counts for its most frequent one.

    Parameters
    ----------
    y : array of shape (N,), of int
        Class codes.
    n_folds : int, n_folds >= 2
    units : array of shape (N,), of int, optional
        Rows with the same number stay together: groups, clusters of near-duplicates.
    seed : int

    Returns
    -------
    folds : ndarray of shape (N,), of int32
        For each row the fold in 0 .. n_folds - 1 that it is held out in.

    Raises
    ------
    SplitError
        If there are fewer units than folds.

    Examples
    --------
    >>> carve([0, 0, 0, 1, 1, 1], 3, seed=0)
    array([1, 0, 2, 2, 0, 1], dtype=int32)
    >>> carve([0, 0, 0, 1, 1, 1], 2, units=[5, 5, 6, 7, 7, 8])
    array([0, 0, 1, 0, 0, 1], dtype=int32)
    """
    if n_folds < 2:
        raise ValueError(f"need n_folds >= 2, got {n_folds}")
    y = np.asarray(y, dtype=np.intp)
    if units is None:
        unit_of_row = np.arange(len(y))
    else:
        unit_of_row = np.unique(np.asarray(units), return_inverse=True)[1].reshape(-1)
    sizes = np.bincount(unit_of_row)
    if len(sizes) < n_folds:
        raise SplitError(
            f"{n_folds} folds need at least {n_folds} units (single images or groups that stay "
            f"together), got {len(sizes)}",
            cure=f"choose at most {len(sizes)} folds, or give more images"
            if len(sizes) > 1
            else "give images of more groups, or more images",
            n_units=len(sizes),
            n_folds=n_folds,
        )
    chance = np.random.default_rng(seed).permutation(len(sizes))
    order = np.lexsort((chance, -sizes, _class_of_unit(y, unit_of_row)))
    fold_of_unit = np.empty(len(sizes), dtype=np.int32)
    fold_of_unit[order] = np.arange(len(sizes), dtype=np.int32) % n_folds
    return fold_of_unit[unit_of_row]


def _class_of_unit(y: Indices, unit_of_row: Indices) -> Indices:
    """The most frequent class of each unit, (U,); the smallest code among equals."""
    if len(y) == int(unit_of_row.max(initial=-1)) + 1:  # each is alone, as mostly
        alone = np.empty_like(y)
        alone[unit_of_row] = y
        return alone
    n_codes = int(y.max(initial=-1)) + 2  # -1 is a code too
    pairs, n_rows = np.unique(unit_of_row * n_codes + (y + 1), return_counts=True)
    unit, label = pairs // n_codes, pairs % n_codes - 1
    best_first = np.lexsort((label, -n_rows, unit))
    is_first = np.diff(unit[best_first], prepend=-1) != 0
    winners: Indices = label[best_first[is_first]]
    return winners


def roles(splits: ObjectArray) -> Roles:
    """What each split is for: test is reported and val may choose; val alone is reported.

    Images whose split is None are in no mask.

    Raises
    ------
    SplitError
        If nothing teaches or nothing can be reported.

    Examples
    --------
    >>> chosen = roles(np.array(["train", "train", "val"], dtype=object))
    >>> chosen.reported, chosen.reports, chosen.chooses
    ('val', array([False, False,  True]), None)
    """
    masks: dict[str, Mask] = {split: splits == split for split in SPLITS}
    present = [split for split in SPLITS if masks[split].any()]
    if "train" not in present:
        raise SplitError(
            f"nothing to learn from: the images are in {quoted(present) or 'no split'}, "
            "none in 'train'",
            cure="name the part that teaches train (a folder train/, or train in the split column)"
            + "; or give that part alone, without its split: then Regraft divides it"
            * (len(present) == 1),
            present=present,
        )
    if present == ["train"]:
        raise SplitError(
            "all images are in 'train', so nothing is left to report",
            cure="add a part named val or test; or give the train folder itself "
            "(a manifest without a split column): then Regraft divides it",
            present=present,
        )
    if "test" not in present:
        return Roles(masks["train"], None, masks["val"], "val")
    chooses = masks["val"] if "val" in present else None
    return Roles(masks["train"], chooses, masks["test"], "test")
