"""A folder as a table: its sub-folders' names say the labels and splits.

Folders are walked once (``tree``), what each of them is stands in ``layouts``; here rows are made
of that. Whatever is left out is named on the table.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from regraft.data.boxes import why_boxes
from regraft.data.companions import without_companions
from regraft.data.label_files import tables_beside, with_labels_beside
from regraft.data.labels_in_names import SAMPLE_MARK, SAMPLES, labelled_by_name, why_not_by_folder
from regraft.data.layouts import Layout, layout_of, why_no_labels
from regraft.data.source_forms import refuse_source
from regraft.data.table import (
    ImageTable,
    Reading,
    Rejected,
    Skipped,
    column,
    first_few,
)
from regraft.data.tidying import check_text, in_order
from regraft.data.tree import Folder, walk
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
    raise TableError(
        "there is no image in it; left out: "
        + first_few(f"{table.shown(entry.path)!r} ({entry.reason})" for entry in entries),
        place=table.source,
        cure=_cure_of_packed(table) or cure,
        skipped=table.skipped,
        rejected=table.rejected,
    )


def _cure_of_packed(table: ImageTable) -> str:
    """What to type where there is nothing but archives, as Teachable Machine exports samples."""
    packed = [s.path for s in table.skipped if s.path.lower().endswith(".zip")]
    if not packed:
        return ""
    first = table.shown(packed[0])
    name = os.path.basename(first)[: -len(".zip")].removesuffix("-samples")
    into = os.path.join(os.path.dirname(first), name)
    return f"unpack each archive into a folder of its name: python -m zipfile -e {first!r} {into!r}"


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
    files = tables_beside(layout)
    if files and len(table.classes) == 1 and not layout.splits:
        alone = replace(table, labels=column([None] * len(table)))
        said = with_labels_beside(alone, files)  # a folder that only wraps the images is no class
        table = said if said.classes or said.no_labels else table
    elif files:
        table = with_labels_beside(table, files)
    if table.n_unlabelled < len(table) or table.no_labels:
        return table
    if all(SAMPLE_MARK in os.path.basename(path) for path in table.paths):
        return labelled_by_name(replace(table, readings=(*table.readings, SAMPLES)))
    others = [path for folder in top.all_below() for path in folder.others]
    why = why_boxes(others, table.paths) or why_not_by_folder(table.paths)
    why = why or why_no_labels(layout)
    return replace(table, no_labels=why)


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
