"""A saved model at work: which images it is asked about, and what it says of the others."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from regraft.console.predictions import show_predictions
from regraft.data.table import Rejected
from regraft.errors import ArtefactError, TableError, UsageError
from regraft.model import load, predicting, scoring
from regraft.model.predicting import Predictions

pytestmark = pytest.mark.numerics

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def trained(make_room: Callable[[str], Path], train_in: Write) -> Path:
    """A room with ``photos``, ``cache`` and ``runs/r/model``."""
    room = make_room("trained")
    return train_in(room, splits={"train": 5, "val": 2, "test": 2})


@pytest.fixture
def model(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGRAFT_CACHE", str(trained / "cache"))
    return trained / "runs" / "r" / "model"


def test_files_folders_and_manifests_are_joined_and_each_path_is_asked_once(
    trained: Path, model: Path, tmp_path: Path
) -> None:
    folder = trained / "photos" / "val" / "discs"
    files = sorted(map(str, folder.iterdir()))
    with open(tmp_path / "list.csv", "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["path"], *[[f] for f in files]])
    found = predicting.predict(model, [str(folder), files[0], str(tmp_path / "list.csv")])
    assert sorted(found.paths) == files
    assert len(found.proba) == 2


def test_a_flat_folder_is_labelled_too(trained: Path, model: Path, tmp_path: Path) -> None:
    for path in (trained / "photos" / "val").rglob("*.jpg"):
        shutil.copy(path, tmp_path / path.name)
    found = predicting.predict(model, [str(tmp_path)])
    assert len(found.paths) == 6
    again = predicting.predict(model, [str(trained / "photos" / "val")])
    first = {Path(p).name: row for p, row in zip(found.paths, found.proba, strict=True)}
    for path, row in zip(again.paths, again.proba, strict=True):
        assert np.array_equal(first[Path(path).name], row)


def test_bad_files_are_rows_of_their_own(trained: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"GIF89a")
    good = next((trained / "photos" / "val" / "discs").iterdir())
    found = predicting.predict(model, [str(good), str(tmp_path / "bad.jpg")])
    assert [Path(p).name for p in found.paths] == [good.name]
    (bad,) = found.rejected
    assert Path(bad.path).name == "bad.jpg"
    rows = list(found.rows())
    assert rows[1]["error"] == bad.reason
    only = predicting.predict(model, [str(tmp_path / "bad.jpg")])
    assert (only.paths, only.labels, len(only.rejected)) == ([], [], 1)


def test_nothing_to_predict_is_said(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(TableError, match="no images"):
        predicting.predict(model, [str(tmp_path / "empty")])


def test_what_is_no_model_is_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtefactError):
        predicting.predict(trained / "photos", [str(trained / "photos")])


def test_test_is_scored_unless_another_split_is_asked_for(trained: Path, model: Path) -> None:
    photos = trained / "photos"
    for split, n in ((None, 6), ("val", 6), ("train", 15), ("all", 27)):
        scored = scoring.evaluate_model(model, photos, split=split)
        assert scored.evaluation.split == (split or "test")
        assert scored.evaluation.n == len(scored.table) == n
    assert scoring.evaluate_model(model, photos / "val").evaluation.split == "all"
    with pytest.raises(UsageError, match="no 'test' split") as caught:
        scoring.evaluate_model(model, trained_without_test(trained), split="test")
    assert "--split" in str(caught.value)


def trained_without_test(room: Path) -> Path:
    copy = room / "without-test"
    if not copy.exists():
        shutil.copytree(room / "photos", copy)
        shutil.rmtree(copy / "test")
    return copy


def test_unlabelled_and_unreadable_images_are_counted(
    trained: Path, model: Path, tmp_path: Path
) -> None:
    paths = sorted((trained / "photos" / "val").rglob("*.jpg"))
    (tmp_path / "bad.jpg").write_bytes(b"")
    rows = [(p, p.parent.name if i else "") for i, p in enumerate(paths)]
    rows.append((tmp_path / "bad.jpg", "discs"))
    with open(tmp_path / "list.csv", "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("path", "label"), *rows])
    scored = scoring.evaluate_model(model, tmp_path / "list.csv")
    assert scored.evaluation.n == 5
    assert scored.n_unlabelled == 1
    assert [Path(r.path).name for r in scored.table.rejected] == ["bad.jpg"]
    content = json.loads(json.dumps(scored.to_dict(), allow_nan=False))
    assert content["data"]["unlabelled"] == 1
    assert content["data"]["rejected"][0]["reason"]


def test_classes_the_model_does_not_know_are_refused(
    trained: Path, model: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained / "photos" / "val", tmp_path / "val")
    (tmp_path / "val" / "discs").rename(tmp_path / "val" / "diskos")
    with pytest.raises(TableError, match="'diskos'") as caught:
        scoring.evaluate_model(model, tmp_path / "val")
    assert "discs" in str(caught.value)


def test_a_part_of_the_classes_is_scored(trained: Path, model: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "photos" / "val" / "stripes", tmp_path / "stripes")
    scored = scoring.evaluate_model(model, tmp_path)
    rows = {row["label"]: row["n"] for row in scored.to_dict()["evaluation"]["per_class"]}
    assert rows == {"discs": 0, "squares": 0, "stripes": 2}


def test_one_path_is_one_path_and_not_its_letters(trained: Path, model: Path) -> None:
    """A name read letter by letter has '/' among them: the whole disk."""
    file = next((trained / "photos" / "val" / "discs").iterdir())
    for given in (str(file), file, [file], (str(file),), np.array([str(file)])):
        assert predicting.predict(model, given).paths == [str(file)]
    found = predicting.predict(model, str(trained / "photos" / "val" / "discs"))
    assert len(found.paths) == 2
    for given in (np.zeros((4, 4, 3), np.uint8), b"...", [str(file), None]):
        with pytest.raises(TypeError, match=r"regraft\.load\(MODEL\)\.predict"):
            predicting.predict(model, given)
    with pytest.raises(TableError, match="no images were named"):
        predicting.predict(model, [])


def test_a_model_in_memory_serves_as_one_on_disk(trained: Path, model: Path) -> None:
    held, photos = load(model), trained / "photos"
    wanted = predicting.predict(model, [photos / "val"])
    for given in (held, SimpleNamespace(classifier_=held)):  # an ImageClassifier, fitted
        assert np.array_equal(predicting.predict(given, photos / "val").proba, wanted.proba)
        scored = scoring.evaluate_model(given, photos)
        assert (
            scored.evaluation.accuracy == scoring.evaluate_model(model, photos).evaluation.accuracy
        )
    for wrong in (None, 3, SimpleNamespace()):
        with pytest.raises(TypeError, match="a Classifier or a fitted ImageClassifier"):
            predicting.predict(wrong, photos / "val")
    with pytest.raises(TypeError, match="path of its folder, got Classifier"):
        load(held)


PREDICTIONS = Predictions(
    ["a.jpg", "new\nline.jpg"],
    ("x", "y", "z"),
    np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]),
    (Rejected("bad\udcff.jpg", "empty", "copy it again"),),
)


def test_rows_are_ranked_and_ties_go_by_the_order_of_the_classes() -> None:
    rows = list(PREDICTIONS.rows(top=2))
    assert rows[0] == {"path": "a.jpg", "label": "x", "probability": 0.5,
                       "top": [["x", 0.5], ["y", 0.3]]}  # fmt: skip
    assert rows[1]["top"] == [["z", 0.8], ["x", 0.1]]
    assert rows[2] == {"path": "bad\udcff.jpg", "error": "empty", "mend": "copy it again"}


def test_lines_fit_any_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show_predictions(PREDICTIONS, out=None, as_json=False, top=3)
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 2
    assert "new\\nline.jpg" in shown.out
    assert "x 50.0 %" in shown.out
    assert "bad\\udcff.jpg: not read: empty" in shown.err


def test_the_csv_has_a_row_an_image_and_reads_back(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    show_predictions(PREDICTIONS, out=str(file), as_json=False, top=3)
    with open(file, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["path"] for row in rows] == ["a.jpg", "new\nline.jpg", "bad\\udcff.jpg"]
    assert [row["predicted"] for row in rows] == ["x", "z", ""]
    assert [row["p(x)"] for row in rows] == ["0.50000", "0.10000", ""]
    assert rows[2]["error"] == "empty"
    assert all(None not in row and None not in row.values() for row in rows), "columns line up"


def test_of_many_classes_the_csv_names_five(tmp_path: Path) -> None:
    classes = tuple(f"c{i:02}" for i in range(60))
    proba = np.full((1, 60), 1 / 60)
    found = Predictions(["a.jpg"], classes, proba, ())
    show_predictions(found, out=str(tmp_path / "a.csv"), as_json=False, top=3)
    with open(tmp_path / "a.csv", newline="", encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    assert list(row) == ["path", "predicted", "probability", "top_5", "error"]
    assert row["top_5"].split()[0] == "c00=0.01667"
