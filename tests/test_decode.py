"""Each kind of picture by its stated rule, with exact pixels; and nothing but DecodeError ever."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from bad_files import (
    ARITHMETIC,
    ARITHMETIC_PROGRESSIVE,
    SIXTEEN_BIT_RGB,
    SUBSAMPLING_410,
    YCCK,
    damaged_tiff,
    encoded,
    gradient,
    made_png,
    photograph,
    strange_scan_header,
    with_orientation,
)
from regraft.errors import DecodeError
from regraft.images import decode as decode_module
from regraft.images.decode import Decoded, decode, decode_opened
from regraft.images.end_marks import NO_END_MARK
from regraft.images.facts import facts_of, rejected_facts
from regraft.images.jpeg_header import read_jpeg_header
from regraft.images.jpeg_mends import BYTES_AT_THE_END, BYTES_IN_THE_HEADER
from regraft.images.pictures import content_of
from regraft.images.reading import MAX_BYTES, read_file
from regraft.machine import libtiff_words

RGB = Image.fromarray(gradient())
PHOTO = photograph()
PNG = encoded(RGB, "PNG")


def first_row(data: bytes) -> list[list[int]]:
    return decode(data).pixels[0].tolist()


def row(values: list[Any], dtype: Any) -> Image.Image:
    return Image.fromarray(np.array([values], dtype=dtype))


# ---- rules for each mode --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "colour", "format", "expected"),
    [
        ("1", 1, "PNG", [255, 255, 255]),
        ("L", 7, "PNG", [7, 7, 7]),
        ("LA", (0, 128), "PNG", [127, 127, 127]),
        ("LA", (90, 0), "PNG", [255, 255, 255]),
        ("RGB", (1, 2, 3), "PNG", [1, 2, 3]),
        ("RGBA", (0, 100, 200, 255), "PNG", [0, 100, 200]),
        ("RGBA", (0, 100, 200, 51), "PNG", [204, 224, 244]),
        ("RGBA", (0, 0, 0, 0), "WEBP", [255, 255, 255]),
        ("CMYK", (255, 0, 0, 0), "TIFF", [0, 255, 255]),
        ("CMYK", (0, 0, 0, 255), "TIFF", [0, 0, 0]),
        ("YCbCr", (76, 85, 255), "TIFF", [254, 0, 0]),
        ("LAB", (255, 128, 128), "TIFF", [254, 255, 254]),
        ("I;16", 32768, "PNG", [128, 128, 128]),
        ("I;16", 65535, "TIFF", [255, 255, 255]),
        ("I;16B", 257 * 9, "TIFF", [9, 9, 9]),
        ("I", 77, "TIFF", [77, 77, 77]),
        ("F", 0.5, "TIFF", [128, 128, 128]),
        ("F", 77.4, "TIFF", [77, 77, 77]),
        ("RGB", (1, 2, 3), "BMP", [1, 2, 3]),
        ("RGB", (1, 2, 3), "PPM", [1, 2, 3]),
        ("RGB", (1, 2, 3), "GIF", [1, 2, 3]),
    ],
)
def test_each_mode_has_its_rule(mode: str, colour: Any, format: str, expected: list[int]) -> None:
    options = {"exact": True, "lossless": True} if format == "WEBP" else {}
    data = encoded(Image.new(mode, (3, 2), colour), format, **options)
    decoded = decode(data)
    assert decoded.pixels.tolist() == [[expected] * 3] * 2
    assert (decoded.format, decoded.width, decoded.height) == (format, 3, 2)


def test_the_mode_is_the_file_s_own() -> None:
    assert decode(encoded(RGB.quantize(8), "PNG")).mode == "P"
    assert decode(encoded(RGB.convert("L"), "JPEG")).mode == "L"
    assert decode(YCCK).mode == "CMYK"


def test_sixteen_bits_are_divided_by_257_and_rounded() -> None:
    values = np.arange(0, 65536, 13, dtype=np.uint16)
    expected = np.rint(values / 257).astype(np.uint8)
    for format in ("PNG", "TIFF", "PPM"):
        assert np.array_equal(decode(encoded(row(list(values), np.uint16), format)).pixels[0, :, 1],
                              expected), format  # fmt: skip


def test_sixteen_bits_of_colour_keep_their_high_byte() -> None:
    assert first_row(SIXTEEN_BIT_RGB) == [[255, 128, 0], [1, 0, 1]]


def test_integers_and_floats_scale_by_their_range() -> None:
    def grey(values: list[Any], dtype: Any) -> list[int]:
        return [pixel[0] for pixel in first_row(encoded(row(values, dtype), "TIFF"))]

    assert grey([0.0, 0.5, 1.0], np.float32) == [0, 128, 255]
    assert grey([0.0, 100.6, 255.0], np.float32) == [0, 101, 255]
    assert grey([-1.0, 0.0, 3.0], np.float32) == [0, 64, 255]
    assert grey([0, 1], np.int32) == [0, 255]
    assert grey([0, 128, 200], np.int32) == [0, 128, 200]
    assert grey([1000, 1500, 2000], np.int32) == [0, 128, 255]
    assert grey([5000, 5000], np.int32) == [0, 0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_with_their_number(value: float) -> None:
    with pytest.raises(DecodeError, match="1 of 3 pixels are NaN or infinite"):
        decode(encoded(row([0.0, value, 1.0], np.float32), "TIFF"))


def test_transparent_palette_entries_and_colour_keys_are_white() -> None:
    palette = row([0, 1, 2], np.uint8).convert("P")
    palette.putpalette([10, 10, 10, 20, 20, 20, 30, 30, 30])
    white, tenth, thirtieth = [255] * 3, [10] * 3, [30] * 3
    assert first_row(encoded(palette, "PNG", transparency=1)) == [tenth, white, thirtieth]
    assert first_row(encoded(palette, "GIF", transparency=1)) == [tenth, white, thirtieth]
    some = encoded(palette, "PNG", transparency=bytes([255, 0, 128]))
    assert first_row(some) == [tenth, white, [142] * 3]  # (30 * 128 + 255 * 127) / 255
    grey = encoded(row([7, 9], np.uint8), "PNG", transparency=9)
    assert first_row(grey) == [[7] * 3, white]
    deep = encoded(row([257, 514], np.uint16), "PNG", transparency=514)
    assert first_row(deep) == [[1] * 3, white]


def test_only_the_first_frame_or_page_is_used() -> None:
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "lime", "blue")]
    for format in ("GIF", "WEBP", "PNG", "TIFF", "MPO"):
        options = {"lossless": True} if format == "WEBP" else {}
        options |= {"quality": 100} if format == "MPO" else {}
        data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
        decoded = decode(data)
        assert decoded.n_frames == 3, format
        assert np.abs(decoded.pixels.astype(int) - [255, 0, 0]).max() <= 2, format
        assert decoded.format == format


def test_cmyk_jpeg_is_read_as_adobe_writes_it() -> None:
    cmyk = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 51)), "JPEG", quality=100)
    assert np.abs(decode(cmyk).pixels.astype(int) - [204, 0, 0]).max() <= 2
    theirs = np.asarray(Image.open(io.BytesIO(YCCK)).convert("RGB")).astype(int)
    assert np.abs(decode(YCCK).pixels - theirs).max() <= 2


# ---- orientation ----------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_exactly_once(orientation: int, format: str) -> None:
    decoded = decode(with_orientation(orientation, format))
    assert (decoded.width, decoded.height, decoded.orientation) == (48, 32, orientation)
    tolerance = 0 if format in ("PNG", "TIFF") else 25 if format == "WEBP" else 8
    assert np.abs(decoded.pixels.astype(int) - gradient()).max() <= tolerance


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0garbage",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12",
        b"Exif\0\0" + struct.pack("<2sHIHHHII", b"II", 42, 8, 1, 0x0112, 3, 1, 9),
        b"Exif\0\0" + struct.pack("<2sHIHHHII", b"II", 42, 8, 1, 0x0112, 2, 1, 6),
    ],
)
def test_corrupt_exif_means_orientation_1(exif: bytes) -> None:
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    decoded = decode(PHOTO[:2] + segment + PHOTO[2:])
    assert decoded.orientation == 1
    assert np.array_equal(decoded.pixels, decode(PHOTO).pixels)


# ---- JPEG -----------------------------------------------------------------------------------


def test_scaling_keeps_the_shorter_side_and_halves() -> None:
    data = photograph(900, 600)
    sizes = {least: decode(data, min_side_px=least).pixels.shape for least in (0, 76, 75, 151, 301)}
    assert sizes == {
        0: (600, 900, 3),
        75: (75, 113, 3),
        76: (150, 225, 3),
        151: (300, 450, 3),
        301: (600, 900, 3),
    }
    assert decode(data, min_side_px=75).width == 900


def test_jpeg_pixels_are_pillow_s() -> None:
    theirs = np.asarray(Image.open(io.BytesIO(PHOTO)).convert("RGB")).astype(int)
    assert np.abs(decode(PHOTO).pixels - theirs).max() <= 1


@pytest.mark.parametrize(
    "data", [PHOTO, photograph(progressive=True), photograph(restart_marker_blocks=3), YCCK]
)
def test_faults_that_cost_no_pixel_are_read_over_and_told(data: bytes) -> None:
    whole, body = decode(data), data[:-2]
    assert whole.note == ""
    for spoilt, note in (
        (body, NO_END_MARK),
        (data[:-1], NO_END_MARK),
        (body + bytes(61) + data[-2:], BYTES_AT_THE_END),
        (body + b"\xff\x00" * 20 + b"words\xff" + data[-2:], BYTES_AT_THE_END),
        (body + np.random.default_rng(0).bytes(3000).replace(b"\xff", b"") + data[-2:],
         BYTES_AT_THE_END),
        (body + bytes(61), NO_END_MARK),
        (body + b"words" * 9, f"{NO_END_MARK} and {BYTES_AT_THE_END}"),
        (data[:2] + b"\xff" + data[2:], ""),  # a filling byte is no fault
    ):  # fmt: skip
        found = decode(spoilt)
        assert found.note == note
        assert np.array_equal(found.pixels, whole.pixels)


def test_bytes_in_the_header_are_passed_over() -> None:
    found = decode(PHOTO[:20] + bytes(5) + PHOTO[20:])
    assert found.note == BYTES_IN_THE_HEADER
    assert np.array_equal(found.pixels, decode(PHOTO).pixels)


def test_bytes_after_the_end_mark_are_not_read() -> None:
    found = decode(PHOTO + bytes(99))
    assert (found.note, found.pixels.tobytes()) == ("", decode(PHOTO).pixels.tobytes())


@pytest.mark.parametrize(
    "data", [PHOTO, photograph(progressive=True)], ids=["plain", "progressive"]
)
def test_a_jpeg_cut_anywhere_in_its_pixels_is_refused(data: bytes) -> None:
    cuts = [*range(3, len(data), 97), *range(len(data) - 200, len(data) - 2)]
    for n_bytes in cuts:
        for end in (b"", bytes(70)):
            with pytest.raises(DecodeError):
                decode(data[:n_bytes] + end, min_side_px=8)


@pytest.mark.parametrize("data", [ARITHMETIC, ARITHMETIC_PROGRESSIVE])
def test_arithmetic_coding_cannot_tell_lost_rows_so_its_end_mark_must_be_there(data: bytes) -> None:
    for n_bytes in range(1, len(data)):
        with pytest.raises(DecodeError):
            decode(data[:-n_bytes])


def test_a_progressive_jpeg_without_end_mark_must_have_all_its_scans() -> None:
    data = photograph(progressive=True)
    starts = [at for at in range(len(data)) if data.startswith(b"\xff\xda", at)]
    assert len(starts) > 4
    for start in starts:
        with pytest.raises(DecodeError, match="ends early"):
            decode(data[:start])
    assert decode(data[:-2]).note == NO_END_MARK


def test_zeros_within_the_rows_are_a_loss_though_all_rows_decode() -> None:
    middle = len(PHOTO) * 2 // 3
    with pytest.raises(DecodeError, match=r"damaged JPEG.*extraneous"):
        decode(PHOTO[:middle] + bytes(300) + PHOTO[middle + 300 :])


def test_harmless_faults_of_some_writers_are_read_over() -> None:
    whole = decode(PHOTO).pixels
    assert np.array_equal(decode(strange_scan_header(PHOTO)).pixels, whole)
    assert np.array_equal(decode(PHOTO.replace(b"JFIF\0\1", b"JFIF\0\2", 1)).pixels, whole)
    with pytest.raises(DecodeError, match="ends early"):
        decode(strange_scan_header(PHOTO)[:-300])


def test_what_cannot_be_checked_is_refused() -> None:
    with pytest.raises(DecodeError, match="a kind of JPEG that is not read") as caught:
        decode(SUBSAMPLING_410)
    assert caught.value.cure == "convert it to JPEG or PNG"


def test_header_of_cut_or_odd_jpegs_is_read_without_error() -> None:
    for n_bytes in range(len(PHOTO)):
        read_jpeg_header(PHOTO[:n_bytes])
    assert read_jpeg_header(PHOTO).width == 96


# ---- end marks of other formats -------------------------------------------------------------


def test_a_png_without_its_end_mark_is_read_if_all_rows_are_there() -> None:
    late = PNG[:-12] + struct.pack(">I", 99) + b"tEXtComment\0cut"
    for data in (PNG[:-1], PNG[:-8], PNG[:-12], late):
        found = decode(data)
        assert (found.note, found.pixels.tobytes()) == (NO_END_MARK, decode(PNG).pixels.tobytes())
    exif = PNG[:-12] + struct.pack(">I", 99) + b"eXIfMM"
    for data in (PNG[:-13], PNG[:40], exif, made_png(48, 32, bytes(145 * 20))[:-12]):
        with pytest.raises(DecodeError, match="ends early"):
            decode(data)


def test_a_gif_without_its_end_mark_is_read_with_a_note() -> None:
    whole, frames = encoded(RGB, "GIF"), [RGB.rotate(20)]
    several = encoded(RGB, "GIF", save_all=True, append_images=frames)
    assert decode(whole).note == decode(whole + b"more").note == decode(several).note == ""
    assert decode(whole[:-1]).note == decode(several[:-20]).note == NO_END_MARK
    assert np.array_equal(decode(whole[:-1]).pixels, decode(whole).pixels)


def test_a_webp_may_lack_the_byte_that_fills_its_last_chunk() -> None:
    sizes = (encoded(RGB.resize((side, side)), "WEBP", lossless=True) for side in range(3, 60))
    odd = next(data for data in sizes if int.from_bytes(data[16:20], "little") % 2)
    assert np.array_equal(decode(odd[:-1]).pixels, decode(odd).pixels)
    assert decode(odd[:-1]).note == NO_END_MARK
    with pytest.raises(DecodeError, match=r"ends early \(WebP: .* bytes\)"):
        decode(odd[:-2])


def test_what_fills_the_last_row_of_a_bmp_is_no_pixel() -> None:
    data = encoded(Image.fromarray(gradient(45, 32)), "BMP")  # 135 bytes and one more a row
    assert np.array_equal(decode(data[:-1]).pixels, decode(data).pixels)
    with pytest.raises(DecodeError, match="ends early"):
        decode(data[:-2])


# ---- what libtiff says ----------------------------------------------------------------------

DEFLATED = damaged_tiff("tiff_adobe_deflate")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("tiff_adobe_deflate", "Decoding error at scanline 109"),
        ("tiff_lzw", "Using code not yet in table"),
        ("jpeg", "Unsupported marker type"),  # Pillow hands out what was decoded before it
        ("group4", "Bad code word at line 100"),
    ],
)
def test_what_libtiff_says_is_the_reason_and_not_printed(
    kind: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for read in (decode, lambda data: decode_opened(Image.open(io.BytesIO(data)))):
        with pytest.raises(DecodeError, match=rf"TIFF.*\({words}"):
            read(damaged_tiff(kind))
    assert capfd.readouterr() == ("", "")


def test_what_others_decode_meanwhile_and_afterwards_is_printed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def theirs() -> None:
        with contextlib.suppress(OSError):
            Image.open(io.BytesIO(DEFLATED)).load()

    with libtiff_words.heard() as said:
        thread = threading.Thread(target=theirs)
        thread.start()
        thread.join()
    assert said == []
    assert capfd.readouterr().err.count("Decoding error") == 1
    theirs()
    assert capfd.readouterr().err.count("Decoding error") == 1


# ---- limits and global state ----------------------------------------------------------------


def jpeg_claiming(width: int, height: int, **options: Any) -> bytes:
    data = photograph(**options)
    at = data.index(struct.pack(">HH", 64, 96))
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def test_size_is_checked_before_anything_is_decoded() -> None:
    with pytest.raises(DecodeError, match=r"20,000 x 10,000 pixels; at most 134 million"):
        decode(jpeg_claiming(20_000, 10_000))
    with pytest.raises(DecodeError, match="million"):
        decode(jpeg_claiming(20_000, 10_000, progressive=True), min_side_px=256)
    with pytest.raises(DecodeError, match=r"ends early|damaged"):  # allowed: it is scaled down
        decode(jpeg_claiming(20_000, 10_000), min_side_px=256)
    with pytest.raises(DecodeError, match="million"):
        decode(b"P6 60000 60000 255 ")


def test_large_pictures_wait_for_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_module, "LARGE_PIXELS", 10)
    assert decode(PNG).width == decode(with_orientation(1)).width == 48


def test_the_answer_does_not_depend_on_pillow_s_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert np.array_equal(decode(PNG).pixels, gradient())
    for format in ("PNG", "GIF", "BMP", "PPM", "TIFF"):
        with pytest.raises(DecodeError):
            decode(encoded(RGB, format)[:-300])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_warning_filters_are_as_before() -> None:
    before = list(warnings.filters)
    decode(PNG)
    with pytest.raises(DecodeError):
        decode(PNG[:-30])
    assert list(warnings.filters) == before


def test_threads_get_the_same_pictures() -> None:
    files = [PHOTO, PNG, encoded(RGB, "GIF"), encoded(RGB, "TIFF"), PNG[:-20], YCCK]
    expected = [outcome(data) for data in files]
    failures: list[int] = []

    def work() -> None:
        for _ in range(20):
            failures.extend(i for i, data in enumerate(files) if outcome(data) != expected[i])

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def outcome(data: bytes) -> bytes | str:
    try:
        return decode(data).pixels.tobytes()
    except DecodeError as error:
        return error.rule


# ---- any bytes ------------------------------------------------------------------------------

SEEDS = [PHOTO, photograph(progressive=True), PNG, encoded(RGB, "GIF"), encoded(RGB, "WEBP")]
SEEDS += [encoded(RGB, "BMP"), encoded(RGB, "PPM"), YCCK, with_orientation(6)]


def is_whole(decoded: Decoded) -> bool:
    sizes = decoded.pixels.shape[:2], (decoded.height, decoded.width)
    return decoded.pixels.flags.c_contiguous and sizes[0] == sizes[1]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(SEEDS), st.data())
def test_mutated_files_raise_nothing_but_decode_errors(seed: bytes, data: st.DataObject) -> None:
    mutated = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        mutated[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=6))
    with contextlib.suppress(DecodeError):
        assert is_whole(decode(bytes(mutated)))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([PNG, encoded(RGB.convert("P"), "PNG")]), st.data())
def test_a_changed_byte_of_a_png_is_seen(seed: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(seed) - 1))
    changed = bytes([seed[at] ^ data.draw(st.integers(1, 255))])
    with pytest.raises(DecodeError):
        decode(seed[:at] + changed + seed[at + 1 :])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"GIF89a", b"II*\0", b"BM"]))
def test_any_bytes_raise_nothing_but_decode_errors(data: bytes, start: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(start + data)


# ---- files and facts ------------------------------------------------------------------------


def test_read_file_gives_the_content(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(PHOTO)
    (tmp_path / "b.jpg").symlink_to("a.jpg")
    assert read_file(tmp_path / "a.jpg") == read_file(str(tmp_path / "b.jpg")) == PHOTO


def test_read_file_refuses_what_is_missing_or_too_large(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="does not exist"):
        read_file(tmp_path / "gone.jpg")
    with pytest.raises(DecodeError, match="cannot be read"):
        read_file("a\0b.jpg")
    with open(tmp_path / "large.jpg", "wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(DecodeError, match=r"1,073,741,825 bytes"):
        read_file(tmp_path / "large.jpg")


def test_read_file_leaves_no_descriptor_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(DecodeError):
            read_file(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_facts_of_a_good_file() -> None:
    data = with_orientation(6)
    content = content_of(data)
    facts = facts_of(content, content.decode())
    luma = gradient() @ [0.299, 0.587, 0.114]
    assert (facts.n_bytes, facts.format, facts.mode) == (len(data), "JPEG", "RGB")
    assert (facts.width, facts.height, facts.orientation, facts.n_frames) == (48, 32, 6, 1)
    assert facts.brightness == pytest.approx(luma.mean(), abs=1)
    assert facts.contrast == pytest.approx(luma.std(), abs=1)
    thumb = np.frombuffer(facts.thumb, np.uint8).reshape(16, 16).astype(float)
    assert (np.diff(thumb, axis=0) > 0).all()
    assert (np.diff(thumb, axis=1) > 0).all()
    assert facts.rejected is None


def test_facts_do_not_depend_on_the_size_that_a_network_wants() -> None:
    content = content_of(photograph(1600, 1200))
    sizes = {content.decode(min_side_px=px).scale for px in (0, 200, 600)}
    assert len(sizes) == 3, "each of another scale"
    facts = [facts_of(content, content.decode(min_side_px=px)) for px in (0, 200, 384, 600)]
    assert len(set(facts)) == 1


def test_rejected_facts_keep_reason_and_mend() -> None:
    error = DecodeError("reason", cure="mend")
    facts = rejected_facts(5, bytes(32), error)
    assert (facts.rejected, facts.mend, facts.n_bytes) == ("reason", "mend", 5)
