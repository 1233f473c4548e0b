"""A model at work where little may be written: read-only disks, nothing kept, other arithmetic."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regraft import model as models
from regraft.errors import BackboneError
from regraft.features import engines
from regraft.features.engine import difference
from regraft.features.extraction import Extraction
from regraft.features.store import Store
from regraft.listener import Listener
from regraft.machine import cache as caches
from regraft.machine import stand_in
from regraft.model import predicting, scoring
from regraft.record.configuration import RunConfig
from regraft.workflows import experiment, explaining

pytestmark = pytest.mark.numerics

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def trained(make_room: Callable[[str], Path], train_in: Write, make_photos: Write) -> Path:
    """A room with ``photos``, ``cache`` and ``runs/r/model``, and ``new`` pictures."""
    room = make_room("trained")
    make_photos(room / "new", n=2, size_px=64, seed=9)
    shutil.make_archive(str(room / "packed"), "zip", room / "new")
    return train_in(room, splits={"train": 5, "val": 2})


@pytest.fixture
def model(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGRAFT_CACHE", str(trained / "cache"))
    return trained / "runs" / "r" / "model"


@pytest.fixture
def no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache that cannot be made, and an empty folder for what is temporary."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    (tmp_path / "a-file").write_text("x")
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "a-file" / "cache"))
    yield temporary
    stand_in.remove()
    assert list(temporary.iterdir()) == []


@pytest.fixture
def ready_engine(built_engines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Building is copying: what is tested is where the engine goes, not how it is made."""
    made = next(folder for folder, _ in _engines_in(built_engines, monkeypatch))

    def copied(folder: Path, *args: Any, **options: Any) -> Any:
        shutil.copytree(made, folder, dirs_exist_ok=True)
        return engines._read_info(folder)

    from regraft.features import engine_builder

    monkeypatch.setattr(engine_builder, "build_into", copied)


def _engines_in(cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, Any]]:
    with monkeypatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(cache))
        return engines.list_built()


@pytest.mark.usefixtures("ready_engine")
def test_without_a_cache_that_can_be_written_every_command_answers_and_says_so(
    trained: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any
) -> None:
    wanted = predicting.predict(model, [trained / "new"], uses_store=False).proba
    temporary = request.getfixturevalue("no_room")
    said: list[str] = []
    listener = Listener(say=said.append)

    found = predicting.predict(model, [trained / "packed.zip"], listener=listener)
    np.testing.assert_allclose(found.proba, wanted, atol=1e-6)
    assert "it was built in a temporary folder, for this time only" in " ".join(said)
    assert str(caches.folder_of("engines")) in " ".join(said)
    assert "The feature store" in " ".join(said)

    said.clear()
    assert scoring.evaluate_model(model, trained / "photos", listener=listener).evaluation.n
    assert explaining.explain(model, [trained / "new"], out=tmp_path / "maps").images
    config = RunConfig(str(trained / "photos"))
    assert experiment.run(config, out=str(tmp_path / "runs"), name="t").folder.is_dir()
    assert not any("building the engine" in text for text in said), "it is built once a process"
    (left,) = temporary.iterdir()
    assert left.name.startswith("regraft-stand-in-")


def test_what_a_process_needed_for_itself_goes_with_it(
    trained: Path, model: Path, tmp_path: Path, run_cli: Any
) -> None:
    temporary = tmp_path / "temporary"
    (temporary / "regraft-stand-in-of-one-that-was-killed").mkdir(parents=True)
    (temporary / "regraft-stand-in-of-one-that-was-killed" / "in-use").touch()
    env = {"REGRAFT_CACHE": "/dev/null/cache", "TMPDIR": str(temporary)}
    done = run_cli("predict", model, trained / "new", "--json", env=env)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 6
    assert "it was built in a temporary folder" in done.stderr
    assert list(temporary.glob("regraft-*")) == []


def test_where_nothing_can_be_written_at_all_the_places_and_the_cure_are_named(
    no_room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(kind: str) -> Path:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(stand_in, "folder_of", refuse)
    with pytest.raises(BackboneError, match="nor in a temporary folder") as caught:
        engines.keep(lambda made: "key", is_whole=lambda folder: True)
    assert "REGRAFT_CACHE or TMPDIR" in caught.value.cure
    assert str(caches.folder_of("engines")) in caught.value.rule


def _traces(cache: Path, *marks: bytes) -> list[str]:
    """Files below the cache that hold one of these marks, in their name or in them."""
    files = [path for path in cache.rglob("*") if path.is_file()]
    return [
        str(path)
        for path in files
        if any(mark in path.read_bytes() or mark in str(path).encode() for mark in marks)
    ]


@pytest.mark.parametrize("form", ["new", "packed.zip"])
def test_without_the_store_no_trace_of_the_pictures_is_left(
    trained: Path, model: Path, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    pictures = sorted((trained / "new").rglob("*.jpg"))
    shutil.copytree(trained / "cache", tmp_path / "cache")
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "cache"))
    digests = [hashlib.sha256(path.read_bytes()).digest() for path in pictures]
    marks = [*digests, *(path.name.encode() for path in pictures)]
    contents = [path.read_bytes() for path in pictures]

    found = predicting.predict(model, [trained / form], uses_store=False)
    assert scoring.evaluate_model(model, trained / form, uses_store=False).evaluation.n == 6
    explained = explaining.explain(model, [trained / form], out=tmp_path / "maps", uses_store=False)
    assert len(explained.images) == len(found.paths) == 6
    assert _traces(tmp_path / "cache", *marks, *contents) == []
    assert not (tmp_path / "cache" / "archives").exists()
    assert list(temporary.iterdir()) == []

    again = predicting.predict(model, [trained / form])
    np.testing.assert_array_equal(again.proba, found.proba)
    assert _traces(tmp_path / "cache", *marks), "with it, there is one"


