"""What a newcomer types that is not Regraft's: every refusal says the line to type instead."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

from regraft.cli import outcome
from regraft.cli.main import COMMANDS, cli
from regraft.cli.missing import example_of
from regraft.cli.other_names import COMMANDS as OTHER_COMMANDS
from regraft.cli.other_names import OURS, WAYS, first_word
from regraft.console.scored import _show_flattery
from regraft.console.screen import stdout
from regraft.errors import UsageError
from regraft.evaluation.levels import fewest_all_right, fewest_for, too_few
from regraft.model.place import others_there
from regraft.server.teach import teach

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
    import os

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
