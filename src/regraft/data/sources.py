"""Which reader a source goes to: a folder, a manifest, an archive, or one image file.

Whatever it is, it becomes the same table (see ``table``), and what is none of these is refused.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from regraft.data.folders import read_folder, table_of_folder
from regraft.data.image_files import has_image_name, looks_like_image, why_not_a_file
from regraft.data.manifests import read_manifest
from regraft.data.source_forms import ARCHIVE_SUFFIXES, MANIFEST_SUFFIXES, refuse_source
from regraft.data.table import ImageTable
from regraft.errors import ArchiveError, UsageError


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
        A folder (see :func:`~regraft.data.folders.read_folder`), a manifest (see
        :func:`~regraft.data.manifests.read_manifest`), an archive of such a folder, or one image
        file.
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
    is_folder = os.path.isdir(source)
    if not is_folder and source.lower().endswith(MANIFEST_SUFFIXES):
        return read_manifest(
            source,
            path_column=path_column,
            label_column=label_column,
            split_column=split_column,
            group_column=group_column,
        )
    if path_column or label_column or split_column or group_column:
        raise UsageError(
            "columns can be named for a manifest only", place=source, cure="leave them out"
        )
    if is_folder:
        return read_folder(source)
    if problem := why_not_a_file(source):
        refuse_source(source, problem[0])
    if source.lower().endswith(ARCHIVE_SUFFIXES):
        return _read_archive(source, archive_folder)
    if not _is_image_file(source):
        refuse_source(source, "is neither a folder, a manifest, an archive nor an image")
    return replace(ImageTable.from_paths([source]), source=source)


def _read_archive(source: str, archive_folder: Path | None) -> ImageTable:
    # Imported here, with the decompressors, because most sources are no archives.
    from regraft.data.archives import unpack
    from regraft.machine import cache, stand_in

    try:
        root = unpack(source, archive_folder or cache.folder_of("archives"))
    except ArchiveError as error:
        is_of_the_disk = getattr(error.__cause__, "errno", None) is not None
        if archive_folder is not None or not is_of_the_disk:
            raise
        try:
            place = stand_in.folder_of("archives")
        except OSError:
            raise error from error.__cause__
        root = unpack(source, place)
    return table_of_folder(str(root), source=source)


def _is_image_file(path: str) -> bool:
    try:
        return has_image_name(path) or looks_like_image(path)
    except OSError as error:
        refuse_source(path, f"cannot be opened: {error.strerror}")
