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
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image, ImageFile

from regraft.errors import DecodeError
from regraft.images.jpeg_header import JpegHeader, read_jpeg_header
from regraft.images.modes import Pixels, to_rgb
from regraft.images.png_chunks import refuse_partial_png
from regraft.images.signatures import (
    CONVERT,
    DAMAGED,
    TRUNCATED,
    image_format,
    refuse_foreign,
)
from regraft.machine import quiet
from regraft.machine.held import Held

MAX_BYTES = 2**30  # of a file: it is held whole in memory
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
    """

    pixels: Pixels
    format: str
    mode: str
    width: int
    height: int
    orientation: int
    n_frames: int
    scale: int = 1


def decode(data: bytes, *, min_side_px: int = 0) -> Decoded:
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
    try:
        return _decode_jpeg(data, min_side_px) if name == "JPEG" else _decode_other(data, name)
    except DecodeError:
        raise
    except MemoryError as error:
        raise DecodeError("not enough memory to decode it", cure="make it smaller") from error
    except Exception as error:  # what a reader raises on damaged bytes has no common base
        raise _refusal(name, str(error) or type(error).__name__) from error


def decode_opened(image: Image.Image) -> Decoded:
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
    try:
        with _strict_pillow(), _turn(width * height):
            mode, orientation = image.mode, _orientation(image)
            image.load()
            picture = _upright(to_rgb(image, name), _orientation(image))
            pixels = np.asarray(picture)
    except DecodeError:
        raise
    except MemoryError as error:
        raise DecodeError("not enough memory to decode it", cure="make it smaller") from error
    except Exception as error:  # what a reader raises on damaged bytes has no common base
        raise _refusal(name or "picture", str(error) or type(error).__name__) from error
    return Decoded(
        pixels, name, mode, picture.width, picture.height, orientation,
        int(getattr(image, "n_frames", 1)),
    )  # fmt: skip


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Content of a regular file; never waits on a pipe or a device.

    Raises
    ------
    DecodeError
        If the path is not a readable regular file of at most 1 GiB (``MAX_BYTES``).

    Examples
    --------
    >>> read_file("/dev/zero")
    Traceback (most recent call last):
        ...
    regraft.errors.DecodeError: not a regular file: a device
      cure:  leave it out
    """
    try:
        _refuse_special(os.stat(path))
        with open(path, "rb", opener=_open_without_waiting) as file:
            info = os.fstat(file.fileno())
            _refuse_special(info)  # it may have been exchanged meanwhile
            return file.read(info.st_size + 1)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


# ---- JPEG -----------------------------------------------------------------------------------


def _decode_jpeg(data: bytes, min_side_px: int) -> Decoded:
    header = read_jpeg_header(data)
    _refuse_kind(header)
    scale = jpeg_scale(min(header.width, header.height), min_side_px)
    scaled = -(-header.width // scale), -(-header.height // scale)
    n_held = math.prod((header.width, header.height) if header.is_multiscan else scaled)
    _refuse_size(header.width, header.height, n_held, MAX_JPEG_PIXELS)

    with _turn(n_held):
        pixels = _decode_strictly(data, header, scaled)
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


def _decode_strictly(data: bytes, header: JpegHeader, size: tuple[int, int]) -> Pixels:
    width, height = size

    def attempt(data: bytes) -> Pixels:
        # strict: libjpeg's warnings (premature end, bytes left over, bad code) are errors.
        pixels: Pixels = simplejpeg.decode_jpeg(
            data, "RGB", min_height=height, min_width=width, strict=True
        )
        return pixels

    try:
        return attempt(data)
    except ValueError as error:
        if not any(fault in str(error) for fault in _HARMLESS):
            raise
        return attempt(_without_harmless_faults(data, header))


# Warnings about values that a decoder does not use; some cameras and programs write them.
_HARMLESS = ("Invalid SOS parameters for sequential JPEG", "unknown JFIF revision")


def _without_harmless_faults(data: bytes, header: JpegHeader) -> bytes:
    mended = bytearray(data)
    if header.jfif_at >= 0:
        mended[header.jfif_at] = 1  # major version
    if not header.is_progressive:
        spectral = header.scan_at + 1 + 2 * data[header.scan_at]
        mended[spectral : spectral + 3] = b"\0\x3f\0"  # what a sequential scan must say
    return bytes(mended)


# ---- all other formats ----------------------------------------------------------------------

_READERS = {
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "PPM": ("PIL.PpmImagePlugin", "PpmImageFile"),
}


def _decode_other(data: bytes, name: str) -> Decoded:
    if name == "PNG":
        refuse_partial_png(data)
    if data[:2] in (b"P2", b"P3") and not data[-1:].isspace():  # is the last number whole?
        raise DecodeError("the file ends early: plain PPM without a last newline", cure=TRUNCATED)
    with _strict_pillow():
        image = _opened(data, name)
        width, height = image.size
        _refuse_size(width, height, width * height, MAX_PIXELS)
        _refuse_preview(data, image)
        mode, orientation = image.mode, _orientation(image)
        n_frames = int(getattr(image, "n_frames", 1))

        with _turn(width * height):
            last_rows = _last_rows(image)
            image.load()
            _refuse_missing_rows(data, image, last_rows, name)
            # Pillow's TIFF reader has turned the picture by now, the others have not.
            picture = _upright(to_rgb(image, name), _orientation(image))
            pixels = np.asarray(picture)
    return Decoded(pixels, name, mode, picture.width, picture.height, orientation, n_frames)


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

_CUT_OFF = ("truncated", "premature end of jpeg file", "unexpected end", "end of file", "eof")
_UNKNOWN_KIND = ("unknown", "unsupported", "not supported", "could not determine subsampling")


def _refusal(name: str, message: str) -> DecodeError:
    said = message.splitlines()[0][:120]
    if any(word in said.lower() for word in _CUT_OFF):
        return DecodeError(f"the file ends early ({name}: {said})", cure=TRUNCATED)
    if any(word in said.lower() for word in _UNKNOWN_KIND):
        return DecodeError(f"a kind of {name} that is not read ({said})", cure=CONVERT)
    return DecodeError(f"damaged {name} ({said})", cure=DAMAGED)


# ---- files ----------------------------------------------------------------------------------


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # Windows has no such flag


_SPECIAL = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def _refuse_special(info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        kind = _SPECIAL.get(stat.S_IFMT(info.st_mode), "something else")
        raise DecodeError(f"not a regular file: {kind}", cure="leave it out")
    if info.st_size > MAX_BYTES:
        rule = f"the file has {info.st_size:,} bytes; at most {MAX_BYTES:,} are read"
        raise DecodeError(rule, cure="make the picture smaller")


def _unreadable(path: str | os.PathLike[str], error: OSError | ValueError) -> DecodeError:
    if isinstance(error, FileNotFoundError):
        if os.path.islink(path):
            return DecodeError("a link to a file that does not exist", cure="restore its target")
        return DecodeError("the file does not exist", cure="was it moved while Regraft ran?")
    if isinstance(error, PermissionError):
        return DecodeError("no permission to read the file", cure="chmod u+r FILE")
    if isinstance(error, IsADirectoryError):
        return DecodeError("not a regular file: a directory", cure="leave it out")
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return DecodeError(f"the file cannot be read ({reason})", cure="check the disk and the path")
