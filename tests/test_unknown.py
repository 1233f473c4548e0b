"""'None of these', and sets of answers: the distance, the noun, the model's file, every door."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import regraft
from regraft.choosing import promised
from regraft.cli import outcome
from regraft.cli.main import cli
from regraft.errors import DataError, UsageError
from regraft.features.engine import Tap
from regraft.model import tested_promises
from regraft.probe.classifier import Classifier
from regraft.probe.distance import STRENGTH, Landmarks
from regraft.probe.doubts import Levels
from regraft.probe.left_out_classes import each_class_out
from regraft.probe.network import Network
from regraft.probe.probe import Probe
from regraft.probe.unknown import Landed
from regraft.record.configuration import RunConfig
from regraft.training.usage import users
from regraft.workflows import calibrating, experiment

NETWORK = Network((Tap("final", 0, 12),), None)


def clouds(n: int, k: int, seed: int, spread: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """Features of n images of k classes around k corners of a space of 12."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % k
    X = 2 * np.eye(12)[y] + spread * rng.standard_normal((n, 12))
    return X.astype(np.float32), y


@pytest.fixture(scope="module")
def fitted() -> Classifier:
    X, y = clouds(400, 4, 0)
    return Probe(taps=("final",)).fit(X, y, network=NETWORK, classes="abcd")


# -- The distance --


def test_the_distance_is_what_ridge_does_not_explain() -> None:
    rng = np.random.default_rng(0)
    rows, asked = rng.standard_normal((2, 9, 5)).astype(np.float32)
    found = np.exp(Landmarks.of(rows).distance.log(asked))
    inverse = np.linalg.inv(rows.T @ rows + STRENGTH * np.eye(5))
    wanted = STRENGTH * np.einsum("nd,de,ne->n", asked, inverse, asked)
    assert found == pytest.approx(wanted, rel=5e-3)  # of directions in half precision


@pytest.mark.parametrize("units", [np.arange(9), np.array([0, 0, 1, 2, 2, 2, 3, 4, 5])])
def test_left_out_distances_are_those_of_a_fit_without_the_unit(units: np.ndarray) -> None:
    rows = np.random.default_rng(1).standard_normal((9, 6)).astype(np.float32)
    found = Landmarks.of(rows).left_out_log(units)
    for row in range(9):
        others = Landmarks.of(rows[units != units[row]])
        assert found[row] == pytest.approx(others.distance.log(rows[[row]])[0], abs=5e-3)


# -- What it says --


def test_false_alarms_are_what_was_asked_for(fitted: Classifier) -> None:
    fresh, _ = clouds(4000, 4, 1)
    for level in (0.02, 0.1):
        _, doubts = fitted.answers_of(fresh, Levels(reject=level))
        assert doubts.is_none is not None
        assert doubts.is_none.mean() == pytest.approx(level, abs=0.02)


def test_what_was_never_learnt_is_turned_away(fitted: Classifier) -> None:
    fifth = 2 * np.eye(12)[[7] * 50] + 0.4 * np.random.default_rng(2).standard_normal((50, 12))
    _, doubts = fitted.answers_of(fifth.astype(np.float32), Levels(reject=0.05))
    assert doubts.is_none is not None
    assert doubts.is_none.mean() > 0.9


def test_sets_cover_and_random_labels_only_make_them_large() -> None:
    X, y = clouds(600, 4, 3)
    shuffled = np.random.default_rng(0).permutation(y)
    fresh, truth = clouds(2000, 4, 4)
    noise = np.random.default_rng(1).permutation(truth)
    for labels, asked, least_size in ((y, truth, 0.8), (shuffled, noise, 3.0)):
        model = Probe(taps=("final",)).fit(X, labels, network=NETWORK, classes="abcd")
        _, doubts = model.answers_of(fresh, Levels(coverage=0.9))
        assert doubts.sets is not None
        coverage = doubts.sets[np.arange(2000), asked].mean()
        # Left out, a label that says nothing is always the rarer one: sets grow, and cover more.
        assert 0.87 <= coverage <= (0.935 if labels is y else 0.97)
        assert doubts.sets.sum(1).mean() >= least_size


