"""Makes the battery of RELIABILITY R1: files that are not what they seem, and strange good ones.

``python tests/bad_files.py FOLDER`` writes it for a look; the tests use :func:`make_battery`.
What the libraries here cannot write (arithmetic coding, YCCK, unusual subsampling) was written
once with libjpeg and stands below in base64: a gradient, red along x and green along y, blue 128.
"""

from __future__ import annotations

import base64
import io
import os
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image


class Case(NamedTuple):
    """One file: ``outcome`` is 'ok' or 'rejected', then with a word of the expected reason."""

    name: str
    path: Path
    outcome: str
    reason_contains: str = ""


def gradient(width: int = 48, height: int = 32) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """RGB picture whose red grows along x and green along y; no symmetry, so turns show."""
    x = np.linspace(0, 255, width).astype(np.uint8)
    y = np.linspace(0, 255, height).astype(np.uint8)
    red, green = np.meshgrid(x, y)
    return np.stack([red, green, np.full_like(red, 128)], axis=2)


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    """Bytes of the picture in Pillow's format, with the writer's options."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def photograph(width: int = 96, height: int = 64, **options: Any) -> bytes:
    """A JPEG with texture, so that its coded data are long enough to be cut at many places."""
    noise = np.random.default_rng(0).integers(-20, 21, (height, width, 3))
    pixels = np.clip(gradient(width, height).astype(int) + noise, 0, 255).astype(np.uint8)
    return encoded(Image.fromarray(pixels), "JPEG", **{"quality": 90, **options})


def with_orientation(orientation: int, format: str = "JPEG") -> bytes:
    """A file that a viewer shows as :func:`gradient`, stored turned as its EXIF says."""
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    image = Image.fromarray(gradient())
    stored = image if undo is None else image.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95, "subsampling": 0} if format == "JPEG" else {}
    return encoded(stored, format, exif=exif.tobytes(), **options)


def made_png(width: int, height: int, rows: bytes, *, n_bits: int = 8) -> bytes:
    """An RGB PNG written by hand: any claimed size, any filtered rows, right checksums."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, n_bits, 2, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, body) for kind, body in parts)


# 2 x 1 pixels, which Pillow cannot write.
SIXTEEN_BIT_RGB = made_png(
    2, 1, b"\0" + struct.pack(">6H", 65535, 32768, 0, 257, 255, 256), n_bits=16
)


def _segment(data: bytes, marker: int, body: bytes) -> bytes:
    """The JPEG with one more segment right after its start."""
    return data[:2] + struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body + data[2:]


def _replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data, "the file to be spoilt does not hold what is spoilt"
    return data.replace(old, new, 1)


def _frames(mode: str, **extra: Any) -> dict[str, Any]:
    others = [Image.new(mode, (48, 32), n) for n in (40, 90)]
    return {"save_all": True, "append_images": others, **extra}


