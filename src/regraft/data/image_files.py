"""What counts as an image file, by its name or its first bytes; and why a path is no file at all.

Nothing is decoded here: whether the pixels are whole shows only when the image is read.
"""

from __future__ import annotations

import errno
import os
import re
import stat

# Of these, the decoder refuses some, by name and with a mend: images are never silently passed by.
IMAGE_SUFFIXES = frozenset(
    """.jpg .jpeg .jpe .jfif .png .gif .bmp .webp .tif .tiff .ppm .pgm .pbm .pnm .mpo .jp2 .j2k
    .ico .heic .heif .hif .avif .jxl .jpx .j2c .svg .psd .xcf .tga .pcx .sgi .qoi .dds .exr .hdr
    .raw .dng .cr2 .cr3 .crw .nef .arw .orf .rw2 .raf .pef .srw .x3f .dcm .dicom .nii .nrrd .mha
    .fits .fit .svs .ndpi .czi .lif .nd2""".split()  # noqa: SIM905
)
_IMAGE_SIGNATURE = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n|GIF8[79]a|RIFF....WEBP|BM....\0\0\0\0|II\*\0|MM\0\*|P[1-6]\s|8BPS"
    rb"|\0\0\0\x0c(?:jP  |JXL )|\xff\x4f\xff\x51|\xff\x0a"
    rb"|....ftyp(?:hei|hev|mif1|msf1|avi[fs])|.{128}DICM",
    re.DOTALL,
)


def has_image_name(name: str) -> bool:
    """Whether the extension is one that images have, readable or not.

    Examples
    --------
    >>> has_image_name("a.JPG"), has_image_name("a.heic"), has_image_name("jpg")
    (True, True, False)
    """
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def looks_like_image(path: str) -> bool:
    """Whether the first bytes are those of an image format; may raise an OSError.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "no suffix")
    ...     with open(path, "wb") as file:
    ...         _ = file.write(b"GIF89a and more")
    ...     looks_like_image(path)
    True
    """
    with open(path, "rb") as file:
        return _IMAGE_SIGNATURE.match(file.read(132)) is not None


def why_not_a_file(path: str) -> tuple[str, str] | None:
    """Why the path cannot be opened as a file, and the mend; None for a file.

    The file is not opened: opening a pipe would wait for ever.

    Examples
    --------
    >>> why_not_a_file("no such folder/1.jpg")
    ('does not exist', 'correct the path, or leave it out')
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if os.path.islink(path):
            return "is a link to a file that does not exist", "copy the file there, or remove it"
        return "does not exist", "correct the path, or leave it out"
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) == errno.ELOOP:
            return "is a link that leads back to itself", "copy the file there, or remove the link"
        reason = getattr(error, "strerror", None) or error
        return f"cannot be opened: {reason}", "correct the path or its permissions"
    if stat.S_ISREG(mode):
        return None
    kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
    return f"is {kind}, not a file", "put the image file itself there, or leave it out"
