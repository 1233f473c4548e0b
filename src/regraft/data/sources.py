"""Reading what the user has as a table: a folder, a manifest, an archive, or one image file.

Folders are walked once and files are told apart by name, so a million of them take seconds; only
files without a known extension are looked into. Whatever is left out is named on the table. Text
manifests are read by the csv module, not by polars: it keeps the line numbers that messages need
and names that are not UTF-8, and it streams. polars reads Parquet.
"""

from __future__ import annotations

import csv
import errno
import os
import re
import stat
import subprocess
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from regraft.data.table import (
    ImageTable,
    ObjectArray,
    Rejected,
    Skipped,
    column,
    first_few,
    near_names,
    quoted,
)
from regraft.errors import TableError, UsageError

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
# Of these, the decoder refuses some, by name and with a mend: images are never silently passed by.
IMAGE_SUFFIXES = frozenset(
    """.jpg .jpeg .jpe .jfif .png .gif .bmp .webp .tif .tiff .ppm .pgm .pbm .pnm .mpo .jp2 .j2k
    .ico .heic .heif .avif .jxl .svg .psd .xcf .tga .pcx .dds .exr .raw .dng .cr2 .cr3 .nef .arw
    .orf .rw2 .raf .dcm""".split()  # noqa: SIM905
)
MANIFEST_SUFFIXES = (".csv", ".tsv", ".parquet")
ARCHIVE_SUFFIXES = (
    ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz",
)  # fmt: skip
COLUMN_NAMES = {
    "path": (
        "path", "file", "filename", "file_name", "filepath", "file_path", "image", "img",
        "image_path", "img_path", "image_name", "image_file",
    ),
    "label": ("label", "class", "target", "category"),
    "split": ("split", "set", "partition", "subset"),
    "group": ("group",),
}  # fmt: skip

_LEFTOVERS = frozenset(
    (
        "__macosx", ".ds_store", "thumbs.db", "desktop.ini", ".ipynb_checkpoints", "__pycache__",
        "@eadir", "$recycle.bin", "system volume information",
    )
)  # fmt: skip
_IMAGE_SIGNATURE = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n|GIF8[79]a|RIFF....WEBP|BM....\0\0\0\0|II\*\0|MM\0\*|P[1-6]\s|8BPS"
    rb"|\0\0\0\x0c(?:jP  |JXL )|\xff\x4f\xff\x51|\xff\x0a"
    rb"|....ftyp(?:hei|hev|mif1|msf1|avi[fs])",
    re.DOTALL,
)
_MAX_HEADER = 2**20
_FORMS = (
    "give a folder of images, a manifest (.csv, .tsv, .parquet), an archive "
    "(.zip, .tar, .tar.gz, .tar.bz2, .tar.xz) or an image file"
)


def read_table(
    source: str | os.PathLike[str],
    *,
    path_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    archive_folder: Path | None = None,
) -> ImageTable:
    """The images that a folder, manifest, archive or image file stands for.

    Whether labels or splits are needed is for the caller to say; here they may all be None.

    Parameters
    ----------
    source : path
        A folder (see :func:`read_folder`), a manifest (see :func:`read_manifest`), an archive of
        such a folder, or one image file.
    path_column, label_column, split_column, group_column : str, optional
        Columns of a manifest, where their names do not tell.
    archive_folder : Path, optional
        Where archives are unpacked, by default in Regraft's cache folder.

    Raises
    ------
    TableError
        If there is no such source, it is none of these, or holds no image.
    ArchiveError
        If an archive is damaged or unsafe to unpack.
    UsageError
        If columns are given and the source is no manifest.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("ants", "bees"):
    ...         Path(folder, name).mkdir()
    ...         _ = Path(folder, name, "1.jpg").write_bytes(b"...")
    ...     table = read_table(folder)
    >>> table.counts()
    {None: {'ants': 1, 'bees': 1}}
    """
    source = os.fsdecode(source)
    columns = {
        "path": path_column, "label": label_column, "split": split_column, "group": group_column,
    }  # fmt: skip
    is_folder = os.path.isdir(source)
    if not is_folder and source.lower().endswith(MANIFEST_SUFFIXES):
        return _read_manifest(source, columns, check_files=True)
    if any(columns.values()):
        raise UsageError(
            "columns can be named for a manifest only", place=source, cure="leave them out"
        )
    if is_folder:
        return read_folder(source)
    if problem := why_not_a_file(source):
        _refuse_source(source, problem[0])
    if source.lower().endswith(ARCHIVE_SUFFIXES):
        return _read_archive(source, archive_folder)
    if not _is_image_file(source):
        _refuse_source(source, "is neither a folder, a manifest, an archive nor an image")
    return replace(ImageTable.from_paths([source]), source=source)


