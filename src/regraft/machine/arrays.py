"""Arrays that may be larger than memory should hold."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from regraft.errors import DataError
from regraft.machine import mapped

# An array above this is kept in a file without a name and mapped, so that memory stays bounded
# (R13).
MAX_BYTES_IN_MEMORY = 2**26


def physical_bytes() -> int:
    """Memory of this machine; 2**62 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 2**62


def zeros(
    shape: tuple[int, ...], dtype: DTypeLike, *, what: str = "what memory should not hold"
) -> NDArray[Any]:
    """NumPy's, but an array of many bytes lies on disk until it is freed.

    Its room there is taken at once: a disk that fills up later would end the process by a signal.

    Raises
    ------
    DataError
        The disk has no room for it; `what` is named.

    Examples
    --------
    >>> zeros((2, 3), np.uint8).tolist()
    [[0, 0, 0], [0, 0, 0]]
    """
    kind = np.dtype(dtype)
    n_bytes = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    if n_bytes <= MAX_BYTES_IN_MEMORY:
        return np.zeros(shape, kind)
    require_room(n_bytes, what=what)
    with tempfile.TemporaryFile(prefix="regraft-") as file:  # the map keeps it until it is freed
        try:
            _take_room(file.fileno(), n_bytes)
        except OSError as error:
            raise _no_room(n_bytes, what) from error
        array = np.memmap(file, kind, "w+", shape=shape)
    mapped.watch(array)
    return array


def require_room(n_bytes: int, *, what: str) -> None:
    """DataError where an array of so many bytes would go to disk, and that has no room for it."""
    if n_bytes > max(MAX_BYTES_IN_MEMORY, shutil.disk_usage(tempfile.gettempdir()).free):
        raise _no_room(n_bytes, what)


def _take_room(file: int, n_bytes: int) -> None:
    if hasattr(os, "posix_fallocate"):  # not on macOS and Windows
        os.posix_fallocate(file, 0, n_bytes)


def _no_room(n_bytes: int, what: str) -> DataError:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    return DataError(
        f"{what} need {n_bytes / 2**20:,.0f} MiB of disk for a while, {free / 2**20:,.0f} MiB are "
        "free",
        place=folder,
        cure="free some, or name a folder on a larger disk: TMPDIR=FOLDER regraft ...",
    )
