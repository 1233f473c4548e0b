"""A folder as a table: its sub-folders' names say the labels and splits.

Folders are walked once and files are told apart by name, so a million of them take seconds; only
files without a known extension are looked into. Whatever is left out is named on the table.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

from regraft.data.cells import name_of
from regraft.data.image_files import has_image_name, looks_like_image, why_not_a_file
from regraft.data.source_forms import ARCHIVE_SUFFIXES, refuse_source
from regraft.data.table import SPLIT_NAMES, ImageTable, Rejected, Skipped, column, first_few
from regraft.data.tidying import check_text, in_order
from regraft.errors import TableError

_LEFTOVERS = frozenset(
    (
        "__macosx", ".ds_store", "thumbs.db", "desktop.ini", ".ipynb_checkpoints", "__pycache__",
        "@eadir", "$recycle.bin", "system volume information",
    )
)  # fmt: skip


def read_folder(folder: str | os.PathLike[str]) -> ImageTable:
    """The images below a folder, with the labels and splits that the folders' names say.

    Three layouts are read: ``folder/<split>/<class>/...``, ``folder/<class>/...`` and images
    without classes straight in the folder. Splits are named train or training; val, valid,
    validation or dev; test or testing; in any case. A folder of such a name that holds images and
    no folders, beside folders of other names, is a class ('train' beside 'car'). A folder that
    only wraps another one is entered. Below a class, folders may be nested as deep as they like.
    Names are compared as `cells` says: blanks at their ends do not count, nor how an accent is
    stored. Two folders of one such name are one class, and the second is in ``table.skipped``.

    Links are followed. Hidden and leftover entries, empty and unreadable folders, files that are
    no images, folders beside the splits, images without a class beside labelled ones: all that is
    in ``table.skipped``. Whether a file can be opened and decoded shows only when it is read;
    broken links and pipes, which would block, are in ``table.rejected``.

    Raises
    ------
    TableError
        If there is no image at all, or a class has a name that is not UTF-8.

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
    found = _Found()
    _gather(root, found)
    table = found.table(source=source, root=root)
    _require_images(table, cure="give the folder that holds one folder of images per class")
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
    found = _Found()
    found.add_all_below(_Listing(root).read(), None, None)
    table = found.table(source=source, root=root)
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
        cure=cure,
        skipped=table.skipped,
        rejected=table.rejected,
    )


@dataclass
class _Listing:
    """What is directly in one folder: sub-folders and images by path, and what is left out."""

    path: str
    above: frozenset[tuple[int, int]] = frozenset()
    folders: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)

    def read(self) -> _Listing:
        try:
            status = os.stat(self.path)
            identity = (status.st_dev, status.st_ino)
            if identity in self.above:
                self.skip(self.path, "link-loop", "a link back to a folder that holds it")
                return self
            self.above |= {identity}
            with os.scandir(self.path) as entries:
                for entry in entries:
                    self._sort_in(entry)
        except OSError as error:
            self.skip(self.path, "unreadable-folder", f"cannot be listed: {error.strerror}")
            return self
        if not (self.folders or self.images or self.rejected):
            self.skip(self.path, "empty-folder", "has no images in it")
        self.folders.sort()
        return self

    def below(self, folder: str) -> _Listing:
        return _Listing(folder, self.above).read()

    def skip(self, path: str, kind: str, reason: str) -> None:
        self.skipped.append(Skipped(path, kind, reason))

    def _sort_in(self, entry: os.DirEntry[str]) -> None:
        name, path = entry.name, entry.path
        if left := _leftover_kind(name):
            self.skip(path, left, "left by a program" if left == "leftover" else "hidden")
        elif _is_dir(entry):
            self.folders.append(path)
        elif problem := None if _is_file(entry) else why_not_a_file(path):
            if has_image_name(name):
                self.rejected.append(Rejected(path, *problem))
            else:
                self.skip(path, "not-an-image", problem[0])
        elif has_image_name(name):
            self.images.append(path)
        else:
            self._sort_in_by_content(path)

    def _sort_in_by_content(self, path: str) -> None:
        try:
            is_image = looks_like_image(path)
        except OSError as error:
            reason = f"cannot be opened: {error.strerror}"
            self.rejected.append(Rejected(path, reason, "give read permission, or remove it"))
            return
        if is_image:
            self.images.append(path)
        elif path.lower().endswith(ARCHIVE_SUFFIXES):
            self.skip(path, "not-an-image", "an archive inside is not unpacked")
        else:
            self.skip(path, "not-an-image", "neither its name nor its first bytes are an image's")


