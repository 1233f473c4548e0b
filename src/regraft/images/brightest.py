"""The brightest value of a set of pictures, from which one white for all of them follows."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from regraft.errors import DecodeError
from regraft.images.decode import decode
from regraft.images.pictures import InMemory, content_of
from regraft.images.reading import read_file
from regraft.images.scale import white_above
from regraft.images.signatures import image_format
from regraft.machine.processor import available_cores


def measured_white(pictures: Iterable[str]) -> int:
    """The white that holds the values of all these pictures; 0 if none has more than 8 bits.

    Parameters
    ----------
    pictures : iterable of str
        Paths, or pictures in memory. What cannot be read is passed over: the pass names it.
    """
    with ThreadPoolExecutor(available_cores()) as pool:
        largest = max(pool.map(_largest_value, pictures), default=0.0)
    return white_above(largest) if largest else 0


def _largest_value(picture: str) -> float:
    try:
        if isinstance(picture, InMemory):
            return content_of(picture).decode().peak
        data = read_file(picture)
        return 0.0 if image_format(data) == "JPEG" else decode(data).peak
    except (DecodeError, TypeError, ValueError):
        return 0.0
