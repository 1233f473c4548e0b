"""The lists of CUB-200 and NABirds: each line a number, or an image's own mark, and a value.

``images.txt`` says the path of each number, ``image_class_labels.txt`` its class,
``train_test_split.txt`` 1 where it is to teach, ``classes.txt`` the name of each class.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from regraft.data.table import ImageTable, Reading, column
from regraft.data.tree import Folder
from regraft.wording import count, listed

IMAGES, LABELS, SPLIT, CLASSES = (
    "images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt",
)  # fmt: skip
_SPLITS = {"1": "train", "0": "test"}


def with_numbered_lists(table: ImageTable, top: Folder) -> ImageTable:
    """The table with the splits of such lists, and with their classes where folders say none."""
    for folder in top.all_below():
        names = {os.path.basename(path) for path in folder.others}
        if IMAGES in names and names & {LABELS, SPLIT}:
            return _added(table, folder.path)
    return table


def _added(table: ImageTable, folder: str) -> ImageTable:
    """Nothing is read of lists that do not name all images, or name a split that is none."""
    number_of = {path: number for number, path in _pairs(folder, IMAGES).items()}
    numbers = [_number(path, number_of) for path in table.paths]
    if None in numbers:
        return table
    split_of = _pairs(folder, SPLIT)
    splits = [_SPLITS.get(split_of.get(number or "", "")) for number in numbers]
    labels = _labels(folder, numbers)
    read = []
    if not table.has_splits and {*splits} == {"train", "test"}:
        table = replace(table, splits=column(splits))
        read.append(f"splits ({SPLIT}: 1 is train, 0 test)")
    if not table.classes and None not in labels:
        table = replace(table, labels=column(labels), no_labels=None)
        read.append(f"labels ({LABELS})")
    return replace(table, readings=(*table.readings, _told(table, folder, read))) if read else table


def _told(table: ImageTable, folder: str, read: list[str]) -> Reading:
    words = f"of {count(len(table), 'image')} that {IMAGES} lists, the {listed(read)} are read"
    cure = "if it is not meant so, move those lists away"
    return Reading("label-file", words, cure, table.shown(os.path.join(folder, IMAGES)))


def _labels(folder: str, numbers: list[str | None]) -> list[str | None]:
    code_of, name_of = _pairs(folder, LABELS), _pairs(folder, CLASSES)
    codes = [code_of.get(number or "") for number in numbers]
    return [name_of.get(code or "", code) for code in codes]


def _number(path: str, number_of: Mapping[str, str]) -> str | None:
    """Of an image, whose path ends as the list says."""
    parts = path.replace(os.sep, "/").split("/")
    tails = ("/".join(parts[-n:]) for n in range(len(parts), 0, -1))
    return next((number_of[tail] for tail in tails if tail in number_of), None)


def _pairs(folder: str, name: str) -> dict[str, str]:
    """First word of each line to the rest of it; empty if there is no such text."""
    try:
        with open(os.path.join(folder, name), encoding="utf-8-sig") as text:
            lines = [line.strip().split(maxsplit=1) for line in text if line.strip()]
    except (OSError, ValueError):
        return {}
    return {line[0]: line[-1] for line in lines}
