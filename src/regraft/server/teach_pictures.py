"""A taught folder's pictures for a page: small ones for its grid, larger ones to look at."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np
from PIL import Image

from regraft.images.decode import decode
from regraft.images.reading import read_file

# Longer side, in pixels.
SMALL_PX, LARGE_PX = 192, 1024
# Bytes of small ones that are kept.
MOST_BYTES = 96 * 2**20


class Thumbnails:
    """Small pictures by their content, as JPEG, made by the one decoder and kept while they fit."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes, self.n_bytes = most_bytes, 0
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    def of(self, path: Path, digest: str) -> bytes:
        """The small picture of a file.

        Raises
        ------
        DecodeError
        """
        with self._lock:
            if digest in self._kept:
                self._kept.move_to_end(digest)
                return self._kept[digest]
        made = shrunk(read_file(path), SMALL_PX)
        with self._lock:
            if digest not in self._kept:
                self._kept[digest] = made
                self.n_bytes += len(made)
            while self.n_bytes > self.most_bytes:
                self.n_bytes -= len(self._kept.popitem(last=False)[1])
        return made


def shrunk(data: bytes, side_px: int) -> bytes:
    """A picture as JPEG whose longer side has at most so many pixels.

    Raises
    ------
    DecodeError

    Examples
    --------
    >>> grey = b"P5 400 200 255 " + bytes(400 * 200)
    >>> Image.open(io.BytesIO(shrunk(grey, 100))).size
    (100, 50)
    """
    decoded = decode(data, min_side_px=side_px)
    picture = Image.fromarray(np.ascontiguousarray(decoded.pixels))
    picture.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=82)
    return file.getvalue()
