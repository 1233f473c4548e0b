"""The table of images: one row per image file, columns as arrays of shared strings.

A folder, a manifest and an archive all become this (see ``sources``), and nothing downstream asks
which it was. What was left out stays on the table by name, so that no file is ever lost silently.
"""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from regraft.data.cells import is_missing, names_for
from regraft.data.texts import Texts, packed
from regraft.errors import TableError
from regraft.wording import count

ObjectArray = npt.NDArray[np.object_]

SPLITS = ("train", "val", "test")
# What folders and manifests call them, in lower case.
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


class Skipped(NamedTuple):
    """Something that is no image of this table, and why.

    ``kind`` is one of 'hidden', 'leftover', 'empty-folder', 'stray-folder', 'not-an-image',
    'link-loop', 'unreadable-folder', 'unlabelled', 'repeated-row', 'other-form': a video and
    the like, which may hold images; 'same-class': a folder whose
    images are there, under the class of another folder of that name; and 'companion', a mask or
    thumbnail of an image that is there.
    """

    path: str
    kind: str
    reason: str


class Reading(NamedTuple):
    """Something that was understood although the source does not quite say it.

    ``kind`` is one of 'split-names', 'wrapper', 'nested-classes', 'label-file', 'label-names',
    'columns', 'paths', 'boxes', 'zip-names' and, of what is not read, 'splits-unsaid',
    'label-file-unread' and their like; ``mend`` says what to do if it is not meant so.
    ``file`` is the table that says it, if it is one beside the images.
    """

    kind: str
    words: str
    mend: str
    file: str = ""


class NoLabels(NamedTuple):
    """Why no image of a source has a label, and what to type so that they have."""

    reason: str
    cure: str


class Rejected(NamedTuple):
    """An entry that should be an image but cannot be read, and how to mend it; its label if known.

    Examples
    --------
    >>> Rejected("bees/1.jpg", "the file is empty", "copy it again", "bees").label
    'bees'
    """

    path: str
    reason: str
    mend: str
    label: str | None = None


Entry = TypeVar("Entry", Skipped, Rejected)