def test_the_command_knows_the_option(
    trained: Path, tmp_path: Path, run_cli: Any, engine_cache: Path
) -> None:
    model = trained / "runs" / "r" / "model"
    for command in (["predict"], ["evaluate"], ["explain", "--out", tmp_path / "maps"]):
        done = run_cli(*command, model, trained / "new", "--no-store", "-q")
        assert done.returncode == 0, done.stderr
    assert _traces(engine_cache, b"discs_all_000.jpg") == []


def test_a_bug_leaves_no_trace_either(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from regraft.cli import outcome

    class Failing:
        def main(self, standalone_mode: bool) -> None:
            raise ZeroDivisionError("oops")

    for argv, is_kept in ((["predict", "m", "x", "--no-store"], False), (["predict"], True)):
        monkeypatch.setattr("sys.argv", ["regraft", *argv])
        assert outcome.of(Failing()) == 1  # type: ignore[arg-type]
        assert "oops" in capfd.readouterr().err
        assert (cache / "regraft-error.jsonl").exists() == is_kept


def test_damaged_rows_of_the_store_are_said(
    trained: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(trained / "cache", tmp_path / "cache")
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "cache"))
    photos = trained / "photos" / "val"
    for path in photos.rglob("*.jpg"):
        os.utime(path, ns=(10**18, 10**18))

    def spoil() -> None:
        predicting.predict(model, [photos])
        connection = sqlite3.connect(tmp_path / "cache" / "features" / "store.sqlite")
        connection.execute("UPDATE features SET seal = seal + 1")
        connection.commit()
        connection.close()

    def evaluated(listener: Listener) -> None:
        scoring.evaluate_model(model, photos, listener=listener)

    def explained(listener: Listener) -> None:
        explaining.explain(model, [photos], out=tmp_path / "maps", listener=listener)

    def predicted(listener: Listener) -> None:
        predicting.predict(model, [photos], listener=listener)

    for command in (predicted, evaluated, explained):
        spoil()
        said: list[str] = []
        command(Listener(say=said.append))
        assert any("damaged rows were removed from the feature store" in line for line in said)


def test_a_store_that_is_nowhere_touches_nothing(cache: Path) -> None:
    with Store.nowhere() as store:
        store.put_features([bytes(32)], "recipe", np.ones((1, 4), np.float32))
        found, _ = store.features([bytes(32)], "recipe", 4)
        assert (found.tolist(), store.counts()["features"], store.report()) == ([False], 0, [])
    assert not cache.exists()


def test_a_model_says_what_it_was_tested_with(model: Path) -> None:
    card = json.loads((model / "config.json").read_text(encoding="utf-8"))["regraft"]["extra"]
    built = models.load(model).built()
    assert card["tested_with"] == {
        "runtime": built.info.runtime, "precision": built.info.precision, "device": "cpu"
    }  # fmt: skip


def test_a_model_that_runs_in_another_precision_says_what_differs(
    trained: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = models.load(model)
    info = here.built().info
    other = replace(info, precision={"bf16": "fp32", "fp32": "bf16"}[info.precision])
    said: list[str] = []
    replace(here, info=other, _built=None).built(say=said.append)
    (words,) = said
    for name in ("tested in " + other.precision, "runs in " + info.precision, info.runtime):
        assert name in words
    said.clear()
    replace(here, _built=None).built(say=said.append)
    assert said == []


def test_only_what_changes_numbers_is_a_difference(model: Path) -> None:
    info = models.load(model).built().info
    assert difference(info, replace(info, runtime=f"{info.runtime.split()[0]} 1.0")) == ""
    assert "less than 0.001" in difference(info, replace(info, runtime="torch 2.0"))
    assert "some hundredths" in difference(info, replace(info, precision="fp8"))


def test_the_store_is_bounded_by_default_and_never_takes_most_of_a_small_disk(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("REGRAFT_CACHE_LIMIT", raising=False)
    usage = shutil.disk_usage("/")._replace(total=50 * 2**30)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    assert caches.size_limit() == 5 * 2**30
    assert not cache.exists()
    with Store.open() as store:
        assert store.limit_bytes == 5 * 2**30
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(total=2**50))
    assert caches.size_limit() == caches.DEFAULT_LIMIT
    from regraft.console.cache import show_cache_sizes

    show_cache_sizes(caches.sizes(), limit=caches.size_limit())
    assert "at most 20.0 GiB (REGRAFT_CACHE_LIMIT)" in capsys.readouterr().out


def test_without_the_store_the_numbers_are_the_same(
    trained: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(trained / "cache", tmp_path / "cache")
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "cache"))
    classifier = models.load(model)
    table = predicting.all_images([str(trained / "new")])
    second = predicting.features_of(classifier, table, uses_store=False)
    first = predicting.features_of(classifier, table)
    assert (second.computed, second.from_store) == (6, 0)
    np.testing.assert_array_equal(first.X, second.X)
    assert isinstance(second, Extraction)
