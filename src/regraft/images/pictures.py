"""One picture, whatever it comes as: a path, bytes, a file, a PIL image or an array.

The pass, training's views, a loaded model and the report all get their pictures here, so that one
picture is one thing by every door.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regraft.errors import DecodeError
from regraft.images.decode import Decoded, decode, decode_opened, jpeg_scale, load_opened
from regraft.images.deep_colour import of_values
from regraft.images.geometry import Preprocess
from regraft.images.modes import Pixels
from regraft.images.opened import opened_from
from regraft.images.reading import read_file

# A path, bytes, a binary file, a PIL image, or an array (H, W), (H, W, 1), (H, W, 3), (H, W, 4).
Picture: TypeAlias = Any

CHANNELS = (1, 3, 4)
# Sides of an array (H, W): 28 rows of 28 x 28 pixels are no picture, nor is a line of a scanner.
LONGEST_GREY = 25
_BYTES = (bytes, bytearray, memoryview)


class InMemory(str):
    """A picture that is no file, where a table of images has a path; as text it is its name.

    Examples
    --------
    >>> held = InMemory(b"P5 1 1 255 " + bytes([7]), 4)
    >>> str(held), content_of(held).decode().pixels.tolist()
    ('image 5 (bytes)', [[[7, 7, 7]]])
    """

    picture: Picture

    def __new__(cls, picture: Picture, number: int) -> InMemory:
        held = super().__new__(cls, called(picture, number))
        held.picture = picture
        return held

    def __reduce__(self) -> tuple[type[str], tuple[str]]:  # its pixels do not travel
        return str, (str(self),)


@dataclass(frozen=True, eq=False)
class Content:
    """What a picture is made of: something to tell it by, and the way to its pixels.

    Attributes
    ----------
    digest : bytes of length 32
        SHA-256 of the file's bytes, or of the pixels of what is no file.
    n_bytes : int
    decode : callable(min_side_px=0, white=0) -> Decoded
        As `decode.decode`. Raises DecodeError where the picture cannot be read whole.
    is_file : bool
        Whether it comes as a file's bytes; only these can be scaled while they are decoded.
    """

    digest: bytes
    n_bytes: int
    decode: Callable[..., Decoded]
    is_file: bool = True


def content_of(picture: Picture) -> Content:
    """The content of a picture of any kind; nothing is decoded yet.

    Raises
    ------
    DecodeError
        The file cannot be read.
    TypeError, ValueError
        It is nothing that can be a picture.
    """
    if isinstance(picture, InMemory):
        return _of_named(picture)
    if isinstance(picture, (str, os.PathLike)):
        return _of_bytes(read_file(picture))
    if isinstance(picture, _BYTES):
        return _of_bytes(bytes(picture))
    if not isinstance(picture, Image.Image):
        if hasattr(picture, "read"):
            return _of_bytes(_read_whole(picture))
        return _of_array(_as_array(picture))
    data = opened_from(picture)
    if data is None:
        return _of_image(picture)
    if getattr(picture, "_exclusive_fp", False):  # Pillow opened the file: reading closes it
        with contextlib.suppress(DecodeError):
            load_opened(picture)
    return _of_bytes(data)


def _of_named(held: InMemory) -> Content:
    """The content of a picture in memory; what is none is refused by its name."""
    try:
        if hasattr(held.picture, "read"):
            held.picture = _read_whole(held.picture)  # which can be done once
        return content_of(held.picture)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{held}: {error}") from error


def decoded(picture: Picture, *, min_side_px: int = 0, white: int = 0) -> Decoded:
    """The pixels of a picture of any kind, upright and as 8-bit RGB.

    Parameters
    ----------
    picture : Picture
    min_side_px : int
        As in :func:`regraft.images.decode.decode`; only files of JPEG are scaled.
    white : int
        As there.

    Raises
    ------
    DecodeError
        The file cannot be read whole.
    TypeError, ValueError
        It is nothing that can be a picture.

    Examples
    --------
    >>> decoded(np.zeros((2, 3), np.uint8)).pixels.shape
    (2, 3, 3)
    """
    return content_of(picture).decode(min_side_px=min_side_px, white=white)


def plain(picture: Picture, preprocess: Preprocess) -> Pixels:
    """A picture as the network sees it in evaluation, ``(*input_px, 3)`` uint8.

    Raises
    ------
    DecodeError, TypeError, ValueError
        As :func:`decoded`.
    """
    return preprocess(decoded_for(content_of(picture), preprocess).pixels)


def plain_for_each(picture: Picture, preprocesses: Sequence[Preprocess]) -> list[Pixels]:
    """A picture as each of several networks sees it, decoded once; else as :func:`plain`."""
    content = content_of(picture)
    decoded = decoded_for(content, preprocesses[0])
    return [own(wanted_by(own, content, decoded).pixels) for own in preprocesses]


def wanted_by(preprocess: Preprocess, content: Content, decoded: Decoded) -> Decoded:
    """A picture as `preprocess` wants it, which was decoded for another one.

    It is decoded again only where a JPEG is scaled otherwise: what a network sees must not depend
    on which networks stand beside it.
    """
    scale = jpeg_scale(min(decoded.width, decoded.height), preprocess.decode_min_side_px)
    is_scaled = content.is_file and decoded.format in ("JPEG", "MPO")
    return decoded_for(content, preprocess) if is_scaled and scale != decoded.scale else decoded


def decoded_for(content: Content, preprocess: Preprocess) -> Decoded:
    """A picture as `preprocess` wants it before the resize.

    Raises
    ------
    DecodeError
        It cannot be read whole.
    """
    return content.decode(min_side_px=preprocess.decode_min_side_px, white=preprocess.white)


def sample(
    pictures: Sequence[Picture] | NDArray[Any], n: int = 8
) -> Callable[[Preprocess], Sequence[NDArray[np.uint8]]]:
    """Gives up to `n` pictures as the network sees them, spread over these, when it is called."""

    def taken(preprocess: Preprocess) -> list[NDArray[np.uint8]]:
        found: list[NDArray[np.uint8]] = []
        for picture in pictures[:: max(1, len(pictures) // (2 * n))]:
            try:
                found.append(plain(picture, preprocess))
            except DecodeError:
                continue
            if len(found) == n:
                break
        return found

    return taken


def may_have_channels_first(shape: Sequence[int]) -> bool:
    """Whether an array of this shape may be a tensor's (C, H, W), which is no picture here."""
    return len(shape) == 3 and shape[0] in (3, 4) and min(shape[1:]) > max(CHANNELS)


