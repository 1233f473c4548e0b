"""Labels in the names of files: 'cat.12.jpg' is a cat (``--label-from name``).

The rule is short, so that it can be foreseen: the label is what stands before the last number, or
after the first one where none is last.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from regraft.data.cells import name_of
from regraft.data.table import ImageTable, NoLabels, Reading, column, first_few
from regraft.errors import TableError
from regraft.wording import count

# Teachable Machine's projects name samples '<class>-!-<number>'.
SAMPLE_MARK = "-!-"
SAMPLES = Reading(
    "label-names",
    "the names of the files are those of samples in a Teachable Machine project; the classes are "
    "read from them",
    "rename the files, or put them into class folders, if that is not what they are",
)
_LAST_NUMBER = re.compile(r"(?P<label>.*?[^\W\d_].*?)[\W_]*\d+[\W_]*", re.DOTALL)
_FIRST_NUMBER = re.compile(r"[\W_]*\d+[\W_]*(?P<label>.*[^\W\d_].*)", re.DOTALL)
# What cameras and programs write before a number.
_NO_LABELS = frozenset(
    """img image dsc dscn dscf pic picture photo frame file screenshot pxl mvimg p sam cimg imgp
    scan page untitled test train val""".split()  # noqa: SIM905
)


def label_in_name(path: str) -> str | None:
    """The label in a file's name; None if there is none.

    Examples
    --------
    >>> [label_in_name(name) for name in ("cat.12.jpg", "great_pyrenees_7.jpg", "a/0007_dog.png")]
    ['cat', 'great_pyrenees', 'dog']
    >>> label_in_name("Class 1-!-0.png"), label_in_name("IMG 2019.jpg"), label_in_name("12.jpg")
    ('Class 1', 'IMG', None)
    """
    stem = os.path.splitext(os.path.basename(path))[0]
    if SAMPLE_MARK in stem:
        return name_of(stem.partition(SAMPLE_MARK)[0])
    found = _LAST_NUMBER.fullmatch(stem) or _FIRST_NUMBER.fullmatch(stem)
    return name_of(found["label"]) if found else None


def labelled_by_name(table: ImageTable) -> ImageTable:
    """The same images with the labels in their names; whatever else said a label is left aside.

    Raises
    ------
    TableError
        Hardly two images share a label, so that what was read are no labels.

    Examples
    --------
    >>> paths = ["cat.1.jpg", "cat.2.jpg", "dog.1.jpg", "dog.2.jpg"]
    >>> labelled_by_name(ImageTable.from_paths(paths)).counts()
    {None: {'cat': 2, 'dog': 2}}
    """
    labels = [label_in_name(path) for path in table.paths]
    counts = Counter(label for label in labels if label is not None)
    are_marked = any(SAMPLE_MARK in path for path in table.paths)
    if not are_marked and 2 * len(counts) > max(len(table), 2):
        shown = first_few((f"{label!r} ({n})" for label, n in counts.most_common(4)), at_most=4)
        raise TableError(
            f"--label-from name reads {count(len(counts), 'label')} in the names of "
            f"{count(len(table), 'image')}, such as {shown}",
            place=table.source,
            cure="the label is what stands before the last number of a name (cat.12.jpg); list "
            "the images in a CSV with the columns path,label instead",
        )
    why = NoLabels("no name holds a label beside a number", "list the images in a CSV: path,label")
    return replace(table, labels=column(labels), no_labels=None if counts else why)


def labels_in_names(paths: Iterable[str]) -> dict[str, int]:
    """The labels that names seem to hold, with how many images have each; empty if they do not.

    Examples
    --------
    >>> labels_in_names(["cat.1.jpg", "cat.2.jpg", "dog.1.jpg", "dog.2.jpg"])
    {'cat': 2, 'dog': 2}
    >>> labels_in_names(["IMG_1.jpg", "IMG_2.jpg", "DSC_1.jpg", "DSC_2.jpg"])
    {}
    """
    listed = list(paths)
    counts = Counter(label for path in listed if (label := label_in_name(path)) is not None)
    named = {label: n for label, n in counts.items() if label.casefold() not in _NO_LABELS}
    n_named = sum(named.values())
    is_so = len(named) > 1 and 2 * len(named) <= n_named and 10 * n_named >= 9 * len(listed)
    return named if is_so else {}


def hint(paths: Iterable[str]) -> str:
    """What to add to a cure, if names seem to hold labels; else ''.

    Examples
    --------
    >>> hint(["cat.1.jpg", "cat.2.jpg", "dog.1.jpg", "dog.2.jpg"])
    '; or --label-from name, which takes what stands before the number: cat (2), dog (2)'
    """
    found = labels_in_names(paths)
    shown = first_few((f"{label} ({n:,})" for label, n in found.items()), at_most=4)
    return f"; or --label-from name, which takes what stands before the number: {shown}" * bool(
        found
    )


def why_not_by_folder(paths: Iterable[str]) -> NoLabels | None:
    """What to say of images without class folders whose names seem to hold labels.

    Where that is so in some of their folders only, the largest of those is to be given.
    """
    listed = list(paths)
    if cure := hint(listed):
        return NoLabels(_seem(listed), cure.removeprefix("; or "))
    by_folder: dict[str, list[str]] = {}
    for path in listed:
        by_folder.setdefault(os.path.dirname(path), []).append(path)
    for folder, inside in sorted(by_folder.items(), key=lambda item: -len(item[1])):
        if cure := hint(inside):
            return NoLabels(_seem(inside), f"give {folder} with {cure.removeprefix('; or ')}")
    return None


def _seem(paths: list[str]) -> str:
    name = os.path.basename(paths[0])
    return f"no folder is a class; but names such as {name!r} seem to say it"
