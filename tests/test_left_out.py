"""No picture is lost silently: predict and explain take all there are, evaluate names the rest."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from regraft.cli import outcome
from regraft.cli.main import cli
from regraft.data.sources import read_images, read_table
from regraft.errors import ArtefactError, TableError, UsageError
from regraft.model.loading import load
from regraft.model.place import run_of
from regraft.model.predicting import all_images, paths_of
from regraft.workflows.survey import check

Write = Callable[..., Path]
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def room(
    make_room: Callable[[str], Path], put_engines: Callable[[Path], object], make_photos: Write
) -> Path:
    """A cache, a model in ``runs/r/model``, and pictures that no layout has a place for."""
    room = make_room("room")
    make_photos(room / "photos", splits={"train": 5, "val": 2}, size_px=64)
    for seed, name in enumerate(("new/train/x", "new/other", "new/deep/er")):
        make_photos(room / name, classes=("discs",), n=2, size_px=64, seed=seed + 7)
    put_engines(room / "cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(room / "cache"))
        patch.setattr(sys, "argv", ["regraft", "train", str(room / "photos"), "-q", "--no-report",
                                    "--out", str(room / "runs"), "--run", "r"])  # fmt: skip
        assert outcome.of(cli) == 0
    return room


@pytest.fixture
def call(
    room: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Call:
    """``call("predict", "new")``: of the room's model, in `tmp_path`; (code, stdout, stderr)."""
    monkeypatch.setenv("REGRAFT_CACHE", str(room / "cache"))
    monkeypatch.chdir(tmp_path)

    def run(command: str, *args: object) -> tuple[int, str, str]:
        model = room / "runs" / "r" / "model"
        monkeypatch.setattr(sys, "argv", ["regraft", command, str(model), *map(str, args)])
        capsys.readouterr()
        code = outcome.of(cli)
        return code, *capsys.readouterr()

    return run


def names(out: str) -> list[str]:
    """The last two parts of the path of every picture that was labelled."""
    rows = [json.loads(line) for line in out.splitlines()]
    return ["/".join(row["path"].split("/")[-2:]) for row in rows if "label" in row]


EVERY = ["discs/discs_all_000.jpg", "discs/discs_all_001.jpg"] * 3


# -- predict and explain: every picture --


@pytest.mark.parametrize("command", ["predict", "explain"])
@pytest.mark.parametrize("form", ["folder", "zip"])
def test_every_picture_is_answered_whatever_its_folder_is_called(
    command: str, form: str, room: Path, call: Call, tmp_path: Path
) -> None:
    source = room / "new"
    if form == "zip":
        source = Path(shutil.make_archive(str(tmp_path / "new"), "zip", room / "new"))
    code, out, err = call(command, source, "--json")
    assert code == 0, err
    assert sorted(names(out)) == sorted(EVERY)
    assert all(json.loads(line)["path"].startswith(str(source)) for line in out.splitlines())


def test_a_manifest_is_asked_for_its_paths_alone(room: Path, call: Call, tmp_path: Path) -> None:
    a, b = sorted((room / "new").rglob("*.jpg"))[:2]
    rows = ["path,label,class,split", f"{a},x,1,train", f"{a},y,2,holdout", f"{b},,,\udcff"]
    text = "\n".join(rows).encode("utf-8", "surrogateescape")
    (tmp_path / "list.csv").write_bytes(text)
    code, out, err = call("predict", "list.csv", "--json")
    assert code == 0, err
    assert [json.loads(line)["path"] for line in out.splitlines()] == [str(a), str(b)]
    assert "left out: 1 repeated row" in err


def test_the_path_column_can_be_named(room: Path, call: Call, tmp_path: Path) -> None:
    first, second = sorted((room / "new").rglob("*.jpg"))[:2]
    (tmp_path / "list.csv").write_text(f"large,small\n{first},{second}\n")
    assert call("predict", "list.csv")[0] == 3
    assert call("predict", "list.csv", "--path-column", "small")[0] == 0
    with pytest.raises(UsageError, match="manifest only"):
        all_images([str(room / "new")], path_column="small")


