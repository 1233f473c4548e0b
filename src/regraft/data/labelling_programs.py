"""Exports of labelling programs whose labels are not read: known by what is in them, with the way.

VIA, CVAT, LabelMe, Label Studio. Boxes of YOLO, COCO and Pascal VOC are told by ``boxes``.
"""

from __future__ import annotations

from collections.abc import Sequence

from regraft.data.boxes import head_of
from regraft.data.table import NoLabels

_CSV = "write the one label of each image into a CSV with the columns path,label"
_CUT = "to classify what is in the regions, cut them out into one folder per class (DATA/<class>/)"
_VIA = NoLabels(
    "it is an export of VIA, which keeps labels as JSON within 'file_attributes' (of an image) and "
    "'region_attributes' (of a region)",
    f"{_CSV}, and give that; {_CUT}",
)
_GBIF = NoLabels(
    "it lists the media of a Darwin Core archive (GBIF), whose species stand in occurrence.txt "
    "under the same gbifID",
    "join the two by gbifID into a CSV with the columns path,label (identifier or the file's name, "
    "and species), and give that",
)
# What stands in a file, and whose it is then, with what to do. The first that fits is taken.
_PROGRAMS = (
    (('"region_attributes"',), "VIA", f"{_CSV}, and give that; {_CUT}"),
    (
        ("<annotations>", "<image "),
        "CVAT",
        "export it from CVAT once more as 'ImageNet 1.0', which makes a folder of each label, and "
        f"give that; {_CUT}",
    ),
    (('"shapes"', '"imagePath"'), "LabelMe", f"{_CSV} ('flags' has those of an image); {_CUT}"),
    (
        ('"annotations"', '"from_name"'),
        "Label Studio",
        "export it from Label Studio once more as CSV or JSON-MIN, and give that file",
    ),
)


def why_of_columns(names: Sequence[str]) -> NoLabels | None:
    """What to say of a table that is a labelling program's; None if it is none.

    Examples
    --------
    >>> why_of_columns(["filename", "region_count", "region_attributes"]).reason[:24]
    'it is an export of VIA, '
    >>> why_of_columns(["filename", "lbl"]) is None
    True
    """
    if {"gbifID", "identifier"} <= {*names} and "species" not in names:
        return _GBIF
    return _VIA if "region_attributes" in names else None


def program_of(path: str) -> tuple[str, str] | None:
    """The program that wrote a file, and the way from it; None if it is none of these.

    Examples
    --------
    >>> program_of("no such file.xml") is None
    True
    """
    if not path.lower().endswith((".json", ".xml")):
        return None
    head = head_of(path)
    for marks, program, way in _PROGRAMS:
        if all(mark in head for mark in marks):
            return program, way
    return None
