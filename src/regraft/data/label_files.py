"""Tables beside the pictures that say their labels: labels.csv, metadata.jsonl, train.csv.

Where folders say the class, they are believed, and a table that says otherwise is refused with the
line that takes it. Where they do not, the table is read, which is told.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from regraft.data.columns import Columns
from regraft.data.dialects import LISTS
from regraft.data.layouts import Layout, Part
from regraft.data.located import Finder, shared_folders
from regraft.data.manifests import Rows, read_rows
from regraft.data.several_labels import refuse_several
from regraft.data.split_names import split_name, words_of
from regraft.data.table import (
    SPLIT_NAMES,
    SPLITS,
    ImageTable,
    NoLabels,
    Reading,
    Rejected,
    column,
    quoted,
)
from regraft.data.tree import Folder
from regraft.data.unread_columns import groups_unsaid, says_division, unsaid
from regraft.errors import DataError, TableError
from regraft.wording import count, listed

_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".txt")
# Tables of answers that are still to be given, which name images with made-up labels.
_NOT_ANSWERS = frozenset(("submission", "submissions", "prediction", "predictions", "readme"))


def tables_beside(layout: Layout) -> list[str]:
    """Paths of the files beside the class folders that may be tables.

    Examples
    --------
    >>> tables_beside(Layout())
    []
    """
    files = {path for part in layout.openings for path in part.folder.others}
    return sorted(
        path
        for path in files
        if path.lower().endswith(_SUFFIXES)
        and _NOT_ANSWERS.isdisjoint(words_of(os.path.basename(path)))
    )


def tables_below(top: Folder) -> list[str]:
    """As `tables_beside`, of all that lies anywhere below a folder."""
    return tables_beside(Layout(openings=[Part(folder, None, None) for folder in top.all_below()]))


def with_labels_beside(table: ImageTable, files: Sequence[str]) -> ImageTable:
    """The same images, with labels from the tables beside them where folders say none.

    Parameters
    ----------
    table : ImageTable
        Of a folder; rows without a label are still there.
    files : sequence of str
        See `tables_beside`.

    Raises
    ------
    TableError
        Tables and folders, or two tables, say different labels of one image.

    Examples
    --------
    >>> table = ImageTable.from_paths(["d/1.jpg"])
    >>> with_labels_beside(table, []) is table
    True
    """
    found = [one for file in files if (one := _matched(table, file)) is not None]
    if not found:
        return table
    listing = [one for one in found if one.has_labels or one.has_groups or one.only_lists]
    are_parts = len({one.split for one in listing} - {None}) > 1  # train.csv and test.csv
    readings = list(table.readings)
    for one in listing:
        table, words = _added(table, one, says_split=are_parts)
        if words:
            readings += [_reading(table, one, words), *_told_once(table, one, readings)]
    used = {reading.file for reading in readings if reading.file}
    not_used = tuple(entry for entry in table.skipped if entry.path not in used)
    table = replace(table, readings=tuple(readings), skipped=not_used)
    for one in found:
        is_used = (
            one.has_labels
            or one.has_groups
            or (one.only_lists and are_parts)
            or says_division(one.file)
        )
        table = table if is_used else _named(table, one)
    return table


@dataclass(frozen=True)
class _Matched:
    """A table beside the images, and which of its rows name them."""

    file: str
    rows: Rows
    row_of: dict[str, int]
    missing: list[str]

    @property
    def has_labels(self) -> bool:
        return "label" in self.rows.columns

    @property
    def has_groups(self) -> bool:
        return "group" in self.rows.columns

    @property
    def only_lists(self) -> bool:
        """Whether it says nothing of the images but that they are in its split: train.txt."""
        return not self.has_labels and self.split is not None and not self.rows.known.free

    @property
    def split(self) -> str | None:
        """That the table's own name says: train.csv."""
        name = split_name(os.path.splitext(os.path.basename(self.file))[0])
        return name.split if name and name.split in SPLITS else None

    def said(self, role: str, path: str) -> str | None:
        row, cells = self.row_of.get(path), self.rows.columns.get(role)
        return None if row is None or cells is None else cells[row]


def _matched(table: ImageTable, file: str) -> _Matched | None:
    """A file as a table of these images; None if it is none, or is of other files."""
    try:
        rows: Rows | None = read_rows(file)
    except DataError:
        rows = _rows_of_names(file)
    return None if rows is None else _matched_rows(table, file, rows)


def _rows_of_names(source: str) -> Rows | None:
    """A text that lists names of images without their extension, one a line; None if it is none.

    Whether there are such images is for the caller to see.
    """
    if not source.lower().endswith(LISTS):
        return None
    try:
        with open(source, encoding="utf-8-sig") as text:
            names = [line.strip() for line in text if line.strip()]
    except (OSError, ValueError):
        return None
    if not names or any(len(name.split()) > 1 for name in names):
        return None
    return Rows({"path": list(names)}, range(1, len(names) + 1), Columns(["1"], {"path": 0}))


def _matched_rows(table: ImageTable, file: str, rows: Rows) -> _Matched | None:
    paths = set(table.paths)
    folder, name = os.path.split(file)
    finder = Finder(table.paths, table.root, near=os.path.splitext(name)[0])
    row_of, missing = dict[str, int](), list[str]()
    n_shared = shared_folders([path or "" for path in rows["path"]])
    for row, cell in enumerate(rows["path"]):
        if cell is None:
            continue
        written = os.path.join(folder, cell.strip().replace("\\", "/"))
        fits = [written] if written in paths else finder.find_of_another_computer(cell, n_shared)
        fits = [path for path in fits if path.startswith(folder + os.sep)] or fits
        if len(fits) == 1:
            _refuse_another_label(rows, row_of.setdefault(fits[0], row), row, file)
        else:
            missing.append(written)
    is_of_these = 2 * len(row_of) > min(len(rows.numbers), len(paths))
    return _Matched(file, rows, row_of, missing) if is_of_these else None


