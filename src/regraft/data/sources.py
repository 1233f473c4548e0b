"""Which reader a source goes to: a folder, a manifest, an archive, or one image file.

Whatever it is, it becomes the same table (see ``table``), and what is none of these is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from regraft.data.addresses import require_plain
from regraft.data.fetched_table import as_file
from regraft.data.folders import every_image, table_of_folder
from regraft.data.image_files import has_image_name, looks_like_image, why_not_a_file
from regraft.data.labels_in_names import labelled_by_name
from regraft.data.listings import Listings
from regraft.data.manifests import is_manifest, read_manifest, read_paths
from regraft.data.one_picture import kept_together
from regraft.data.own_folders import data_of, own_kind
from regraft.data.remote import is_address
from regraft.data.source_forms import ARCHIVE_SUFFIXES, MANIFEST_SUFFIXES, refuse_source
from regraft.data.table import ImageTable, NoLabels, Reading, first_few
from regraft.errors import ArchiveError, DecodeError, TableError, UsageError


def read_table(
    source: str | os.PathLike[str],
    *,
    path_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    label_from: str = "folder",
    archive_folder: Path | None = None,
    listings: Listings | None = None,
    only: slice = slice(None),
) -> ImageTable:
    """The images that a folder, manifest, archive or image file stands for.

    Whether labels or splits are needed is for the caller to say; here they may all be None.

    Parameters
    ----------
    source : path
        A folder (see :func:`~regraft.data.folders.read_folder`), a manifest (see
        :func:`~regraft.data.manifests.read_manifest`), an archive of such a folder, or one image
        file.
    path_column, label_column, split_column, group_column : str, optional
        Columns of a manifest, where their names do not tell.
    label_from : 'folder', 'top', 'parent' or 'name'
        What says the labels: folders (or a manifest) as they are understood, the first folder, the
        folder that holds the image, or the name of the file
        (:mod:`~regraft.data.labels_in_names`).
    archive_folder : Path, optional
        Where archives are unpacked, by default in Regraft's cache folder.
    listings : Listings, optional
        Where the listings of tar shards elsewhere are kept; by default in the cache folder.
    only : slice
        Of tar shards, those that are read.

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
    columns = {
        "path_column": path_column, "label_column": label_column, "split_column": split_column,
        "group_column": group_column,
    }  # fmt: skip
    of_folder = partial(table_of_folder, label_from=label_from)
    of_shards = partial(_of_shards, wants_labels=True, listings=listings, only=only)
    table = _read(os.fsdecode(source), read_manifest, columns, of_folder, of_shards, archive_folder)
    is_listed = not table.root  # a manifest, or one image
    table = labelled_by_name(table) if label_from == "name" and is_listed else table
    return kept_together(table)


def read_images(
    source: str | os.PathLike[str],
    *,
    path_column: str | None = None,
    archive_folder: Path | None = None,
    listings: Listings | None = None,
) -> ImageTable:
    """All images that a source holds, whatever its folders or columns say of them.

    No picture is left out for what it would be to a training: all have neither label nor split.

    Parameters
    ----------
    source : path
        As in :func:`read_table`.
    path_column : str, optional
        Column of a manifest, where its name does not tell.
    archive_folder : Path, optional
        Where archives are unpacked, by default in Regraft's cache folder.
    listings : Listings, optional
        Where the listings of tar shards elsewhere are kept; by default in the cache folder.

    Raises
    ------
    TableError, ArchiveError, UsageError
        As :func:`read_table`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("train", "other"):
    ...         Path(folder, name).mkdir()
    ...         _ = Path(folder, name, "1.jpg").write_bytes(b"...")
    ...     len(read_images(folder))
    2
    """
    columns = {"path_column": path_column}
    of_shards = partial(_of_shards, wants_labels=False, listings=listings)
    return _read(os.fsdecode(source), read_paths, columns, every_image, of_shards, archive_folder)


def may_be_there(source: str) -> bool:
    """Whether reading a source can be tried: a path that exists, an address, shards by a pattern.

    Examples
    --------
    >>> may_be_there("s3://bucket/list.csv"), may_be_there("no such folder")
    (True, False)
    """
    from regraft.data.shards import is_shards

    return os.path.exists(source) or is_address(source) or is_shards(source)