@dataclass(frozen=True, eq=False, repr=False)
class ImageTable:
    """Images with their labels, splits and groups; rows in the order of their paths.

    Attributes
    ----------
    paths : ndarray of shape (N,), of str; `Texts`, which reads like one, if they are many
        Ready to be opened: the source as the user typed it, joined with the relative name. Names
        that are not UTF-8 carry their bytes as surrogates (``os.fsencode`` gives them back).
    labels : ndarray of shape (N,), of str or None
        Class names; None where nothing says the class.
    splits : ndarray of shape (N,), of 'train', 'val', 'test' or None
    groups : ndarray of shape (N,), of str or None; or None
        Images of one group (a patient, a plant) must stay together; None without such a column.
    source : str
        What the user typed.
    root : str
        The part of the paths that stands for `source`: where an archive was unpacked.
    skipped : tuple of Skipped
    rejected : tuple of Rejected
    readings : tuple of Reading
    no_labels : NoLabels or None
        If no row has a label.
    joined : tuple of (str, str)
        Of a table of several sources: `root` and `source` of the others.

    Examples
    --------
    >>> table = ImageTable.from_paths(["a/1.jpg", "b/2.jpg"], ["ant", "bee"])
    >>> table
    <ImageTable of 2 images in 2 classes from ''>
    >>> table.select(table.labels == "bee").paths
    array(['b/2.jpg'], dtype=object)
    """

    paths: Any
    labels: ObjectArray
    splits: ObjectArray
    groups: ObjectArray | None = None
    source: str = ""
    root: str = ""
    skipped: tuple[Skipped, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    readings: tuple[Reading, ...] = ()
    no_labels: NoLabels | None = None
    joined: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        columns = [self.labels, self.splits] + ([] if self.groups is None else [self.groups])
        if any(len(column) != len(self.paths) for column in columns):
            raise ValueError(f"need {len(self.paths)} values in every column, as there are paths")
        object.__setattr__(self, "paths", packed(self.paths))

    @classmethod
    def from_paths(
        cls,
        paths: Sequence[str | os.PathLike[str]],
        labels: Iterable[Any] | None = None,
    ) -> ImageTable:
        """A table of just these files, in the order given; nothing is looked up on disk.

        Labels become names as those of a manifest do: see :func:`regraft.data.cells.name_of`.
        """
        named = column([os.fsdecode(path) for path in paths])
        nothing = column([None] * len(named))
        given = nothing if labels is None else column(names_for(labels, len(named), "labels"))
        return cls(named, given, nothing)

    def __len__(self) -> int:
        return len(self.paths)

    def __repr__(self) -> str:
        return (
            f"<ImageTable of {count(len(self), 'image')} in "
            f"{count(len(self.classes), 'class', 'classes')} from "
            f"{self.source!r}>"
        )

    @property
    def classes(self) -> list[str]:
        """The labels that occur, each once, sorted."""
        return sorted({label for label in self.labels if label is not None})

    @property
    def n_unlabelled(self) -> int:
        """How many rows have no label."""
        return sum(label is None for label in self.labels)

    @property
    def has_splits(self) -> bool:
        """Whether any row says which split it belongs to."""
        return any(split is not None for split in self.splits)

    def tell(self, say: Callable[[str], None]) -> None:
        """Say how the source was read where it does not quite say it itself."""
        for reading in self.readings:
            say(f"{reading.words} ({reading.mend})")

    def counts(self) -> dict[str | None, dict[str, int]]:
        """Images per split and class. A class that a split lacks is there with 0.

        Only splits that occur are listed, in the order train, val, test, None; unlabelled images
        are not counted here (see :attr:`n_unlabelled`).

        Examples
        --------
        >>> table = ImageTable.from_paths(["1.jpg", "2.jpg"], ["ant", "bee"])
        >>> table.with_splits(["train", "val"]).counts()
        {'train': {'ant': 1, 'bee': 0}, 'val': {'ant': 0, 'bee': 1}}
        """
        pairs = Counter(zip(self.splits, self.labels, strict=True))
        present = {split for split, label in pairs if label is not None}
        classes = self.classes
        return {
            split: {label: pairs[split, label] for label in classes}
            for split in (*SPLITS, None)
            if split in present
        }

    def select(self, rows: npt.ArrayLike) -> ImageTable:
        """The table of some rows only: a boolean mask of shape (N,) or an array of indices."""
        keep = np.asarray(rows)
        if keep.size == 0:
            keep = keep.astype(np.intp)
        groups = None if self.groups is None else self.groups[keep]
        return replace(
            self,
            paths=self.paths.take(keep) if isinstance(self.paths, Texts) else self.paths[keep],
            labels=self.labels[keep],
            splits=self.splits[keep],
            groups=groups,
        )

    def with_splits(self, splits: Sequence[str | None] | ObjectArray) -> ImageTable:
        """The same images with other splits, (N,) of 'train', 'val', 'test' or None."""
        given = [None if is_missing(split) else split for split in splits]
        if unknown := {split for split in given if split is not None} - {*SPLITS}:
            raise ValueError(f"splits are train, val, test or None, got {quoted(sorted(unknown))}")
        return replace(self, splits=column(given))

    def shown(self, path: str) -> str:
        """The path as the user knows it: ``photos.zip/ants/1.jpg`` for a file of an archive.

        Examples
        --------
        >>> from dataclasses import replace
        >>> table = ImageTable.from_paths(["/cache/3f/ants/1.jpg"])
        >>> replace(table, source="photos.zip", root="/cache/3f").shown("/cache/3f/ants/1.jpg")
        'photos.zip/ants/1.jpg'
        """
        for root, source in ((self.root, self.source), *self.joined):
            if root and (path == root or path.startswith(root.rstrip(os.sep) + os.sep)):
                return source.rstrip(os.sep) + path[len(root.rstrip(os.sep)) :]
        return path

    def as_shown(self, entries: Iterable[Entry]) -> tuple[Entry, ...]:
        """Skipped or rejected entries with their paths as the user knows them.

        Examples
        --------
        >>> from dataclasses import replace
        >>> table = replace(ImageTable.from_paths([]), source="photos.zip", root="/cache/3f")
        >>> table.as_shown([Skipped("/cache/3f/notes.txt", "not-an-image", "no image")])[0].path
        'photos.zip/notes.txt'
        """
        return tuple(entry._replace(path=self.shown(entry.path)) for entry in entries)


def no_labels_error(table: ImageTable) -> TableError:
    """What is said of a table without a label, with the cure that fits its source.

    Examples
    --------
    >>> raise no_labels_error(replace(ImageTable.from_paths(["1.jpg"]), source="photos"))
    Traceback (most recent call last):
    regraft.errors.TableError: no image in 'photos' has a label
      cure:  put the images of each class into a folder of its own: DATA/<class>/*.jpg; in a ...
    """
    reason, cure = table.no_labels or ("", "")
    return TableError(
        f"no image in {table.source!r} has a label" + (f": {reason}" if reason else ""),
        cure=cure or _ways_to_labels(table.source),
    )


def _ways_to_labels(source: str) -> str:
    """What gives images a label, or a model's answer; a folder's own name stands in the lines."""
    if not os.path.isdir(source):
        return (
            "put the images of each class into a folder of its own: DATA/<class>/*.jpg; "
            "in a manifest, --label-column NAME says which column has the labels"
        )
    typed = shlex.quote(source)
    above = folder_of_classes(source)
    return (
        "put the images of each class into a folder of its own: DATA/<class>/*.jpg; "
        f"or label them in the browser: regraft teach {typed}; "
        f"or let a model that you have label them: regraft predict MODEL {typed}"
        + (f"; or, if {source!r} is itself one class, give the folder above: {above}" * bool(above))
    )


def folder_of_classes(source: str) -> str:
    """The folder above, where it holds other folders than this one; else nothing."""
    above = os.path.dirname(os.path.abspath(source))
    try:
        with os.scandir(above) as entries:
            folders = [e.name for e in entries if e.is_dir() and not e.name.startswith(".")]
    except OSError:
        return ""
    is_one = os.path.basename(os.path.abspath(source)) in folders
    shown = os.path.dirname(source.rstrip(os.sep))
    return shown if is_one and shown and len(folders) > 1 else ""


def column(values: Iterable[Any]) -> ObjectArray:
    """A column of a table: (N,) of Python objects, whatever NumPy would make of them."""
    listed = values if isinstance(values, list) else list(values)
    array = np.empty(len(listed), dtype=object)
    array[:] = listed
    return array


def quoted(names: Iterable[str], *, at_most: int = 5) -> str:
    """Names in quotes for a message, the first few.

    Examples
    --------
    >>> quoted(["a", "b", "c"], at_most=2)
    "'a', 'b' and 1 more"
    """
    return first_few(map(repr, names), at_most=at_most)


def first_few(items: Iterable[str], *, at_most: int = 5, between: str = ", ") -> str:
    """The first few of many for a message, and how many more there are."""
    listed = list(items)
    more = f" and {len(listed) - at_most:,} more" if len(listed) > at_most else ""
    return between.join(listed[:at_most]) + more