def called(picture: Picture, number: int) -> str:
    """How an error names it: by its path, else by its place, from 1.

    Examples
    --------
    >>> called("ants/1.jpg", 0), called(b"...", 4)
    ('ants/1.jpg', 'image 5 (bytes)')
    """
    if isinstance(picture, (str, os.PathLike)):
        return os.fsdecode(picture)
    return f"image {number + 1} ({kind_of(picture)})"


def kind_of(picture: Any) -> str:
    """What a message calls it: never its content.

    Examples
    --------
    >>> kind_of(b"..."), kind_of(np.zeros((2, 2))), kind_of([])
    ('bytes', 'an array of (2, 2), float64', 'a list')
    """
    if isinstance(picture, _BYTES):
        return "bytes"
    if isinstance(picture, Image.Image):
        return f"a PIL image of mode {picture.mode}"
    if hasattr(picture, "read"):
        return f"the file {picture.name!r}" if _has_name(picture) else "a file"
    if hasattr(picture, "shape") and hasattr(picture, "dtype"):
        return f"an array of {tuple(picture.shape)}, {picture.dtype}"
    name = type(picture).__name__
    return "None" if picture is None else f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _has_name(file: Any) -> bool:
    return isinstance(getattr(file, "name", None), str)


def _read_whole(file: Any) -> bytes:
    is_of_text = isinstance(file, io.TextIOBase)  # which fails in words of its own, if it is read
    content = None if is_of_text else file.read()
    if not isinstance(content, _BYTES):
        raise TypeError('a file must be opened for bytes: open(path, "rb")')
    if not content and _is_at_its_end(file):
        raise DecodeError(
            "the file object stands at its end, as after it was read", cure="file.seek(0)"
        )
    return bytes(content)


def _is_at_its_end(file: Any) -> bool:
    """Whether there is something before the place where it stands."""
    try:
        return bool(file.tell())
    except (AttributeError, OSError, ValueError):
        return False


def _as_array(picture: Any) -> NDArray[Any]:
    if picture is None or not hasattr(picture, "__array__"):
        raise TypeError(
            "a picture is a path, bytes, a binary file, a PIL image or an array; "
            f"got {kind_of(picture)}{_holding(picture)}"
        )
    try:
        return np.asarray(picture)
    except (TypeError, ValueError, RuntimeError) as error:  # a tensor on a GPU, or with a gradient
        raise TypeError(
            f"{kind_of(picture)} cannot be read: {error}; of a tensor give "
            "tensor.detach().float().cpu().numpy()"
        ) from error