def _jpeg_cases() -> Iterator[tuple[str, bytes, str, str]]:
    whole = photograph()
    for tenth in range(10):
        cut = len(whole) * tenth // 10 if tenth else 150
        yield f"cut_at_{tenth}_tenths.jpg", whole[:cut], "rejected", "ends early"
    for n_bytes in (1, 2):  # of the end mark
        yield f"cut_last_{n_bytes}.jpg", whole[:-n_bytes], "ok", ""
    for n_bytes in (3, 10, 200):
        yield f"cut_last_{n_bytes}.jpg", whole[:-n_bytes], "rejected", "ends early"
    for name, extra in (("zeros", bytes(61)), ("text", b"made with care " * 150)):
        yield f"{name}_before_its_end.jpg", whole[:-2] + extra + whole[-2:], "ok", ""
    yield "zeros_in_header.jpg", whole[:20] + bytes(5) + whole[20:], "ok", ""
    several = whole[:-2] + bytes(61)
    yield "without_end_mark_and_zeros.jpg", several[:20] + bytes(5) + several[20:], "ok", ""
    progressive = photograph(progressive=True)
    yield "progressive.jpg", progressive, "ok", ""
    yield "progressive_cut.jpg", progressive[: len(progressive) // 2], "rejected", "ends early"
    yield "progressive_without_end_mark.jpg", progressive[:-2], "ok", ""
    scan = progressive.rindex(b"\xff\xda")
    yield "progressive_last_scan_missing.jpg", progressive[:scan], "rejected", "ends early"
    middle = len(whole) * 2 // 3
    yield "hole.jpg", whole[:middle] + bytes(300) + whole[middle + 300 :], "rejected", "damaged"
    yield "end_mark_in_the_middle.jpg", whole[:middle] + b"\xff\xd9", "rejected", "damaged"
    yield "two_files_in_one.jpg", whole + whole, "ok", ""
    yield "trailing_garbage.jpg", whole + b"garbage" * 99, "ok", ""
    for orientation in range(1, 9):
        yield f"orientation_{orientation}.jpg", with_orientation(orientation), "ok", ""
    yield "corrupt_exif.jpg", _segment(whole, 0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"), "ok", ""
    yield "orientation_99.jpg", _segment(whole, 0xE1, _exif(99)), "ok", ""
    yield "icc_profile.jpg", photograph(icc_profile=bytes(3000)), "ok", ""
    yield "grey.jpg", encoded(Image.fromarray(gradient()).convert("L"), "JPEG"), "ok", ""
    yield "cmyk.jpg", encoded(Image.fromarray(gradient()).convert("CMYK"), "JPEG"), "ok", ""
    yield "ycck.jpg", YCCK, "ok", ""
    yield "arithmetic.jpg", ARITHMETIC, "ok", ""
    yield "arithmetic_without_end_mark.jpg", ARITHMETIC[:-2], "rejected", "ends early"
    yield "arithmetic_progressive.jpg", ARITHMETIC_PROGRESSIVE, "ok", ""
    yield "unusual_subsampling.jpg", SUBSAMPLING_410, "rejected", "not read"
    yield (
        "twelve_bits.jpg",
        _replaced(whole, b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),
        *(
            "rejected",
            "12-bit",
        ),
    )
    yield "lossless.jpg", _replaced(whole, b"\xff\xc0", b"\xff\xc3"), "rejected", "lossless"
    yield "strange_scan_header.jpg", strange_scan_header(whole), "ok", ""
    yield (
        "two_pictures.mpo",
        encoded(Image.fromarray(gradient()), "MPO", **_frames("RGB")),
        "ok",
        "",
    )
    yield "wide_65500.jpg", photograph(65500, 8, quality=30), "ok", ""
    frame = b"\xff\xc0\0\x11\x08" + struct.pack(">HH", 64, 96)
    huge = b"\xff\xc0\0\x11\x08" + struct.pack(">HH", 65000, 65000)
    yield "bomb.jpg", _replaced(whole, frame, huge), "rejected", "million"


def _exif(orientation: int) -> bytes:
    entry = struct.pack("<HHII", 0x0112, 3, 1, orientation)
    return b"Exif\0\0" + struct.pack("<2sHIH", b"II", 42, 8, 1) + entry + bytes(4)


def damaged_tiff(compression: str) -> bytes:
    """A TIFF whose second half of coded pixels is another's; libtiff writes about it by itself."""
    image = Image.open(io.BytesIO(photograph(200, 200)))
    image = image.convert("1") if compression == "group4" else image
    data = bytearray(encoded(image, "TIFF", compression=compression))
    tags = Image.open(io.BytesIO(bytes(data))).tag_v2  # type: ignore[attr-defined]
    start, n_bytes = tags[273][-1], tags[279][-1]
    half = n_bytes - n_bytes // 2
    data[start + n_bytes // 2 : start + n_bytes] = np.random.default_rng(0).bytes(half)
    return bytes(data)


def strange_scan_header(jpeg: bytes) -> bytes:
    """Spectral selection 0 to 0 in a sequential scan, as some telephones write it; harmless."""
    return _replaced(jpeg, b"\0\x3f\0", b"\0\0\0")


def _other_cases() -> Iterator[tuple[str, bytes, str, str]]:
    rgb = Image.fromarray(gradient())
    rgba = rgb.copy()
    rgba.putalpha(Image.fromarray(gradient()[..., 0]))
    grey16 = Image.fromarray(np.linspace(0, 65535, 48 * 32).astype(np.uint16).reshape(32, 48))
    floats = Image.fromarray(np.linspace(0, 1, 48 * 32, dtype=np.float32).reshape(32, 48))
    png = encoded(rgb, "PNG")

    yield "rgb.png", png, "ok", ""
    yield "cut.png", png[: len(png) // 2], "rejected", "ends early"
    for n_bytes in (1, 8, 12):
        yield f"cut_last_{n_bytes}.png", png[:-n_bytes], "ok", ""
    yield "cut_last_13.png", png[:-13], "rejected", "ends early"
    missing = made_png(48, 32, bytes(145 * 20))[:-12]
    yield "without_rows_and_end_mark.png", missing, "rejected", "ends early"
    yield "damaged.png", png[:60] + b"\0\0\0\0" + png[64:], "rejected", "checksum"
    yield "rows_missing.png", made_png(48, 32, bytes(145 * 20)), "rejected", "ends early"
    yield "png_named.jpg", png, "ok", ""
    yield "jpeg_named.png", photograph(), "ok", ""
    yield "bomb.png", made_png(50_000, 50_000, bytes(100)), "rejected", "million"
    yield "rgba.png", encoded(rgba, "PNG"), "ok", ""
    yield "la.png", encoded(rgba.convert("LA"), "PNG"), "ok", ""
    yield "palette.png", encoded(rgb.quantize(16), "PNG"), "ok", ""
    yield "palette_transparent.png", encoded(rgb.quantize(16), "PNG", transparency=3), "ok", ""
    yield "one_bit.png", encoded(rgb.convert("1"), "PNG"), "ok", ""
    yield "grey_16_bits.png", encoded(grey16, "PNG"), "ok", ""
    yield "rgb_16_bits.png", SIXTEEN_BIT_RGB, "ok", ""
    yield "one_pixel.png", encoded(Image.new("RGB", (1, 1), "red"), "PNG"), "ok", ""
    yield "one_by_10000.png", encoded(Image.new("L", (1, 10_000), 9), "PNG"), "ok", ""
    yield "animated.png", encoded(rgb, "PNG", **_frames("RGB")), "ok", ""
    yield "orientation_6.png", with_orientation(6, "PNG"), "ok", ""

    yield "animated.gif", encoded(rgb, "GIF", **_frames("RGB")), "ok", ""
    gif = encoded(rgb, "GIF")
    yield "cut.gif", gif[: len(gif) // 2], "rejected", ""
    yield "cut_last_1.gif", gif[:-1], "ok", ""
    yield "cut_last_3.gif", gif[:-3], "rejected", "ends early"
    yield "animated.webp", encoded(rgb, "WEBP", **_frames("RGB")), "ok", ""
    webp = encoded(rgba, "WEBP", lossless=True)
    yield "rgba.webp", webp, "ok", ""
    yield "cut.webp", webp[:-40], "rejected", "ends early"
    yield "rgb.bmp", encoded(rgb, "BMP"), "ok", ""
    yield "cut.bmp", encoded(rgb, "BMP")[:-40], "rejected", "ends early"
    yield "rgb.ppm", encoded(rgb, "PPM"), "ok", ""
    yield "cut.ppm", encoded(rgb, "PPM")[:-40], "rejected", "ends early"

    yield "lzw.tif", encoded(rgb, "TIFF", compression="tiff_lzw"), "ok", ""
    yield "cut.tif", encoded(rgb, "TIFF")[:-2000], "rejected", ""
    for kind in ("tiff_adobe_deflate", "tiff_lzw", "jpeg", "group4"):
        yield f"damaged_{kind}.tif", damaged_tiff(kind), "rejected", "TIFF"
    yield "grey_16_bits.tif", encoded(grey16, "TIFF"), "ok", ""
    yield "float.tif", encoded(floats, "TIFF"), "ok", ""
    holes = np.array(floats)
    holes[3, 4] = np.nan
    yield "float_nan.tif", encoded(Image.fromarray(holes), "TIFF"), "rejected", "NaN"
    yield "pages.tif", encoded(rgb, "TIFF", **_frames("RGB")), "ok", ""
    yield "cmyk.tif", encoded(rgb.convert("CMYK"), "TIFF"), "ok", ""
    yield "orientation_6.tif", with_orientation(6, "TIFF"), "ok", ""
    raw = encoded(rgb, "TIFF", tiffinfo={254: 1})
    yield "camera_raw.nef", raw, "rejected", "camera raw"


def _foreign_cases() -> Iterator[tuple[str, bytes, str, str]]:
    random = np.random.default_rng(1).bytes(5000)
    for name, data, reason in (
        ("empty.jpg", b"", "empty"),
        ("two_bytes.jpg", b"\xff\xd8", "ends early"),
        ("zeros.jpg", bytes(4096), "zero bytes"),
        ("random.png", b"\x07" + random, "no known signature"),
        ("text.jpg", "Grüße aus dem Garten\n".encode() * 90, "text file"),
        ("not_found.jpg", b"<!DOCTYPE html><html><title>404 Not Found</title>", "web page"),
        ("drawing.png", b'<?xml version="1.0"?><svg width="9"/>', "SVG"),
        ("phone.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        ("new.avif", b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "AVIF"),
        ("clip.jpg", b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", "video"),
        ("paper.jpg", b"%PDF-1.7\n%\xe2\xe3", "PDF"),
        ("archive.jpg", b"PK\x03\x04\x14\0\0\0", "ZIP"),
        ("layers.psd", b"8BPS\0\x01" + bytes(20), "PSD"),
        ("lfs.jpg", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        ("icon.ico", b"\0\0\x01\0\x01\0\x10\x10", "icon"),
        ("brain.nii", bytes(344) + b"n+1\0", "volume"),
        ("scan.nrrd", b"NRRD0004\ntype: short\n", "volume"),
        ("cells.czi", b"ZISRAWFILE" + bytes(30), "microscope"),
        ("drawn.xcf", b"gimp xcf v011" + bytes(30), "GIMP"),
        ("old.pcx", b"\n\5\1\x08" + bytes(130), "PCX"),
        ("old.sgi", b"\x01\xda\x01\x01" + bytes(600), "SGI"),
        ("jpeg2000.jp2", b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    ):
        yield name, data, "rejected", reason


_ODD_NAMES = (
    b"with several  spaces.jpg",
    b"new\nline.jpg",
    "wiese \U0001f41d ü.jpg".encode(),
    b"not_utf8_\xff\xfe.jpg",
    b"-leading-dash.jpg",
    b"UPPER.JPEG",
    b"no_extension",
)


def _special_cases(folder: Path) -> Iterator[Case]:
    """What is not a plain readable file."""

    def case(name: str, make: Callable[[Path], object], reason: str) -> Case:
        path = folder / name
        make(path)
        return Case(name, path, "rejected", reason)

    yield case("directory.jpg", Path.mkdir, "directory")
    yield case("dangling.jpg", lambda p: p.symlink_to("nowhere.jpg"), "does not exist")
    yield case("loop.jpg", lambda p: p.symlink_to(p.name), "symbolic link")
    yield case("to_directory.jpg", lambda p: p.symlink_to("directory.jpg"), "directory")
    yield case("pipe.jpg", os.mkfifo, "pipe")
    if os.geteuid() != 0:  # the permissions of a file do not bind root
        yield case(
            "forbidden.jpg", lambda p: (p.write_bytes(photograph()), p.chmod(0)), "permission"
        )


def make_battery(folder: Path) -> list[Case]:
    """Write all files into ``folder`` and say what is expected of each."""
    cases = []
    for name, data, outcome, reason in (*_jpeg_cases(), *_other_cases(), *_foreign_cases()):
        path = folder / name
        path.write_bytes(data)
        cases.append(Case(name, path, outcome, reason))
    for raw_name in _ODD_NAMES:
        path = folder / os.fsdecode(raw_name)
        path.write_bytes(photograph())
        cases.append(Case(ascii(path.name), path, "ok"))
    return [*cases, *_special_cases(folder)]


ARITHMETIC = base64.b64decode(
    """
/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsLEBYQ
ERMUFRUVDA8XGBYUGBIUFRT/2wBDAQMEBAUEBQkFBQkUDQsNFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU
FBQUFBQUFBQUFBQUFBT/yQARCAAQABgDASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwD/ANxdgbcfHFI4PeOG
K4Iw1OEUYvbIF5mSUrp0Kedci0z6kp/iQSSKXllvGFjiS+nbCkBpw/ybalUpHghr5yIsO1CfnP/Z
"""
)
ARITHMETIC_PROGRESSIVE = base64.b64decode(
    """
/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsLEBYQ
ERMUFRUVDA8XGBYUGBIUFRT/2wBDAQMEBAUEBQkFBQkUDQsNFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU
FBQUFBQUFBQUFBQUFBT/ygARCAAQABgDASIAAhEBAxEB/8wABgAQARD/2gAMAwEAAhADEAAAAf8AuLUcGdNpyrxv9x681WBQ
QP/MAAQQBf/aAAgBAQABBQIVU3apMl2P2ENqUf/MAAQRBf/aAAgBAwEBPwEWLvwN5IJtaf3/zAAEEQX/2gAIAQIBAT8BOH1p
W5ltpP/MAAQQBf/aAAgBAQAGPwJeE/L/zAAEEAX/2gAIAQEAAT8hVMM6s4D/2gAMAwEAAgADAAAAEPo4/8wABBEF/9oACAED
AQE/EB/I/8wABBEF/9oACAECAQE/EFGvgP/MAAQQBf/aAAgBAQABPxDS8YnbLnMvh2D/2Q==
"""
)
YCCK = base64.b64decode(
    """
/9j/7gAOQWRvYmUAZAAAAAAC/9sAQwADAgIDAgIDAwMDBAMDBAUIBQUEBAUKBwcGCAwKDAwLCgsLDQ4SEA0OEQ4LCxAWEBET
FBUVFQwPFxgWFBgSFBUU/9sAQwEDBAQFBAUJBQUJFA0LDRQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU
FBQUFBQUFBQUFBQU/8AAFAgAEAAYBAEiAAIRAQMRAQQiAP/EAB8AAAEFAQEBAQEBAAAAAAAAAAABAgMEBQYHCAkKC//EALUQ
AAIBAwMCBAMFBQQEAAABfQECAwAEEQUSITFBBhNRYQcicRQygZGhCCNCscEVUtHwJDNicoIJChYXGBkaJSYnKCkqNDU2Nzg5
OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6g4SFhoeIiYqSk5SVlpeYmZqio6Slpqeoqaqys7S1tre4ubrCw8TF
xsfIycrS09TV1tfY2drh4uPk5ebn6Onq8fLz9PX29/j5+v/EAB8BAAMBAQEBAQEBAQEAAAAAAAABAgMEBQYHCAkKC//EALUR
AAIBAgQEAwQHBQQEAAECdwABAgMRBAUhMQYSQVEHYXETIjKBCBRCkaGxwQkjM1LwFWJy0QoWJDThJfEXGBkaJicoKSo1Njc4
OTpDREVGR0hJSlNUVVZXWFlaY2RlZmdoaWpzdHV2d3h5eoKDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLD
xMXGx8jJytLT1NXW19jZ2uLj5OXm5+jp6vLz9PX29/j5+v/aAA4EAQACEQMRBAAAPwD64134q/e/ffrXneu/FX73779a+e9d
+K33v336153rvxW+9++/WvBy/g/b3T7fjDgL4vcP1Tooor6F134q/e/ffrRXxtrvxW+9++/Wiv0Khwf7i90/jzNuAv8Aan7g
UUUV/9k=
"""
)
SUBSAMPLING_410 = base64.b64decode(
    """
/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsLEBYQ
ERMUFRUVDA8XGBYUGBIUFRT/2wBDAQMEBAUEBQkFBQkUDQsNFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU
FBQUFBQUFBQUFBQUFBT/wAARCAAQABgDAUIAAhEBAxEB/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAA
AgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6
Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXG
x8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/8QAHwEAAwEBAQEBAQEBAQAAAAAAAAECAwQFBgcICQoL/8QAtREA
AgECBAQDBAcFBAQAAQJ3AAECAxEEBSExBhJBUQdhcRMiMoEIFEKRobHBCSMzUvAVYnLRChYkNOEl8RcYGRomJygpKjU2Nzg5
OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6goOEhYaHiImKkpOUlZaXmJmaoqOkpaanqKmqsrO0tba3uLm6wsPE
xcbHyMnK0tPU1dbX2Nna4uPk5ebn6Onq8vP09fb3+Pn6/9oADAMBAAIRAxEAPwD5E0L4Vfd/c/pXomhfCr7v7n9K9E0L4Vfd
/c/pRXoGhfCn7v7n9K9E0L4U/d/c/pXomhfCn7v7n9KKjO+MP3nxH1fhdx7/ALL8fQ//2Q==
"""
)

if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True)
    for made in make_battery(target):
        print(f"{made.outcome:9}{made.name}  {made.reason_contains}")