def _refuse_another_label(rows: Rows, first: int, second: int, file: str) -> None:
    """Refuse two rows of one table that say different labels of one image."""
    labels = rows.columns.get("label")
    if labels is not None and labels[first] != labels[second]:
        raise TableError(
            f"rows {rows.numbers[first]} and {rows.numbers[second]} give one image different "
            f"labels: {labels[first]!r}, {labels[second]!r}",
            place=file,
            cure="keep the right row, or move the table elsewhere",
        )


def _added(table: ImageTable, found: _Matched, *, says_split: bool) -> tuple[ImageTable, str]:
    """With the labels and splits of one table, where there are none; and how many, in words."""
    refuse_several(found.rows["label"], found.file)
    _refuse_other_labels(table, found)
    labels, splits = table.labels.copy(), table.splits.copy()
    before = column([None] * len(table)) if table.groups is None else table.groups
    groups = before.copy()
    for i, path in enumerate(table.paths):
        if path not in found.row_of:
            continue
        cell = (found.said("split", path) or "").lower()
        labels[i] = labels[i] or found.said("label", path)
        splits[i] = splits[i] or SPLIT_NAMES.get(cell) or (found.split if says_split else None)
        groups[i] = groups[i] or found.said("group", path)
    new = {
        name: int((after != earlier).sum())
        for name, after, earlier in (
            ("label", labels, table.labels),
            ("split", splits, table.splits),
            ("group", groups, before),
        )
    }
    said = [f"the {name}s of {count(n, 'image')}" for name, n in new.items() if n]
    if not said:
        return table, ""
    missing = [
        Rejected(path, f"is listed in {table.shown(found.file)}, but is not there", "add the file")
        for path in found.missing
    ]
    rejected = tuple(sorted((*table.rejected, *missing)))
    known = groups if new["group"] or table.groups is not None else None
    table = replace(table, labels=labels, splits=splits, groups=known, rejected=rejected)
    return table, listed(said)


def _reading(table: ImageTable, found: _Matched, words: str) -> Reading:
    file = table.shown(found.file)
    cure = f"if it is not meant so, move it away, or give the file itself with {_OPTION}"
    return Reading("label-file", f"{words} are read from {file}", cure, file)


def _told_once(table: ImageTable, found: _Matched, readings: Sequence[Reading]) -> list[Reading]:
    """How a table's columns were read; once, where it is the same in each of several."""
    told = {reading.words.partition(": ")[2] for reading in readings}
    own = (*found.rows.known.readings, *found.rows.readings, *_unsaid(table, found))
    return [reading for reading in own if reading.words.partition(": ")[2] not in told]


def _unsaid(table: ImageTable, found: _Matched) -> list[Reading]:
    """Columns that may say more of the images, and how to have them read."""
    file = table.shown(found.file)
    give = f"give {file} itself instead of the folder; "
    return [one._replace(mend=give + one.mend) for one in unsaid(file, found.rows.known, [])]


_OPTION = "--label-column NAME"


def _named(table: ImageTable, found: _Matched) -> ImageTable:
    """A table of these images in which no column is known to be the label."""
    file = table.shown(found.file)
    n, why = len(found.row_of), found.rows.no_labels or found.rows.known.why_no_labels()
    if table.n_unlabelled < len(table):
        pairs = zip(table.paths, table.labels, strict=True)
        if all(label is None for path, label in pairs if path in found.row_of):
            return table  # a list of the images that nobody has labelled
        words = f"{file} names {count(n, 'image')}, but the classes are those of the folders"
        cure = f"if one of its columns is the class, give that file itself, with {_OPTION}"
        told = [Reading("label-file-unread", words, cure), *_groups_unsaid(file, found)]
        return replace(table, readings=(*table.readings, *told))
    reason = f"{file} names {count(n, 'image')}, but {why.reason}"
    give = f"give that file itself: {file}; " if "--label-column" in why.cure else ""
    return replace(table, no_labels=NoLabels(reason, give + why.cure))


def _groups_unsaid(file: str, found: _Matched) -> list[Reading]:
    """Of a table beside class folders, which has the groups and not the labels."""
    cure = "if so: list the images in a CSV with the columns path,label,group"
    return [one._replace(mend=cure) for one in groups_unsaid(file, found.rows.known)]


def _refuse_other_labels(table: ImageTable, found: _Matched) -> None:
    """Refuse a table that divides the images into other classes than was said before it.

    Names may differ ('0' for 'cat'), if each of the one is always the same of the other.
    """
    pairs = {
        (label, said)
        for path, label in zip(table.paths, table.labels, strict=True)
        if label is not None and (said := found.said("label", path)) is not None
    }
    is_one_to_one = len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    if not is_one_to_one:
        _refuse_two_answers(table, found, pairs)


def _refuse_two_answers(
    table: ImageTable, found: _Matched, pairs: Iterable[tuple[str, str]]
) -> NoReturn:
    ours, theirs = (sorted({pair[side] for pair in pairs}) for side in (0, 1))
    file = table.shown(found.file)
    raise TableError(
        f"the labels are said twice, and differently: {quoted(ours, at_most=3)} by the folders, "
        f"{quoted(theirs, at_most=3)} by {file}",
        place=table.source,
        cure=f"for those of the table, give it itself: {file}\n"
        "for those of the folders, move the table elsewhere",
    )
