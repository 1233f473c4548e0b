"""The command `regraft`: what each call prints, where, and with which exit code.

Most calls run in this process, through the very function that the program runs; signals, pipes
and `--json` on a real stdout run in one of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bad_files import make_battery
from regraft.cli import outcome
from regraft.cli.main import COMMANDS, cli

Write = Callable[..., Path]


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


Call = Callable[..., Ended]


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Call:
    """``call("train", folder)``: as typed, in `tmp_path`."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)

    def run(*args: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["regraft", *map(str, args)])
        before = signal.getsignal(signal.SIGTERM)
        capsys.readouterr()
        try:
            code = outcome.of(cli)
        finally:
            signal.signal(signal.SIGTERM, before)
        return Ended(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def shelf(
    make_room: Callable[[str], Path], put_engines: Callable[[Path], object], make_photos: Write
) -> Path:
    """``photos`` with splits, ``plain`` without, ``cache`` with engine and features, and a run."""
    room = make_room("shelf")
    make_photos(room / "photos", splits={"train": 6, "val": 3}, size_px=64)
    make_photos(room / "plain", classes=("discs", "squares"), n=8, size_px=64, seed=1)
    put_engines(room / "cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(room / "cache"))
        patch.setattr(sys, "argv", ["regraft", "train", str(room / "photos"), "-q",
                                    "--out", str(room / "runs"), "--run", "first"])  # fmt: skip
        assert outcome.of(cli) == 0
    return room


@pytest.fixture
def warm(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shelf, its cache in use."""
    monkeypatch.setenv("REGRAFT_CACHE", str(shelf / "cache"))
    return shelf


# -- Wrong use --


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["--version"], 0, ["regraft, version"]),
        (["--help"], 0, [*COMMANDS, "One folder per class"]),
        (["tran", "x"], 2, ["'tran'", "'train'"]),
        (["zzz"], 2, ["'zzz'"]),
        (["train"], 2, ["needs DATA", "regraft train photos/"]),
        (["train", "x", "--sede", "1"], 2, ["--sede", "--seed"]),
        (["train", "x", "--head", "forest"], 2, ["forest", "ridge"]),
        (["train", "x", "--seed", "one"], 2, ["--seed", "one"]),
        (["train", "x", "--test-fraction", "1"], 2, ["--test-fraction"]),
        (["train", "no/such/folder"], 3, ["no/such/folder"]),
        (["train", "empty"], 3, ["empty", "one folder of images per class"]),
        (["train", "one"], 3, ["at least 2 classes"]),
        (["train", "file.txt"], 3, ["file.txt"]),
        (["check", "empty"], 3, ["empty"]),
        (["train", "--config", "missing.json"], 2, ["missing.json"]),
        (["train", "--config", "bad.json"], 2, ["'backbon'", "'backbone'", "bad.json"]),
        (["train", "two", "--backbone", "no/name"], 2, ["'no/name'", "hf-hub"]),
        (["train", "two", "--weights", "missing.pth"], 2, ["missing.pth"]),
        (["train", "two", "--weights", "file.txt"], 5, ["file.txt", ".safetensors"]),
        (["train", "two", "--run", "a/b"], 2, ["'a/b'", "--out"]),
        (["train", "two", "--taps", "blocks.99"], 2, ["blocks.99", "blocks.1"]),
        (["train", "two", "--method", "magic"], 2, ["magic", "probe"]),
        (["predict", "model"], 2, ["IMAGES"]),
        (["predict", "no-model", "two"], 5, ["no-model"]),
        (["predict", "two", "two"], 5, ["two"]),
        (["evaluate", "no-model", "two"], 5, ["no-model"]),
        (["cache", "prune", "--limit", "lots"], 2, ["'lots'", "20G"]),
        (["cache", "verify", "--sample", "-1"], 2, ["-1"]),
        (["cache", "clean"], 2, ["clean"]),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else str(value),
)  # fmt: skip
def test_every_end_has_its_code_and_says_what_to_do(
    args: list[str], code: int, words: list[str], call: Call, tmp_path: Path, make_photos: Write,
    engine_cache: Path,
) -> None:  # fmt: skip
    (tmp_path / "empty").mkdir()
    make_photos(tmp_path / "one", classes=["discs"], n=10, size_px=32)
    make_photos(tmp_path / "two", classes=["discs", "squares"], n=6, size_px=32)
    (tmp_path / "file.txt").write_text("hello")
    (tmp_path / "bad.json").write_text('{"data": "x", "backbon": "lite1"}')
    ended = call(*args)
    assert ended.code == code, ended.err
    said = ended.out if code == 0 else ended.err
    for word in words:
        assert word in said
    assert "Traceback" not in ended.err
    assert code == 0 or ended.out == ""
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, call: Call) -> None:
    ended = call(command, "--help")
    assert ended.code == 0
    assert ended.out.startswith("Usage: ")
    assert len(ended.out) > 200


def test_an_unknown_class_in_val_ends_with_3_and_near_names(
    warm: Path, call: Call, tmp_path: Path
) -> None:
    shutil.copytree(warm / "photos", tmp_path / "photos")
    (tmp_path / "photos" / "val" / "discs").rename(tmp_path / "photos" / "val" / "Discs")
    ended = call("train", "photos")
    assert ended.code == 3
    assert "'Discs'" in ended.err
    assert "'discs'" in ended.err
    assert call("evaluate", warm / "runs" / "first" / "model", "photos").code == 3


def test_a_damaged_model_ends_with_5(warm: Path, call: Call, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(warm / "runs" / "first" / "model", model)
    data = bytearray((model / "model.safetensors").read_bytes())
    data[-5] ^= 1
    (model / "model.safetensors").write_bytes(data)
    for command in ("predict", "evaluate"):
        ended = call(command, model, warm / "photos")
        assert ended.code == 5
        assert "model.safetensors" in ended.err


def test_a_bug_of_ours_is_one_line_and_the_traceback_is_in_the_log(
    warm: Path, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regraft.workflows import experiment

    def fail(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(experiment, "run", fail)
    monkeypatch.setenv("REGRAFT_LOG", str(tmp_path / "error.jsonl"))
    ended = call("train", warm / "photos", "-q")
    assert ended.code == 1
    assert "ZeroDivisionError: oops" in ended.err
    assert "Traceback" not in ended.err
    (line,) = (tmp_path / "error.jsonl").read_text().splitlines()
    assert "in fail" in json.loads(line)["traceback"]


# -- What is printed --


def test_train_json_is_one_object_on_stdout(warm: Path, run_cli: Any, tmp_path: Path) -> None:
    env = {"REGRAFT_CACHE": str(warm / "cache")}
    done = run_cli("train", warm / "photos", "--json", env=env)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    content = json.loads(done.stdout)
    assert set(content) >= {
        "schema", "run", "model", "method", "backbone", "data", "evaluation", "chosen", "seconds",
        "features",
    }  # fmt: skip
    assert content["schema"] == 1
    assert set(content["data"]) >= {"images", "classes", "splits", "rejected", "findings"}
    assert set(content["evaluation"]) >= {
        "split", "n", "accuracy", "balanced_accuracy", "log_loss", "ece"
    }  # fmt: skip
    assert set(content["features"]) >= {"computed", "from_store", "engine"}
    assert content["run"].startswith("runs/photos-probe-")
    saved = json.loads((tmp_path / content["run"] / "metrics.json").read_text())
    assert saved == content
    assert (tmp_path / content["model"] / "config.json").is_file()


@pytest.mark.parametrize(
    ("args", "keys"),
    [
        (["check", "photos"], {"schema", "images", "classes", "rejected", "findings"}),
        (["check", "photos", "--quick"], {"images", "rejected", "findings"}),
        (["evaluate", "model", "photos"], {"schema", "model", "data", "evaluation"}),
        (["layers", "photos"], {"schema", "layers", "peak", "reading", "n"}),
        (["train", "photos", "--run", "first", "--resume"], {"schema", "run", "evaluation"}),
    ],
)  # fmt: skip
def test_json_of_the_other_commands_is_one_object(
    args: list[str], keys: set[str], warm: Path, call: Call
) -> None:
    places = {"photos": warm / "photos", "model": warm / "runs" / "first" / "model"}
    ended = call(*[places.get(a, a) for a in args], "--json", "--out", warm / "runs") if (
        args[0] == "train"
    ) else call(*[places.get(a, a) for a in args], "--json")  # fmt: skip
    assert ended.code == 0, ended.err
    assert set(json.loads(ended.out)) >= keys
    assert len(ended.out.splitlines()) == 1


def test_check_json_names_every_file_of_the_battery(
    engine_cache: Path, call: Call, tmp_path: Path
) -> None:
    """R1 through the program: each of more than 100 files has its expected outcome."""
    folder = tmp_path / "data" / "things"
    folder.mkdir(parents=True)
    cases = make_battery(folder)
    ended = call("check", "data", "--json")
    assert ended.code in (0, 3), ended.err
    content = json.loads(ended.out)
    rejected = {Path(os.fsdecode(r["path"])).name: r for r in content["rejected"]}
    skipped = {Path(s["path"]).name: s for s in content["skipped"]}
    wrong = []
    for case in cases:
        name = case.path.name
        found = rejected.get(name) or skipped.get(name)
        if case.outcome == "ok":
            # A name without a known ending is no image's name: left out, and said.
            is_right = found is None or name == "no_extension"
        else:
            is_right = found is not None and bool(found["reason"])
            if name in rejected and name != "loop.jpg":  # the folder's reader says it otherwise
                is_right &= case.reason_contains in rejected[name]["reason"]
        if not is_right:
            wrong.append((case.name, case.outcome, case.reason_contains, found))
    assert wrong == []
    n_ok = sum(c.outcome == "ok" and c.path.name not in skipped for c in cases)
    assert content["images"] == n_ok
    assert n_ok + len(rejected) + sum(c.path.name in skipped for c in cases) == len(cases)
    assert len(cases) >= 100


def test_predict_json_is_an_object_a_line(warm: Path, call: Call, tmp_path: Path) -> None:
    shutil.copytree(warm / "photos" / "val", tmp_path / "new")
    (tmp_path / "new" / "bad.jpg").write_bytes(b"")
    ended = call("predict", warm / "runs" / "first" / "model", "new", "--json", "--top", "2")
    assert ended.code == 0, ended.err
    rows = [json.loads(line) for line in ended.out.splitlines()]
    good, bad = [r for r in rows if "error" not in r], [r for r in rows if "error" in r]
    assert len(good) == 9
    assert all(set(r) >= {"path", "label", "probability", "top"} for r in good)
    assert all(len(r["top"]) == 2 and r["top"][0] == [r["label"], r["probability"]] for r in good)
    assert [Path(r["path"]).name for r in bad] == ["bad.jpg"]
    assert "empty" in bad[0]["error"]


def test_people_see_score_interval_and_what_to_do_next(warm: Path, call: Call) -> None:
    ended = call("train", warm / "photos")
    assert ended.code == 0, ended.err
    for words in (
        "val images right",
        "95 % interval",
        "discs",
        "model selection:",
        "Saved",
        "regraft predict",
    ):
        assert words in ended.out
    assert "\x1b[" not in ended.out
    assert max(map(len, ended.out.splitlines())) <= 400
    ended = call("evaluate", warm / "runs" / "first" / "model", warm / "photos", "--split", "train")
    assert "of 18 train images right" in ended.out
    ended = call("check", warm / "plain")
    assert "16 images in 2 classes" in ended.out.replace("\n", " ")
    ended = call("layers", warm / "photos", "--out", "curve.png")
    assert "cross-validated accuracy" in ended.out
    assert Path("curve.png").read_bytes().startswith(b"\x89PNG")


def test_quiet_leaves_only_the_result(warm: Path, call: Call) -> None:
    loud = call("train", warm / "plain", "--run", "loud")
    quiet = call("train", warm / "plain", "--run", "quiet", "--quiet")
    assert quiet.err == ""
    assert quiet.out.splitlines()[0] == loud.out.splitlines()[0]
    assert "images right" in quiet.out


def test_colour_only_on_a_terminal_that_wants_it(warm: Path, call: Call) -> None:
    ended = call("check", warm / "photos")
    assert "\x1b" not in ended.out + ended.err


def test_predictions_go_to_a_file(warm: Path, call: Call) -> None:
    model = warm / "runs" / "first" / "model"
    ended = call("predict", model, warm / "photos" / "val", "--out", "answers.csv")
    assert "9 images labelled, 0 could not be read: answers.csv" in ended.out
    assert len(Path("answers.csv").read_text().splitlines()) == 10
    ended = call("predict", model, warm / "photos" / "val", "--out", "no/folder/a.csv")
    assert ended.code == 2
    assert "no/folder/a.csv" in ended.err


def test_a_closed_pipe_is_no_error(warm: Path, engine_cache: Path) -> None:
    regraft = Path(sys.executable).with_name("regraft")
    environment = {**os.environ, "REGRAFT_CACHE": str(warm / "cache")}
    command = f"'{regraft}' predict '{warm / 'runs/first/model'}' '{warm / 'photos'}' --json"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | true"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


# -- Runs --


def test_a_run_again_from_its_json_gives_the_same_predictions(warm: Path, call: Call) -> None:
    first = warm / "runs" / "first"
    ended = call("train", "--config", first / "run.json", "--run", "again", "--json")
    assert ended.code == 0, ended.err
    again = Path("runs/again")
    assert (again / "predictions.csv").read_bytes() == (first / "predictions.csv").read_bytes()
    configs = [json.loads((f / "run.json").read_text())["config"] for f in (first, again)]
    assert configs[0] == configs[1]


def test_run_and_out_say_where(warm: Path, call: Call) -> None:
    assert call("train", warm / "plain", "--run", "mine", "--out", "here/there").code == 0
    assert (Path("here") / "there" / "mine" / "model" / "config.json").is_file()
    ended = call("train", warm / "plain", "--seed", "7", "--run", "mine", "--out", "here/there")
    assert ended.code == 2
    assert "made with seed 0, now it is 7" in ended.err
    Path("foreign").mkdir()
    Path("foreign/mine.txt").write_text("x")
    assert call("train", warm / "plain", "--run", "foreign", "--out", ".").code == 2
    assert Path("foreign/mine.txt").read_text() == "x"


def test_resume_shows_what_is_finished_and_does_what_is_not(warm: Path, call: Call) -> None:
    args = ("train", warm / "plain", "--resume", "--run", "r", "--json")
    first = call(*args)
    before = (Path("runs/r/metrics.json")).stat().st_mtime_ns
    second = call(*args)
    assert second.out == first.out
    assert (Path("runs/r/metrics.json")).stat().st_mtime_ns == before
    shown = call(*args[:-1])
    assert "finished already" in shown.out
    Path("runs/r/metrics.json").write_text("{")
    assert call(*args).code == 0
    assert json.loads(Path("runs/r/metrics.json").read_text())["schema"] == 1


def test_options_reach_the_run(warm: Path, call: Call) -> None:
    ended = call(
        "train", warm / "plain", "--taps", "blocks.3,codes", "--head", "svm", "--class-weight",
        "balanced", "--seed", "3", "--test-fraction", "0.4", "--json", "--run", "o",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    content = json.loads(ended.out)
    assert content["chosen"]["taps"] == ["blocks.3", "final"]
    assert content["chosen"]["head"] == "svm"
    assert content["chosen"]["by"] == "given"
    assert content["data"]["splits_assigned"]
    config = json.loads(Path("runs/o/run.json").read_text())["config"]
    assert config["class_weight"] == "balanced"
    assert (config["seed"], config["test_fraction"]) == (3, 0.4)
    assert content["evaluation"]["n"] >= 4


def test_the_cache_is_shown_and_cleared(warm: Path, call: Call, tmp_path: Path,
                                        monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    shutil.copytree(warm / "cache", tmp_path / "cache")
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "cache"))
    assert "engines" in call("cache").out
    assert "tf_efficientnet_lite0" in call("cache", "list").out
    assert "is as it was kept" in call("cache", "verify", "--sample", "2").out
    assert "freed" in call("cache", "clear", "--features").out
    assert "features: none" in call("cache", "list").out
    assert "tf_efficientnet_lite0" in call("cache", "list").out


def test_backbones_are_listed(call: Call) -> None:
    ended = call("backbones")
    assert "default" in ended.out
    assert [b["name"] for b in json.loads(call("backbones", "--json").out)] == [
        "default", "lite1", "lite2"
    ]  # fmt: skip
    assert call("backbones", "resnet181").code == 2


# -- Stopped by the user --


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "term"]
)
@pytest.mark.parametrize("when", ["reading", "writing"])
def test_a_stopped_run_leaves_nothing_half_written(
    number: int, code: int, when: str, engine_cache: Path, shelf: Path, tmp_path: Path,
    run_python: Any,
) -> None:  # fmt: skip
    """The signal comes from within, at the 9th image or while the model is being saved."""
    hooks = {
        "reading": "from regraft.console import progress\n"
        "def stop(lines, stage, done, total):\n    done == 9 and os.kill(os.getpid(), number)\n"
        "progress._PlainLines.progress = stop",
        "writing": "from regraft import model; genuine = model.save\n"
        "def save(*a, **k):\n    genuine(*a, **k); os.kill(os.getpid(), number); time.sleep(5)\n"
        "model.save = save",
    }
    program = (
        # A shell's background job (as CI may be) hands down SIGINT ignored; a terminal does not.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"import os, sys, time; number = {int(number)}\n{hooks[when]}\n"
        f"sys.argv = ['regraft', 'train', {str(shelf / 'photos')!r}]\n"
        "from regraft.cli.main import main; main()"
    )
    start = time.perf_counter()
    done = run_python("-c", program)
    assert done.returncode == code, done.stderr
    assert "what was computed is kept" in done.stderr
    assert "Traceback" not in done.stderr
    assert time.perf_counter() - start < 60
    runs = tmp_path / "runs"
    assert not runs.exists() or list(runs.iterdir()) == []
    again = run_python("-m", "regraft", "train", shelf / "photos", "--json")
    content = json.loads(again.stdout)
    assert content["features"]["from_store"] >= (8 if when == "reading" else 27)
    assert content["features"]["from_store"] + content["features"]["computed"] == 27
