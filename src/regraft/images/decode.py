"""Bytes to pixels: the one decoder. It gives the whole picture, upright, or says why it cannot.

JPEG goes to libjpeg-turbo (simplejpeg), which can scale while it decodes and reports every fault
it meets; Pillow swallows those faults and would hand out a partly grey picture. All other formats
go to Pillow's reader for the signature found, never through ``Image.open``, whose limits are
process-wide settings. The rules for each kind of picture are in docs/images.md.
"""

from __future__ import annotations

import importlib
import io
import math
import struct
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image, ImageFile

from regraft.errors import DecodeError
from regraft.images.deep_colour import exchange_bytes, is_deep_colour, of_halves
from regraft.images.end_marks import NO_END_MARK, has_gif_trailer, whole_webp
from regraft.images.jpeg_header import JpegHeader, read_jpeg_header
from regraft.images.jpeg_mends import MOST_FAULTS, without_fault
from regraft.images.modes import Pixels, Rgb, to_rgb
from regraft.images.png_chunks import checked_png
from regraft.images.signatures import (
    CONVERT,
    DAMAGED,
    TRUNCATED,
    image_format,
    refuse_foreign,
)
from regraft.machine import libtiff_words, quiet
from regraft.machine.held import Held

MAX_PIXELS = 2**27  # 134 Mpx held at once: about 10 bytes each, 1.3 GB (20 for WebP)
MAX_JPEG_PIXELS = 2**29  # of a sequential JPEG that is scaled down while it is decoded
LARGE_PIXELS = 2**24  # pictures above this are decoded one at a time, whatever the threads


Region = tuple[slice, slice]  # rows, columns


@dataclass(frozen=True, slots=True)
class Decoded:
    """One picture, whole and upright.

    Attributes
    ----------
    pixels : uint8 array of shape (H, W, 3)
        RGB, C-contiguous, possibly read-only; scaled down if ``min_side_px`` allowed it.
    format, mode : str
        Pillow's names for what the file holds ('JPEG', 'CMYK').
    width, height : int
        Pixels of the upright picture in the file, before any scaling.
    orientation : int in 1..8
        EXIF orientation that was found, already applied.
    n_frames : int
        Frames or pages in the file; ``pixels`` is the first.
    scale : {1, 2, 4, 8}
        By which ``pixels`` are smaller than the picture.
    note : str
        What is wrong with the file although every pixel is there; empty if nothing is.
    peak, white : float
        Of a picture with more than 8 bits, as :class:`regraft.images.modes.Rgb` has them.
    """

    pixels: Pixels
    format: str
    mode: str
    width: int
    height: int
    orientation: int
    n_frames: int
    scale: int = 1
    note: str = ""
    peak: float = 0.0
    white: float = 0.0


def decode(data: bytes, *, min_side_px: int = 0, white: int = 0) -> Decoded:
    """The first picture of an image file, whole, upright, as 8-bit RGB.

    Safe to call from several threads at once. The answer does not depend on Pillow's
    process-wide settings (``LOAD_TRUNCATED_IMAGES``, ``MAX_IMAGE_PIXELS``) or on warning filters.

    Parameters
    ----------
    data : bytes
        Content of the file. Its name plays no part: the signature says what it is.
    min_side_px : int, default 0
        A JPEG may be scaled by 1/2, 1/4 or 1/8 while it is decoded as long as its shorter side
        keeps at least this many pixels. 0 means full size. Other formats keep their size.
    white : int, default 0
        The value that becomes white in a picture of more than 8 bits; 0: as the file says.

    Returns
    -------
    Decoded

    Raises
    ------
    DecodeError
        For everything that cannot be decoded whole: cut off, damaged, too large, not an image,
        or a kind of image that is not read. ``error.rule`` is the reason, ``error.cure`` the mend.

    Examples
    --------
    >>> decoded = decode(b"P6 2 1 255 " + bytes([255, 0, 0, 0, 0, 255]))
    >>> decoded.format, decoded.width, decoded.height, decoded.pixels.tolist()
    ('PPM', 2, 1, [[[255, 0, 0], [0, 0, 255]]])
    >>> decode(b"<!DOCTYPE html><title>404</title>")
    Traceback (most recent call last):
        ...
    regraft.errors.DecodeError: not an image: a web page (HTML)
      cure:  the download saved an error page; fetch the picture again
    """
    refuse_foreign(data)
    name = image_format(data)
    with _refusing(name):
        if name == "JPEG":
            return _decode_jpeg(data, min_side_px)
        return _decode_other(data, name, white)


