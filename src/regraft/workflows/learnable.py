"""Whether a table can be learnt from at all: labels, two classes, what teaches and what reports.

Asked before any picture is read, so that a refusal comes in a second; and again of those that can
be read.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence

import numpy as np

from regraft.data.labels_in_names import hint
from regraft.data.source_forms import ARCHIVE_SUFFIXES
from regraft.data.split_names import renaming
from regraft.data.splits import Roles, roles
from regraft.data.table import ImageTable, no_labels_error, quoted
from regraft.data.unread import why_no_more_classes
from regraft.data.unrepeated_labels import why_no_classes
from regraft.errors import SplitError, TableError


def refuse_unlearnable(table: ImageTable) -> None:
    """What no training can use, before any picture is read; the method looks again at the rest.

    Raises
    ------
    TableError, SplitError
        No labels, one class only, nothing that teaches or nothing that is reported.
    """
    if table.has_splits or table.n_unlabelled == len(table):
        labelled_roles(table)
    require_two_classes(table, table.classes)
    if why := why_no_classes(table):
        raise TableError(why.reason, place=table.source, cure=why.cure)


def require_two_classes(table: ImageTable, classes: Collection[str]) -> None:
    """Refuse one class alone, and say what became of others; none at all is said elsewhere.

    It is asked before any picture is read, and again of those that can be.

    Raises
    ------
    TableError
        With ``error.rejected`` and ``error.skipped``, as the table has them.
    """
    if len(classes) != 1:
        return
    cure = "one folder per class: DATA/<class>/... or DATA/train/<class>/..." + hint(table.paths)
    others = [label for label in table.classes if label not in classes]
    if others:
        cure = f"put images of {quoted(others, at_most=3)} into train too; or give one part alone"
    if table.rejected:
        cure = f"replace the files that cannot be read (regraft check names them all); or {cure}"
    unread = [reading for reading in table.readings if reading.kind == "labels-unread"]
    cure = "; ".join([*(reading.mend for reading in unread), cure])
    raise TableError(
        f"training needs images of at least 2 classes, got 1: {next(iter(classes))!r}"
        + why_no_more_classes(table)
        + "".join(f"; {reading.words}" for reading in unread),
        place=table.source,
        cure=cure,
        rejected=table.rejected,
        skipped=table.skipped,
    )


def labelled_roles(table: ImageTable) -> Roles:
    """Which rows teach and which report, among those that have a label."""
    is_labelled = np.asarray(table.labels != None)  # noqa: E711  (element by element)
    splits = table.splits.copy()
    splits[~is_labelled] = None
    has_no_train = not (splits == "train").any() and table.has_splits
    if not is_labelled.any():
        raise no_labels_error(table)
    try:
        return roles(table.splits if has_no_train else splits)  # says which split is missing
    except SplitError as error:
        raise _naming_what_was_left_out(error, table) from None


def _naming_what_was_left_out(error: SplitError, table: ImageTable) -> SplitError:
    """The same refusal, with the folders that might have been the missing split, and what to give
    instead."""
    strays = [table.shown(one.path) for one in table.skipped if one.kind == "stray-folder"]
    outside = {os.path.dirname(one.path) for one in table.skipped if one.kind == "unlabelled"}
    told, cures = [], []
    if strays:
        told.append(f"{quoted(strays)} beside the splits {_is(strays)} in none of them")
        part = "to report, rename it test"
        if "train" not in error.facts["present"]:
            part = "that teaches, rename it train"
        line = next((line for path in strays if (line := renaming(path))), "")
        cures.append(f"if it is the part {part}" + (f": {line}" if line else ""))
    packed = [one.path for one in table.skipped if one.path.lower().endswith(ARCHIVE_SUFFIXES)]
    if packed:
        told.append(f"{quoted(map(table.shown, packed))} {_is(packed)} not unpacked")
        cures.append("if it is the part to report, unpack it beside train")
    if outside:
        flat = sorted(map(table.shown, outside))
        told.append(f"the images straight in {quoted(flat)} have no class")
        cures.append("to report on them, put them into folders of their classes")
    cures.append(_giving_what_teaches(error.cure, table))
    return SplitError("; ".join([error.rule, *told]), cure=";\n".join(cures), **error.facts)


def _giving_what_teaches(cure: str, table: ImageTable) -> str:
    """The cure with the path of the train folder, or of the table that labels it."""
    told = [reading for reading in table.readings if reading.file]
    told.sort(key=lambda reading: not reading.words.startswith("the labels"))
    files = [reading.file for reading in told]
    paths = table.paths[table.splits == "train"].tolist()
    if files:
        return cure.replace("the train folder itself", f"the table itself, {files[0]}")
    if not table.root or not paths:
        return cure
    folder = table.shown(os.path.commonpath([os.path.dirname(path) for path in paths]))
    return cure.replace("the train folder itself", f"the train folder itself, {folder}")


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
