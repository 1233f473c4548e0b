"""A folder as a table: its sub-folders' names say the labels and splits.

Folders are walked once (``tree``), what each of them is stands in ``layouts``; here rows are made
of that. Whatever is left out is named on the table.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from regraft.data.archive_parts import cure_of_packed, is_packed
from regraft.data.boxes import why_boxes
from regraft.data.companions import without_companions
from regraft.data.dialects import why_no_table_of_images
from regraft.data.label_files import tables_below, tables_beside, with_labels_beside
from regraft.data.labels_in_names import SAMPLE_MARK, SAMPLES, labelled_by_name, why_not_by_folder
from regraft.data.layouts import Layout, layout_of, why_no_labels
from regraft.data.numbered_lists import with_numbered_lists
from regraft.data.other_forms import ways_from
from regraft.data.source_forms import refuse_source
from regraft.data.split_names import split_name
from regraft.data.table import (
    ImageTable,
    NoLabels,
    Reading,
    Rejected,
    Skipped,
    column,
    first_few,
    quoted,
)
from regraft.data.tidying import check_text, in_order
from regraft.data.tree import Folder, walk
from regraft.data.unread_columns import says_division
from regraft.data.unread_labels import why_labels_unread
from regraft.errors import TableError


def read_folder(folder: str | os.PathLike[str], *, label_from: str = "folder") -> ImageTable:
    """The images below a folder, with the labels and splits that the folders' names say.

    Four layouts are read: ``folder/<split>/<class>/...``, ``folder/<class>/...``,
    ``folder/<class>/<split>/...`` and images without classes straight in the folder. Splits are
    named train or training; val, valid, validation or dev; test or testing; in any case, and other
    names that say a split are known by their neighbours ('seg_train' beside 'seg_test'), which is
    told in ``table.readings``. A folder of such a name that holds images and no folders, beside
    folders of other names, is a class ('train' beside 'car'). A folder that only wraps another one
    is entered. Below a class, folders may be nested as deep as they like. Names are compared as
    `cells` says: blanks at their ends do not count, nor how an accent is stored. Two folders of one
    such name are one class, and the second is in ``table.skipped``.

    Links are followed. Hidden and leftover entries, empty and unreadable folders, files that are
    no images, folders beside the splits, images without a class beside labelled ones: all that is
    in ``table.skipped``. Whether a file can be opened and decoded shows only when it is read;
    broken links and pipes, which would block, are in ``table.rejected``.

    Where folders say no class, a table beside the images is read (see ``label_files``).

    Parameters
    ----------
    folder : path
    label_from : 'folder', 'top', 'parent' or 'name'
        What says the labels: the folders as they are understood, the first folder, the folder that
        holds the image, or the name of the file (see ``labels_in_names``).

    Raises
    ------
    TableError
        If there is no image at all, a class has a name that is not UTF-8, or folders could be
        meant in two ways.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("Training/ants", "dev/ants"):
    ...         os.makedirs(os.path.join(folder, name))
    ...         with open(os.path.join(folder, name, "1.jpg"), "wb") as file:
    ...             _ = file.write(b"...")
    ...     table = read_folder(folder)
    >>> table.counts()
    {'train': {'ants': 1}, 'val': {'ants': 1}}
    """
    source = os.fsdecode(folder)
    if not os.path.isdir(source):
        refuse_source(source, "is not a folder")
    return table_of_folder(source, source=source, label_from=label_from)


def table_of_folder(root: str, *, source: str, label_from: str = "folder") -> ImageTable:
    """As :func:`read_folder`, of a folder that the user knows by another name, as an archive's."""
    top = walk(root)
    layout = layout_of(top, label_from)
    table = _table_of(_rows_of(layout), source, root, layout.readings)
    _require_images(table, cure="give the folder that holds one folder of images per class")
    table = labelled_by_name(table) if label_from == "name" else _labelled(table, top, layout)
    table = without_companions(_without_strays(table))
    check_text(table.classes, "class", source)
    return table


