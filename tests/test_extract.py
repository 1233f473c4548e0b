"""The one pass: the same numbers in any order, nothing done twice, every bad file named."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bad_files import photograph
from regraft.backbones import catalog
from regraft.data.table import ImageTable
from regraft.features import extract, one_pass
from regraft.features.engine import EngineInfo
from regraft.features.engines import BuiltEngine, locate
from regraft.features.extraction import Extraction
from regraft.features.one_pass import jobs
from regraft.features.store import Store
from regraft.images import DECODER_VERSION, pictures
from regraft.images.geometry import Preprocess
from regraft.machine import arrays

pytestmark = pytest.mark.numerics

LONG_AGO_NS = 10**18
Write = Callable[..., Path]


@dataclass(frozen=True)
class CountingEngine(BuiltEngine):
    """Stands for a network: sums of colours over the quarters of the picture, and their maxima."""

    n_started: list[int] | None = None
    n_run: list[int] | None = None
    fails_after: int = 10**9

    def start(self, *, n_threads: int | None = None) -> Any:
        assert self.n_started is not None
        self.n_started.append(1)
        return self

    def run(self, pixels: np.ndarray) -> np.ndarray:
        assert self.n_run is not None
        self.n_run.append(len(pixels))
        if sum(self.n_run) > self.fails_after:
            raise KeyboardInterrupt
        small = pixels.reshape(len(pixels), 2, 16, 2, 16, 3).astype(np.float32)
        means = small.mean(axis=(2, 4)).reshape(len(pixels), 12)
        maxima = small.max(axis=(2, 4)).reshape(len(pixels), 12)
        return np.concatenate([means, maxima, means[:, :5]], axis=1)


def engine(**changes: Any) -> CountingEngine:
    info = EngineInfo(
        name="made-up", architecture="none", weights_digest="ab" * 32, licence="", origin="",
        preprocess=Preprocess(input_px=(32, 32), resize_px=36),
        widths=(("stage", 12), ("final", 5)),
        runtime="test 1", precision="fp32", batch_size=changes.pop("batch_size", 1),
    )  # fmt: skip
    return CountingEngine(
        Path(), info, catalog.resolve("default"), n_started=[], n_run=[], **changes
    )


@pytest.fixture
def photos(tmp_path: Path, make_photos: Write) -> Path:
    folder = make_photos(tmp_path / "photos", n=6, size_px=48)
    age(folder)
    return folder


def age(folder: Path) -> None:
    """Files changed within the last two seconds are not remembered by their names."""
    for path in folder.rglob("*"):
        os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS), follow_symlinks=False)


def run(folder: Path | ImageTable, built: BuiltEngine, **options: Any) -> Extraction:
    table = folder if isinstance(folder, ImageTable) else table_of(folder)
    with Store.open(decoder=DECODER_VERSION) as store:
        return extract.run(table, built, store, **options)


def table_of(folder: Path) -> ImageTable:
    return ImageTable.from_paths([str(p) for p in sorted(folder.rglob("*")) if not p.is_dir()])


@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_number_of_threads_changes_no_bit(
    photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, batch_size: int
) -> None:
    found = []
    for n in (1, 2, 4):
        monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / f"cache-{n}"))
        found.append(run(photos, engine(batch_size=batch_size), n_threads=n))
    for other in found[1:]:
        assert np.array_equal(found[0].X, other.X)
        assert found[0].facts == other.facts
    assert len(np.unique(found[0].X, axis=0)) == 18, "every picture has numbers of its own"


def test_the_numbers_stand_beside_their_own_picture(photos: Path) -> None:
    done = run(photos, engine(), n_threads=4)
    built = engine()
    for path, row in zip(done.table.paths, done.X, strict=True):
        (pixels,) = pictures.sample([path])(built.info.preprocess)
        assert np.array_equal(built.run(pixels[None])[0], row)


def test_real_engines_do_not_care_about_threads_either(
    engine_cache: Path, tmp_path: Path, make_photos: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = table_of(make_photos(tmp_path / "few", n=2))
    built = locate(catalog.resolve("default"), offline=True)
    found = []
    for n in (1, 2, 4):
        monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / f"cache-{n}"))
        found.append(run(table, built, n_threads=n).X)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_a_warm_pass_opens_no_file_and_starts_no_engine(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cold_engine, warm_engine = engine(), engine()
    cold = run(photos, cold_engine)
    assert (cold.computed, cold.from_store, cold_engine.n_started) == (18, 0, [1])

    def refuse(*args: object, **kwargs: object) -> bytes:
        raise AssertionError("a warm pass reads nothing")

    monkeypatch.setattr(one_pass, "content_of", refuse)
    warm = run(photos, warm_engine)
    assert (warm.computed, warm.from_store) == (0, 18)
    assert (warm_engine.n_started, warm_engine.n_run) == ([], [])
    assert np.array_equal(cold.X, warm.X)
    assert cold.facts == warm.facts
    assert warm.report.images_per_second == 0


def test_one_new_file_costs_one_image(photos: Path) -> None:
    before = run(photos, engine())
    (photos / "discs" / "new.jpg").write_bytes(photograph())
    built = engine()
    after = run(photos, built)
    assert (after.computed, after.from_store, sum(built.n_run or [])) == (1, 18, 1)
    at = dict(zip(after.table.paths, after.X, strict=True))
    for path, row in zip(before.table.paths, before.X, strict=True):
        assert np.array_equal(at[path], row)


def test_renaming_relabelling_and_copying_cost_nothing(photos: Path) -> None:
    before = run(photos, engine())
    by_digest = dict(zip(before.digests, before.X, strict=True))
    (photos / "discs").rename(photos / "circles")
    some = sorted((photos / "circles").iterdir())[:3]
    for path in some:
        path.rename(path.with_name("renamed-" + path.name))
    shutil.copytree(photos / "squares", photos / "copies")
    built = engine()
    after = run(photos, built)
    assert (after.computed, after.known, after.from_store) == (0, 12, 12)
    assert (built.n_started, built.n_run) == ([], [])
    for digest, row in zip(after.digests, after.X, strict=True):
        assert np.array_equal(by_digest[digest], row)


def test_copies_within_a_run_are_computed_once(photos: Path) -> None:
    shutil.copytree(photos / "squares", photos / "copies")
    built = engine()
    done = run(photos, built, n_threads=2)
    assert (done.computed, sum(built.n_run or []), len(done.table)) == (18, 18, 24)
    assert (done.known, done.from_store) == (6, 0), "copies were read"
    at = dict(zip(done.table.paths, done.X, strict=True))
    for path in (photos / "copies").iterdir():
        assert np.array_equal(at[str(path)], at[str(photos / "squares" / path.name)])
    again = engine()
    warm = run(photos, again)
    assert (warm.computed, warm.known, warm.from_store) == (0, 0, 24)


def test_a_changed_file_is_computed_again(photos: Path) -> None:
    first = run(photos, engine())
    path = first.table.paths[0]
    Path(path).write_bytes(photograph())
    second = run(photos, engine())
    assert second.computed == 1
    assert not np.array_equal(first.X[0], second.X[0])
    assert np.array_equal(first.X[1:], second.X[1:])


@pytest.mark.parametrize("n_threads", [1, 3])
def test_every_bad_file_is_named_with_its_reason(photos: Path, n_threads: int) -> None:
    whole = photograph()
    bad = {
        "cut.jpg": (whole[: len(whole) // 2], "ends early"),
        "cut_again.jpg": (whole[: len(whole) // 2], "ends early"),
        "empty.jpg": (b"", "empty"),
        "page.jpg": (b"<!DOCTYPE html><html>", "web page"),
    }
    for name, (data, _) in bad.items():
        (photos / name).write_bytes(data)
    (photos / "gone.jpg").symlink_to("nowhere.jpg")
    table = table_of(photos)
    for _ in range(2):  # the second pass has their facts from the store
        done = run(table, engine(), n_threads=n_threads)
        assert len(done.table) == len(done.X) == len(done.facts) == 18
        reasons = {Path(r.path).name: r for r in done.table.rejected}
        assert set(reasons) == {*bad, "gone.jpg"}
        for name, (_, words) in bad.items():
            assert words in reasons[name].reason
            assert reasons[name].mend
        assert "does not exist" in reasons["gone.jpg"].reason
        assert [Path(p).suffix for p in done.table.paths] == [".jpg"] * 18


def test_large_matrices_are_mapped_and_hold_the_same_rows(
    photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (photos / "aaa_bad.jpg").write_bytes(b"no picture")
    in_memory = run(photos, engine())
    assert not isinstance(in_memory.X, np.memmap)
    monkeypatch.setattr(arrays, "MAX_BYTES_IN_MEMORY", 100)
    for cache in (None, tmp_path / "cold"):
        if cache:
            monkeypatch.setenv("REGRAFT_CACHE", str(cache))
        mapped = run(photos, engine())
        assert isinstance(mapped.X, np.memmap)
        assert np.array_equal(mapped.X, in_memory.X)
        assert len(mapped.table) == 18


@given(st.integers(0, 300), st.integers(1, 9), st.integers(1, 16))
def test_every_image_is_in_one_job_and_the_last_jobs_are_small(
    n: int, n_threads: int, batch_size: int
) -> None:
    rows = list(range(n))
    found = list(jobs(rows, n_threads, batch_size))
    assert [row for part in found for row in part] == rows
    assert all(len(part) % batch_size == 0 for part in found[:-1])
    assert not found or len(found[-1]) <= batch_size


@pytest.mark.parametrize("n_threads", [1, 2])
def test_an_interrupt_keeps_what_was_computed(photos: Path, n_threads: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(photos, engine(fails_after=8), n_threads=n_threads)
    after = run(photos, engine())
    in_hand = len(next(jobs(list(range(18)), n_threads, 1)))
    assert after.from_store >= 8 - n_threads * in_hand + 1
    assert after.computed + after.from_store == 18


def test_an_interrupt_between_images_keeps_what_was_computed(photos: Path) -> None:
    def stop(done: int, total: int) -> None:
        assert total == 18
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(photos, engine(), progress=stop, n_threads=1)
    assert run(photos, engine()).from_store >= 5


def test_an_error_of_the_engine_is_raised_and_not_swallowed(photos: Path) -> None:
    class Broken(CountingEngine):
        def run(self, pixels: np.ndarray) -> np.ndarray:
            raise RuntimeError("no memory left")

    whole = engine()
    broken = Broken(**{**vars(whole), "n_run": [], "n_started": []})
    with pytest.raises(RuntimeError, match="no memory left"):
        run(photos, broken, n_threads=2)


def test_progress_counts_every_image_once(photos: Path) -> None:
    seen: list[tuple[int, int]] = []
    (photos / "bad.jpg").write_bytes(b"")
    run(photos, engine(), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 19) for i in range(1, 20)]


def test_another_recipe_is_another_feature(photos: Path) -> None:
    from dataclasses import replace

    run(photos, engine())
    whole = engine()
    changes: list[dict[str, Any]] = [
        {"weights_digest": "cd" * 32}, {"precision": "bf16"}, {"runtime": "test 2"},
        {"widths": (("other", 12), ("final", 5))},
        {"preprocess": Preprocess(input_px=(32, 32), resize_px=40)},
    ]  # fmt: skip
    for change in changes:
        built = replace(whole, info=replace(whole.info, **change), n_run=[])
        assert run(photos, built).computed == 18, change
    same = replace(whole, info=replace(whole.info, batch_size=4, notes=("x",)), n_run=[])
    assert run(photos, same).computed == 0


def test_without_a_store_everything_is_computed_and_right(photos: Path) -> None:
    wanted = run(photos, engine())
    for _ in range(2):
        with Store.open(Path(os.devnull) / "none", decoder=DECODER_VERSION) as nothing:
            done = extract.run(table_of(photos), engine(), nothing)
        assert done.computed == 18
        assert np.array_equal(done.X, wanted.X)


def test_the_report_adds_up(photos: Path) -> None:
    report = run(photos, engine(), n_threads=2).report
    assert report.n_images == 18
    assert report.seconds > 0
    assert report.images_per_second == pytest.approx(18 / report.seconds)
    assert report.limit > 0
    assert report.share_of_limit == pytest.approx(report.images_per_second / report.limit)
    assert report.to_dict()["images"] == 18
