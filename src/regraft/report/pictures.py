"""Small pictures for a page: decoded once, as JPEG, each told by a number.

What cannot be decoded any more (moved, changed) becomes no picture, never an error: the report
has names and numbers all the same.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regraft.errors import DecodeError
from regraft.images.pictures import decoded
from regraft.machine.processor import available_cores

QUALITY = 72


@dataclass
class Album:
    """Pictures by number; those of one file and size are kept once.

    Attributes
    ----------
    jpegs : list of bytes
        Empty where the file could not be read.
    white : int
        By which pictures of more than 8 bits are read (`images.decode.decode`).
    """

    jpegs: list[bytes] = field(default_factory=list)
    white: int = 0
    _numbers: dict[tuple[str, int], int] = field(default_factory=dict, repr=False)

    def add(self, path: str, side_px: int) -> int:
        """The number that the picture of this file will have once `develop` was called."""
        number = self._numbers.setdefault((path, side_px), len(self.jpegs))
        if number == len(self.jpegs):
            self.jpegs.append(b"")
        return number

    def add_pixels(self, pixels: NDArray[np.uint8]) -> int:
        """The number of a picture that is there already, ``(H, W, 3)``."""
        self.jpegs.append(_jpeg(Image.fromarray(pixels)))
        return len(self.jpegs) - 1

    def develop(self) -> None:
        """Read what was added, over all cores."""

        def read(job: tuple[tuple[str, int], int]) -> None:
            (path, side_px), number = job
            image = small(path, side_px, self.white)
            if image is not None and not self.jpegs[number]:
                self.jpegs[number] = _jpeg(image)

        with ThreadPoolExecutor(available_cores()) as pool:
            list(pool.map(read, self._numbers.items()))

    def to_arrays(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """All bytes one after the other, and where each picture ends."""
        ends = np.cumsum([len(jpeg) for jpeg in self.jpegs], dtype=np.int64)
        return np.frombuffer(b"".join(self.jpegs), np.uint8), ends

    @classmethod
    def from_arrays(cls, data: NDArray[np.uint8], ends: NDArray[np.int64]) -> Album:
        """The reverse of :meth:`to_arrays`."""
        starts = [0, *ends[:-1].tolist()]
        body = data.tobytes()
        return cls([body[i:j] for i, j in zip(starts, ends.tolist(), strict=True)])


def small(path: str, side_px: int, white: int = 0) -> Image.Image | None:
    """A file's picture, its longer side at most `side_px`; None if it cannot be read."""
    pixels = _read(path, side_px, white)
    if pixels is None:
        return None
    image = Image.fromarray(pixels)
    image.thumbnail((side_px, side_px), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return image


def sprite(paths: Sequence[str], tile_px: int, n_columns: int, white: int = 0) -> bytes:
    """Square pictures in a grid, row by row, as one JPEG; grey where a file cannot be read.

    One picture of a thousand tiles takes a third of a thousand pictures' bytes, and one decode.
    """
    n_rows = -(-len(paths) // n_columns)
    sheet = Image.new("RGB", (n_columns * tile_px, max(1, n_rows) * tile_px), (136, 136, 136))

    def paste(place: int) -> None:
        pixels = _read(paths[place], tile_px, white)
        if pixels is not None:
            height, width = pixels.shape[:2]
            side = min(height, width)
            left, top = (width - side) // 2, (height - side) // 2
            tile = Image.fromarray(pixels).resize(
                (tile_px, tile_px),
                Image.Resampling.BOX if side >= 2 * tile_px else Image.Resampling.BILINEAR,
                box=(left, top, left + side, top + side),
            )
            sheet.paste(tile, (place % n_columns * tile_px, place // n_columns * tile_px))

    with ThreadPoolExecutor(available_cores()) as pool:
        list(pool.map(paste, range(len(paths))))
    return _jpeg(sheet)


def data_uri(jpeg: bytes) -> str:
    """For the `src` of an image; empty for no picture.

    Examples
    --------
    >>> data_uri(b"abc")
    'data:image/jpeg;base64,YWJj'
    """
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" if jpeg else ""


def _read(path: str, min_side_px: int, white: int) -> NDArray[np.uint8] | None:
    """Pixels of a file, a JPEG's at the smallest scale that keeps its shorter side so long."""
    try:
        return decoded(path, min_side_px=min_side_px, white=white).pixels
    except DecodeError:
        return None


def _jpeg(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()
