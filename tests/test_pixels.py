"""Decoded pictures are kept once, checked when read, and made again when damaged."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regraft.errors import DecodeError
from regraft.features import pixels as pixel_cache
from regraft.features import upkeep
from regraft.features.pixels import Pixels, decoded, list_kept, shrunk
from regraft.images.decode import decode
from regraft.images.reading import read_file
from regraft.machine import cache as caches

SIDE = 40
PLENTY = 2**30
SIZES = [(120, 160), (40, 40), (1, 1), (1, 300), (300, 7), (50, 900), (33, 90), (41, 40)]


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    """PNG and JPEG of all kinds of sizes (height, width)."""
    rng, found = np.random.default_rng(0), []
    for i, (height, width) in enumerate(SIZES):
        values = rng.integers(0, 256, (height, width, 3), np.uint8)
        path = tmp_path / f"{i}.{'jpg' if i % 2 else 'png'}"
        Image.fromarray(values).save(path)
        found.append(str(path))
    return found


def digests_of(paths: list[str]) -> list[bytes]:
    return [hashlib.sha256(Path(path).read_bytes()).digest() for path in paths]


def cached(paths: list[str], *, budget_bytes: int = PLENTY, **given: Any) -> Pixels:
    digests = given.pop("digests", None) or digests_of(paths)
    return decoded(paths, digests, min_side_px=SIDE, budget_bytes=budget_bytes, **given)


def directly(path: str) -> Any:
    return shrunk(decode(read_file(path), min_side_px=3 * SIDE // 2).pixels, SIDE)


def assert_right(found: Pixels, paths: list[str]) -> None:
    assert len(found) == len(paths)
    for i, path in enumerate(paths):
        assert np.array_equal(found[i], directly(path))
        assert found[i].dtype == np.uint8


def only_file() -> Path:
    ((path, n_bytes),) = list_kept()
    assert n_bytes == path.stat().st_size
    return path


# -- What is kept --


def test_pictures_come_back_as_decoded(paths: list[str]) -> None:
    first = cached(paths)
    assert (first.from_cache, first.note) == (False, "")
    assert_right(first, paths)
    again = cached(paths)
    assert (again.from_cache, again.note, again.n_bytes) == (True, "", first.n_bytes)
    assert_right(again, paths)
    assert again.n_bytes == only_file().stat().st_size
    assert sum(picture.nbytes for picture in again) < again.n_bytes


def test_a_warm_cache_opens_no_image(paths: list[str]) -> None:
    digests = digests_of(paths)
    expected = [directly(path) for path in paths]
    cached(paths)
    for path in paths:
        os.remove(path)
    found = cached(paths, digests=digests)
    assert all(map(np.array_equal, found, expected))


def test_shorter_sides_are_shrunk_and_never_enlarged(paths: list[str]) -> None:
    shapes = [picture.shape[:2] for picture in cached(paths)]
    assert shapes == [(40, 53), (40, 40), (1, 1), (1, 300), (300, 7), (40, 720), (33, 90), (41, 40)]


def test_shrinking_is_pillow_s_antialiased_resize() -> None:
    values = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    expected = Image.fromarray(values).resize((60, 45), Image.Resampling.BILINEAR)
    assert np.array_equal(shrunk(values, 45), expected)
    averaged = np.arange(8)[:, None, None].repeat(8, 1).repeat(3, 2).astype(np.uint8)
    assert shrunk(averaged, 1).shape == (1, 1, 3)
    assert 3 <= shrunk(averaged, 1)[0, 0, 0] <= 4


def test_kept_pictures_cannot_be_written_to(paths: list[str]) -> None:
    with pytest.raises(ValueError, match="read-only"):
        cached(paths)[0][0, 0] = 1


def test_same_content_is_kept_once_and_order_plays_no_part(paths: list[str]) -> None:
    copy = shutil.copy(paths[0], paths[0] + ".copy.png")
    alone, n_done = cached(paths).n_bytes, []
    twice = cached([*paths[::-1], str(copy)], progress=lambda done, total: n_done.append(done))
    assert (twice.from_cache, twice.n_bytes, n_done) == (True, alone, [])
    assert_right(twice, [*paths[::-1], str(copy)])


def test_other_images_sides_or_decoders_are_other_sets(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cached(paths)
    assert not cached(paths[1:]).from_cache
    assert not decoded(paths, digests_of(paths), min_side_px=41, budget_bytes=PLENTY).from_cache
    monkeypatch.setattr(pixel_cache, "DECODER_VERSION", "next")
    assert not cached(paths).from_cache
    assert len(list_kept()) == 4


def test_no_images_are_a_set_too() -> None:
    assert len(cached([])) == 0
    assert list(cached([])) == []
    assert cached([]).from_cache


def test_progress_counts_from_the_caller_s_thread(paths: list[str]) -> None:
    seen = []
    caller = threading.get_ident()
    cached(paths, progress=lambda *now: seen.append((*now, threading.get_ident())), n_threads=3)
    assert seen == [(i + 1, len(paths), caller) for i in range(len(paths))]


# -- Damage --


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: data[:10],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: bytes(len(data)),
        lambda data: data[:70] + bytes([data[70] ^ 1]) + data[71:],
        lambda data: b"x" + data[1:],
    ],
    ids=["empty", "header", "short", "long", "zeros", "index", "magic"],
)
def test_a_damaged_file_is_made_again(paths: list[str], spoil: Callable[[bytes], bytes]) -> None:
    cached(paths)
    path = only_file()
    path.write_bytes(spoil(path.read_bytes()))
    mended = cached(paths)
    assert not mended.from_cache
    assert_right(mended, paths)
    assert cached(paths).from_cache


def test_a_flipped_bit_in_a_picture_is_never_shown(paths: list[str]) -> None:
    cached(paths)
    path = only_file()
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    found = cached(paths)
    assert found.from_cache  # the index is whole: only reading can tell
    assert_right(found, paths)
    assert list_kept() == []
    assert_right(cached(paths), paths)
    only_file()


def test_an_image_that_changed_or_is_gone_is_named(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixel_cache._Sources, "estimate", lambda self: 0)
    digests = digests_of(paths)
    Image.new("RGB", (50, 50)).save(paths[3])
    with pytest.raises(DecodeError, match="changed since it was first read") as changed:
        cached(paths, digests=digests)
    assert changed.value.place == paths[3]
    os.remove(paths[3])
    with pytest.raises(DecodeError, match="does not exist"):
        cached(paths, digests=digests)
    assert list_kept() == []
    assert os.listdir(caches.folder_of("pixels")) == []


def test_what_a_killed_process_left_goes_after_a_day(paths: list[str]) -> None:
    folder = caches.folder_of("pixels")
    folder.mkdir(parents=True)
    for name, age_s in (("old", 2 * 86400), ("new", 60)):
        (folder / f".making-{name}.part").write_bytes(b"...")
        os.utime(folder / f".making-{name}.part", (time.time() - age_s,) * 2)
    cached(paths)
    assert sorted(p.name for p in folder.glob(".making-*")) == [".making-new.part"]
    only_file()


# -- Room --


def test_over_the_budget_each_is_decoded_on_demand(paths: list[str]) -> None:
    found = cached(paths, budget_bytes=100_000)
    assert (found.from_cache, found.n_bytes, list_kept()) == (False, 0, [])
    assert "would take about 1" in found.note  # 127,236 bytes of pixels, 224 of index
    assert "KiB, over the budget of 97.7 KiB" in found.note
    assert_right(found, paths)


def test_a_sample_that_said_too_little_is_noticed(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixel_cache._Sources, "estimate", lambda self: 0)
    found = cached(paths, budget_bytes=100_000)
    assert "would take more than" in found.note
    assert_right(found, paths)
    assert os.listdir(caches.folder_of("pixels")) == []


def test_the_estimate_is_exact_for_few_and_near_for_many(tmp_path: Path, paths: list[str]) -> None:
    sources = pixel_cache._Sources(paths, digests_of(paths), SIDE)
    assert sources.estimate() == cached(paths).n_bytes
    many = []
    for i in range(100):
        many.append(str(tmp_path / f"many{i}.png"))
        Image.new("RGB", (60 + i % 7, 50), (i, i, i)).save(many[-1])
    sources = pixel_cache._Sources(many, digests_of(many), SIDE)
    assert sources.estimate() == pytest.approx(cached(many).n_bytes, rel=0.05)


def test_the_set_unused_for_longest_makes_room(paths: list[str]) -> None:
    sets = [paths, paths[:-1], paths[1:]]
    for age, some in enumerate(sets):
        cached(some)
        path = pixel_cache._Sources(some, digests_of(some), SIDE).key
        os.utime(caches.folder_of("pixels") / f"{path}.pixels", (1000 + age,) * 2)
    assert cached(sets[0]).from_cache  # used just now
    n_bytes = sum(size for _, size in list_kept())
    cached(paths[2:], budget_bytes=n_bytes)
    assert [cached(some).from_cache for some in (sets[0], sets[2], paths[2:])] == [True] * 3
    assert not cached(sets[1], budget_bytes=PLENTY).from_cache


def test_a_folder_that_cannot_be_made_is_no_obstacle(
    paths: list[str], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.parent.mkdir(exist_ok=True)
    cache.write_bytes(b"a file where the folder should be")
    found = cached(paths)
    assert "cannot be kept in" in found.note
    assert "for this run only" in found.note
    assert found.n_bytes > 0
    assert_right(found, paths)

    def refuse(**given: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pixel_cache.tempfile, "TemporaryFile", refuse)
    found = cached(paths)
    assert found.note.endswith("each is decoded again whenever it is needed")
    assert found.n_bytes == 0
    assert_right(found, paths)


# -- Several at once --


def test_threads_make_one_set_and_read_it_together(paths: list[str]) -> None:
    digests, failures = digests_of(paths), []

    def work() -> None:
        try:
            found = cached(paths, digests=digests)
            for _ in range(5):
                assert_right(found, paths)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert os.listdir(caches.folder_of("pixels")) == [only_file().name]


PROGRAM = """
import hashlib, sys
from pathlib import Path
from regraft.features.pixels import decoded, list_kept
paths = sys.argv[1:]
digests = [hashlib.sha256(Path(p).read_bytes()).digest() for p in paths]
for _ in range(10):
    found = decoded(paths, digests, min_side_px=40, budget_bytes=2**30)
    assert not found.note or "removed at once" in found.note, found.note
    print(hashlib.sha256(b"".join(p.tobytes() for p in found)).hexdigest())
    for path, _ in list_kept():  # so that both make it, again and again
        path.unlink(missing_ok=True)