def _refuse_source(source: str, reason: str) -> NoReturn:
    parent, name = os.path.split(source.rstrip(os.sep))
    try:
        near = [] if os.path.lexists(source) else near_names(name, os.listdir(parent or "."))
    except (OSError, ValueError):
        near = []
    meant = (
        f"did you mean {quoted(os.path.join(parent, one) for one in near)}? Else " if near else ""
    )
    raise TableError(f"{source!r} {reason}", cure=meant + _FORMS, source=source, near=near)


def _read_archive(source: str, archive_folder: Path | None) -> ImageTable:
    # Imported here, with the decompressors, because most sources are no archives.
    from regraft.cache import folder_of
    from regraft.data.archives import unpack

    root = str(unpack(source, archive_folder or folder_of("archives")))
    return _table_of_folder(root, source=source)


def read_folder(folder: str | os.PathLike[str]) -> ImageTable:
    """The images below a folder, with the labels and splits that the folders' names say.

    Three layouts are read: ``folder/<split>/<class>/...``, ``folder/<class>/...`` and images
    without classes straight in the folder. Splits are named train or training; val, valid,
    validation or dev; test or testing; in any case. A folder of such a name that holds images and
    no folders, beside folders of other names, is a class ('train' beside 'car'). A folder that
    only wraps another one is entered. Below a class, folders may be nested as deep as they like.

    Links are followed. Hidden and leftover entries, empty and unreadable folders, files that are
    no images, folders beside the splits, images without a class beside labelled ones: all that is
    in ``table.skipped``. Whether a file can be opened and decoded shows only when it is read;
    broken links and pipes, which would block, are in ``table.rejected``.

    Raises
    ------
    TableError
        If there is no image at all, or a class has a name that is not UTF-8.
    """
    source = os.fsdecode(folder)
    if not os.path.isdir(source):
        _refuse_source(source, "is not a folder")
    return _table_of_folder(source, source=source)


