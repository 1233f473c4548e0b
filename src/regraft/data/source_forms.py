"""The forms that a source can have, by its suffix, and the refusal of one that cannot be read.

All readers refuse in the same words: near names that exist, then every form there is.
"""

from __future__ import annotations

import glob
import os
from typing import NoReturn

from regraft.data.addresses import ANY_ADDRESS, shown
from regraft.data.image_files import has_image_name
from regraft.data.labelling_programs import program_of
from regraft.data.other_forms import way_from
from regraft.data.table import quoted
from regraft.errors import TableError
from regraft.wording import near_names

MANIFEST_SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".json", ".txt", ".lst")
ARCHIVE_SUFFIXES = (
    ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz",
    ".tm",
)  # fmt: skip
_FORMS = (
    "give a folder of images, a manifest (.csv, .tsv, .parquet, .json, .jsonl, or a .txt of lines "
    "'path label'), an archive (.zip, .tar, .tar.gz, .tar.bz2, .tar.xz), tar shards "
    "('{0000..0063}.tar') or an image file"
)
# What people give instead of a manifest, and the way to one.
_WAYS = {
    ".json": "JSON is read as a list of objects with the keys file_name and label, or one object a "
    "line (.jsonl); boxes, as COCO's, are not labels of images. Else ",
    **dict.fromkeys(
        (".xlsx", ".xls", ".ods"), "save the sheet as CSV with the columns path,label. Else "
    ),
}


def refuse_source(source: str, reason: str) -> NoReturn:
    """Raise a TableError; if the source does not exist, ``error.near`` has near names that do.

    Examples
    --------
    >>> refuse_source("photos.rar", "does not exist")
    Traceback (most recent call last):
    regraft.errors.TableError: 'photos.rar' does not exist
      cure:  give a folder of images, a manifest (.csv, .tsv, .parquet, .json, .jsonl, or a ...
    """
    if not os.path.lexists(source):
        _refuse_what_is_no_path(source)
    parent, name = os.path.split(source.rstrip(os.sep))
    try:
        near = [] if os.path.lexists(source) else near_names(name, _readable(parent or "."))
    except (OSError, ValueError):
        near = []
    meant = (
        f"did you mean {quoted(os.path.join(parent, one) for one in near)}? Else " if near else ""
    )
    is_file = os.path.isfile(source)
    way = _WAYS.get(os.path.splitext(name)[1].lower(), "") if is_file else ""
    if is_file and (known := way_from(name)):
        way = f"{name} {known}. Else "
    if is_file and (program := program_of(source)):
        reason, way = f"is an export of {program[0]}, which is not read", f"{program[1]}. Else "
    raise TableError(f"{source!r} {reason}", cure=way + meant + _FORMS, source=source, near=near)


def _readable(folder: str) -> list[str]:
    """What lies in a folder and can be meant as a source, by its name."""
    endings = (*MANIFEST_SUFFIXES, *ARCHIVE_SUFFIXES)
    return [
        entry.name
        for entry in os.scandir(folder)
        if entry.is_dir() or entry.name.lower().endswith(endings) or has_image_name(entry.name)
    ]


def _refuse_what_is_no_path(source: str) -> None:
    """Say what was probably meant by something that is typed where a path belongs."""
    kind, cure = "", ""
    if not source.strip():
        kind, cure = "names nothing", _FORMS
    elif source == "-":
        kind = "stands for standard input, from which no images are read"
        cure = "write them to files and give their folder"
    elif source.startswith("file://"):
        kind, cure = "is an address, not a path", f"give {source.removeprefix('file://')!r}"
    elif ANY_ADDRESS.match(source):
        kind = "is an address of a kind that is not read"
        cure = "addresses are s3://, gs://, az:// and https://; or download it, and give the folder"
    elif source.startswith("~"):
        kind = "begins with ~, which the shell replaces only without quotes"
        cure = f"give {os.path.expanduser(source)!r}"
    elif glob.has_magic(source):
        kind, cure = _pattern(source)
    if kind:
        seen = shown(source)
        raise TableError(f"{seen!r} {kind}", cure=cure, source=seen, near=[])


def _pattern(source: str) -> tuple[str, str]:
    """Of a pattern that the shell has left as it is."""
    matches = glob.glob(source)
    if not matches:
        return "is a pattern that matches no file", _FORMS
    folder = os.path.dirname(matches[0]) if len(matches) > 1 else matches[0]
    return (
        f"is a pattern in quotes, which is not looked up; it matches {quoted(matches, at_most=3)}",
        f"give {folder or os.curdir!r}; predict and explain take the pattern too, without quotes",
    )