def every_image(root: str, *, source: str) -> ImageTable:
    """All images below a folder, whatever the folders are called: no labels and no splits.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("train/ants/1.jpg", "other/2.jpg"):
    ...         os.makedirs(os.path.join(folder, os.path.dirname(name)))
    ...         with open(os.path.join(folder, name), "wb") as file:
    ...             _ = file.write(b"...")
    ...     table = every_image(folder, source=folder)
    >>> [os.path.basename(path) for path in table.paths], table.classes, table.has_splits
    (['2.jpg', '1.jpg'], [], False)
    """
    rows = _Rows()
    rows.add_all_below(walk(root), None, None)
    table = _table_of(rows, source, root)
    _require_images(table, cure="give a folder that has images in it, at any depth")
    return table


def _require_images(table: ImageTable, *, cure: str) -> None:
    if len(table):
        return
    entries: list[Rejected | Skipped] = [*table.rejected, *table.skipped]
    names_of: dict[str, list[str]] = {}
    for entry in entries:
        names_of.setdefault(entry.reason, []).append(table.shown(entry.path))
    left = (f"{quoted(names, at_most=3)} ({reason})" for reason, names in names_of.items())
    way = ways_from(table.shown(entry.path) for entry in entries) or _way_from_pixels(table)
    raise TableError(
        "there is no image in it; left out: " + first_few(left),
        place=table.source,
        cure=_cure_of_packed(table) or way or cure,
        skipped=table.skipped,
        rejected=table.rejected,
    )


def _way_from_pixels(table: ImageTable) -> str:
    """Of the first table whose rows are images themselves; '' if there is none."""
    tables = [e.path for e in table.skipped if e.path.lower().endswith((".csv", ".tsv"))]
    for path in tables:
        if found := why_no_table_of_images(path):
            return f"{table.shown(path)!r} is no list of images: {found[0]}; {found[1]}"
    return ""


def _cure_of_packed(table: ImageTable) -> str:
    """What to type where there is nothing but archives; '' if there are none."""
    packed = [entry.path for entry in table.skipped if is_packed(entry.path)]
    if packed and os.path.isfile(table.source):
        into = os.path.splitext(table.source)[0]
        return (
            f"unpack it: python -m zipfile -e {table.source!r} {into!r}; then the archives in it, "
            "each into a folder of its name, and give the folder of all"
        )
    return cure_of_packed([table.shown(path) for path in packed])


def _table_of(rows: _Rows, source: str, root: str, readings: Sequence[Reading] = ()) -> ImageTable:
    return in_order(
        ImageTable(
            column(rows.paths),
            column(rows.labels),
            column(rows.splits),
            source=source,
            root=root,
            skipped=tuple(sorted(rows.skipped)),
            rejected=tuple(sorted(rows.rejected)),
            readings=tuple(readings),
        )
    )


def _labelled(table: ImageTable, top: Folder, layout: Layout) -> ImageTable:
    """With the labels of tables beside the images; and why there are none, if there are none."""
    is_one = len(table.classes) == 1 and not layout.splits
    files = tables_below(top) if is_one else tables_beside(layout)
    if files and is_one:
        alone = replace(table, labels=column([None] * len(table)))
        said = with_labels_beside(alone, files)  # a folder that only wraps the images is no class
        table = said if said.classes or said.no_labels else table
    elif files:
        table = with_labels_beside(table, files)
    table = _with_unread_division(with_numbered_lists(table, top), top)
    others = [path for folder in top.all_below() for path in folder.others]
    if is_one and len(table.classes) == 1:
        return _with_unread_labels(table, others)
    if table.n_unlabelled < len(table) or table.no_labels:
        return table
    if all(SAMPLE_MARK in os.path.basename(path) for path in table.paths):
        return labelled_by_name(replace(table, readings=(*table.readings, SAMPLES)))
    why = _splits_with_classes(layout) or why_boxes(others, table.paths)
    if why is None:
        why = why_not_by_folder(table.paths) or why_no_labels(layout)
        is_known = why is not None and "--label-from" in why.cure
        if not is_known:
            why = why_labels_unread(others, table.paths, why, shown=table.shown)
    return replace(table, no_labels=why)


