"""What the first bytes of a file say it is: an image that is read, or what else and what to do.

Only formats whose readers prove that a picture is whole are read: openjpeg (JPEG 2000) for one
hands out what it has of a file that was cut off.
"""

from __future__ import annotations

import codecs

from regraft.errors import DecodeError

TRUNCATED = "copy or download it again: the rest of the file is missing"
DAMAGED = "replace it by a good copy, or open it in an image editor and save it again"
CONVERT = "convert it to JPEG or PNG"
OF_TELEPHONE = (
    "convert it to JPEG: magick FILE FILE.jpg; on a Mac: sips -s format jpeg FILE --out FILE.jpg"
)
SLICES = "write its slices as PNG, and name those of one volume as a group in a manifest"
LEAVE_OUT = "leave it out"

_IMAGES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",  # BigTIFF
    b"MM\0+": "TIFF",
    **{b"P%c%c" % (kind, space): "PPM" for kind in b"123456f" for space in b" \t\r\n"},
}
_IMAGES_LONGEST_FIRST = sorted(_IMAGES.items(), key=lambda item: -len(item[0]))

# (offset, bytes there, what it is, what to do)
_FOREIGN = (
    (0, b"%PDF", "a PDF document", "export its pages or pictures as JPEG or PNG"),
    (0, b"%!PS", "a PostScript document", CONVERT),
    (0, b"8BPS", "a Photoshop document (PSD)", CONVERT),
    (0, b"PK\x03\x04", "a ZIP archive or an office document", "unpack it"),
    (0, b"PK\x05\x06", "an empty ZIP archive", LEAVE_OUT),
    (0, b"\x1f\x8b", "a gzip archive", "unpack it"),
    (0, b"BZh", "a bzip2 archive", "unpack it"),
    (0, b"\xfd7zXZ\0", "an xz archive", "unpack it"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it"),
    (0, b"Rar!\x1a\x07", "a RAR archive", "unpack it"),
    (257, b"ustar", "a tar archive", "unpack it"),
    (0, b"\xd0\xcf\x11\xe0", "an office document or Thumbs.db", LEAVE_OUT),
    (4, b"ftyphei", "a HEIC picture", OF_TELEPHONE),
    (4, b"ftyphev", "a HEIC picture", OF_TELEPHONE),
    (4, b"ftypmif1", "a HEIF picture", OF_TELEPHONE),
    (4, b"ftypmsf1", "a HEIF picture", OF_TELEPHONE),
    (4, b"ftypavi", "an AVIF picture", CONVERT),
    (4, b"ftypcrx", "a camera raw picture (CR3)", CONVERT),
    (4, b"ftyp", "a video (MP4 or QuickTime)", "extract its frames as JPEG or PNG"),
    (4, b"moov", "a video (QuickTime)", "extract its frames as JPEG or PNG"),
    (8, b"AVI ", "a video (AVI)", "extract its frames as JPEG or PNG"),
    (8, b"WAVE", "a sound file (WAV)", LEAVE_OUT),
    (0, b"\x1aE\xdf\xa3", "a video (Matroska or WebM)", "extract its frames as JPEG or PNG"),
    (0, b"\0\0\x01\xba", "a video (MPEG)", "extract its frames as JPEG or PNG"),
    (0, b"OggS", "an Ogg sound or video file", LEAVE_OUT),
    (0, b"ID3", "a sound file (MP3)", LEAVE_OUT),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 picture", CONVERT),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture", CONVERT),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture", CONVERT),
    (0, b"\xff\x0a", "a JPEG XL picture", CONVERT),
    (0, b"\0\0\x01\0", "an icon (ICO)", CONVERT),
    (0, b"\0\0\x02\0", "a cursor (CUR)", CONVERT),
    (0, b"IIRO", "a camera raw picture (ORF)", CONVERT),
    (0, b"IIU\0", "a camera raw picture (RW2)", CONVERT),
    (0, b"FUJIFILMCCD-RAW", "a camera raw picture (RAF)", CONVERT),
    (0, b"qoif", "a QOI picture", CONVERT),
    (0, b"DDS ", "a DDS texture", CONVERT),
    (0, b"v/1\x01", "an OpenEXR picture", CONVERT),
    (0, b"#?RADIANCE", "a Radiance HDR picture", CONVERT),
    (0, b"SIMPLE  =", "a FITS file", CONVERT),
    (0, b"gimp xcf", "a GIMP document (XCF)", CONVERT),
    (0, b"\x01\xda", "an SGI picture", CONVERT),
    *((0, b"\n%c\x01" % version, "a PCX picture", CONVERT) for version in (0, 2, 3, 4, 5)),
    (0, b"ZISRAWFILE", "a microscope's picture (CZI)", CONVERT),
    (0, b"\xda\xce\xbe\n", "a microscope's picture (ND2)", CONVERT),
    (0, b"p\0\0\0", "a microscope's picture (LIF)", CONVERT),
    (0, b"NRRD", "a volume (NRRD)", SLICES),
    (0, b"ObjectType = Image", "a volume (MetaImage)", SLICES),
    (0, b"NDims =", "a volume (MetaImage)", SLICES),
    (344, b"n+1\0", "a volume (NIfTI)", SLICES),
    (128, b"DICM", "a DICOM file", CONVERT),
    (0, b"\x89HDF", "an HDF5 file", LEAVE_OUT),
    (0, b"\x93NUMPY", "a NumPy array", CONVERT),
    (0, b"SQLite format 3", "an SQLite database", LEAVE_OUT),
    (0, b"\x7fELF", "a program", LEAVE_OUT),
    (0, b"MZ", "a program", LEAVE_OUT),
    (0, b"\0\x05\x16\x07", "a macOS resource file", LEAVE_OUT),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the picture", "run `git lfs pull`"),
)

