"""A folder as a table: its sub-folders' names say the labels and splits.

Folders are walked once (``tree``), what each of them is stands in ``layouts``; here rows are made
of that. Whatever is left out is named on the table.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

from regraft.data.layouts import Layout, layout_of
from regraft.data.source_forms import refuse_source
from regraft.data.table import ImageTable, Rejected, Skipped, column, first_few
from regraft.data.tidying import check_text, in_order
from regraft.data.tree import Folder, walk
from regraft.errors import TableError


def read_folder(folder: str | os.PathLike[str]) -> ImageTable:
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
    return table_of_folder(source, source=source)


def table_of_folder(root: str, *, source: str) -> ImageTable:
    """As :func:`read_folder`, of a folder that the user knows by another name, as an archive's."""
    top = walk(root)
    layout = layout_of(top)
    rows = _rows_of(layout)
    table = _without_strays(
        in_order(
            ImageTable(
                column(rows.paths),
                column(rows.labels),
                column(rows.splits),
                source=source,
                root=root,
                skipped=tuple(sorted(rows.skipped)),
                rejected=tuple(sorted(rows.rejected)),
                readings=tuple(layout.readings),
            )
        )
    )
    if not len(table):
        entries: list[Rejected | Skipped] = [*table.rejected, *table.skipped]
        left_out = [f"{table.shown(entry.path)!r} ({entry.reason})" for entry in entries]
        raise TableError(
            "there is no image in it; left out: " + first_few(left_out),
            place=source,
            cure="give the folder that holds one folder of images per class",
            skipped=table.skipped,
            rejected=table.rejected,
        )
    check_text(table.classes, "class", source)
    return table


@dataclass
class _Rows:
    """Rows gathered so far, as lists, and what was left out."""

    paths: list[str] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    splits: list[str | None] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    folder_of: dict[tuple[str, str | None], Folder] = field(default_factory=dict)

    def add(self, folder: Folder, label: str | None, split: str | None) -> None:
        self.paths += folder.images
        self.labels += [label] * len(folder.images)
        self.splits += [split] * len(folder.images)
        self.skipped += folder.skipped
        self.rejected += folder.rejected

    def add_class(self, folder: Folder, label: str | None, split: str | None) -> None:
        """A class folder and all below it; a class that comes to nothing is named, and so is a
        second folder of the same class."""
        first = self.folder_of.setdefault((os.path.dirname(folder.path), label), folder)
        if first is not folder:
            reason = f"read as the same class as {first.name!r}"
            self.skipped.append(Skipped(folder.path, "same-class", reason))
        for inner in folder.all_below():
            self.add(inner, label, split)
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
