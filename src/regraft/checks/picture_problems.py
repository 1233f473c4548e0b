"""Findings about single pictures and about how they were made: what the files' facts tell."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from regraft.checks.duplicates import Duplicates
from regraft.checks.finding import Finding
from regraft.checks.outliers import find_outliers
from regraft.checks.placeholder_names import hints_of_names
from regraft.checks.table_problems import TableCase
from regraft.data.table import first_few, quoted
from regraft.wording import agree, count

if TYPE_CHECKING:
    from regraft.images.facts_table import FactsTable

TINY_PX, HUGE_MPX, LONG_ASPECT = 32, 50, 4
BLANK_CONTRAST, DARK, BRIGHT = 2.0, 16, 245  # grey levels of 255
STANDS_OUT = 4.0  # the same: the lightest value above the mean of what is no even tone
FLAT_SHARE, FLAT_IS_USUAL = 0.6, 0.05  # of a thumbnail in one tone; of the images that are so
ALMOST_ALL, ALMOST_NONE, MIN_CLASS = 0.9, 0.1, 5  # of a class, of the others; images of it
LITTLE_RANGE = 1 / 4  # of what 16 bits can hold
SEPARATED = 0.95  # probability that an image of the class is larger than one of another

CHUNK_ROWS = 8192  # thumbnails that are counted at once

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PictureCase(TableCase):
    """A table whose images have been read: facts, copies and features, row by row."""

    facts: FactsTable
    duplicates: Duplicates
    final: npt.NDArray[np.float32] | None = None

    def column(self, name: str) -> npt.NDArray[Any]:
        """One attribute of the facts, (N,)."""
        return self.facts.column(name)

    @cached_property
    def codes(self) -> npt.NDArray[np.intp]:
        """Number of each image's class among the sorted classes, -1 without a label, (N,)."""
        code_of = {label: code for code, label in enumerate(self.table.classes)}
        codes = (code_of.get(label, -1) for label in self.table.labels)
        return np.fromiter(codes, np.intp, len(self.table))

    @cached_property
    def sides(self) -> npt.NDArray[np.int64]:
        """Shorter and longer side in pixels, (2, N)."""
        return np.sort(np.stack([self.column("width"), self.column("height")]), axis=0)

    @cached_property
    def one_tone(self) -> npt.NDArray[np.float64]:
        """Share of each thumbnail within 5 neighbouring grey levels, (N,)."""
        thumbs = self.facts.thumbs
        starts = range(0, len(thumbs), CHUNK_ROWS)
        parts = [_share_in_one_tone(thumbs[start : start + CHUNK_ROWS]) for start in starts]
        return np.concatenate(parts)

    @cached_property
    def uses_little(self) -> Mask:
        """Images of 16 bits, if none of them all uses more than a part of the range, (N,)."""
        peak, white = self.column("peak"), self.column("white")
        rows = white > 255
        is_little = rows.any() and (peak[rows] <= LITTLE_RANGE * white[rows]).all()
        return rows & bool(is_little)

    @cached_property
    def is_blank(self) -> Mask:
        """Images of a single tone, (N,).

        One of more than 8 bits may show a lot in the dark, below the white of others of its set: it
        is dark and not blank where its lightest value stands out.
        """
        peak, white = self.column("peak"), self.column("white")
        lightest = 255 * peak / np.maximum(white, 1)
        stands_out = (white > 255) & (lightest > self.column("brightness") + STANDS_OUT)
        is_flat = self.column("contrast") < BLANK_CONTRAST
        return np.asarray(is_flat & ~self.uses_little & ~stands_out)

    @cached_property
    def is_placeholder(self) -> Mask:
        """Images that seem to say there is no image, (N,): flat, and one more hint.

        Hints are the name, a palette file among JPEGs, and three or more copies. Where flat
        pictures are usual (drawings), only a name that can mean nothing else will do.
        """
        is_flat = self.one_tone >= FLAT_SHARE
        named = hints_of_names(self.table.paths)
        if is_flat.sum() > max(2, FLAT_IS_USUAL * len(is_flat)):
            return np.asarray(is_flat & (named >= 2) & ~self.is_blank)
        formats = self.column("format")
        is_palette = (self.column("mode") == "P") & (np.mean(formats == "JPEG") >= ALMOST_ALL)
        is_repeated = np.bincount(self.duplicates.content)[self.duplicates.content] >= 3
        return np.asarray(is_flat & ((named >= 1) | is_palette | is_repeated) & ~self.is_blank)


