"""Awkward points that a first-time user met: refused before the work, said in full, in words."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from rich.console import Console
from sklearn.exceptions import NotFittedError

from regraft.backbones import catalog
from regraft.cli import options, outcome
from regraft.cli.main import cli
from regraft.console.backbones import show_backbones
from regraft.console.baselines import _no_better, show_baselines
from regraft.console.evaluation import _header_widths, show_classes, show_score
from regraft.console.predictions import show_predictions
from regraft.console.screen import hang
from regraft.errors import BackboneError, RegraftError, TableError, UsageError
from regraft.estimator import ImageClassifier
from regraft.features import upkeep
from regraft.machine import cache as caches
from regraft.machine import devices
from regraft.model.predicting import Predictions, all_images
from regraft.record.configuration import RunConfig

Write = Callable[..., Path]


def refused(*args: object) -> str:
    """What a command that must be refused as wrong use says."""
    result = CliRunner().invoke(cli, [*map(str, args)])
    error = result.exception
    if isinstance(error, SystemExit):
        assert error.code == 2
        return result.output
    assert isinstance(error, RegraftError), repr(error)
    assert error.exit_code == 2
    return str(error)


# -- Refused before the work --


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["train", "x", "--device", "mps"], ["'mps'", "--device auto"]),
        (["train", "x", "--seed", "-1"], ["--seed", "-1"]),
        (["cache", "verify", "--seed", "-1"], ["--seed", "-1"]),
        (["layers", "x", "--out", "curve.bmp"], ["curve.bmp", ".svg"]),
        (["layers", "x", "--out", "none/curve.svg"], ["'none'", "--out"]),
        (["demo", "--folder", "afile"], ["'afile' is a file", "--folder"]),
        (["demo", "--folder", "afile/x"], ["afile/x", "--folder"]),
        (["train", "x", "--out", "afile/runs"], ["'afile/runs'", "cannot be created", "--out"]),
        (["predict", "m", "x", "--out", "none/a.csv"], ["'none'", "--out"]),
        (["predict", "m", "x", "--out", "afolder"], ["'afolder' is a folder"]),
        (["train", "--config", "c.json", "--head", "svm"], ["but --head was given too"]),
        (["train", "x", "--config", "c.json", "--seed", "0"], ["DATA, --seed were given"]),
        (
            ["train", "--config", "c.json"],
            ["'seed' must be a whole number of 0 or more, got -3", "c.json"],
        ),
        (["train", "x", "--backbone", "defalt"], ["'defalt'", "near: default"]),
        (["check", "x", "--backbone", "lite3"], ["'lite3'", "lite2"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_what_cannot_be_done_is_refused_at_once(
    args: list[str], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    make_photos: Write,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("afile").write_text("x")
    Path("afolder").mkdir()
    Path("c.json").write_text(json.dumps({"data": "x", "seed": -3}))
    make_photos(tmp_path / "x", n=1, size_px=32)
    monkeypatch.setattr(devices.sys, "platform", "linux")
    before = sorted(tmp_path.iterdir())
    said = refused(*args)
    for word in words:
        assert word in said
    assert sorted(tmp_path.iterdir()) == before


def test_a_device_that_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    there: list[str] = []
    monkeypatch.setattr(devices.glob, "glob", lambda pattern: there)
    monkeypatch.setattr(devices.sys, "platform", "linux")
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.9.0+cpu")
    with pytest.raises(UsageError, match="no GPU"):
        devices.require_device("cuda")
    there.append("/dev/nvidia3")
    with pytest.raises(UsageError, match=r"2\.9\.0\+cpu"):
        devices.require_device("cuda")
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.9.0")
    for device in ("cuda", "cpu", "auto"):
        devices.require_device(device)
    with pytest.raises(UsageError, match="no device is called 'gpu'"):
        devices.require_device("gpu")


def test_room_is_asked_for_without_making_anything(tmp_path: Path) -> None:
    options.require_room(str(tmp_path / "a" / "b"))
    assert list(tmp_path.iterdir()) == []


def test_names_of_timm_are_no_typos_of_ours() -> None:
    for name in ("resnet18", "vit_base_patch16_224", "tf_efficientnet_lite0", "efficientnet_lite0"):
        assert catalog.resolve(name).kind == "timm"
    with pytest.raises(BackboneError, match="near: default"):
        catalog.resolve("Default")


# -- The command as typed --


def test_train_survives_an_old_encoding_and_repeats_the_columns(
    run_cli: Any, engine_cache: Path, tmp_path: Path, make_photos: Write
) -> None:
    photos = make_photos(tmp_path / "photos", classes=("discs", "squares"), n=6, size_px=48)
    rows = [f"{p},{p.parent.name}" for p in sorted(photos.rglob("*.jpg"))]
    (tmp_path / "list.csv").write_text("\n".join(["file,kind", *rows]) + "\n")
    args = ("list.csv", "--path-column", "file", "--label-column", "kind")
    done = run_cli("train", *args, env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert "list.csv --path-column file --label-column kind" in done.stdout
    assert "(95 % interval" in done.stdout
    assert "very uncertain: the score is of" in done.stdout
    assert "leave-one" not in done.stdout
    assert "regraft: choosing and learning" in done.stderr
    (model,) = (tmp_path / "runs").glob("*/model")

    shutil.copy(next(photos.rglob("*.jpg")), tmp_path / "one.jpg")
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    some = run_cli("predict", model, "nope.jpg", "one.jpg", "bad.jpg", "--out", "a.csv")
    assert some.returncode == 0, some.stderr
    assert "1 image labelled, 2 could not be read: a.csv" in some.stdout
    assert "2 of 3 could not be read" in some.stderr
    assert "nope.jpg,,,,,no such file" in (tmp_path / "a.csv").read_text()
    none = run_cli("predict", model, "bad.jpg")
    assert none.returncode == 3
    assert "1 of 1 could not be read" in none.stderr


def test_json_keeps_stdout_to_itself_and_progress_goes_on_stderr(
    run_cli: Any, engine_cache: Path, tmp_path: Path, make_photos: Write
) -> None:
    make_photos(tmp_path / "photos", classes=("discs", "squares"), n=6, size_px=48)
    args = ("train", "photos", "--no-report", "--json")
    told = run_cli(*args, "--run", "told")
    assert json.loads(told.stdout)["method"] == "probe"
    assert told.stderr == "regraft: choosing and learning\n"
    silent = run_cli(*args, "--run", "silent", "--quiet")
    assert json.loads(silent.stdout)["method"] == "probe"
    assert silent.stderr == ""


def test_quiet_hides_what_goes_on_and_says_what_must_be_known(capsys: Any) -> None:
    from regraft.console import progress
    from regraft.listener import Doing

    with progress.listening(quiet=True) as listener:
        for hears in (listener, progress.counting(quiet=True)):
            hears.say(Doing("building the engine"))
            hears.say("one image was left out")
    assert capsys.readouterr().err == "regraft: one image was left out\n" * 2
    with progress.listening(quiet=False) as listener:
        listener.say(Doing("building the engine"))
    assert capsys.readouterr().err == "regraft: building the engine\n"


def test_what_comes_after_the_images_is_not_said_when_shards_are_listed(capsys: Any) -> None:
    from regraft.console import progress

    with progress.listening(quiet=False, after="learning") as listener:
        listener.progress("shards", 2, 2)
        listener.say("building the engine")
        listener.progress("images", 9, 9)
    assert capsys.readouterr().err == "regraft: building the engine\nregraft: learning\n"


def test_the_log_of_a_bug_lies_in_the_cache(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REGRAFT_LOG", raising=False)
    assert outcome._our_bug(ZeroDivisionError("oops")) == 1
    assert str(cache / "regraft-error.jsonl") in capsys.readouterr().err
    assert "oops" in (cache / "regraft-error.jsonl").read_text()
    assert list(tmp_path.iterdir()) == []


def test_signs_that_an_encoding_lacks_become_plainer() -> None:
    outcome._print_anything()
    assert "▁█ 90–99 … é".encode("ascii", "regraft") == rb"_# 90-99 ... \xe9"
    assert "90–99 é █".encode("cp1252", "regraft") == "90–99 é #".encode("cp1252")


def test_the_cache_says_its_size_its_limit_and_that_it_is_empty(cache: Path) -> None:
    run = CliRunner().invoke
    assert "nothing to verify" in run(cli, ["cache", "verify"]).output
    assert "the limit is 5.0 GiB" in run(cli, ["cache", "prune", "--limit", "5G"]).output
    assert "..." not in run(cli, ["cache", "--help"]).output.partition("Commands:")[2]
    assert upkeep.verify(1).n_stored == 0
    assert caches.size_limit("5G") == 5 * 2**30


# -- Predictions --


def test_missing_sources_are_rows_beside_others(tmp_path: Path, make_photos: Write) -> None:
    photos = make_photos(tmp_path / "p", n=2, size_px=32)
    (tmp_path / "notes").write_text("x")
    missing, notes = str(tmp_path / "nope.jpg"), str(tmp_path / "notes")
    table = all_images([missing, str(photos), notes])
    assert len(table) == 6
    reasons = {bad.path: bad.reason for bad in table.rejected}
    assert reasons[missing] == "no such file"
    assert reasons[notes].startswith("is neither")
    with pytest.raises(TableError, match=r"nope\.jpg"):
        all_images([missing, notes])


def test_the_csv_is_utf8_whatever_the_names(tmp_path: Path) -> None:
    path = b"a\xff.jpg".decode("utf-8", "surrogateescape")
    proba = np.array([[0.25, 0.75]])
    found = Predictions([path], ("a", "b"), proba, ())
    show_predictions(found, out=str(tmp_path / "a.csv"), as_json=False, top=2)
    assert r"a\udcff.jpg,b,0.75" in (tmp_path / "a.csv").read_text(encoding="utf-8")


# -- What is shown --


def screen(width: int) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, force_terminal=True, width=width, color_system=None), file


def test_predictions_do_not_overwrite_what_is_none(tmp_path: Path) -> None:
    for name, text in {
        "new.csv": None,
        "own.csv": "path,predicted,probability,p(a),error\n",
    }.items():
        if text:
            (tmp_path / name).write_text(text)
        options.require_own_table(str(tmp_path / name))
    os.mkfifo(tmp_path / "pipe")  # to read it would wait for ever
    options.require_own_table(str(tmp_path / "pipe"))
    (tmp_path / "labels.csv").write_text("path,label\na.jpg,ants\n")
    with pytest.raises(UsageError, match="holds no predictions"):
        options.require_own_table(str(tmp_path / "labels.csv"))


@pytest.mark.parametrize("name", ["p.xlsx", "p.XLS", "p.json", "p.parquet"])
def test_predictions_are_not_called_what_they_are_not(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="written as CSV") as caught:
        options.require_own_table(str(tmp_path / name))
    assert caught.value.cure == f"--out {tmp_path / 'p.csv'}"
    options.require_own_table(str(tmp_path / "p.tsv"))


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("--lr", "--learning-rate"), ("--imgsz", "--image-size"), ("--val-split", "--test-fraction")],
)
def test_what_other_tools_call_an_option_is_understood(
    theirs: str,
    ours: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["regraft", "train", "x", theirs, "y"])
    assert outcome.of(cli) == 2
    assert capfd.readouterr().err.splitlines()[-1] == (
        f"Error: No such option '{theirs}'. Here it is {ours}."
    )


def test_lines_hang_and_paths_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    out, file = screen(40)
    path = "/a/very/long/path/that/is/wider/than/the/whole/screen.jpg"
    hang(out, "Data", f"some words and then more of them {path} and 95 % after")
    lines = file.getvalue().splitlines()
    assert lines[0].startswith("Data    some words")
    assert all(line.startswith(" " * 8) for line in lines[1:])
    assert sum(path in line for line in lines) == 1
    assert all(len(line) <= 40 for line in lines if path not in line)
    wide = io.StringIO()
    hang(Console(file=wide, width=40), "Data", "word " * 40)
    assert len(wide.getvalue().splitlines()) == 1


def evaluation(counts: list[int], accuracy: float) -> dict[str, Any]:
    def estimate(value: float) -> dict[str, float]:
        return {"value": value, "low": 0.1, "high": 0.9, "level": 0.95}

    scores = {name: estimate(0.5) for name in ("recall", "precision", "f1")}
    return {
        "split": "test",
        "n": sum(counts),
        "accuracy": estimate(accuracy),
        "balanced_accuracy": estimate(0.5),
        "per_class": [{"label": f"c{i}", "n": n, **scores} for i, n in enumerate(counts)],
        "confusion": np.diag(counts).tolist(),
    }


def test_uneven_and_few_images_are_said() -> None:
    for counts, is_uneven, is_few in (([20, 20], False, False), ([9, 1], True, True)):
        out, file = screen(100)
        show_score(out, evaluation(counts, 0.9))
        show_classes(out, evaluation(counts, 0.9))
        assert ("Balanced accuracy 50.0 % (95 % interval 10.0 to 90.0 %)" in file.getvalue()) == (
            is_uneven
        )
        assert ("very uncertain: the score is of 10 images only" in file.getvalue()) == is_few
    out, file = screen(100)
    show_score(out, evaluation([1], 1.0))
    show_classes(out, evaluation([1], 1.0))
    assert "of 1 test image right" in file.getvalue()


def test_a_model_that_beats_no_baseline_is_told_so() -> None:
    scored = evaluation([90, 10], 0.9)
    baselines = {"majority class": {"value": 0.9}, "nearest neighbour": {"value": 0.95}}
    metrics = {
        "evaluation": scored,
        "baselines": baselines,
        "leaks": {"images": 0, "evaluation_without": None},
    }
    out, file = screen(100)
    show_baselines(out, metrics, RunConfig("x"), {"c0": 50, "c1": 5})
    assert "no better than always answering 'c0'" in file.getvalue()
    assert "no better than copying the nearest training image" in file.getvalue()
    assert "--class-weight balanced" in file.getvalue()
    out, file = screen(100)
    show_baselines(out, metrics, RunConfig("x", class_weight="balanced"), {"c0": 50, "c1": 5})
    assert "--class-weight" not in file.getvalue()
    baselines["majority class"]["value"] = baselines["nearest neighbour"]["value"] = 0.5
    assert _no_better(metrics) == []


def test_names_over_the_confusions_get_the_room_there_is() -> None:
    matrix = [[100, 0], [0, 100]]
    assert _header_widths(["a" * 20, "b" * 25], matrix, 64) == [20, 25]
    widths = _header_widths(["ants", "b" * 90], matrix, 64)
    assert widths == [4, 56]
    many = _header_widths(["c" * 30] * 12, [[0] * 12] * 12, 64)
    assert set(many) == {4}


def test_backbones_keep_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    from regraft.backbones.listing import Listed

    name = "vit_large_patch14_reg4_dinov2.lvd142m_with_a_very_long_tag_that_goes_on_and_on_and_on"
    found = [Listed(name, "vit", "hf-hub timm/" + name, "cc-by-nc-4.0", False)]
    show_backbones(found, pattern="vit", as_json=False)
    (_, line) = capsys.readouterr().out.splitlines()
    assert line.split() == [name, "hf-hub", "cc-by-nc-4.0"]


def test_near_names_of_a_pattern_are_offered() -> None:
    assert "resnet18" in refused("backbones", "rsnet")


# -- The estimator --


@pytest.mark.parametrize("mode", ["CMYK", "F", "I", "HSV", "YCbCr", "LAB", "RGBX", "La", "I;16"])
def test_pictures_of_any_mode_can_be_seen(mode: str) -> None:
    from regraft.images import pictures

    picture = Image.new("RGB", (8, 8), (10, 200, 30))
    if mode == "La":
        picture = picture.convert("LA").convert("La")
    elif mode == "I;16":
        picture = picture.convert("L").convert("I").convert("I;16")
    elif mode == "LAB":
        picture = Image.new("LAB", (8, 8))
    elif mode == "I":
        picture = Image.fromarray(np.full((8, 8), -70000, np.int32))
    else:
        picture = picture.convert("L").convert("F") if mode == "F" else picture.convert(mode)
    found = pictures.decoded(picture).pixels
    assert (found.shape, found.dtype) == ((8, 8, 3), np.uint8)


def test_labels_that_are_missing_are_named() -> None:
    with pytest.raises(ValueError, match="1 of 2 labels is missing"):
        ImageClassifier().fit(["a.jpg", "b.jpg"], ["a", None])
    with pytest.raises(ValueError, match="1 of 2 labels is missing"):
        ImageClassifier().fit(["a.jpg", "b.jpg"], [1.0, float("nan")])


def test_an_unfitted_classifier_says_so(tmp_path: Path) -> None:
    for use in ("predict", "predict_proba"):
        with pytest.raises(NotFittedError):
            getattr(ImageClassifier(), use)(["a.jpg"])
    with pytest.raises(NotFittedError):
        ImageClassifier().save(tmp_path / "m")
