"""What one reading of an image file tells besides its pixels: the file's facts.

They are computed in the same pass as the features and kept under the content digest, so that
checks, duplicates and splits never open a file twice.
"""

from __future__ import annotations

from dataclasses import dataclass

THUMB_PX = 16


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
    rejected: str | None = None
    mend: str = ""