_HEAD = 1024


def image_format(data: bytes) -> str:
    """Pillow's name of the image format that the signature shows; empty if none that is read."""
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    return next((name for mark, name in _IMAGES_LONGEST_FIRST if data.startswith(mark)), "")


def refuse_foreign(data: bytes) -> None:
    """Raise :class:`DecodeError` that names what ``data`` is, unless it is an image that is read.

    Examples
    --------
    >>> refuse_foreign(b"%PDF-1.7")
    Traceback (most recent call last):
        ...
    regraft.errors.DecodeError: not an image that is read: a PDF document
      cure:  export its pages or pictures as JPEG or PNG
    """
    if image_format(data):
        return
    if not data:
        raise DecodeError("the file is empty (0 bytes)", cure="copy or download it again")
    if any(mark.startswith(data) for mark in (*_IMAGES, b"RIFF")):
        raise DecodeError(f"the file ends early: only {len(data)} bytes", cure=TRUNCATED)
    if _is_targa(data):  # before the cursor, whose first bytes it may have
        raise DecodeError("not an image that is read: a Targa picture (TGA)", cure=CONVERT)
    for offset, mark, what, mend in _FOREIGN:
        if data[offset : offset + len(mark)] == mark:
            raise DecodeError(f"not an image that is read: {what}", cure=mend)
    raise _text(data) or _bytes(data)


def _is_targa(data: bytes) -> bool:
    """By its foot, or by a head that fits: Targa has no signature of its own.

    Examples
    --------
    >>> head = bytes([0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 4, 0, 24, 0])
    >>> _is_targa(head + bytes(48)), _is_targa(bytes([0, 0, 2, 0, 1, 0, 4, 4]) + bytes(58))
    (True, False)
    """
    if data.endswith(b"TRUEVISION-XFILE.\0"):
        return True
    if len(data) <= _TARGA_HEAD:
        return False
    palettes, kind, depth = data[1], data[2], data[16]
    if kind not in _TARGA_KINDS or depth not in _TARGA_DEPTHS:
        return False
    has_size = any(data[12:14]) and any(data[14:16])
    return has_size and palettes == any(data[3:8]) == (kind in _TARGA_INDEXED)


# Indexed, colours, grey; the same with runs. Bits of a pixel.
_TARGA_HEAD, _TARGA_DEPTHS = 18, (8, 15, 16, 24, 32)
_TARGA_KINDS, _TARGA_INDEXED = (1, 2, 3, 9, 10, 11), (1, 9)


def _text(data: bytes) -> DecodeError | None:
    head = data[:_HEAD].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if b"<svg" in head and head.startswith(b"<"):
        return DecodeError("not an image that is read: a drawing (SVG)", cure=CONVERT)
    if head.startswith((b"<!doctype html", b"<html", b"<head", b"<script")) or b"<html" in head:
        mend = "the download saved an error page; fetch the picture again"
        return DecodeError("not an image: a web page (HTML)", cure=mend)
    if head.startswith(b"<?xml"):
        return DecodeError("not an image: an XML document", cure=LEAVE_OUT)
    if _is_text(data[:_HEAD]):
        return DecodeError("not an image: a text file", cure=LEAVE_OUT)
    return None


def _is_text(head: bytes) -> bool:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True  # UTF-16
    try:  # incrementally, because the end of head may cut a character in two
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return all(c.isprintable() or c.isspace() for c in text)


def _bytes(data: bytes) -> DecodeError:
    if not data.strip(b"\0"):
        rule = f"the file holds {len(data):,} zero bytes and nothing else"
        return DecodeError(rule, cure="copy or download it again")
    return DecodeError("not an image: no known signature in its first bytes", cure=LEAVE_OUT)