def load_opened(image: Image.Image) -> None:
    """Read the pixels of a picture that was opened with Pillow, if it has none yet.

    Raises
    ------
    DecodeError
        Its file is cut off, damaged or closed.
    """
    with _refusing(image.format or "picture"), _strict_pillow():
        image.load()


def decode_opened(image: Image.Image, *, white: int = 0) -> Decoded:
    """A picture that was opened, or made, with Pillow: whole, upright, as 8-bit RGB.

    It follows the rules of files, but for one: a JPEG is not scaled while it is decoded.

    Raises
    ------
    DecodeError
        Its file is cut off or damaged, or it is too large.

    Examples
    --------
    >>> decode_opened(Image.new("L", (2, 1), 9)).pixels.tolist()
    [[[9, 9, 9], [9, 9, 9]]]
    """
    name, (width, height) = image.format or "", image.size
    _refuse_size(width, height, width * height, MAX_PIXELS)
    if not width * height:
        raise DecodeError(f"the picture has no pixels: {width} x {height}")
    with _refusing(name or "picture"), _strict_pillow(), _turn(width * height):
        mode, orientation = image.mode, _orientation(image)
        image.load()
        rgb = to_rgb(image, name, white)
        picture = _upright(rgb.image, _orientation(image))
        n_frames = int(getattr(image, "n_frames", 1))
        return _decoded(rgb, picture, name, mode, orientation, n_frames)


# ---- JPEG -----------------------------------------------------------------------------------


