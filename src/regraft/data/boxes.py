"""Data of other tasks, told by the files beside the images: boxes of YOLO, COCO and Pascal VOC.

Such files say what is where in a picture; a classifier says what a whole picture is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence

from regraft.data.table import NoLabels, Reading, quoted

_HEAD_BYTES = 2**16
_YOLO_LINE = re.compile(r"\d+(\s+-?\d*\.?\d+(e-?\d+)?){4,}\s*", re.IGNORECASE)
_CURE = (
    "cut the boxes out and put them into one folder per class (DATA/<class>/...); "
    "or list the images with one label each in a CSV with the columns path,label"
)
_BOX_COLUMNS = frozenset(
    ("xmin", "ymin", "xmax", "ymax", "bbox", "bboxes", "boundingbox", "objects")
)
_COCO = re.compile(r'"(bbox|iscrowd|segmentation|category_id)"|"(licenses|info)"\s*:')


def why_boxes(others: Iterable[str], images: Iterable[str]) -> NoLabels | None:
    """What to say if the files beside images hold boxes; None if none does.

    Parameters
    ----------
    others : iterable of str
        Paths of files that are no images.
    images : iterable of str

    Examples
    --------
    >>> why_boxes(["photos/README.md"], ["photos/1.jpg"]) is None
    True
    """
    stems = {_stem(path) for path in images}
    for path in others:
        kind = _kind(path, stems)
        if kind:
            return NoLabels(
                f"{path} holds boxes ({kind}), which say what is where in an image; Regraft "
                "says what a whole image is",
                _CURE,
            )
    return None


def boxes_in_columns(names: Sequence[str], source: str) -> list[Reading]:
    """What to tell of a table whose columns say where something is in an image.

    Examples
    --------
    >>> boxes_in_columns(["filename", "class", "xmin", "ymin", "xmax", "ymax"], "m.csv")[0].kind
    'boxes'
    >>> boxes_in_columns(["filename", "class"], "m.csv")
    []
    """
    found = _box_columns(names)
    words = f"{source}: {found}; its label is read as the one of the whole image"
    cure = "cut the boxes out into images of their own if that is wrong"
    return [Reading("boxes", words, cure)] if found else []


def why_boxes_alone(names: Sequence[str]) -> NoLabels | None:
    """What to say of a table of boxes that has no column of labels."""
    found = _box_columns(names)
    if not found:
        return None
    return NoLabels(f"{found}, and no column says a label of the whole image", _CURE)


def _box_columns(names: Sequence[str]) -> str:
    found = [name for name in names if re.sub(r"[\W_]+", "", name).lower() in _BOX_COLUMNS]
    return f"{quoted(found)} say{'s' * (len(found) == 1)} where in an image something is" * bool(
        found
    )


def _kind(path: str, stems: set[str]) -> str:
    """Whose boxes a file holds; '' if it does not."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".txt" and _stem(path) in stems:
        return "YOLO" if _YOLO_LINE.fullmatch(head_of(path).partition("\n")[0]) else ""
    if suffix == ".xml" and _stem(path) in stems:
        return "Pascal VOC" if "<bndbox>" in head_of(path) else ""
    if suffix == ".json":
        head = head_of(path)
        return "COCO" if '"images"' in head and _COCO.search(head) else ""
    return ""


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def head_of(path: str) -> str:
    """The first 64 KiB of a text; '' if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return ""
