"""One picture or many, however they come: told apart, named, and handed on one by one.

A loaded model, the estimator and `fit` all read what they are given here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from regraft.images import pictures
from regraft.images.pictures import InMemory, Picture

_NO_ORDER = (set, frozenset)
_BYTES = (bytes, bytearray, memoryview)


def named(images: Picture | Iterable[Picture]) -> Iterator[str]:
    """The pictures one by one: paths as text, and what is no path by name, `InMemory`.

    Examples
    --------
    >>> import numpy as np
    >>> [str(image) for image in named(["ants/1.jpg", b"...", np.zeros((4, 4))])]
    ['ants/1.jpg', 'image 2 (bytes)', 'image 3 (an array of (4, 4), float64)']
    """
    for number, picture in enumerate(one_or_many(images)):
        if isinstance(picture, (str, os.PathLike)):
            yield os.fsdecode(picture)
        else:
            yield InMemory(picture, number)


def one_or_many(images: Picture | Iterable[Picture]) -> Iterator[Picture]:
    """The pictures one by one, be it a single one, a sequence, an array of several or a generator.

    An array of three dimensions is one picture if the last is 1, 3 or 4, else N grey ones; one of
    four is N pictures. A column of paths, ``(N, 1)`` or a table of one column, is N pictures.

    Raises
    ------
    TypeError, ValueError
        It is neither a picture nor several.

    Examples
    --------
    >>> import numpy as np
    >>> grey, several = np.zeros((8, 8), np.uint8), np.zeros((5, 8, 8), np.uint8)
    >>> len(list(one_or_many(grey))), len(list(one_or_many(several))), list(one_or_many("a.jpg"))
    (1, 5, ['a.jpg'])
    """
    if is_one(images):
        return iter([images])
    if isinstance(images, Mapping):
        raise TypeError(f"{pictures.kind_of(images)} of pictures: give list(pictures.values())")
    if isinstance(images, _NO_ORDER):
        raise TypeError(f"{pictures.kind_of(images)} has no order; give a list of pictures")
    if hasattr(images, "columns"):
        return iter(_only_column(images))
    if hasattr(images, "shape") and hasattr(images, "dtype"):
        return _of_array(images)
    try:
        return iter(images)
    except TypeError:
        raise TypeError(
            f"neither a picture nor several: {pictures.kind_of(images)}; give a path, bytes, a "
            "binary file, a PIL image or an array, or a list of these"
        ) from None


def is_one(images: Any) -> bool:
    """Whether this is a single picture."""
    if isinstance(images, (str, os.PathLike, Image.Image, *_BYTES)) or hasattr(images, "read"):
        return True
    shape = getattr(images, "shape", None)
    if shape is None or not hasattr(images, "dtype") or not _is_of_numbers(images):
        return False
    is_one_of_three = len(shape) == 3 and shape[-1] in pictures.CHANNELS
    return len(shape) == 2 or is_one_of_three or pictures.may_have_channels_first(shape)


def _only_column(table: Any) -> Iterable[Picture]:
    names = list(table.columns)
    if len(names) == 1:
        return table[names[0]]  # type: ignore[no-any-return]
    shown = ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")
    raise TypeError(
        f"a table with {len(names)} columns, {shown}; pictures are one column: give table[NAME]"
    )


def _of_array(images: Any) -> Iterator[Picture]:
    """Of paths ``(N,)`` or ``(N, 1)``, or of pictures along the first axis."""
    shape = tuple(images.shape)
    if _is_of_numbers(images):
        if len(shape) not in (3, 4):
            raise ValueError(
                f"neither a picture nor several: {pictures.kind_of(images)}; one is (H, W), "
                "(H, W, 1), (H, W, 3) or (H, W, 4), N of them have N before that; rows of "
                "flattened pixels: array.reshape(-1, H, W)"
            )
        return iter(images)
    if len(shape) == 0:
        return iter([images.item()])
    if len(shape) == 2 and shape[1] == 1:
        return iter(images[:, 0])
    if len(shape) > 1:
        raise ValueError(f"{pictures.kind_of(images)}: paths are one column, (N,) or (N, 1)")
    return iter(images)


def _is_of_numbers(images: NDArray[Any]) -> bool:
    """Whether an array of NumPy, or a tensor, holds pixels; else it holds paths or pictures."""
    kind = getattr(images.dtype, "kind", None)
    return len(images.shape) > 1 if kind is None else kind in "biufc"