def _decode_jpeg(data: bytes, min_side_px: int) -> Decoded:
    header = read_jpeg_header(data)
    _refuse_kind(header)
    scale = jpeg_scale(min(header.width, header.height), min_side_px)
    scaled = -(-header.width // scale), -(-header.height // scale)
    n_held = math.prod((header.width, header.height) if header.is_multiscan else scaled)
    _refuse_size(header.width, header.height, n_held, MAX_JPEG_PIXELS)

    with _turn(n_held):
        is_cmyk = header.n_components == 4
        pixels, note = _decode_strictly(data, scaled, is_cmyk=is_cmyk)
        if is_cmyk:  # inverted, as Adobe writes it, and by Pillow's arithmetic
            pixels = np.asarray(Image.fromarray(255 - pixels, "CMYK").convert("RGB"))
    if header.orientation != 1:
        pixels = np.asarray(_upright(Image.fromarray(pixels), header.orientation))
    turned = header.orientation >= 5
    return Decoded(
        pixels,
        format="MPO" if header.n_pictures > 1 else "JPEG",
        mode={1: "L", 3: "RGB", 4: "CMYK"}.get(header.n_components, ""),
        width=header.height if turned else header.width,
        height=header.width if turned else header.height,
        orientation=header.orientation,
        n_frames=header.n_pictures,
        scale=scale,
        note=note,
    )


def _refuse_kind(header: JpegHeader) -> None:
    if header.scan_at < 0:
        raise DecodeError("the file ends early: before the JPEG's pixels begin", cure=TRUNCATED)
    if header.is_lossless:
        raise DecodeError("a lossless JPEG, which is not read", cure=CONVERT)
    if header.precision != 8:
        raise DecodeError(f"a {header.precision}-bit JPEG; 8 bits are read", cure=CONVERT)


def jpeg_scale(side_px: int, min_side_px: int) -> int:
    """By how much a JPEG of this shorter side is scaled down while it is decoded: 1, 2, 4 or 8."""
    # Only powers of two: libjpeg's 3/8, 5/8, 6/8, 7/8 change what a picture looks like (2.9 grey
    # levels on average after the resize, against 0.5) and are no faster.
    return next((n for n in (8, 4, 2) if min_side_px and -(-side_px // n) >= min_side_px), 1)


def _decode_strictly(data: bytes, size: tuple[int, int], *, is_cmyk: bool) -> tuple[Pixels, str]:
    """The pixels, and a note where the file has faults that cost none of them."""
    width, height = size
    notes: list[str] = []
    reason: ValueError | None = None
    while True:
        try:
            # strict: libjpeg's warnings (premature end, bytes left over, bad code) are errors.
            pixels: Pixels = simplejpeg.decode_jpeg(
                data, "CMYK" if is_cmyk else "RGB", min_height=height, min_width=width, strict=True
            )
        except ValueError as error:
            found = without_fault(data, str(error)) if len(notes) < MOST_FAULTS else None
            if found is None:
                raise (reason or error) from None
            data, note = found
            notes.append(note)
            if note == NO_END_MARK:  # what is found from now on is what the cut left
                reason = error
        else:
            return pixels, " and ".join(note for note in dict.fromkeys(notes) if note)


# ---- all other formats ----------------------------------------------------------------------

_READERS = {
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "PPM": ("PIL.PpmImagePlugin", "PpmImageFile"),
}


def _decode_other(data: bytes, name: str, white: int) -> Decoded:
    data, note = _with_end_mark(data, name)
    with _strict_pillow():
        image = _opened(data, name)
        width, height = image.size
        _refuse_size(width, height, width * height, MAX_PIXELS)
        _refuse_preview(data, image)
        is_deep = is_deep_colour(image)  # asked first: Pillow reads a PNG to know its EXIF
        mode, orientation = image.mode, _orientation(image)
        n_frames = int(getattr(image, "n_frames", 1))

        with _turn(width * height):
            last_rows = _last_rows(image)
            image.load()
            _refuse_missing_rows(data, image, last_rows, name)
            # Pillow's TIFF reader has turned the picture by now, the others have not.
            rgb = _deep(data, image, name, white) if is_deep else to_rgb(image, name, white)
            picture = _upright(rgb.image, _orientation(image))
            return _decoded(rgb, picture, name, mode, orientation, n_frames, note)


def _decoded(
    rgb: Rgb, upright: Image.Image, name: str, mode: str, orientation: int, n_frames: int,
    note: str = "",
) -> Decoded:  # fmt: skip
    return Decoded(
        np.asarray(upright), name, mode, upright.width, upright.height, orientation, n_frames,
        note=note, peak=rgb.peak, white=rgb.white,
    )  # fmt: skip


def _with_end_mark(data: bytes, name: str) -> tuple[bytes, str]:
    """The file with its end mark, and a note if it had none; missing rows show later."""
    if name == "PNG":
        return checked_png(data)
    if name == "WEBP":
        return whole_webp(data)
    if name == "GIF" and not has_gif_trailer(data):
        return data, NO_END_MARK
    if data[:2] in (b"P2", b"P3") and not data[-1:].isspace():  # is the last number whole?
        raise DecodeError("the file ends early: plain PPM without a last newline", cure=TRUNCATED)
    return data, ""


def _deep(data: bytes, image: Image.Image, name: str, white: int) -> Rgb:
    """A loaded picture whose colours have 16 bits."""
    if not white:
        return of_halves(image, None, 0)
    again = _opened(data, name)
    exchange_bytes(again)
    again.load()
    return of_halves(image, again, white)


def _opened(data: bytes, name: str) -> Any:
    module, reader = _READERS[name]
    return getattr(importlib.import_module(module), reader)(io.BytesIO(data))


_NEW_SUBFILE_TYPE, _DNG_VERSION = 254, 50706


def _refuse_preview(data: bytes, image: ImageFile.ImageFile) -> None:
    tags = getattr(image, "tag_v2", {})
    is_preview = int(tags.get(_NEW_SUBFILE_TYPE, 0)) & 1
    if is_preview or _DNG_VERSION in tags or (tags and data[8:10] == b"CR"):
        raise DecodeError("a camera raw picture: its first page is a preview", cure=CONVERT)


def _refuse_missing_rows(data: bytes, image: ImageFile.ImageFile, part: Region, name: str) -> None:
    """Refuse coded data that come to their end mark too soon, which Pillow does not report.

    Rows that were never written are zero. If one of the last two is (two, because of interlacing),
    the picture is decoded once more over ones: what is still missing now shows.
    """
    if name not in ("PNG", "GIF"):
        return
    last = np.asarray(image)[part]
    if all(row.any() for row in last):
        return
    again = _opened(data, name)
    again.im = Image.new(again.mode, again.size, 1).im
    again.load()
    if not np.array_equal(np.asarray(again)[part], last):
        raise DecodeError(f"the file ends early ({name}: rows are missing)", cure=TRUNCATED)


def _last_rows(image: ImageFile.ImageFile) -> Region:
    # A GIF's first frame may cover only a part of its canvas.
    left, _, right, bottom = (image.tile and image.tile[-1][1]) or (0, 0, *image.size)
    return slice(max(0, bottom - 2), bottom), slice(left, right)


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # damaged EXIF says nothing about the picture
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TRANSPOSE[orientation]) if orientation != 1 else image


# ---- limits ---------------------------------------------------------------------------------

_large_turn = threading.Lock()


def _turn(n_pixels: int) -> AbstractContextManager[Any]:
    return _large_turn if n_pixels > LARGE_PIXELS else nullcontext()


def _refuse_size(width: int, height: int, n_held: int, most: int) -> None:
    if n_held > MAX_PIXELS or width * height > most:
        rule = f"{width:,} x {height:,} pixels; at most {MAX_PIXELS // 10**6} million are read"
        raise DecodeError(rule, cure="make the picture smaller, or cut it into tiles")


@contextmanager
def _whole_pictures_only() -> Iterator[None]:
    """A truncated picture is an error, in the whole process."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    finally:
        if before:  # else nothing of ours is there to be taken back
            ImageFile.LOAD_TRUNCATED_IMAGES = before


_whole_only = Held(_whole_pictures_only)


@contextmanager
def _strict_pillow() -> Iterator[None]:
    """Truncated pictures are errors, and warnings silent, while any of our threads is in Pillow."""
    with _whole_only(), quiet.no_warnings():
        yield


# ---- what went wrong ------------------------------------------------------------------------


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    """Whatever a reader raises or says of damaged bytes becomes a `DecodeError`."""
    listening = libtiff_words.heard() if name == "TIFF" else nullcontext(list[str]())
    with listening as said:
        try:
            yield
        except DecodeError:
            raise
        except MemoryError as error:
            raise DecodeError("not enough memory to decode it", cure="make it smaller") from error
        except Exception as error:  # what a reader raises on damaged bytes has no common base
            words = said[0] if said else _words_of(error)
            raise _refusal(name, words) from error
        if said:  # libtiff goes on after some errors, with rows that are none
            raise _refusal(name, said[0])


_CUT_OFF = (
    "truncated", "premature end of jpeg file", "unexpected end", "end of file", "eof",
    "not enough data", "not enough image data", "read error",
)  # fmt: skip
_UNKNOWN_KIND = ("unknown", "unsupported", "not supported", "could not determine subsampling")


# What Python itself says where a reader trusted the bytes: about our code, not about the file.
_SHORT = (struct.error, IndexError, EOFError)
_CONFUSED = (KeyError, TypeError, AttributeError, ZeroDivisionError, UnicodeError, AssertionError)


def _words_of(error: Exception) -> str:
    if isinstance(error, _SHORT) or "unpack" in str(error):  # Pillow hands some on as its own
        return "unexpected end"
    if isinstance(error, _CONFUSED):
        return "its header makes no sense"
    return str(error) or type(error).__name__


def _refusal(name: str, message: str) -> DecodeError:
    said = message.splitlines()[0][:120]
    if any(word in said.lower() for word in _CUT_OFF):
        return DecodeError(f"the file ends early ({name}: {said})", cure=TRUNCATED)
    if any(word in said.lower() for word in _UNKNOWN_KIND):
        return DecodeError(f"a kind of {name} that is not read ({said})", cure=CONVERT)
    return DecodeError(f"damaged {name} ({said})", cure=DAMAGED)
