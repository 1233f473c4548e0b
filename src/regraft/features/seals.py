"""The checksum of a row of the store, over key and content: a row swapped is found too."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np


def seal_of(*parts: bytes) -> int:
    """Checksum (CRC-32) of a row that is neither large nor many."""
    return zlib.crc32(b"\0".join(parts))


def is_whole(vector: Any, seal: Any, digest: bytes, start: int) -> bool:
    """Whether a vector is what was put under this image; `start` is of `seal_start`."""
    return type(vector) is bytes and zlib.crc32(vector, zlib.crc32(digest, start)) == seal


def seal_start(recipe_digest: str, dtype: np.dtype[Any]) -> int:
    """The part of the checksums that all vectors of a recipe have in common."""
    return zlib.crc32(f"{recipe_digest} {dtype.name} ".encode())
