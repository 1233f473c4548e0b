"""What one reading of an image file tells besides its pixels: the file's facts.

They are computed in the same pass as the features and kept under the content digest, so that
checks, duplicates and splits never open a file twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from regraft.errors import DecodeError
from regraft.images.decode import Decoded, jpeg_scale
from regraft.images.modes import Pixels
from regraft.images.pictures import Content

THUMB_PX = 16
# Facts are those of the picture as the default backbone wants it, whichever network comes first:
# who stays together when data are divided must not depend on it.
FACTS_MIN_SIDE_PX = 384


@dataclass(frozen=True, slots=True)
class FileFacts:
    """Facts of one image file, or why it was rejected.

    Attributes
    ----------
    digest : bytes of length 32
        SHA-256 of the file's content.
    n_bytes : int
        Size of the file.
    format, mode : str
        Pillow's names ('JPEG', 'RGB'); empty if rejected before they were known.
    width, height : int
        Pixels of the upright picture (after EXIF orientation), before any scaling.
    orientation : int in 1..8
        EXIF orientation found in the file; 1 if none.
    n_frames : int
        Frames or pages; only the first is used.
    brightness, contrast : float in [0, 255]
        Mean and standard deviation of the luma.
    thumb : bytes of length 256, or empty
        16x16 luma thumbnail of the whole upright picture, row by row: the perceptual hash's source.
    note : str
        What is wrong with the file although every pixel is there; empty for a good one.
    peak, white : float
        Of a picture with more than 8 bits, as :class:`regraft.images.modes.Rgb` has them.
    rejected : str or None
        Why the file cannot be used; None for a good file.
    mend : str
        What the user can do about it; empty for a good file.
    """

    digest: bytes
    n_bytes: int
    format: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    orientation: int = 1
    n_frames: int = 1
    brightness: float = 0.0
    contrast: float = 0.0
    thumb: bytes = b""
    note: str = ""
    peak: float = 0.0
    white: float = 0.0
    rejected: str | None = None
    mend: str = ""


def facts_of(content: Content, decoded: Decoded, *, white: int = 0) -> FileFacts:
    """Facts of a good picture, the same whatever size it was decoded for.

    Parameters
    ----------
    content : Content
    decoded : Decoded
        The same picture as some network wanted it. Brightness, contrast and thumb shift by about
        one grey level between the scales of a JPEG, so one of another scale is decoded again.
    white : int
        By which it was decoded.

    Examples
    --------
    >>> from regraft.images.pictures import content_of
    >>> content = content_of(b"P5 4 2 255 " + bytes([0, 0, 200, 200] * 2))
    >>> facts = facts_of(content, content.decode())
    >>> facts.brightness, facts.contrast, len(facts.thumb)
    (100.0, 100.0, 256)
    """
    is_jpeg = decoded.format in ("JPEG", "MPO")
    scale = jpeg_scale(min(decoded.width, decoded.height), FACTS_MIN_SIDE_PX)
    if is_jpeg and decoded.scale != scale and content.is_file:
        decoded = content.decode(min_side_px=FACTS_MIN_SIDE_PX, white=white)
    luma = _some_rows(decoded.pixels).convert("L")
    brightness, contrast = _mean_and_std(luma)
    # Bilinear, not box: its weights fall off smoothly, so a resized copy moves half as many bits
    # of the perceptual hash (12 of 480 against 26).
    thumb = luma.resize((THUMB_PX, THUMB_PX), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return FileFacts(
        digest=content.digest,
        n_bytes=content.n_bytes,
        format=decoded.format,
        mode=decoded.mode,
        width=decoded.width,
        height=decoded.height,
        orientation=decoded.orientation,
        n_frames=decoded.n_frames,
        brightness=brightness,
        contrast=contrast,
        thumb=thumb.tobytes(),
        note=decoded.note,
        peak=decoded.peak,
        white=decoded.white,
    )


def rejected_facts(n_bytes: int, digest: bytes, error: DecodeError) -> FileFacts:
    """Facts of a file that cannot be used: its size, its digest, and why.

    Examples
    --------
    >>> facts = rejected_facts(0, bytes(32), DecodeError("the file is empty", cure="copy it again"))
    >>> facts.rejected, facts.mend
    ('the file is empty', 'copy it again')
    """
    return FileFacts(digest, n_bytes, rejected=error.rule, mend=error.cure)


def _some_rows(pixels: Pixels) -> Image.Image:
    """128 to 255 of the rows, if there are more: the others add cost, not knowledge."""
    height, width = pixels.shape[:2]
    step = max(1, height // 128)
    n_rows = len(range(step // 2, height, step))
    # Pillow is given the distance of the rows: no copy of them is made first.
    flat = np.ascontiguousarray(pixels).reshape(-1)[3 * width * (step // 2) :]
    return Image.frombuffer("RGB", (width, n_rows), flat, "raw", "RGB", 3 * width * step, 1)


_LEVELS = np.arange(256, dtype=np.float64)


def _mean_and_std(luma: Image.Image) -> tuple[float, float]:
    counts, n_pixels = np.array(luma.histogram(), np.float64), luma.width * luma.height
    mean = float(counts @ _LEVELS) / n_pixels
    return mean, float(counts @ (_LEVELS - mean) ** 2 / n_pixels) ** 0.5
