"""Folder in, tested classifier out: the whole way once, with everything that it leaves behind."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import regraft
from regraft import load
from regraft.errors import TableError
from regraft.features import extract
from regraft.listener import Listener
from regraft.record.configuration import RunConfig
from regraft.workflows import experiment, preparation
from regraft.workflows.experiment import Result

pytestmark = pytest.mark.numerics

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def story(
    make_room: Callable[[str], Path], put_engines: Callable[[Path], object], make_photos: Write
) -> tuple[Result, Path, list[tuple[str, int, int]]]:
    """A run on 3 classes in train and val, with one bad file; its cache; and what was told."""
    room = make_room("story")
    photos = make_photos(room / "photos", splits={"train": 8, "val": 4})
    (photos / "train" / "discs" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    put_engines(room / "cache")
    told: list[tuple[str, int, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(room / "cache"))
        patch.chdir(room)
        listener = Listener(progress=lambda *args: told.append(args))
        result = experiment.run(RunConfig("photos"), out=str(room / "runs"), listener=listener)
    return result, room, told


def test_the_score_is_that_of_val_and_better_than_guessing(story: Any) -> None:
    result, _, _ = story
    evaluation = result.evaluation
    assert (evaluation.split, evaluation.n) == ("val", 12)
    assert evaluation.accuracy.value >= 0.9  # 1.0 measured; shapes are easy for the network
    assert evaluation.accuracy.low > 1 / 3
    assert result.metrics["baselines"]["majority class"]["value"] == pytest.approx(1 / 3)


def test_metrics_hold_the_contract_of_the_architecture(story: Any) -> None:
    metrics = story[0].metrics
    assert metrics["schema"] == 1
    assert metrics["method"] == "probe"
    assert set(metrics["backbone"]) >= {"name", "digest", "licence"}
    data = metrics["data"]
    assert data["images"] == 36
    assert data["classes"] == ["discs", "squares", "stripes"]
    assert data["splits"] == {"train": 24, "val": 12}
    assert data["rejected"] == 1
    assert isinstance(data["findings"], int)
    for name in ("accuracy", "balanced_accuracy", "log_loss", "ece"):
        estimate = metrics["evaluation"][name]
        assert estimate["low"] <= estimate["value"] <= estimate["high"]
        assert estimate["level"] == 0.95
    assert set(metrics["chosen"]) >= {"taps", "strength", "by"}
    seconds = metrics["seconds"]
    parts = {"total", "engine", "features", "fit", "evaluate", "save"}
    assert parts <= set(seconds)
    assert sum(v for k, v in seconds.items() if k != "total") <= seconds["total"] + 0.01
    assert metrics["features"]["computed"] + metrics["features"]["from_store"] == 36
    assert metrics["features"]["engine"].startswith("openvino")
    json.dumps(metrics, allow_nan=False)


def test_the_folder_holds_what_a_run_leaves(story: Any) -> None:
    result, room, _ = story
    names = {path.name for path in result.folder.iterdir()}
    assert names >= {
        "run.json", "log.jsonl", "metrics.json", "predictions.csv", "findings.json", "model"
    }  # fmt: skip
    assert [p.name for p in (room / "runs").iterdir()] == [result.folder.name]
    assert json.loads((result.folder / "metrics.json").read_text()) == json.loads(
        json.dumps(result.metrics)
    )
    run = json.loads((result.folder / "run.json").read_text())
    assert RunConfig.from_dict(run["config"]) == RunConfig("photos")
    assert run["weights"] == result.metrics["backbone"]["digest"]
    found = json.loads((result.folder / "findings.json").read_text())
    assert found["rejected"][0]["path"].endswith("broken.jpg")
    assert found["rejected"][0]["reason"]


def test_predictions_are_those_of_val(story: Any) -> None:
    result, _, _ = story
    with open(result.folder / "predictions.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 12
    assert all("/val/" in f"/{row['path']}" for row in rows)
    right = sum(row["label"] == row["predicted"] for row in rows)
    assert right / 12 == pytest.approx(result.evaluation.accuracy.value)
    for row in rows:
        values = [float(row[f"p({c})"]) for c in ("discs", "squares", "stripes")]
        assert sum(values) == pytest.approx(1, abs=1e-4)
        assert max(values) == float(row["probability"])
        assert f"/{row['label']}/" in row["path"]


def test_the_model_says_what_the_run_said(story: Any) -> None:
    result, _, _ = story
    loaded = load(result.folder / "model")
    val = result.prepared.table.splits == "val"
    X = result.prepared.X[val]
    np.testing.assert_allclose(loaded.proba_of(X), result.classifier.proba_of(X), atol=1e-6)
    assert loaded.classes == ("discs", "squares", "stripes")


def test_everyone_is_told_how_far_it_is(story: Any) -> None:
    told = story[2]
    assert told == [("images", i, 37) for i in range(1, 38)]


def test_the_same_run_again_gives_the_same_numbers(
    story: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, room, _ = story
    monkeypatch.setenv("REGRAFT_CACHE", str(room / "cache"))
    monkeypatch.chdir(room)
    again = experiment.run(RunConfig("photos"), out=str(tmp_path))
    first, second = (r.folder / "predictions.csv" for r in (result, again))
    assert first.read_bytes() == second.read_bytes()
    for name in ("config.json", "model.safetensors", "regraft.safetensors"):
        files = [r.folder / "model" / name for r in (result, again)]
        if files[0].exists():
            assert files[0].read_bytes() == files[1].read_bytes(), name
    assert again.metrics["evaluation"] == result.metrics["evaluation"]


def run_in(room: Path, patch: pytest.MonkeyPatch, data: Path, out: Path, **settings: Any) -> Result:
    patch.setenv("REGRAFT_CACHE", str(room / "cache"))
    return experiment.run(RunConfig(str(data), **settings), out=str(out))


def test_a_class_absent_from_val_is_a_row_of_none(
    story: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(story[1] / "photos", tmp_path / "photos")
    shutil.rmtree(tmp_path / "photos" / "val" / "squares")
    result = run_in(story[1], monkeypatch, tmp_path / "photos", tmp_path / "runs")
    rows = {row["label"]: row for row in result.metrics["evaluation"]["per_class"]}
    assert list(rows) == ["discs", "squares", "stripes"]
    assert (rows["squares"]["n"], rows["squares"]["recall"]["value"]) == (0, None)
    assert (rows["discs"]["n"], result.evaluation.n) == (4, 8)
    assert result.evaluation.accuracy.value >= 0.85
    assert result.metrics["features"]["computed"] == 0, "copies of known pictures cost nothing"


@pytest.mark.parametrize(
    ("name", "near"), [("Discs", "'discs'"), ("disc", "'discs'"), ("zebras", None)]
)
def test_an_unknown_class_in_val_is_refused_with_near_names(
    story: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, near: str | None
) -> None:
    shutil.copytree(story[1] / "photos", tmp_path / "photos")
    (tmp_path / "photos" / "val" / "discs").rename(tmp_path / "photos" / "val" / name)
    with pytest.raises(TableError) as caught:
        run_in(story[1], monkeypatch, tmp_path / "photos", tmp_path / "runs")
    assert repr(name) in str(caught.value)
    assert near is None or near in str(caught.value)
    assert caught.value.exit_code == 3
    assert not (tmp_path / "runs").exists()


def test_classes_are_matched_by_name_whatever_their_order(
    story: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A manifest that lists val backwards, and lacks the class that sorts first in val."""
    photos = story[1] / "photos"
    rows = [
        (path, path.parent.name, path.parent.parent.name)
        for path in sorted(photos.rglob("*_0*.jpg"), reverse=True)
        if not (path.parent.parent.name == "val" and path.parent.name == "discs")
    ]
    with open(tmp_path / "list.csv", "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("path", "label", "split"), *rows])
    result = run_in(story[1], monkeypatch, tmp_path / "list.csv", tmp_path / "runs")
    assert result.evaluation.n == 8
    assert result.evaluation.accuracy.value >= 0.85
    assert result.metrics["evaluation"]["per_class"][0]["n"] == 0


def test_test_is_reported_where_there_is_one_and_nothing_leaks(
    story: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(story[1] / "photos", tmp_path / "photos")
    (tmp_path / "photos" / "val").rename(tmp_path / "photos" / "test")
    copy = tmp_path / "photos" / "test" / "discs" / "seen.jpg"
    shutil.copy(next((tmp_path / "photos" / "train" / "discs").glob("discs*.jpg")), copy)
    result = run_in(story[1], monkeypatch, tmp_path / "photos", tmp_path / "runs")
    assert result.evaluation.split == "test"
    assert result.metrics["leaks"]["images"] == 1
    assert result.metrics["leaks"]["evaluation_without"]["n"] == 12
    assert result.evaluation.n == 13


def test_groups_of_a_manifest_stay_together(
    story: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = sorted((story[1] / "photos").rglob("*_0*.jpg"))
    rows = [(p, p.parent.name, f"{p.parent.name}-{i // 3}") for i, p in enumerate(paths)]
    with open(tmp_path / "list.csv", "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("path", "label", "plant"), *rows])
    result = run_in(
        story[1], monkeypatch, tmp_path / "list.csv", tmp_path / "runs",
        group_column="plant", test_fraction=0.4,
    )  # fmt: skip
    table = result.prepared.table
    assert result.metrics["data"]["splits_assigned"]
    for group in set(table.groups):
        assert len(set(table.splits[table.groups == group])) == 1
    assert result.classifier.learnt.chosen_by.startswith("leave-one-unit-out")
    with open(result.folder / "predictions.csv", encoding="utf-8", newline="") as stream:
        said = {row["path"]: row["group"] for row in csv.DictReader(stream)}
    plant_of = {
        table.shown(path): plant for path, plant in zip(table.paths, table.groups, strict=True)
    }
    assert said
    assert said == {path: plant_of[path] for path in said}


def test_public_names_are_the_same_functions() -> None:
    assert regraft.run is experiment.run
    assert regraft.RunConfig is RunConfig


def test_the_store_is_asked_once_and_a_long_pass_is_told_before_it(
    engine_cache: Path, make_photos: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RunConfig(str(make_photos(tmp_path / "photos", n=4)))
    for path in (tmp_path / "photos").rglob("*.jpg"):  # so old that it tells by its time
        os.utime(path, ns=(10**18, 10**18))
    monkeypatch.setattr(preparation, "MANY", 3)
    monkeypatch.setattr(preparation, "LONG_S", 0.0)
    asked: list[slice] = []
    ask = extract._ask

    def counted(store: Any, table: Any, rows: slice, *rest: Any) -> list[int]:
        asked.append(rows)
        return ask(store, table, rows, *rest)

    monkeypatch.setattr(extract, "_ask", counted)
    heard: list[str] = []
    listener = Listener(
        say=heard.append, progress=lambda stage, done, total: heard.append(f"{done} of {total}")
    )
    preparation.prepare(config, listener=listener)
    (bill,) = [said for said in heard if said.startswith("expected: 12 images to be read")]
    assert heard.index(bill) < heard.index("1 of 12")
    heard.clear()
    preparation.prepare(config, listener=listener)  # all are in the store
    assert [said for said in heard if said.startswith("the bill")] == []
    assert len(asked) == 2