def test_copies_do_not_make_it_surer() -> None:
    """Fifty pictures four times each are fifty: what fifty cannot promise is refused."""
    X, y = clouds(48, 4, 5)
    again = np.repeat(np.arange(48), 4)
    model = Probe(taps=("final",)).fit(
        X[again], y[again], network=NETWORK, classes="abcd", units=again
    )
    assert model.unknown is not None
    assert model.unknown.calibrating.n_units == 48
    with pytest.raises(UsageError, match=r"needs at least 49 images .* has 48"):
        model.require(Levels(reject=0.02))


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        (Levels(coverage=0.9999), "needs at least 9,999 images .* has 400"),
        (Levels(coverage=0.995, per_class=True), "199 images .* in each class, .* has 100"),
        (Levels(reject=0.001), "0.1 % needs at least 999 images that"),
        (Levels(precision=0.999), "needs at least 2,995"),
    ],
)
def test_levels_that_n_cannot_support_are_refused(
    fitted: Classifier, levels: Levels, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        fitted.require(levels)


def test_features_that_are_not_finite_are_refused(fitted: Classifier) -> None:
    X, _ = clouds(3, 4, 6)
    X[1, 2] = np.nan
    with pytest.raises(DataError, match="1 of 3 images are not finite, first of image 2"):
        fitted.answers_of(X, Levels(reject=0.1))


def test_a_model_without_it_says_how_to_get_it(fitted: Classifier) -> None:
    older = replace(fitted, unknown=None)
    with pytest.raises(UsageError, match="saved without") as refused:
        older.answers_of(clouds(2, 4, 0)[0], Levels(coverage=0.9))
    assert "regraft calibrate" in refused.value.cure
    assert older.proba_of(clouds(2, 4, 0)[0]).shape == (2, 4)


@pytest.mark.parametrize("head", ["ridge", "logistic", "svm", "ncm", "knn"])
def test_every_head_has_it(head: str) -> None:
    X, y = clouds(120, 4, 7)
    model = Probe(taps=("final",), head=head).fit(X, y, network=NETWORK, classes="abcd")
    far = np.full((5, 12), -3.0, np.float32)
    _, doubts = model.answers_of(np.concatenate([X[:5], far]), Levels(0.9, 0.05, 0.5))
    assert doubts.is_none is not None
    assert doubts.is_none[5:].all()


# -- A class left out --


def test_leaving_a_class_out_is_a_fit_without_it() -> None:
    """The closed form against fitting anew, image by image, centred on what remains."""
    rng, y = np.random.default_rng(0), np.arange(24) % 3
    rows = (np.eye(8)[y] + 0.3 * rng.standard_normal((24, 8))).astype(np.float32)
    units = np.where(np.arange(24) < 6, np.arange(24) // 2, np.arange(24))  # pairs, then singles
    found = {out.code: out for out in each_class_out(Landed(Landmarks.of(rows), y, units, 3))}
    for code in range(3):
        others, inside = np.flatnonzero(y != code), np.flatnonzero(y == code)
        centred = rows - rows[others].mean(axis=0)
        known = np.array([alone(centred, y, others[units[others] != units[row]], row, others)
                          for row in others])  # fmt: skip
        strange = np.array([alone(centred, y, others, row, others) for row in inside])
        weights = 1 / known.std(axis=0) * [1, -1]
        assert found[code].known == pytest.approx(known @ weights, rel=1e-3, abs=1e-3)
        assert found[code].unknown == pytest.approx(strange @ weights, rel=1e-3, abs=1e-3)


def alone(
    rows: np.ndarray, y: np.ndarray, taught: np.ndarray, row: int, all_taught: np.ndarray
) -> tuple[float, float]:
    """Log distance and highest score of one row by ridge regression of the taught rows."""
    B, z = rows[taught].astype(float), rows[row].astype(float)
    gram = B @ B.T + STRENGTH * np.eye(len(B))
    across = np.linalg.solve(gram, B @ z)
    names = np.unique(y[all_taught])
    labels = (y[taught][:, None] == names) - (y[all_taught][:, None] == names).mean(axis=0)
    return math.log(z @ z - (B @ z) @ across), float((across @ labels).max())


def test_of_two_classes_the_one_left_out_is_not_seen_from_the_middle_between_both() -> None:
    """Centred between both, the one left out lies where the other's mean points, mirrored."""
    X, y = clouds(200, 2, 3, spread=0.3)
    model = Probe(taps=("final",)).fit(X, y, network=NETWORK, classes="ab")
    assert model.learnt is not None
    assert model.learnt.landed is not None
    assert min(out.auroc for out in each_class_out(model.learnt.landed)) > 0.95


def test_a_class_like_no_other_is_told_apart_and_a_twin_is_not() -> None:
    X, y = clouds(200, 4, 8, spread=0.2)
    X[y == 3] = X[y == 2] + 0.01 * np.random.default_rng(0).standard_normal((50, 12))
    model = Probe(taps=("final",)).fit(X, y, network=NETWORK, classes="abcd")
    assert model.learnt is not None
    assert model.learnt.landed is not None
    found = [out.auroc for out in each_class_out(model.learnt.landed)]
    assert min(found[:2]) > 0.95
    assert max(found[2:]) < 0.75


# -- At rest, and through every door --


@pytest.fixture(scope="module")
def trained(make_room: Callable[[str], Path], train_in: Callable[..., Path]) -> Path:
    """``photos`` and ``runs/r/model``, which learnt from 90 of them; 18 test it."""
    return train_in(make_room("unknown"), splits={"train": 30, "test": 6})


@pytest.fixture
def model(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGRAFT_CACHE", str(trained / "cache"))
    return trained / "runs" / "r" / "model"


LEVELS = {"coverage": "80%", "reject": "10%", "precision": "80%"}
OPTIONS = [part for name, level in LEVELS.items() for part in (f"--{name}", level)]


def command(*args: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command line, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["regraft", *map(str, args)])
        code = outcome.of(cli)
    out, err = capsys.readouterr()
    return int(code or 0), out, err


def test_a_reloaded_model_says_the_same(model: Path, trained: Path, tmp_path: Path) -> None:
    first = regraft.load(model)
    copy = regraft.load(regraft.save(first, tmp_path / "copy"))
    paths = sorted((trained / "photos" / "test").rglob("*.jpg"))
    a, b = (one.answer(paths, **LEVELS) for one in (first, copy))
    assert np.array_equal(a.doubts.sets, b.doubts.sets)
    assert np.array_equal(a.doubts.typical, b.doubts.typical)


def test_one_picture_has_one_answer(
    model: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """R2: alone, in a batch, in another order, from a file, in memory, by the command line."""
    classifier = regraft.load(model)
    paths = sorted((trained / "photos" / "test").rglob("*.jpg"))
    whole = classifier.answer(paths, **LEVELS)
    backwards = classifier.answer(paths[::-1], **LEVELS).doubts
    alone_ = [classifier.answer(path.read_bytes(), **LEVELS).doubts for path in paths]
    found = regraft.predict(classifier, [str(path) for path in paths], **LEVELS).doubts
    code, out, _ = command("predict", model, *paths, *OPTIONS, "--json", capsys=capsys)
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    for place, row in enumerate(rows):
        typical = whole.doubts.typical[place]
        assert typical == pytest.approx(backwards.typical[-1 - place])
        assert typical == pytest.approx(alone_[place].typical[0])
        assert typical == pytest.approx(found.typical[place])
        assert row["typical"] == pytest.approx(typical, abs=1e-6)
        names = {classifier.classes[k] for k in np.flatnonzero(whole.doubts.sets[place])}
        assert set(row["set"]) == names
        assert row["none_of_these"] == bool(whole.doubts.is_none[place])
        assert (row["label"] is None) == row["none_of_these"]
        assert row["alone"] == bool(whole.doubts.is_alone[place])


def test_noise_is_none_of_these_in_words_and_in_a_table(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    (tmp_path / "bad.jpg").write_bytes(b"")
    code, out, err = command("predict", model, tmp_path, *OPTIONS, capsys=capsys)
    assert code == 0
    assert "none of these 3 classes (less like them than " in out
    assert "1 of 1 image is none of these 3 classes" in err
    table = tmp_path / "out" / "labels.csv"
    table.parent.mkdir()
    assert command("predict", model, tmp_path, *OPTIONS, "--out", table, capsys=capsys)[0] == 0
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert rows[0]["predicted"] == ""
    assert rows[0]["none_of_these"] == "true"
    assert isinstance(json.loads(rows[0]["set"]), list)
    assert rows[1]["error"]
    assert rows[1]["typical"] == ""


def test_in_memory_answers_have_rows_for_what_cannot_be_read(model: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    found = regraft.load(model).answer([b"", noise], **LEVELS)
    assert found.labels.tolist() == [None, None]
    assert found.is_read.tolist() == [False, True]
    assert np.isnan(found.doubts.typical[0])
    assert found.doubts.is_none.tolist() == [False, True]
    nobody = regraft.load(model).answer([b"", b""], **LEVELS).doubts
    assert nobody.sets.shape == (2, 3)
    assert regraft.load(model).predict_set([], coverage=0.8) == []
    assert len(regraft.load(model).typical([])) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--coverage", "95"], "--coverage must lie between 0 and 1 (0 % and 100 %), got 95"),
        (["--reject", "0"], "--reject must lie between 0 and 1"),
        (["--precision", "high"], "--precision is a share such as 95%, got 'high'"),
        (["--coverage", "99.9%"], "needs at least 999 images"),
        (["--per-class"], "--coverage 95% --per-class"),
    ],
)
def test_bad_levels_are_refused_before_any_work(
    model: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = command("predict", model, "nowhere", *options, capsys=capsys)
    assert (code, out) == (2, "")
    assert words in err


def test_a_run_says_what_its_promises_came_to(trained: Path) -> None:
    metrics = json.loads((trained / "runs" / "r" / "metrics.json").read_text(encoding="utf-8"))
    assert [one["coverage_asked"] for one in metrics["sets"]] == [0.8, 0.9, 0.95]
    first = metrics["sets"][0]
    assert first["calibrated_on"]["which"] == "left-out train"
    assert first["guarantee"] in ("1 - 2 alpha", "none")
    assert first["coverage"]["low"] <= first["coverage"]["value"] <= first["coverage"]["high"]
    unknown = metrics["unknown"]
    assert 0 <= unknown["leave_class_out_auroc"]["value"] <= 1
    assert unknown["false_alarms_asked"] == 0.02
    assert len(unknown["classes_left_out"]) == 3
    far = unknown["far"]
    assert far["images"] == 24
    assert [one["asked"] for one in far["levels"]] == [one["asked"] for one in unknown["levels"]]
    assert far["levels"][-1]["caught"]["value"] == 1.0


def test_evaluate_says_how_many_of_something_else_are_turned_away(
    model: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for number in range(5):
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(
            tmp_path / f"{number}.png"
        )
    asked = ("evaluate", model, trained / "photos", "--unknown", tmp_path)
    code, out, _ = command(*asked, "--json", capsys=capsys)
    found = json.loads(out)["strangers"]
    assert (code, found["images"]) == (0, 5)
    assert found["levels"][-1]["caught"]["value"] == 1.0
    assert "--reject 10 % turns away 100" in command(*asked, capsys=capsys)[1]


def older_copy(model: Path, folder: Path) -> Path:
    """As it was saved before there was such a thing."""
    return regraft.save(replace(regraft.load(model), unknown=None), folder)


def test_an_older_model_answers_and_is_calibrated(
    model: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    older = older_copy(model, tmp_path / "older")
    test = trained / "photos" / "test"
    assert regraft.load(older).unknown is None
    before = regraft.load(older).predict_proba(sorted(test.rglob("*.jpg")))
    code, _, err = command("predict", older, test, "--reject", "10%", capsys=capsys)
    assert code == 2
    assert f"regraft calibrate {older} DATA" in err
    code, out, err = command("calibrate", older, trained / "photos", "--json", capsys=capsys)
    assert code == 0, err
    said = json.loads(out)
    assert said["calibrated_on"]["images"] == 18
    assert said["learnt_from"] == 90
    assert said["guarantee"] == "1 - alpha"
    assert np.array_equal(before, regraft.load(older).predict_proba(sorted(test.rglob("*.jpg"))))
    assert command("predict", older, test, "--reject", "10%", capsys=capsys)[0] == 0
    alone_, out, err = command("calibrate", older, test, capsys=capsys)
    assert (alone_, "calibrated on 18 images" in out) == (0, True)
    said = " ".join(err.split())  # a long path breaks the line
    assert f"is replaced: images of {trained / 'photos'} (18 images); the run's report" in said


def test_a_promise_that_the_models_own_test_missed_is_not_given_again_unsaid(
    model: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tested on another kind of picture than it learnt from; and calibrated on that kind later."""
    made, test = regraft.load(model), trained / "photos" / "test"
    right = {"value": 0.4, "low": 0.2, "high": 0.6, "level": 0.95}
    came_to = promised.judged_of_each(
        {
            "sets": [{"coverage_asked": 0.95, "coverage": right}],
            "alone": [{"precision_asked": 0.9, "precision": right}],
            "unknown": None,
        }
    )
    assert {option for option, each in came_to.items() if any(each.values())} == {
        "coverage",
        "precision",
    }
    card = {**made.card, "tested_promises": came_to}
    mine = regraft.save(replace(made, card=card), tmp_path / "model")
    code, _, err = command("predict", mine, test, *OPTIONS, capsys=capsys)
    said = " ".join(err.split())
    assert code == 0
    assert "do not count on --coverage: when this model was tested, sets for 95 % coverage" in said
    assert "do not count on --precision: " in said
    assert "do not count on --reject" not in said
    assert "do not count" not in command("predict", mine, test, capsys=capsys)[2]
    assert command("calibrate", mine, test, capsys=capsys)[0] == 0
    assert "do not count" not in command("predict", mine, test, *OPTIONS, capsys=capsys)[2]


def test_a_promise_is_judged_at_the_level_that_is_asked_for(
    model: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Missed at 80 % and at 5 % alone: nothing was said, since 95 % and 2 % were kept."""
    made, test = regraft.load(model), trained / "photos" / "test"
    kept, few = {"value": 0.97, "low": 0.9, "high": 1.0}, {"value": 0.4, "low": 0.3, "high": 0.5}
    none = {"value": 0.0, "low": 0.0, "high": 0.05}
    metrics = {
        "sets": [
            {"coverage_asked": 0.8, "coverage": few, "calibrated_on": {"units": 1000}},
            {"coverage_asked": 0.95, "coverage": kept, "calibrated_on": {"units": 1000}},
        ],
        "unknown": {
            "false_alarms_asked": 0.02, "false_alarms": none, "calibrated_on": {"units": 1000},
            "levels": [{"asked": 0.02, "false_alarms": none}, {"asked": 0.05, "false_alarms": few}],
        },
        "alone": [{"precision_asked": 0.9, "precision": few},
                  {"precision_asked": 0.99, "precision": None}],
    }  # fmt: skip
    assert list(promised.missed(metrics)) == []  # the verdict judges one level of each
    card = {**made.card, "tested_promises": promised.judged_of_each(metrics)}
    mine = regraft.save(replace(made, card=card), tmp_path / "model")

    def said(*levels: str) -> str:
        code, _, err = command("predict", mine, test, *levels, capsys=capsys)
        assert code == 0, err
        return " ".join(err.split())

    assert "sets for 80 % coverage held the right class in 40.0 %" in said("--coverage", "80%")
    assert "do not count" not in said("--coverage", "93%")
    assert "where at most 5 % should be" in said("--reject", "6%")
    assert "do not count on --precision" in said("--precision", "80%")


def test_models_of_before_have_one_level_judged() -> None:
    card = {"missed_promises": {"coverage": "80 % held"}}
    assert tested_promises.missed(card, Levels(coverage=0.99)) == {"coverage": "80 % held"}
    assert tested_promises.missed(card, Levels(reject=0.02)) == {}


def test_the_card_has_what_the_run_found_of_its_promises(model: Path) -> None:
    metrics = json.loads((model.parent / "metrics.json").read_text(encoding="utf-8"))
    assert regraft.load(model).card["tested_promises"] == promised.judged_of_each(metrics)


def test_a_run_made_again_says_that_a_calibration_goes(
    model: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = regraft.load(model)
    mine = tmp_path / "run" / "model"
    regraft.save(made, mine)
    assert calibrating.lost_with(mine.parent, made) == ""
    assert calibrating.lost_with(tmp_path, made) == ""
    # As `auto` does, whose first model is a probe; and by hand in the place of what `train` made.
    assert calibrating.lost_with(mine.parent, replace(made, unknown=None)) == ""
    command("calibrate", mine, trained / "photos" / "test", capsys=capsys)
    lost = calibrating.lost_with(mine.parent, made)
    assert lost == f"images of {trained / 'photos' / 'test'}"


def test_what_taught_a_model_does_not_calibrate_it(
    model: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    older = older_copy(model, tmp_path / "older")
    code, _, err = command("calibrate", older, trained / "photos" / "train", capsys=capsys)
    assert code == 3
    assert "0 images of" in err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("directions", np.zeros((3, 5), np.float16)),
        ("weights", np.zeros(3)),
        ("codes", np.full(90, 7, np.int32)),
        ("p_true", np.zeros(4)),
        ("odd", np.full(90, np.nan)),
        ("is_right", np.zeros(90, np.int64)),
        ("units", None),
    ],
)
def test_tensors_that_do_not_fit_are_refused(model: Path, name: str, value: Any) -> None:
    from regraft.probe.unknown import Unknown

    known = regraft.load(model)
    assert known.unknown is not None
    tensors = {**known.unknown.to_tensors(), name: value}
    if value is None:
        del tensors[name]
    with pytest.raises((ValueError, KeyError), match=name):
        Unknown.from_saved(known.unknown.to_config(), tensors, len(known.representation.centre), 3)


def test_val_beside_test_calibrates_with_the_plain_guarantee(
    tmp_path: Path, train_in: Callable[..., Path]
) -> None:
    room = train_in(tmp_path, splits={"train": 12, "val": 60, "test": 4})
    metrics = json.loads((room / "runs" / "r" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["sets"][0]["guarantee"] == "1 - alpha"
    assert metrics["sets"][0]["calibrated_on"]["which"] == "val"
    assert metrics["sets"][0]["calibrated_on"]["units"] >= 100


@pytest.mark.parametrize("method", ["head", "partial", "full"])
def test_what_calibrates_a_training_was_said_by_a_head_that_had_not_seen_it(
    tmp_path: Path, make_photos: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Labels by chance: what has seen an image knows its label, and nothing else can. The head of
    the model is based on the probe of all of train, so sets by what *it* says of held-out images
    were far too small (17 to 51 % of a test held the truth, where 95 % were promised)."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for file in sorted(make_photos(tmp_path / "drawn", n=40).rglob("*.jpg")):
        split = "train" if rng.random() < 0.8 else "test"
        place = (
            tmp_path / "chance" / split / "ab"[rng.integers(2)] / f"{file.parent.name}{file.name}"
        )
        place.parent.mkdir(parents=True, exist_ok=True)
        file.rename(place)
    settings = {"epochs": 1, "select_fraction": 0.5, "interpolate": False, "image_size": 64}
    config = RunConfig(
        "chance", method=method, backbone="random:test_efficientnet", head="ridge",
        training={k: v for k, v in settings.items() if method in users(k)},
    )  # fmt: skip
    learnt = experiment.run(config).classifier
    assert learnt.unknown is not None
    assert learnt.unknown.which.startswith("held-out")
    right = learnt.unknown.calibrating.is_right
    tested = learnt.learnt.oof_proba.argmax(1) == learnt.unknown.calibrating.codes
    np.testing.assert_array_equal(right, tested)
    assert right.mean() < 0.75
