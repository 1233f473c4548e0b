"""What a newcomer types that is not Regraft's: every refusal says the line to type instead."""

from __future__ import annotations

import io
import json
import os
import shlex
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

from regraft.cli import lr_find, outcome
from regraft.cli.main import COMMANDS, cli
from regraft.cli.missing import example_of
from regraft.cli.other_names import COMMANDS as OTHER_COMMANDS
from regraft.cli.other_names import OURS, WAYS, first_word
from regraft.console import progress
from regraft.console.auto import _show_not_tried
from regraft.console.explained import show_explained
from regraft.console.scored import _meaning_of_difference, _show_flattery
from regraft.console.screen import bare_table, stdout
from regraft.errors import UsageError
from regraft.estimator import ImageClassifier
from regraft.evaluation.levels import fewest_all_right, fewest_for, too_few
from regraft.model.place import others_there
from regraft.probe.classifier import Classifier
from regraft.server.teach import teach
from regraft.training.lr_find import RangeTest, smoothed

CONTEXT = click.Context(cli)


def said(line: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> str:
    """All that a line says on stderr, on one line; it must be refused as wrong use."""
    monkeypatch.setattr(sys, "argv", ["regraft", *shlex.split(line)])
    assert outcome.of(cli) in (2, 3, 5)
    return " ".join(capfd.readouterr().err.split())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run and its model, photographs, and a name with a blank."""
    monkeypatch.chdir(tmp_path)
    for folder in ("photos/ants", "my photos", "runs/first/model"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "photos/ants/1.jpg").write_bytes(b"\xff\xd8\xff")
    run = {"schema": 1, "config": {"data": "photos"}}
    (tmp_path / "runs/first/run.json").write_text(json.dumps(run))
    (tmp_path / "runs/first/report.html").write_text("<html>")
    for name in ("config.json", "regraft.safetensors", "model.safetensors"):
        (tmp_path / "runs/first/model" / name).write_text("{}")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("predict m x --threshold 0.9", "Here it is --precision, or --reject."),
        ("predict --model m x", "It is an argument: regraft predict MODEL IMAGES..."),
        ("serve --model m", "It is an argument: regraft serve MODEL..."),
        ("evaluate m d --out s.csv", "regraft predict MODEL IMAGES --out FILE.csv"),
        ("compare p --method full", "Here it is --ways."),
        ("auto p --method full", "Here it is --ways."),
        ("train p --ways full", "Here it is --method."),
        ("advise p --backbone lite1", "Here it is --backbones."),
        ("check p --split test", "It looks at every split at once."),
        ("report r --format pdf", "The page is HTML (--out FILE.html)"),
        ("check p --to onnx", "It is an option of regraft export."),
        ("predict m x -o a.csv", "Here it is --out."),
        ("train --data p", "It is an argument: regraft train [DATA]"),
        ("help", "Here it is regraft --help."),
        ("help train", "Here it is regraft train --help."),
        ("fit photos", "Here it is regraft train."),
        ("trian photos", "Did you mean 'train'?"),
        ("photos", "Did you mean 'regraft train photos'?"),
        ("runs/first", "Did you mean 'regraft predict runs/first IMAGES'?"),
        ("photos/ants/1.jpg", "Did you mean 'regraft predict MODEL photos/ants/1.jpg'?"),
        ("predict", "predict needs MODEL and IMAGES cure: regraft predict runs/NAME new/"),
        ("predict m", "predict needs IMAGES cure: regraft predict"),
        ("features photos", "features needs --out PARTS cure: regraft features photos/ --out"),
        ("export m", "needs --to, one of onnx, openvino, torch, docker, and --out DIR cure: reg"),
        ("train my photos", "(a name with blanks needs quotes: 'my photos')"),
        ("cache prune 10", "(such as: regraft cache prune --limit 5G)"),
        ("predict photos runs/first/model", "cure: regraft predict runs/first/model photos"),
        ("evaluate photos runs/first", "cure: regraft evaluate runs/first photos"),
        ("explain photos runs/first", "cure: regraft explain runs/first photos"),
        ("calibrate photos runs/first", "cure: regraft calibrate runs/first photos"),
        ("train runs/first", "'runs/first' is a run of Regraft, no folder of photographs"),
        ("train runs/first/model", "a model of Regraft, no folder of photographs"),
        ("check runs/first", "it learnt from 'photos'"),
        ("summary runs/first/model", "is a model of Regraft; here belongs the name of a network"),
        ("evaluate runs/first/run.json photos", "it is a file of a run; give the run: runs/first"),
    ],
)  # fmt: skip
def test_what_is_typed_otherwise_elsewhere_is_answered_with_what_is_meant(
    line: str, words: str, place: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert words in said(line, monkeypatch, capfd)


def options_of(name: str) -> set[str]:
    command = cli.get_command(CONTEXT, name)
    assert command is not None
    return {option for param in command.params for option in param.opts}


def test_every_other_name_points_to_what_there_is() -> None:
    every = set().union(*map(options_of, COMMANDS))
    assert {first_word(ours) for found in OURS.values() for ours in found} <= every
    assert set(OTHER_COMMANDS) <= set(COMMANDS)
    others = [name for names in OTHER_COMMANDS.values() for name in names]
    assert len(others) == len(set(others))
    assert not set(others) & set(COMMANDS)
    for name, option in WAYS:
        assert option not in options_of(name)


def test_a_command_that_needs_something_shows_a_line_that_has_it() -> None:
    for name in COMMANDS:
        command = cli.get_command(CONTEXT, name)
        assert command is not None
        if any(param.required for param in command.params):
            example = shlex.split(example_of(command))
            assert example[:2] == ["regraft", name]
            command.make_context(name, example[2:])  # it can be parsed


@pytest.mark.parametrize("n", [1, 20, 58, 59, 245, 300])
def test_a_level_that_is_offered_is_the_strictest_that_is_supported(n: int) -> None:
    def offered(name: str, level: float) -> int:
        cure = too_few(name, level, n, 10**6).cure
        return int(cure.removeprefix(name).partition("%")[0])

    p, r, c = (offered(*asked) for asked in
               (("--precision", 0.9999), ("--reject", 1e-4), ("--coverage", 0.9999)))  # fmt: skip
    assert fewest_all_right(p / 100) <= n
    assert p == 99 or fewest_all_right((p + 1) / 100) > n
    assert fewest_for(r / 100) <= n
    assert r == 1 or fewest_for((r - 1) / 100) > n
    assert c == 100 - r


@pytest.mark.parametrize(
    ("n", "n_known", "counts", "words"),
    [
        (245, 245, True, "245 of these images are what the model learnt from"),
        (398, 245, True, "153 of the 398 are new to it"),
        (153, 245, False, ""),
    ],
)
def test_that_a_score_is_of_what_was_learnt_stands_under_it(
    n: int, n_known: int, counts: bool, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    scored: Any = SimpleNamespace(table=range(n), n_learnt_from=n_known, counts_them=counts)
    _show_flattery(stdout(), scored)
    shown = " ".join(capsys.readouterr().out.split())
    assert words in shown
    assert bool(shown) == counts


def test_the_newest_of_many_runs_are_named(tmp_path: Path) -> None:
    for n in range(8):
        file = tmp_path / f"r{n}" / "run.json"
        file.parent.mkdir()
        file.write_text("{}")
        os.utime(file, (n, n))
    named = others_there(tmp_path, "run.json").replace(f"{tmp_path}/", "")
    assert named.endswith(": r7, r6, r5, r4, r3, ... (the newest first)")


def test_what_has_no_labels_can_be_labelled(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    text = said("train photos/ants", monkeypatch, capfd)
    for way in ("regraft teach photos/ants", "regraft predict MODEL photos/ants"):
        assert way in text


def test_a_slip_in_the_name_of_a_split_is_known(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    make_photos: Any,
) -> None:
    for split in ("trian", "test"):
        make_photos(place / "split" / split, classes=("discs", "squares"), n=2, size_px=32)
    assert "mv split/trian split/train" in said("train split", monkeypatch, capfd)


@pytest.mark.parametrize("name", ["photos/ants/1.jpg", "photos/ants/none.jpg"])
def test_teach_makes_no_folder_of_a_picture(name: str, place: Path) -> None:
    heard: list[str] = []
    with pytest.raises(UsageError, match="what is taught is a folder") as caught:
        teach(name, say=heard.append)
    assert caught.value.cure == "regraft teach photos/ants"
    assert heard == []
    assert not (place / "photos/ants/none.jpg").exists()


# -- What is seen while and after something is done --


def test_what_takes_long_says_so_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for is_terminal in (True, False):
        screen = io.StringIO()
        monkeypatch.setattr(screen, "isatty", lambda is_terminal=is_terminal: is_terminal)
        monkeypatch.setattr(sys, "stderr", screen)
        with progress.waiting("building it", after_s=0.01):
            time.sleep(0.1)
        assert ("building it ..." in screen.getvalue()) == is_terminal
        quick = len(screen.getvalue())
        with progress.waiting("building it", after_s=60):
            pass
        assert "building it" not in screen.getvalue()[quick:]


def test_lr_find_ends_with_the_line_to_type_next(capsys: pytest.CaptureFixture[str]) -> None:
    fall = [2.0] * 20 + [2.0 - 0.1 * step for step in range(15)] + [0.6, 0.6, 3.0]
    rates = [1e-5 * 1.3**step for step in range(len(fall))]
    found = RangeTest(rates, fall, smoothed(fall), True, 40, "full")
    typed = ["lr-find", "my photos", "--method", "full", "--out", "r.png"]
    lr_find._show_next(found, typed)
    (line,) = capsys.readouterr().out.splitlines()
    assert found.steepest is not None
    assert found.tenth is not None
    rate = min(found.steepest, found.tenth)
    assert line == (f"Next    regraft train 'my photos' --method full --learning-rate {rate:.1e}")
    lr_find._show_next(RangeTest([], [], [], False, 40, "head"), ["lr-find", "photos"])
    assert capsys.readouterr().out == "Next    regraft train photos --method head\n"


def test_no_line_of_a_table_ends_with_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    table = bare_table()
    table.add_column("one")
    table.add_column("two")
    for words in ("a long cell", "b"):
        table.add_row(words, words)
    table.add_row("c", "")
    stdout().print(table)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["one", "two"], ["a", "long", "cell", "a", "long", "cell"], ["b", "b"], ["c"],
    ]  # fmt: skip
    assert all(line == line.rstrip() for line in lines)


def test_ways_that_were_not_tried_for_one_reason_share_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def arm(way: str, why: str) -> dict[str, str]:
        return {"way": way, "backbone": "lite1", "why": why}

    arms = [
        arm("head", "may win next to nothing (log loss 0.057): little has to change"),
        arm("partial", "may win next to nothing (log loss 0.051): little has to change"),
        arm("full", "takes longer than is left: 80 s"),
    ]
    _show_not_tried(stdout(), arms)
    assert capsys.readouterr().out.splitlines() == [
        " " * 8 + "not tried: head, lite1; partial, lite1: may win next to nothing",
        " " * 8 + "not tried: full, lite1: takes longer than is left: 80 s",
        " " * 8 + "the reason of each, with its figures: metrics.json",
    ]


def test_labels_that_python_lacks_are_asked_for_with_the_call_that_knows_them() -> None:
    with pytest.raises(TypeError, match=r"regraft\.run\(FOLDER\)"):
        ImageClassifier().fit(str(Path(__file__).parent))
    with pytest.raises(TypeError, match=r"regraft\.evaluate_model"):
        Classifier.evaluate(SimpleNamespace(), "photos")  # type: ignore[arg-type]


def test_many_pictures_are_explained_in_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    def explained(n: int) -> Any:
        near = [{"path": "train/1.jpg", "similarity": 0.5}]
        image = {"path": "1.jpg", "label": "a", "explained": "a", "probability": 0.9,
                 "in_middle": None, "says_little": False, "nearest": near}  # fmt: skip
        return SimpleNamespace(
            images=[image] * n,
            rejected=(),
            skipped=(),
            notes=(),
            folder="ex",
            method="cam",
            why="w",
        )

    show_explained(explained(12), as_json=False)
    assert capsys.readouterr().out.count("like 0.50") == 12
    show_explained(explained(13), as_json=False)
    shown = capsys.readouterr().out
    assert "like 0.50" not in shown
    assert "maps.json names the nearest training images" in shown
    assert sum(line.startswith("1.jpg") for line in shown.splitlines()) == 13


@pytest.mark.parametrize(("given", "cure"), [("100", "--n 40"), ("0", "--n 1"), ("x", "leave out")])
def test_a_number_out_of_range_is_answered_with_the_nearest(
    given: str, cure: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert f"cure: {cure}" in said(f"show photos --n {given}", monkeypatch, capfd)


def test_a_difference_beyond_chance_says_what_it_means() -> None:
    harder = _meaning_of_difference({"difference": {"low": -0.2, "high": -0.1}})
    assert harder.startswith("these images are harder")
    assert _meaning_of_difference(None) == ""