def _read(
    source: str,
    of_manifest: Callable[..., ImageTable],
    columns: Mapping[str, str | None],
    of_folder: Callable[..., ImageTable],
    of_shards: Callable[[str], ImageTable | None],
    archive_folder: Path | None,
) -> ImageTable:
    """By the reader that fits what the source is."""
    is_folder = os.path.isdir(source)
    if is_address(source):
        return _of_address(source, of_manifest, columns, of_shards)
    if not is_folder and is_manifest(source):
        return of_manifest(source, **columns)
    if any(columns.values()):
        if not is_folder and (problem := why_not_a_file(source)):
            refuse_source(source, problem[0])
        raise UsageError(
            "columns can be named for a manifest only",
            place=source,
            cure=_give_manifest(source) or "leave them out",
        )
    if is_folder:
        _refuse_own(source)
        return of_folder(source, source=source)
    if (found := of_shards(source)) is not None:
        return found
    if problem := why_not_a_file(source):
        refuse_source(source, problem[0])
    if source.lower().endswith(ARCHIVE_SUFFIXES):
        return _of_archive(source, of_folder, archive_folder)
    if not _is_image_file(source):
        refuse_source(source, "is neither a folder, a manifest, an archive nor an image")
    return replace(ImageTable.from_paths([source]), source=source)


def _refuse_own(folder: str) -> None:
    """Of what Regraft wrote itself: its pictures are nobody's to learn or to label."""
    if not (kind := own_kind(folder)):
        return
    learnt_from = data_of(folder)
    such_as = f"; it learnt from {learnt_from!r}" if learnt_from else ""
    raise TableError(
        f"{folder!r} is {kind}, no folder of photographs",
        cure=f"give the folder of the photographs{such_as}",
    )


def _of_address(
    source: str,
    of_manifest: Callable[..., ImageTable],
    columns: Mapping[str, str | None],
    of_shards: Callable[[str], ImageTable | None],
) -> ImageTable:
    """A manifest, tar shards or one picture elsewhere; folders there are not listed."""
    require_plain([source], "what was typed")
    if source.lower().endswith(MANIFEST_SUFFIXES):
        try:
            with as_file(source) as file:
                return of_manifest(file, **columns, address=source)
        except DecodeError as error:
            raise TableError(
                f"the manifest cannot be read: {error.rule}", place=source, cure=error.cure
            ) from error
    if any(columns.values()):
        raise UsageError("columns can be named for a manifest only", place=source)
    if (found := of_shards(source)) is not None:
        return found
    if has_image_name(source):
        return replace(ImageTable.from_paths([source]), source=source)
    raise TableError(
        f"{source!r} is neither a manifest, a tar shard nor a picture, and folders elsewhere are "
        "not listed",
        cure="write a manifest (.csv, .jsonl, .parquet) with the columns path,label, whose paths "
        "may be addresses; or give tar shards: s3://bucket/shards/{0000..0063}.tar",
    )


def _of_shards(source: str, **how: Any) -> ImageTable | None:
    """The pictures of tar shards, if the source is of these."""
    if not source.lower().endswith(".tar"):
        return None
    from regraft.data.shards import is_shards, read_shards

    return read_shards(source, **how) if is_shards(source) else None


def _give_manifest(folder: str) -> str:
    """What to give where a folder was, and holds a manifest; '' if it holds none."""
    if not os.path.isdir(folder):
        return ""
    files = (os.path.join(folder, name) for name in sorted(os.listdir(folder)))
    found = [file for file in files if os.path.isfile(file) and is_manifest(file)]
    return f"give the manifest itself: {first_few(found)}" if found else ""


def _of_archive(
    source: str, of_folder: Callable[..., ImageTable], archive_folder: Path | None
) -> ImageTable:
    """Of a folder that the user does not know; what is said of it is said of the archive."""
    from regraft.data.archive_parts import other_parts
    from regraft.data.zip_names import names_read

    root = _unpacked(source, archive_folder)
    try:
        table: ImageTable = of_folder(root, source=source)
    except TableError as error:
        cure = error.cure.replace(root, source)
        unpack_first = "unpack the archive; then " if cure != error.cure else ""
        raise TableError(
            error.rule.replace(root, source),
            place=error.place.replace(root, source),
            cure=unpack_first + cure,
            **error.facts,
        ) from None
    readings = [
        Reading(*(text.replace(root, source) for text in reading)) for reading in table.readings
    ]
    why = table.no_labels and NoLabels(*(text.replace(root, source) for text in table.no_labels))
    readings += [*names_read(source), *other_parts(source)]
    return replace(table, readings=tuple(readings), no_labels=why)


def _unpacked(source: str, archive_folder: Path | None) -> str:
    # Imported here, with the decompressors, because most sources are no archives.
    from regraft.data.archives import unpack
    from regraft.machine import cache, stand_in

    try:
        return str(unpack(source, archive_folder or cache.folder_of("archives")))
    except ArchiveError as error:
        is_of_the_disk = getattr(error.__cause__, "errno", None) is not None
        if archive_folder is not None or not is_of_the_disk:
            raise
        try:
            place = stand_in.folder_of("archives")
        except OSError:
            raise error from error.__cause__
        return str(unpack(source, place))


def _is_image_file(path: str) -> bool:
    try:
        return has_image_name(path) or looks_like_image(path)
    except OSError as error:
        refuse_source(path, f"cannot be opened: {error.strerror}")
