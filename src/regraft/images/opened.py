"""The file behind a picture that Pillow opened and has not read yet: it is decoded as that file.

Pillow would decode it by other rules: of a JPEG full size, of colours of 16 bits the upper half,
of a damaged file what there is.
"""

from __future__ import annotations

from PIL import Image

from regraft.images.signatures import image_format


def opened_from(image: Image.Image) -> bytes | None:
    """The bytes of its file; None if its pixels are there already, or are not that file's.

    Examples
    --------
    >>> import io
    >>> data = b"P5 1 1 255 " + bytes([7])
    >>> image = Image.open(io.BytesIO(data))
    >>> opened_from(image) == data
    True
    >>> image.load()[0, 0], opened_from(image)
    (7, None)
    """
    file = getattr(image, "fp", None)
    # `draft` leaves a config: the pixels asked for are not the file's. After `seek` they are
    # another frame's.
    is_as_in_file = not getattr(image, "decoderconfig", None) and image.tell() == 0
    if file is None or not getattr(image, "tile", None) or not is_as_in_file:
        return None
    try:
        at = file.tell()
        file.seek(0)
        data: bytes = file.read()
        file.seek(at)
    except (OSError, ValueError):  # it was closed; Pillow has words for that
        return None
    is_ours = image_format(data) == ("JPEG" if image.format == "MPO" else image.format)
    return data if is_ours else None
