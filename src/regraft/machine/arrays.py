"""Arrays that may be larger than memory should hold."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

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


def zeros(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """NumPy's, but an array of many bytes lies on disk until it is freed.

    Examples
    --------
    >>> zeros((2, 3), np.uint8).tolist()
    [[0, 0, 0], [0, 0, 0]]
    """
    kind = np.dtype(dtype)
    if int(np.prod(shape, dtype=np.int64)) * kind.itemsize <= MAX_BYTES_IN_MEMORY:
        return np.zeros(shape, kind)
    with tempfile.TemporaryFile(prefix="regraft-") as file:  # the map keeps it until it is freed
        array = np.memmap(file, kind, "w+", shape=shape)
    mapped.watch(array)
    return array
