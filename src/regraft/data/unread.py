"""What a refusal says of the classes that were there but have no image left to be used."""

from __future__ import annotations

import os
from collections.abc import Mapping

from regraft.data.table import ImageTable, Rejected, Skipped, first_few
from regraft.wording import count

# Kinds of what was left out that may have held a class.
_MAY_BE_A_CLASS = ("stray-folder", "unreadable-folder", "unlabelled", "empty-folder")


def unread_classes(table: ImageTable) -> dict[str, list[Rejected]]:
    """Classes none of whose images can be read, with their files as the user knows them.

    Examples
    --------
    >>> from dataclasses import replace
    >>> bad = Rejected("bees/1.jpg", "the file is empty", "copy it again", "bees")
    >>> list(unread_classes(replace(ImageTable.from_paths(["1.jpg"], ["ants"]), rejected=(bad,))))
    ['bees']
    """
    there, lost = set(table.classes), dict[str, list[Rejected]]()
    for bad in table.as_shown(table.rejected):
        if bad.label is not None and bad.label not in there:
            lost.setdefault(bad.label, []).append(bad)
    return lost


def in_words(lost: Mapping[str, list[Rejected]]) -> str:
    """How many files of each class cannot be read, and why the first cannot.

    Examples
    --------
    >>> in_words({"bees": [Rejected("bees/1.jpg", "the file is empty", "copy it again", "bees")]})
    "'bees' (1 file; bees/1.jpg: the file is empty)"
    """
    return first_few(
        f"{label!r} ({count(len(files), 'file')}; {files[0].path}: {files[0].reason})"
        for label, files in lost.items()
    )


def why_no_more_classes(table: ImageTable) -> str:
    """What is to be added to a refusal for want of classes; empty if nothing was left out.

    Examples
    --------
    >>> from dataclasses import replace
    >>> bad = Rejected("bees/1.jpg", "the file is empty", "copy it again", "bees")
    >>> why_no_more_classes(replace(ImageTable.from_paths(["1.jpg"], ["ants"]), rejected=(bad,)))
    "; no image can be read of 'bees' (1 file; bees/1.jpg: the file is empty)"
    """
    said = ""
    if lost := unread_classes(table):
        said += f"; no image can be read of {in_words(lost)}"
    elif table.rejected:
        first = table.as_shown(table.rejected[:1])[0]
        said += (
            f"; {count(len(table.rejected), 'file')} cannot be read ({first.path}: {first.reason})"
        )
    may_be = [e for e in table.skipped if e.kind in _MAY_BE_A_CLASS or _is_hidden_folder(e)]
    strays = table.as_shown(may_be)
    if strays:
        said += "; left out: " + first_few(f"{e.path!r} ({e.reason})" for e in strays)
    return said


def _is_hidden_folder(entry: Skipped) -> bool:
    return entry.kind == "hidden" and os.path.isdir(entry.path)
