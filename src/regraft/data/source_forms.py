"""The forms that a source can have, by its suffix, and the refusal of one that cannot be read.

All readers refuse in the same words: near names that exist, then every form there is.
"""

from __future__ import annotations

import os
from typing import NoReturn

from regraft.data.image_files import has_image_name
from regraft.data.table import quoted
from regraft.errors import TableError
from regraft.wording import near_names

MANIFEST_SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".txt", ".lst")
ARCHIVE_SUFFIXES = (
    ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz",
    ".tm",
)  # fmt: skip
_FORMS = (
    "give a folder of images, a manifest (.csv, .tsv, .parquet, .jsonl, or a .txt of lines "
    "'path label'), an archive (.zip, .tar, .tar.gz, .tar.bz2, .tar.xz) or an image file"
)
# What people give instead of a manifest, and the way to one.
_WAYS = {
    ".json": "JSON is read as one object a line (.jsonl) with the keys file_name and label; boxes, "
    "as COCO's, are not labels of images. Else ",
    **dict.fromkeys(
        (".xlsx", ".xls", ".ods"), "save the sheet as CSV with the columns path,label. Else "
    ),
    **dict.fromkeys((".7z", ".rar"), "unpack it, and give the folder. Else "),
}


def refuse_source(source: str, reason: str) -> NoReturn:
    """Raise a TableError; if the source does not exist, ``error.near`` has near names that do.

    Examples
    --------
    >>> refuse_source("photos.rar", "does not exist")
    Traceback (most recent call last):
    regraft.errors.TableError: 'photos.rar' does not exist
      cure:  give a folder of images, a manifest (.csv, .tsv, .parquet, .jsonl, or a .txt of ...
    """
    parent, name = os.path.split(source.rstrip(os.sep))
    try:
        near = [] if os.path.lexists(source) else near_names(name, _readable(parent or "."))
    except (OSError, ValueError):
        near = []
    meant = (
        f"did you mean {quoted(os.path.join(parent, one) for one in near)}? Else " if near else ""
    )
    way = _WAYS.get(os.path.splitext(name)[1].lower(), "") if os.path.isfile(source) else ""
    raise TableError(f"{source!r} {reason}", cure=way + meant + _FORMS, source=source, near=near)


def _readable(folder: str) -> list[str]:
    """What lies in a folder and can be meant as a source, by its name."""
    endings = (*MANIFEST_SUFFIXES, *ARCHIVE_SUFFIXES)
    return [
        entry.name
        for entry in os.scandir(folder)
        if entry.is_dir() or entry.name.lower().endswith(endings) or has_image_name(entry.name)
    ]