def _share_in_one_tone(thumbs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    cells = np.arange(len(thumbs))[:, None] * 256 + thumbs
    levels = np.bincount(cells.ravel(), minlength=len(thumbs) * 256).reshape(-1, 256)
    below = np.pad(levels.cumsum(axis=1), ((0, 0), (1, 0)))
    return np.asarray((below[:, 5:] - below[:, :-5]).max(axis=1) / thumbs.shape[1])


# ---- single pictures ------------------------------------------------------------------------

# Endings that promise a format, and Pillow's names for what keeps the promise.
_FORMATS = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), ("JPEG", "MPO")),
    **dict.fromkeys((".png", ".apng"), ("PNG",)),
    **dict.fromkeys((".tif", ".tiff"), ("TIFF",)),
    ".gif": ("GIF",),
    ".bmp": ("BMP", "DIB"),
    ".webp": ("WEBP",),
}


def mistyped(case: PictureCase) -> Iterator[Finding]:
    """Files whose ending says another format than they have."""
    formats = case.column("format").tolist()
    rows = [
        row
        for row, (path, found) in enumerate(zip(case.table.paths, formats, strict=True))
        if found not in _FORMATS.get(os.path.splitext(path)[1].lower(), (found,))
    ]
    if rows:
        paths = case.paths(np.array(rows))
        each = (f"{path!r} is {formats[row]}" for row, path in zip(rows, paths, strict=True))
        yield Finding(
            "wrong-extension",
            "note",
            f"{count(len(rows), 'file')} with the wrong extension: {first_few(each, at_most=3)}",
            agree(
                len(rows),
                "[it is|they are] read rightly here, but other programs may refuse [it|them]",
            ),
            agree(len(rows), "rename [it|them]"),
            paths,
        )


def _where(
    kind: str, words: str, why: str, mend: str, which: Callable[[PictureCase], Mask]
) -> Callable[[PictureCase], Iterator[Finding]]:
    """A check that notes the images of a mask; `words` follow their number."""

    def check(case: PictureCase) -> Iterator[Finding]:
        mask = which(case)
        if mask.any():
            paths = case.paths(mask)
            n, names = len(paths), quoted(case.names(mask), at_most=3)
            message = f"{count(n, 'image')} {agree(n, words)}: {names}"
            yield Finding(kind, "note", message, agree(n, why), agree(n, mend), paths)

    return check


def outliers(case: PictureCase) -> Iterator[Finding]:
    """Images that look unlike their class."""
    if case.final is None:
        return
    is_odd = find_outliers(case.final, case.table.labels, case.duplicates.unit)
    is_odd &= ~(case.is_placeholder | case.is_blank)
    if is_odd.any():
        paths = case.paths(is_odd)
        yield Finding(
            "outliers",
            "note",
            f"{count(len(paths), 'image')} unlike the rest of the class and nearer to another: "
            + quoted(case.names(is_odd), at_most=3),
            agree(len(paths), "[it|each] may be labelled wrongly, or show something else"),
            agree(
                len(paths), "look at [it|them]; correct the [label if it is|labels that are] wrong"
            ),
            paths,
        )


# ---- how the pictures of a class were made --------------------------------------------------


def confounded(case: PictureCase) -> Iterator[Finding]:
    """Classes that the kind of file gives away: all PNG while the others are JPEG."""
    for name, noun in (("format", "format"), ("mode", "colour mode")):
        told = _given_away(case, *case.facts.coded(name))
        if told:
            each = (f"{label!r} is {value}" for label, value in told.items())
            yield Finding(
                f"{name}-tells-class",
                "warning",
                f"the {noun} of the file tells the class: {first_few(each)}, and few images of "
                "other classes are",
                f"a method may learn what the {noun} leaves in the pixels instead of the motif",
                "make all images in the same way: convert them from one kind of source",
                case.paths_of_classes(told),
            )