@dataclass
class _Found:
    """Rows gathered so far, as lists, and what was left out."""

    paths: list[str] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    splits: list[str | None] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    folder_of: dict[tuple[str | None, str | None], str] = field(default_factory=dict)

    def add(self, listing: _Listing, label: str | None, split: str | None) -> None:
        self.paths += listing.images
        self.labels += [label] * len(listing.images)
        self.splits += [split] * len(listing.images)
        self.skipped += listing.skipped
        self.rejected += [bad._replace(label=label) for bad in listing.rejected]

    def add_all_below(self, listing: _Listing, label: str | None, split: str | None) -> None:
        """A folder and all below it."""
        pending = [listing]
        while pending:  # a stack of our own, for folders may be nested deeper than Python's
            here = pending.pop()
            self.add(here, label, split)
            pending += [here.below(folder) for folder in reversed(here.folders)]

    def add_class(self, listing: _Listing, split: str | None) -> None:
        """A class folder and all below it; a class that comes to nothing is named."""
        label, n_before = self.class_of(listing.path, split), len(self.paths) + len(self.rejected)
        first_skipped = len(self.skipped)
        self.add_all_below(listing, label, split)
        is_empty = len(self.paths) + len(self.rejected) == n_before
        named = any(entry.path == listing.path for entry in self.skipped[first_skipped:])
        if is_empty and not named:
            self.skipped.append(Skipped(listing.path, "empty-folder", "a class without images"))

    def class_of(self, folder: str, split: str | None) -> str | None:
        """The class that a folder's name says; a second folder of the same class is named."""
        label = name_of(os.path.basename(folder))
        first = self.folder_of.setdefault((split, label), folder)
        if first != folder:
            reason = f"read as the same class as {os.path.basename(first)!r}"
            self.skipped.append(Skipped(folder, "same-class", reason))
        return label

    def table(self, *, source: str, root: str) -> ImageTable:
        table = in_order(
            ImageTable(
                column(self.paths),
                column(self.labels),
                column(self.splits),
                source=source,
                root=root,
                skipped=tuple(sorted(self.skipped)),
                rejected=tuple(sorted(self.rejected)),
            )
        )
        return _without_strays(table)


def _gather(root: str, found: _Found) -> None:
    top = _Listing(root).read()
    while (inner := _wrapped(top)) is not None:
        found.add(top, None, None)
        top = inner
    found.add(top, None, None)
    splits = _split_folders(top)
    for folder in top.folders:
        if not splits:
            found.add_class(top.below(folder), None)
        elif folder in splits:
            listing = top.below(folder)
            found.add(listing, None, splits[folder])
            for class_folder in listing.folders:
                found.add_class(listing.below(class_folder), splits[folder])
        else:
            reason = "a folder beside the splits, in none of them"
            found.skipped.append(Skipped(folder, "stray-folder", reason))


def _wrapped(top: _Listing) -> _Listing | None:
    """The only folder in `top`, if that is a wrapper: no split and no class of its own."""
    if len(top.folders) != 1 or top.images or _split_of(top.folders[0]):
        return None
    inner = top.below(top.folders[0])
    return inner if inner.folders and (not inner.images or _split_folders(inner)) else None


def _split_folders(top: _Listing) -> dict[str, str]:
    """Folders that are splits, with the split; none if they read better as classes."""
    splits = {folder: split for folder in top.folders if (split := _split_of(folder))}
    hold_classes = len(splits) == len(top.folders) or any(top.below(f).folders for f in splits)
    return splits if hold_classes else {}


def _split_of(folder: str) -> str | None:
    return SPLIT_NAMES.get(os.path.basename(folder).lower())


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


def _leftover_kind(name: str) -> str:
    if name.startswith("._") or name.lower() in _LEFTOVERS:
        return "leftover"
    return "hidden" if name[0] == "." else ""


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads back to itself
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False