def _table_of_folder(root: str, *, source: str) -> ImageTable:
    found = _Found()
    _gather(root, found)
    table = found.table(source=source, root=root)
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
    _check_text(table.classes, "class", source)
    return table


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
            is_image = _looks_like_image(path)
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

    def add(self, listing: _Listing, label: str | None, split: str | None) -> None:
        self.paths += listing.images
        self.labels += [label] * len(listing.images)
        self.splits += [split] * len(listing.images)
        self.skipped += listing.skipped
        self.rejected += listing.rejected

    def add_class(self, listing: _Listing, split: str | None) -> None:
        """A class folder and all below it; a class that comes to nothing is named."""
        label, n_before = os.path.basename(listing.path), len(self.paths) + len(self.rejected)
        first_skipped, pending = len(self.skipped), [listing]
        while pending:  # a stack of our own, for folders may be nested deeper than Python's
            here = pending.pop()
            self.add(here, label, split)
            pending += [here.below(folder) for folder in reversed(here.folders)]
        is_empty = len(self.paths) + len(self.rejected) == n_before
        named = any(entry.path == listing.path for entry in self.skipped[first_skipped:])
        if is_empty and not named:
            self.skipped.append(Skipped(listing.path, "empty-folder", "a class without images"))

    def table(self, *, source: str, root: str) -> ImageTable:
        labels = column(self.labels)
        table = _in_order(
            ImageTable(
                column(self.paths),
                labels,
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


def has_image_name(name: str) -> bool:
    """Whether the extension is one that images have, readable or not.

    Examples
    --------
    >>> has_image_name("a.JPG"), has_image_name("a.heic"), has_image_name("jpg")
    (True, True, False)
    """
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def _looks_like_image(path: str) -> bool:
    with open(path, "rb") as file:
        return _IMAGE_SIGNATURE.match(file.read(16)) is not None


def _is_image_file(path: str) -> bool:
    try:
        return has_image_name(path) or _looks_like_image(path)
    except OSError as error:
        _refuse_source(path, f"cannot be opened: {error.strerror}")


def why_not_a_file(path: str) -> tuple[str, str] | None:
    """Why the path cannot be opened as a file, and the mend; None for a file.

    The file is not opened: opening a pipe would wait for ever.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if os.path.islink(path):
            return "is a link to a file that does not exist", "copy the file there, or remove it"
        return "does not exist", "correct the path, or leave it out"
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) == errno.ELOOP:
            return "is a link that leads back to itself", "copy the file there, or remove the link"
        reason = getattr(error, "strerror", None) or error
        return f"cannot be opened: {reason}", "correct the path or its permissions"
    if stat.S_ISREG(mode):
        return None
    kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
    return f"is {kind}, not a file", "put the image file itself there, or leave it out"


def read_manifest(
    manifest: str | os.PathLike[str],
    *,
    path_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    check_files: bool = True,
) -> ImageTable:
    """The images that a CSV, TSV or Parquet file lists, one per row.

    Columns are found by their names in any case (`COLUMN_NAMES`) or are given. Paths are relative
    to the manifest's folder or absolute. Labels are text exactly as written ('007' stays '007');
    an empty one is None. Splits have the same names as folders have; an empty one is None. Text is
    UTF-8 (or UTF-16 with its mark), separated by commas, semicolons or tabs.

    Parameters
    ----------
    manifest : path
    path_column, label_column, split_column, group_column : str, optional
    check_files : bool
        Look each file up on disk; those that are missing go to ``table.rejected``. Without it they
        show only when they are read.

    Raises
    ------
    TableError
        If the manifest cannot be read, a column is missing or ambiguous, a split is unknown, one
        path has two different labels, splits or groups, or no listed file exists.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "leaves.csv")
    ...     _ = file.write_text("file,class,set\\n1.jpg,007,training\\n2.jpg,008,\\n")
    ...     table = read_manifest(file, check_files=False)
    >>> table.labels, table.splits
    (array(['007', '008'], dtype=object), array(['train', None], dtype=object))
    """
    columns = {
        "path": path_column, "label": label_column, "split": split_column, "group": group_column,
    }  # fmt: skip
    source = os.fsdecode(manifest)
    return _read_manifest(source, columns, check_files=check_files)


@dataclass
class _Rows:
    """Chosen columns of a manifest as lists of N values; `numbers` are rows as the user counts."""

    columns: dict[str, list[str | None]]
    numbers: Sequence[int]

    def __getitem__(self, role: str) -> list[str | None]:
        return self.columns.get(role) or [None] * len(self.numbers)


def _read_manifest(source: str, columns: dict[str, str | None], *, check_files: bool) -> ImageTable:
    if problem := why_not_a_file(source):
        _refuse_source(source, problem[0])
    try:
        is_parquet = source.lower().endswith(".parquet")
        rows = (_read_parquet if is_parquet else _read_text)(source, columns)
    except (OSError, ValueError, csv.Error) as error:
        _refuse_manifest(source, str(error))
    if not rows.numbers:
        _refuse_manifest(source, "it has no rows")
    for role in ("label", "group"):
        _check_text({value for value in rows[role] if value is not None}, role, source)
    table = ImageTable(
        column(_full_paths(source, rows)),
        column(rows["label"]),
        column(_known_splits(source, rows)),
        groups=column(rows["group"]) if "group" in rows.columns else None,
        source=source,
    )
    table = _without_repeats(_in_order(table))
    return _without_missing(table) if check_files else table


def _refuse_manifest(source: str, reason: str) -> NoReturn:
    raise TableError(
        f"the manifest cannot be read: {reason}",
        place=source,
        cure="save it as CSV in UTF-8 with a first line that names the columns, "
        "such as path,label (or as Parquet)",
        source=source,
    )


def _read_text(source: str, columns: dict[str, str | None]) -> _Rows:
    with open(source, "rb") as file:
        is_utf16 = file.read(2) in (b"\xff\xfe", b"\xfe\xff")
    # Bytes that are not UTF-8 are kept: a path is bytes to the file system.
    encoding, on_error = ("utf-16", "strict") if is_utf16 else ("utf-8-sig", "surrogateescape")
    with open(source, encoding=encoding, errors=on_error, newline="") as text:
        first_line = text.readline(_MAX_HEADER)
        if len(first_line) == _MAX_HEADER:
            raise ValueError("its first line does not end; it is no text table")
        text.seek(0)
        tab_only = source.lower().endswith(".tsv")
        separator = "\t" if tab_only else max(",;\t", key=first_line.count)
        reader = csv.reader(text, delimiter=separator, strict=True)
        header = [name.strip() for name in next(_filled(reader), [])]
        chosen = _choose_columns(source, header, columns)
        return _collect(source, reader, header, chosen)


def _filled(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    return (row for row in reader if any(map(str.strip, row)))  # spreadsheets leave ",,,"


def _collect(source: str, reader: Any, header: list[str], chosen: dict[str, str]) -> _Rows:
    numbers = array("q")
    values: dict[str, list[str | None]] = {role: [] for role in chosen}
    shared: dict[str | None, str | None] = {"": None}
    intern = shared.setdefault
    picks = [(header.index(chosen[role]), values[role]) for role in chosen if role != "path"]
    path_index, paths = header.index(chosen["path"]), values["path"]
    for row in _filled(reader):
        if len(row) != len(header):
            _refuse_manifest(
                source,
                f"row {reader.line_num} has {len(row)} values, the first line names {len(header)}",
            )
        numbers.append(reader.line_num)
        paths.append(row[path_index])
        for index, taken in picks:
            taken.append(intern(row[index], row[index]))
    return _Rows(values, numbers)


def _read_parquet(source: str, columns: dict[str, str | None]) -> _Rows:
    import polars as pl

    path = os.path.abspath(source)
    _require_that_reading_ends(path)
    try:
        schema = pl.read_parquet_schema(path)
        chosen = _choose_columns(source, list(schema), columns)
        for name in chosen.values():
            if schema[name].is_nested() or schema[name] == pl.Binary:
                raise ValueError(f"column {name!r} holds {schema[name]}, not text")
        frame = pl.read_parquet(path, columns=list(set(chosen.values())), glob=False)
        frame = frame.cast(pl.String)
        values = {role: _shared(frame[name].to_list()) for role, name in chosen.items()}
    except TableError:
        raise
    except (Exception, pl.exceptions.PanicException) as error:  # a panic is no Exception
        raise ValueError(str(error) or type(error).__name__) from error
    return _Rows(values, range(1, len(frame) + 1))


# Exit codes: 0 read, 3 refused by polars in words; anything else, the reader itself fell.
_TRIAL = """
import sys
import polars as pl
try:
    pl.read_parquet(sys.argv[1], glob=False)
except (Exception, pl.exceptions.PanicException):
    sys.exit(3)
"""


def _require_that_reading_ends(path: str) -> None:
    """Read a Parquet file once in a process that may fall: a damaged one can make polars ask for
    2 EiB of memory, which ends the process without an exception (found by tests/fuzz.py)."""
    with open(path, "rb") as file:
        is_parquet = file.read(4) == b"PAR1"
    if not is_parquet or not sys.executable:
        return
    command = [sys.executable, "-I", "-c", _TRIAL, path]
    trial = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if trial.returncode not in (0, 3):
        raise ValueError(f"it is damaged: its reader fell (exit {trial.returncode})")


def _shared(values: list[str | None]) -> list[str | None]:
    shared: dict[str | None, str | None] = {"": None}
    return [shared.setdefault(value, value) for value in values]


def _choose_columns(
    source: str, header: list[str], wanted: dict[str, str | None]
) -> dict[str, str]:
    """Which column plays which role; only the path is needed."""
    if not header:
        _refuse_manifest(source, "it is empty")
    chosen: dict[str, str] = {}
    for role, name in wanted.items():
        if name is not None and name not in header:
            _refuse_columns(source, header, f"there is no column {name!r}", name)
        named = [one for one in header if one.lower() in COLUMN_NAMES[role]]
        found = [one for one in header if one == name] if name is not None else named
        if len(found) > 1:
            _refuse_columns(source, header, f"{quoted(found)} could all be the {role} column")
        chosen.update({role: found[0]} if found else {})
    if "path" not in chosen:
        _refuse_columns(source, header, "there is no column of paths")
    return chosen


def _refuse_columns(source: str, header: list[str], rule: str, name: str = "") -> NoReturn:
    near = near_names(name, header)
    raise TableError(
        f"{rule}. The columns are {quoted(header, at_most=10)}",
        place=source,
        cure=f"did you mean {quoted(near)}?"
        if near
        else "say which column it is (--path-column, --label-column, --split-column, "
        "--group-column), or let the first line name it, as path,label",
        columns=header,
        near=near,
    )


def _full_paths(source: str, rows: _Rows) -> list[str]:
    nameless = [n for n, path in zip(rows.numbers, rows["path"], strict=True) if not path]
    if nameless:
        _refuse_manifest(source, f"no path in {_in_rows(nameless)}")
    folder = os.path.dirname(source)
    return [os.path.join(folder, (path or "").removeprefix("./")) for path in rows["path"]]


def _known_splits(source: str, rows: _Rows) -> list[str | None]:
    found = {value: SPLIT_NAMES.get((value or "").strip().lower()) for value in set(rows["split"])}
    unknown = {value for value, split in found.items() if split is None and (value or "").strip()}
    if unknown:
        where = [n for n, v in zip(rows.numbers, rows["split"], strict=True) if v in unknown]
        raise TableError(
            f"unknown split {quoted(sorted(map(str, unknown)))} in {_in_rows(where)}",
            place=source,
            cure=f"use {', '.join(SPLIT_NAMES)}; or leave it empty",
            splits=sorted(map(str, unknown)),
            rows=where,
        )
    return [found[value] for value in rows["split"]]


def _in_rows(numbers: Sequence[int]) -> str:
    return f"{'row' if len(numbers) == 1 else 'rows'} {first_few(map(str, numbers))}"


def _check_text(names: Iterable[str], role: str, source: str) -> None:
    """Labels are written into models and reports, so they must be text; file names need not."""
    for name in names:
        if not name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in name):
            shown = os.fsencode(name) if "\udc80" <= max(name) <= "\udcff" else ascii(name)
            raise TableError(
                f"the {role} {shown!r} is not UTF-8 text",
                place=source,
                cure=f"save the manifest in UTF-8, or rename the {role}'s folder",
                label=name,
            )


def _in_order(table: ImageTable) -> ImageTable:
    paths: list[str] = table.paths.tolist()
    if all(map(str.__le__, paths, paths[1:])):
        return table
    return table.select(sorted(range(len(paths)), key=paths.__getitem__))


def _without_repeats(table: ImageTable) -> ImageTable:
    """One row for each path; rows that say different things of one image are refused."""
    repeats = np.flatnonzero(table.paths[1:] == table.paths[:-1]) + 1
    if not len(repeats):
        return table
    for name, values in _columns_that_must_agree(table):
        differs = repeats[values[repeats] != values[repeats - 1]]
        if len(differs):
            told = [f"{table.paths[i]!r} ({values[i - 1]!r}, {values[i]!r})" for i in differs]
            raise TableError(
                f"{len(differs):,} repeated rows give one image different {name}: "
                f"{first_few(told)}",
                place=table.source,
                cure="keep the right row of each",
                paths=table.paths[differs].tolist(),
            )
    skipped = [Skipped(path, "repeated-row", "listed before") for path in table.paths[repeats]]
    keep = np.ones(len(table), dtype=bool)
    keep[repeats] = False
    return replace(table.select(keep), skipped=(*table.skipped, *skipped))


def _columns_that_must_agree(table: ImageTable) -> list[tuple[str, ObjectArray]]:
    columns = [("labels", table.labels), ("splits", table.splits)]
    return columns if table.groups is None else [*columns, ("groups", table.groups)]


def _without_missing(table: ImageTable) -> ImageTable:
    problems = [why_not_a_file(path) for path in table.paths]
    rejected = tuple(
        Rejected(path, *problem)
        for path, problem in zip(table.paths, problems, strict=True)
        if problem is not None
    )
    if len(rejected) == len(table):
        raise TableError(
            f"none of the {len(table):,} files listed can be opened; "
            f"tried {rejected[0].path!r}: it {rejected[0].reason}",
            place=table.source,
            cure="give absolute paths, or paths relative to the folder that holds the manifest"
            + (", with / instead of \\" if "\\" in rejected[0].path else ""),
            rejected=rejected,
        )
    if not rejected:
        return table
    keep = np.array([problem is None for problem in problems])
    return replace(table.select(keep), rejected=rejected)