def _with_unread_labels(table: ImageTable, others: Sequence[str]) -> ImageTable:
    """Told, if a file may say the classes of what is one class by its folder."""
    why = why_labels_unread(others, table.paths, None, shown=table.shown)
    if why is None:
        return table
    return replace(table, readings=(*table.readings, Reading("labels-unread", *why)))


def _splits_with_classes(layout: Layout) -> NoLabels | None:
    """'cats_train', 'dogs_train', 'cats_test', 'dogs_test': a class and a split in one name."""
    rests = {name.rest: f for f in layout.splits if (name := split_name(f.name)) and name.rest}
    if len(rests) < 2:
        return None
    rest, folder = next(iter(rests.items()))
    to = f"DATA/{layout.splits[folder]}/{' '.join(rest)}"
    return NoLabels(
        f"{quoted(folder.name for folder in layout.splits)} are read as splits, and each seems to "
        "name a class too",
        f"make a folder of each split with the classes in it: move {folder.name!r} to {to}",
    )


def _with_unread_division(table: ImageTable, top: Folder) -> ImageTable:
    """Told, if a file says a division by its name, and there is none."""
    if table.has_splits or not table.classes:
        return table
    used = {reading.file for reading in table.readings}
    others = (path for folder in top.all_below() for path in folder.others)
    found = [
        name for path in others if says_division(path) and (name := table.shown(path)) not in used
    ]
    if not found:
        return table
    words = f"{quoted(sorted(found), at_most=3)} may say a division into train and test, not read"
    cure = "to keep it, list the images in a CSV with the columns path,label,split"
    return replace(table, readings=(*table.readings, Reading("split-file", words, cure)))


@dataclass
class _Rows:
    """Rows gathered so far, as lists, and what was left out."""

    paths: list[str] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    splits: list[str | None] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    folder_of: dict[tuple[str, str | None, str | None], Folder] = field(default_factory=dict)

    def add(self, folder: Folder, label: str | None, split: str | None) -> None:
        self.paths += folder.images
        self.labels += [label] * len(folder.images)
        self.splits += [split] * len(folder.images)
        self.skipped += folder.skipped
        self.rejected += [bad._replace(label=label) for bad in folder.rejected]

    def add_all_below(self, folder: Folder, label: str | None, split: str | None) -> None:
        """A folder and all below it."""
        for inner in folder.all_below():
            self.add(inner, label, split)

    def add_class(self, folder: Folder, label: str | None, split: str | None) -> None:
        """A class folder and all below it; a class that comes to nothing is named, and so is a
        second folder of the same class."""
        first = self.folder_of.setdefault((os.path.dirname(folder.path), label, split), folder)
        if first is not folder:
            reason = f"read as the same class as {first.name!r}"
            self.skipped.append(Skipped(folder.path, "same-class", reason))
        self.add_all_below(folder, label, split)
        if not folder.n_images and not any(entry.path == folder.path for entry in folder.skipped):
            self.skipped.append(Skipped(folder.path, "empty-folder", "a class without images"))


def _rows_of(layout: Layout) -> _Rows:
    rows = _Rows()
    for folder, label, split in layout.openings:
        rows.add(folder, label, split)
    for folder, label, split in layout.classes:
        rows.add_class(folder, label, split)
    for stray in layout.strays:
        reason = "a folder beside the splits, in none of them"
        rows.skipped.append(Skipped(stray.path, "stray-folder", reason))
    return rows


def _without_strays(table: ImageTable) -> ImageTable:
    """Beside labelled images, those without a class are left out and named."""
    has_label = table.labels != None  # noqa: E711
    if has_label.all() or not has_label.any():
        return table
    strays = [
        Skipped(path, "unlabelled", "an image that is in no class folder")
        for path in table.paths[~has_label]
    ]
    return replace(table.select(has_label), skipped=tuple(sorted((*table.skipped, *strays))))