@pytest.mark.parametrize("json_too", [[], ["--json"]], ids=["people", "json"])
@pytest.mark.parametrize("command", ["predict", "explain"])
def test_what_is_no_picture_is_named(
    command: str, json_too: list[str], room: Path, call: Call, tmp_path: Path
) -> None:
    shutil.copytree(room / "new" / "other", tmp_path / "new")
    (tmp_path / "new" / "notes.txt").write_text("no picture")
    (tmp_path / "new" / ".hidden.jpg").write_text("x")
    (tmp_path / "new" / "empty").mkdir()
    with zipfile.ZipFile(tmp_path / "new" / "more.zip", "w") as packed:
        packed.writestr("1.jpg", "x")
    code, out, err = call(command, "new", *json_too)
    assert code == 0
    assert "left out: 1 file that is no image: 'new/notes.txt'" in err
    assert "left out: 1 hidden entry: 'new/.hidden.jpg'" in err
    assert "empty" not in err
    assert "an archive inside is not unpacked" in (out if json_too else err)
    if json_too:
        bad = [json.loads(line) for line in out.splitlines() if '"error"' in line]
        assert [(row["path"], row["mend"]) for row in bad] == [
            ("new/more.zip", "unpack it, or name it beside the others")
        ]


def test_a_folder_that_cannot_be_listed_is_an_error_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("open/1.jpg", "closed/2.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    table = all_images([str(tmp_path)])
    assert len(table) == 1
    (bad,) = table.rejected
    assert (Path(bad.path).name, bad.mend) == ("closed", "give read permission")


def test_a_damaged_archive_stops_no_other_source(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").touch()
    (tmp_path / "bad.zip").write_bytes(b"PK\3\4")
    table = all_images([str(tmp_path / "bad.zip"), str(tmp_path / "1.jpg")])
    assert len(table) == 1
    assert [Path(bad.path).name for bad in table.rejected] == ["bad.zip"]


def test_files_of_several_archives_are_shown_under_their_own_names(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as packed:
            packed.writestr("x/1.jpg", name)
            packed.writestr("notes.txt", name)
    table = all_images([str(tmp_path / "a.zip"), str(tmp_path / "b.zip")])
    shown = [os.path.relpath(table.shown(path), tmp_path) for path in table.paths]
    assert shown == ["a.zip/x/1.jpg", "b.zip/x/1.jpg"]
    left_out = [os.path.relpath(entry.path, tmp_path) for entry in table.as_shown(table.skipped)]
    assert left_out == ["a.zip/notes.txt", "b.zip/notes.txt"]


def test_a_bad_file_of_an_archive_is_shown_under_its_own_name(
    room: Path, call: Call, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "new.zip", "w") as packed:
        packed.write(next((room / "new").rglob("*.jpg")), "good.jpg")
        packed.writestr("bad.jpg", "x")
    code, out, _ = call("predict", "new.zip", "--json")
    assert code == 0
    assert [json.loads(line)["path"] for line in out.splitlines()] == [
        "new.zip/good.jpg", "new.zip/bad.jpg",
    ]  # fmt: skip


def test_a_folder_without_images_asks_for_one_with_images(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(TableError, match="no image in it") as caught:
        read_images(tmp_path)
    assert "per class" not in caught.value.cure


def test_one_path_is_one_source_and_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").touch()
    for one in (tmp_path, str(tmp_path)):
        assert len(all_images(paths_of(one))) == 1
    with pytest.raises(TableError, match="no images were named"):
        all_images(paths_of([]))


# -- evaluate: what is not in the score --


def test_evaluate_names_the_splits_that_it_does_not_score(room: Path, call: Call) -> None:
    code, out, _ = call("evaluate", room / "photos")
    assert code == 0
    assert "not scored: 15 images of train (--split all scores every image)" in out
    data = json.loads(call("evaluate", room / "photos", "--json")[1])["data"]
    assert (data["other_splits"], data["left_out"]) == ({"train": 15}, [])
    assert "not scored" not in call("evaluate", room / "photos", "--split", "all")[1]


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_evaluate_names_folders_beside_the_splits(
    form: str, room: Path, call: Call, tmp_path: Path
) -> None:
    shutil.copytree(room / "photos" / "val", tmp_path / "d" / "train")
    shutil.copytree(room / "photos" / "val", tmp_path / "d" / "elsewhere")
    source = "d" if form == "folder" else Path(shutil.make_archive("d", "zip", "d")).name
    code, out, _ = call("evaluate", source)
    assert code == 0
    assert f"1 folder beside the splits: '{source}/elsewhere'" in out
    data = json.loads(call("evaluate", source, "--json")[1])["data"]
    assert [(e["path"], e["kind"]) for e in data["left_out"]] == [
        (f"{source}/elsewhere", "stray-folder")
    ]


def test_evaluate_counts_the_rows_of_a_manifest_that_are_in_no_split(
    room: Path, call: Call, tmp_path: Path
) -> None:
    files = sorted((room / "photos" / "val").rglob("*.jpg"))
    rows = [f"{f},{f.parent.name},{'test' if i else ''}" for i, f in enumerate(files)]
    (tmp_path / "m.csv").write_text("\n".join(["path,label,split", *rows]))
    code, out, _ = call("evaluate", "m.csv")
    assert code == 0
    assert "not scored: 1 image in no split" in out
    assert json.loads(call("evaluate", "m.csv", "--json")[1])["data"]["other_splits"] == {"": 1}


# -- check: what may hold pictures is no rubbish to be removed --


def test_files_that_may_hold_pictures_are_told_with_what_writes_them(
    room: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(room / "photos", tmp_path / "photos"))
    (data / "train" / "discs" / "walk.MOV").write_bytes(b"\0\0\0\x18ftypqt  ")
    (data / "train" / "discs" / "notes.txt").write_text("a sunny day")
    found = {one.kind: one for one in check(str(data), quick=True).findings}
    assert found["not-an-image"].message == "1 file that is no image: 'train/discs/notes.txt'"
    told = found["other-form"]
    assert told.severity == "warning"
    assert "'train/discs/walk.MOV'" in told.message
    assert "ffmpeg" in told.mend


def test_a_scan_without_an_extension_is_named(tmp_path: Path) -> None:
    """Folders of DICOM hold IM0001, IM0002: nobody's extension, and still pictures."""
    for label in "ab":
        (tmp_path / label).mkdir()
        (tmp_path / label / "IM0001").write_bytes(bytes(128) + b"DICM" + bytes(40))
    table = read_table(str(tmp_path))
    assert [os.path.basename(path) for path in table.paths] == ["IM0001"] * 2


def test_heat_maps_are_not_written_among_photographs(room: Path, call: Call) -> None:
    photos = Path(shutil.copytree(room / "new/other", "mine"))
    code, _, err = call("explain", photos, "--out", photos)
    assert code == 2
    assert "would be taken for photographs" in err
    code, _, err = call("explain", photos, "--out", "map.png")
    assert code == 2
    assert "--out 'map'" in err
    assert sorted(os.listdir(photos)) == sorted(os.listdir(room / "new/other"))
    assert call("explain", photos, "--out", "maps")[0] == 0
    assert call("explain", photos, "--out", "maps")[0] == 0  # its own, again


def test_what_is_turned_away_is_not_counted_as_labelled(room: Path, call: Call) -> None:
    code, out, _ = call("predict", room / "new", "--reject", "0.3", "--out", "a.csv")
    assert code == 0
    labelled, none = re.match(
        r"(\d+) images? labelled, (\d+) of none of these classes, 0 could not be read: a.csv", out
    ).groups()
    assert int(labelled) + int(none) == len(EVERY)


# -- the model, where it is given otherwise than it is meant --


@pytest.mark.parametrize("command", ["predict", "explain", "evaluate", "calibrate"])
def test_a_model_after_its_images_is_told_with_the_line_to_type(
    command: str, room: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, photos = str(room / "runs" / "r"), str(room / "photos")
    monkeypatch.setattr(sys, "argv", ["regraft", command, photos, run])
    assert outcome.of(cli) == 2
    told = " ".join(capsys.readouterr().err.split())  # a long path breaks the line
    assert "MODEL comes first" in told
    assert f"regraft {command} {run} {photos}" in told


def test_the_model_of_an_unfinished_run_is_no_slip_for_another(tmp_path: Path) -> None:
    """'did you mean' another run would answer with another model."""
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "unfinished.json").write_text('{"config": {"data": "photos"}}')
    (tmp_path / "parts" / "model").mkdir(parents=True)
    (tmp_path / "parts" / "model" / "config.json").write_text("{}")
    for named in ("part", "part/model"):
        with pytest.raises(ArtefactError, match="was not finished") as caught:
            load(tmp_path / named)
        assert caught.value.cure.startswith("regraft train --config")


def test_a_run_may_be_named_by_its_page(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "report.html").write_text("")
    assert run_of(tmp_path / "run" / "report.html") == tmp_path / "run"


def test_images_without_a_label_are_not_told_to_lack_a_split(tmp_path: Path) -> None:
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        (tmp_path / name).write_bytes(b"\xff\xd8\xff")
    rows = ["path,label,split", "1.jpg,ants,train", "2.jpg,bees,test", "3.jpg,,"]
    (tmp_path / "m.csv").write_text("\n".join(rows))
    kinds = [one.kind for one in check(str(tmp_path / "m.csv"), quick=True).findings]
    assert "unlabelled" in kinds
    assert "in-no-split" not in kinds