decoded(paths, digests, min_side_px=40, budget_bytes=2**30)
"""


def test_two_processes_at_once_agree(paths: list[str], run_python: Callable[..., Any]) -> None:
    done: list[Any] = []
    threads = [
        threading.Thread(target=lambda: done.append(run_python("-c", PROGRAM, *paths)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.returncode for one in done] == [0, 0], done[0].stderr + done[1].stderr
    expected = hashlib.sha256(b"".join(directly(path).tobytes() for path in paths)).hexdigest()
    assert set((done[0].stdout + done[1].stdout).split()) == {expected}
    assert os.listdir(caches.folder_of("pixels")) == [only_file().name]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps what is open")
def test_pictures_stay_when_the_cache_is_cleared(paths: list[str]) -> None:
    found = cached(paths)
    assert caches.clear(["pixels"]) == found.n_bytes
    for path in paths[1:]:
        os.remove(path)
    assert len([picture.sum() for picture in found]) == len(paths)
    assert_right(cached(paths[:1]), paths[:1])


def test_upkeep_counts_sets(paths: list[str]) -> None:
    assert upkeep.contents().counts["sets of decoded images"] == 0
    n_bytes = cached(paths).n_bytes
    assert upkeep.contents().counts["sets of decoded images"] == 1
    assert next(s[2:] for s in caches.sizes() if s[0] == "pixels") == (n_bytes, 1)