def _given_away(
    case: PictureCase, names: list[str], value: npt.NDArray[np.uint16]
) -> dict[str, str]:
    """Classes of which almost all images have a value that almost none of the others has."""
    classes = case.table.classes
    table = np.zeros((len(classes), len(names)), np.int64)
    labelled = case.codes >= 0
    np.add.at(table, (case.codes[labelled], value[labelled]), 1)

    n_class = table.sum(axis=1, keepdims=True)
    n_others = n_class.sum() - n_class
    is_typical = (n_class >= MIN_CLASS) & (table >= ALMOST_ALL * n_class)
    is_rare = (n_others >= MIN_CLASS) & (table.sum(axis=0) - table <= ALMOST_NONE * n_others)
    return {classes[k]: names[v] for k, v in np.argwhere(is_typical & is_rare)}


def sizes_tell(case: PictureCase) -> Iterator[Finding]:
    """Classes whose pictures are larger or smaller than nearly all others."""
    labelled = case.codes >= 0
    codes, classes = case.codes[labelled], case.table.classes
    rank = _mean_ranks(case.sides.prod(axis=0)[labelled])
    n_class = np.bincount(codes, minlength=len(classes))
    n_others = n_class.sum() - n_class
    # Mann and Whitney's U over the number of pairs: how often the image of the class is larger.
    wins = np.bincount(codes, rank, minlength=len(classes)) - n_class * (n_class - 1) / 2
    larger = wins / np.maximum(n_class * n_others, 1)

    is_told = (np.maximum(larger, 1 - larger) >= SEPARATED) & (
        np.minimum(n_class, n_others) >= 2 * MIN_CLASS
    )
    told = {classes[k]: "larger" if larger[k] > 0.5 else "smaller" for k in np.flatnonzero(is_told)}
    if told:
        yield Finding(
            "size-tells-class",
            "warning",
            "the number of pixels tells the class: "
            + first_few(f"{label!r} is {word} than the others" for label, word in told.items()),
            "a method may learn sharpness instead of the motif",
            "bring all images to a similar size, or take them from one kind of source",
            case.paths_of_classes(told),
        )


def _mean_ranks(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Ranks from 0, equal values sharing the mean of theirs, (N,)."""
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    first = np.cumsum(sizes) - sizes
    return np.asarray((first + (sizes - 1) / 2)[group])


tiny = _where(
    "tiny",
    f"with a side below {TINY_PX} pixels",
    "little can be seen in [it|them]",
    "take [it|them] from a larger source, if there is one",
    lambda case: np.asarray(case.sides[0] < TINY_PX),
)
huge = _where(
    "huge",
    f"above {HUGE_MPX} megapixels",
    "reading [it|them] takes long, and the network sees [it|them] scaled down",
    "scale [it|them] down, or cut out what matters",
    lambda case: np.asarray(case.sides.prod(axis=0) > HUGE_MPX * 1e6),
)
long_aspect = _where(
    "odd-shape",
    f"more than {LONG_ASPECT} times as long as wide",
    "the network sees a square: what is left of [it|them] may not show the motif",
    "cut out what matters",
    lambda case: np.asarray(case.sides[1] > LONG_ASPECT * case.sides[0]),
)
blank = _where(
    "blank",
    "of a single tone",
    "[it shows|they show] nothing",
    "remove [it|them]",
    lambda case: case.is_blank,
)
dark = _where(
    "dark",
    "almost black",
    "little can be seen in [it|them]",
    "look at [it; remove it if empty|them; remove those that are empty]",
    lambda case: (case.column("brightness") < DARK) & ~(case.is_blank | case.uses_little),
)
bright = _where(
    "bright",
    "almost white",
    "little can be seen in [it|them]",
    "look at [it; remove it if empty|them; remove those that are empty]",
    lambda case: (case.column("brightness") > BRIGHT) & ~(case.is_blank | case.is_placeholder),
)
placeholders = _where(
    "placeholder",
    "that [seems|seem] to stand in for a missing one, by [its looks or name|their looks or names]",
    "[it is no picture of its|each is no picture of its] class",
    "look at [it and remove it|them and remove them]",
    lambda case: case.is_placeholder,
)

PICTURE_CHECKS = (
    confounded,
    sizes_tell,
    placeholders,
    blank,
    outliers,
    mistyped,
    tiny,
    huge,
    long_aspect,
    dark,
    bright,
)