def _holding(picture: Any) -> str:
    """What a user must hear of something that holds a picture among other things."""
    if isinstance(picture, Mapping):
        keys = ", ".join(map(repr, list(picture)[:5]))
        return f" with {keys}; give the picture alone: [row[KEY] for row in rows]"
    if isinstance(picture, tuple):
        return "; of pairs (picture, label) give the pictures alone: [pair[0] for pair in pairs]"
    return "; give one flat list of pictures" if isinstance(picture, list) else ""


def _of_array(values: NDArray[Any]) -> Content:
    _refuse_shape(values)
    is_grey = values.ndim == 2 or values.shape[2] == 1
    if is_grey:
        values = values.reshape(values.shape[:2])
    if values.dtype.kind != "u" or values.dtype.itemsize != 2:
        return _of_image(Image.fromarray(_as_bytes(values)))
    values = np.ascontiguousarray(values, np.uint16)
    return _of_image(Image.fromarray(values)) if is_grey else _of_deep_colours(values)


def _of_deep_colours(values: NDArray[np.uint16]) -> Content:
    """Of ``(H, W, 3)`` or ``(H, W, 4)``, what the file of 16 bits a channel would give."""
    opacity = (
        Image.fromarray((values[..., 3] >> 8).astype(np.uint8)) if values.shape[2] == 4 else None
    )

    def decode(min_side_px: int = 0, white: int = 0) -> Decoded:
        height, width = values.shape[:2]
        image, peak, used = of_values(values[..., :3], white, opacity)
        mode = "RGB" if opacity is None else "RGBA"
        return Decoded(np.asarray(image), "", mode, width, height, 1, 1, peak=peak, white=used)

    data = values.tobytes()
    digest = hashlib.sha256(f"uint16 {values.shape} ".encode() + data).digest()
    return Content(digest, len(data), decode, is_file=False)


def _refuse_shape(values: NDArray[Any]) -> None:
    if may_have_channels_first(values.shape):
        raise ValueError(
            f"an array of {values.shape} has its channels first, or is {values.shape[0]} grey "
            "pictures; give (H, W, 3): array.transpose(1, 2, 0), or tensor.permute(1, 2, 0); or a "
            "list of pictures: list(array)"
        )
    if values.ndim == 4:
        raise ValueError(
            f"an array of {values.shape} is a batch, not one picture of several; give the batches "
            "one by one, or all pictures in one array or list"
        )
    if values.ndim == 2 and max(values.shape) > LONGEST_GREY * min(values.shape):
        raise ValueError(
            f"an array of {values.shape} would be one grey picture, and reads like rows of "
            "flattened pixels; give array.reshape(-1, H, W), or (-1, H, W, 3); of a strip that is "
            "meant as it is: array[..., None]"
        )
    is_picture = values.ndim == 2 or (values.ndim == 3 and values.shape[2] in CHANNELS)
    if not is_picture or not values.size:
        raise ValueError(
            f"an image must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), got {values.shape}"
        )


def _as_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    if np.issubdtype(values.dtype, np.floating) and values.min() >= 0 and values.max() <= 1:
        return np.round(values * 255).astype(np.uint8)
    raise ValueError(
        f"an image array must be uint8, uint16, bool, or float in [0, 1]; got {values.dtype} "
        f"in [{values.min()}, {values.max()}]{_mend_of(values)}"
    )


def _mend_of(values: NDArray[Any]) -> str:
    """What makes of these values what they seem to be."""
    low, high = values.min(), values.max()
    if values.dtype.kind in "if" and low >= 0 and 1 < high <= 255:
        return "; of values in 0..255: array.round().astype(numpy.uint8)"
    if values.dtype.kind in "iu" and low >= 0 and high <= 65535:
        return "; of values in 0..65535: array.astype(numpy.uint16)"
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return "; some are no numbers: numpy.nan_to_num(array)"
    if values.dtype.kind == "f" and low < 0:
        return (
            "; of normalised values, first undo it: array * std + mean, with the mean and "
            "deviation that were taken"
        )
    return ""


def _of_bytes(data: bytes) -> Content:
    return Content(hashlib.sha256(data).digest(), len(data), functools.partial(decode, data))


def _of_image(image: Image.Image) -> Content:
    load_opened(image)
    data = image.tobytes()
    kind = f"{image.mode} {image.size} {image.getexif().get(0x0112, 1)} ".encode()
    palette = image.palette.tobytes() if image.palette else b""
    digest = hashlib.sha256(kind + palette + data).digest()

    def decode(min_side_px: int = 0, white: int = 0) -> Decoded:
        return decode_opened(image, white=white)

    return Content(digest, len(data), decode, is_file=False)
