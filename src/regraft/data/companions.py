"""Pictures that only go with another one: its mask, its thumbnail. They are left out by name.

A file is one if its name is another's with such a word behind it ('x_mask.png' beside 'x.png'), or
if it lies in a folder of such a name ('masks/x.png') and an image of its name lies near; and only
of an image of the same class: 'mask' beside 'no mask' are classes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from regraft.data.split_names import consists_of
from regraft.data.table import ImageTable, Skipped

_WORDS = "mask|masks|segmentation|seg|groundtruth|gt|trimap|thumb|thumbs|thumbnail|thumbnails"
_SUFFIX = re.compile(rf"(?P<of>.+?)[\s_.-]+(?:{_WORDS})(?:[\s_.-]*\d+)?", re.IGNORECASE)
_FOLDERS = frozenset(
    """mask masks segmentation segmentations segmented groundtruth gt trimap trimaps thumb thumbs
    thumbnail thumbnails""".split()  # noqa: SIM905
)


def without_companions(table: ImageTable) -> ImageTable:
    """The table without masks and thumbnails of images that are in it; they are in ``skipped``.

    Examples
    --------
    >>> paths = ["cat/1.png", "cat/1_mask.png", "dog/2.png", "dog/masks/2.png"]
    >>> table = without_companions(ImageTable.from_paths(paths, ["cat", "cat", "dog", "dog"]))
    >>> table.paths.tolist(), [entry.reason for entry in table.skipped]
    (['cat/1.png', 'dog/2.png'], ["goes with '1.png'", "goes with '2.png'"])
    """
    label_of = dict(zip(table.paths, table.labels, strict=True))
    found = {p: of for p, of in _companions(label_of).items() if label_of[p] == label_of[of]}
    if not found:
        return table
    left = [
        Skipped(path, "companion", f"goes with {os.path.basename(of)!r}")
        for path, of in found.items()
    ]
    keep = np.array([path not in found for path in table.paths], np.bool_)
    return replace(table.select(keep), skipped=tuple(sorted((*table.skipped, *left))))


def _companions(paths: Iterable[str]) -> dict[str, str]:
    """Paths of masks and thumbnails, each with the image that it goes with."""
    listed = list(paths)
    suspects = [path for path in listed if _names_it(path)]
    if not suspects:
        return {}
    images = {_key(path): path for path in sorted(set(listed) - set(suspects))}
    near = {(os.path.dirname(os.path.dirname(path)), _stem(path)): path for path in images.values()}
    found = {}
    for path in suspects:
        folder, stem = os.path.split(_key(path))
        around = os.path.dirname(folder) if _is_of_companions(folder) else folder
        name = match["of"] if (match := _SUFFIX.fullmatch(stem)) else stem
        of = images.get(os.path.join(around, name)) or near.get((around, name))
        if of is not None:
            found[path] = of
    return found


def _names_it(path: str) -> bool:
    return _SUFFIX.fullmatch(_stem(path)) is not None or _is_of_companions(os.path.dirname(path))


def _is_of_companions(folder: str) -> bool:
    return consists_of(os.path.basename(folder), _FOLDERS)


def _key(path: str) -> str:
    return os.path.splitext(path)[0]


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]
