"""A run's configuration reads back as it was, and a run's folder is whole or not there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from regraft.errors import ConfigError, UsageError
from regraft.machine import atomic
from regraft.record import run_folder
from regraft.record.configuration import RunConfig
from regraft.record.identity import MadeFrom, Place, place_for


def test_a_configuration_survives_json() -> None:
    config = RunConfig("photos", taps=["final"], class_weight="balanced", test_fraction=0.3, seed=4)
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"data": "x", "backbon": "lite1"}, ["'backbon'", "'backbone'"]),
        ({"data": "x", "zzz": 1}, ["'zzz'", "settings:", "seed"]),
        ({"method": "probe"}, ["needs 'data'"]),
        ({"data": 3}, ["'data'", "text", "3"]),
        ({"data": "x", "seed": 1.5}, ["'seed'", "whole number", "1.5"]),
        ({"data": "x", "seed": True}, ["'seed'", "whole number", "True"]),
        ({"data": "x", "taps": "final"}, ["'taps'", "'final'"]),
        ({"data": "x", "taps": [1]}, ["'taps'", "list of texts", "got [1]"]),
        (
            {"data": "x", "test_fraction": "0.2"},
            ["'test_fraction'", "above 0 and below 1", "'0.2'"],
        ),
        ({"data": None}, ["'data'", "None"]),
    ],
)
def test_wrong_settings_are_named_with_what_was_found(
    values: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        RunConfig.from_dict(values, place="run.json")
    for word in [*words, "run.json"]:
        assert word in str(caught.value)


def test_whole_numbers_are_fractions_too() -> None:
    config = RunConfig.from_dict({"data": "x", "method": "full", "training": {"weight_decay": 0}})
    assert config.training["weight_decay"] == 0


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("{", ConfigError, "not JSON"),
        ("[1]", ConfigError, "must be a JSON object"),
        ('{"config": {"data": "x", "sede": 1}}', ConfigError, "'seed'"),
        (None, UsageError, "cannot read"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(
    tmp_path: Path, text: str | None, kind: type[Exception], words: str
) -> None:
    file = tmp_path / "run.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(kind, match=words) as caught:
        RunConfig.from_file(file)
    assert str(file) in str(caught.value)


def test_settings_alone_and_a_finished_runs_file_are_read(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    config = RunConfig("photos", seed=3)
    for content in (config.to_dict(), {"schema": 1, "config": config.to_dict()}):
        file.write_text(json.dumps(content))
        assert RunConfig.from_file(file) == config


def test_the_digest_changes_with_every_setting() -> None:
    changes: list[dict[str, Any]] = [
        {}, {"method": "full"}, {"backbone": "lite1"}, {"weights": "w"}, {"taps": ["final"]},
        {"head": "svm"}, {"class_weight": "balanced"}, {"path_column": "p"},
        {"label_column": "l"}, {"split_column": "s"}, {"group_column": "g"},
        {"label_from": "name"}, {"scale": "12bit"}, {"test_fraction": 0.3}, {"seed": 1},
        {"device": "cpu"}, {"look": "flip"},
        {"method": "full", "training": {"epochs": 3}},
    ]  # fmt: skip
    assert {key for change in changes for key in change} | {"data"} == set(RunConfig("d").to_dict())
    digests = {RunConfig("photos", **change).digest for change in changes}
    assert len(digests | {RunConfig("other").digest}) == len(changes) + 1


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("some/photos/", "photos"),
        ("leaves.csv", "leaves"),
        ("mes été photos", "mes_t_photos"),
        ("we/ird\n\udcff name.tar.gz", "ird_name"),
        ("/", "data"),
        ("---", "---"),
        ("s3://bucket/birds/{0000..0063}.tar", "birds"),
        ("shards/birds-{train,val}-{00..15}.tar", "birds"),
    ],
)
def test_the_default_name_is_safe_as_a_folder(data: str, name: str) -> None:
    config = RunConfig(data)
    assert config.default_name == f"{name}-probe-{config.digest}"


def test_the_same_configuration_may_write_again(tmp_path: Path) -> None:
    config = RunConfig("photos")
    folder = run_folder.folder_for(config, out=str(tmp_path))
    assert folder == tmp_path / config.default_name
    with run_folder.writing(folder) as room:
        atomic.write_json(room / run_folder.RUN_FILE, {"config": config.to_dict()})
    assert run_folder.folder_for(config, out=str(tmp_path)) == folder


def test_another_configuration_of_the_same_name_is_refused_with_both_values(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    with run_folder.writing(folder) as room:
        atomic.write_json(room / run_folder.RUN_FILE, {"config": RunConfig("photos").to_dict()})
    with pytest.raises(UsageError, match="made with seed 0, now it is 5") as caught:
        run_folder.folder_for(RunConfig("photos", seed=5), out=str(tmp_path), name="mine")
    assert "another --run" in str(caught.value)
    with pytest.raises(UsageError, match="made with taps not given, now it is final,source"):
        run_folder.folder_for(
            RunConfig("photos", taps=["final", "source"]), out=str(tmp_path), name="mine"
        )


def test_foreign_files_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "beach.jpg").write_text("x")
    (tmp_path / "file").write_text("x")
    for name in ("holiday", "file"):
        with pytest.raises(UsageError, match="is not a run"):
            run_folder.folder_for(RunConfig("photos"), out=str(tmp_path), name=name)
    (tmp_path / "empty").mkdir()
    assert (
        run_folder.folder_for(RunConfig("p"), out=str(tmp_path), name="empty") == tmp_path / "empty"
    )


@pytest.mark.parametrize("name", ["", " ", ".", "..", "a/b", "..\\b"])
def test_a_runs_name_stays_inside_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="not a folder's name"):
        run_folder.folder_for(RunConfig("photos"), out=str(tmp_path), name=name)


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_run_leaves_the_earlier_one_and_nothing_else(
    tmp_path: Path, stop: type[BaseException]
) -> None:
    folder = tmp_path / "mine"
    with run_folder.writing(folder) as room:
        (room / "metrics.json").write_text("old")
    with pytest.raises(stop), run_folder.writing(folder) as room:  # noqa: PT012
        (room / "metrics.json").write_text("half")
        raise stop
    assert os.listdir(tmp_path) == ["mine"]
    assert (folder / "metrics.json").read_text() == "old"


def test_a_new_run_takes_the_place_of_the_old_one_whole(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    for content in ("old", "new"):
        with run_folder.writing(folder) as room:
            assert room.parent == tmp_path
            (room / f"{content}.txt").write_text(content)
    assert os.listdir(folder) == ["new.txt"]
    assert os.listdir(tmp_path) == ["mine"]
    assert folder.stat().st_mode & 0o777 == 0o755


def test_a_place_that_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(UsageError, match="cannot write the run"),
        run_folder.writing(tmp_path / "file/a"),
    ):
        pass


def test_finished_finds_only_this_very_run(tmp_path: Path) -> None:
    config, folder = RunConfig("photos"), tmp_path / "mine"
    assert run_folder.finished(folder, config) is None
    with run_folder.writing(folder) as room:
        atomic.write_json(room / run_folder.RUN_FILE, {"config": config.to_dict()})
        atomic.write_json(room / "metrics.json", {"schema": 1})
        atomic.write_json(room / "findings.json", {"findings": [{"kind": "blank"}]})
    done = run_folder.finished(folder, config)
    assert done is not None
    assert done.metrics == {"schema": 1}
    assert done.findings == [{"kind": "blank"}]
    assert run_folder.finished(folder, RunConfig("photos", seed=1)) is None
    (folder / "metrics.json").write_text("{")
    assert run_folder.finished(folder, config) is None


# -- Runs of one configuration on other data --

BEFORE, NOW = MadeFrom("7f", 398, "w"), MadeFrom("1a", 378, "w")


def made(folder: Path, config: RunConfig, made_from: MadeFrom | None, answers: str = "a") -> Path:
    """A finished run."""
    with run_folder.writing(folder) as room:
        record: dict[str, Any] = {"config": config.to_dict()}
        if made_from is not None:
            record["made_from"] = made_from.to_dict()
        atomic.write_json(room / run_folder.RUN_FILE, record)
        (room / run_folder.PREDICTIONS).write_text(answers)
    return folder


def test_a_run_of_other_data_gets_a_folder_of_its_own_and_says_so(tmp_path: Path) -> None:
    config, out = RunConfig("photos"), str(tmp_path)
    first = tmp_path / config.default_name
    assert place_for(config, BEFORE, out=out) == Place(first)
    made(first, config, BEFORE)
    assert place_for(config, BEFORE, out=out) == Place(first)
    place = place_for(config, NOW, out=out)
    second, note = place.folder, place.note
    assert place.aside is None
    assert second == tmp_path / f"{first.name}-{NOW.name}"
    for word in (repr(first.name), "398 images, now 378", "stays as it is", repr(second.name)):
        assert word in note
    made(second, config, NOW)
    for resume in (False, True):
        assert place_for(config, NOW, out=out, resume=resume).folder == second
        assert place_for(config, BEFORE, out=out, resume=resume) == Place(first)
    assert "other weights" in place_for(config, MadeFrom("7f", 398, "other"), out=out).note


def test_under_a_given_name_the_run_of_other_data_steps_aside(tmp_path: Path) -> None:
    config, out = RunConfig("photos"), str(tmp_path)
    mine = made(tmp_path / "mine", config, BEFORE)
    with pytest.raises(UsageError, match=r"made from other data \(398 images, now 378") as caught:
        place_for(config, NOW, out=out, name="mine", resume=True)
    assert "without --resume" in str(caught.value)
    place = place_for(config, NOW, out=out, name="mine")
    assert (place.folder, place.aside) == (mine, tmp_path / "mine-1")
    assert "it is kept as 'mine-1'" in place.note
    place.clear()
    assert [p.name for p in tmp_path.iterdir()] == ["mine-1"]
    made(tmp_path / "old", config, None)
    assert "did not keep which data" in place_for(config, NOW, out=out, name="old").note


def test_resume_finds_the_run_of_fewer_epochs_and_of_these_data(tmp_path: Path) -> None:
    def config(epochs: int) -> RunConfig:
        return RunConfig("photos", method="head", training={"epochs": epochs})

    out = str(tmp_path)
    three = made(tmp_path / config(3).default_name, config(3), BEFORE)
    made(tmp_path / config(1).default_name, config(1), BEFORE)
    assert place_for(config(5), BEFORE, out=out, resume=True) == Place(three)
    assert place_for(config(5), BEFORE, out=out) == Place(tmp_path / config(5).default_name)
    two = Place(tmp_path / config(1).default_name)
    assert place_for(config(2), BEFORE, out=out, resume=True) == two, "not that of three"
    place = place_for(config(5), NOW, out=out, resume=True)
    assert place.folder == tmp_path / config(5).default_name
    assert f"{three.name!r} was made from other data" in place.note


def test_an_earlier_run_that_answered_otherwise_is_kept(tmp_path: Path) -> None:
    config, said = RunConfig("photos"), []
    folder = made(tmp_path / "mine", config, NOW, "old")
    for answers in ("old", "new", "newer"):
        with run_folder.writing(folder, say=said.append) as room:
            atomic.write_json(room / run_folder.RUN_FILE, {"config": config.to_dict()})
            (room / run_folder.PREDICTIONS).write_text(answers)
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["mine", "mine-1", "mine-2"]
    assert (tmp_path / "mine-1" / run_folder.PREDICTIONS).read_text() == "old"
    assert (folder / run_folder.PREDICTIONS).read_text() == "newer"
    assert ["'mine-1'" in said[0], "'mine-2'" in said[1]] == [True, True]
    with run_folder.writing(folder, replaces=True) as room:
        (room / run_folder.PREDICTIONS).write_text("gone on with")
    assert len(list(tmp_path.iterdir())) == 3


def test_json_has_no_nan_and_takes_any_file_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        atomic.write_json(tmp_path / "a.json", {"x": float("nan")})
    atomic.write_json(tmp_path / "b.json", {"path": "not\udcffutf8.jpg"})
    assert json.loads((tmp_path / "b.json").read_text())["path"] == "not\udcffutf8.jpg"


def test_the_environment_names_what_numbers_depend_on() -> None:
    known = run_folder.environment()
    assert {"regraft", "python", "numpy", "openvino", "pillow", "simplejpeg"} <= set(known)
    json.dumps(known)


@pytest.mark.parametrize("share", [0, 1])
def test_a_division_that_leaves_a_side_empty_is_refused_at_once(share: int) -> None:
    with pytest.raises(ConfigError, match="must be a number above 0 and below 1, got"):
        RunConfig.from_dict({"data": "x", "test_fraction": share})
