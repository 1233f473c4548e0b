"""A class whose files cannot be read never vanishes without a word."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from regraft.checks.findings import find_table_problems
from regraft.data.folders import read_folder
from regraft.data.manifests import read_manifest
from regraft.errors import TableError
from regraft.record.configuration import RunConfig
from regraft.workflows.lesson import lesson_of
from regraft.workflows.preparation import Prepared, prepare
from regraft.workflows.survey import check

Write = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("engine_cache")


def broken(folder: Path, n: int = 2) -> None:
    folder.mkdir(parents=True)
    for i in range(n):
        (folder / f"{i}.jpg").write_bytes(b"")


def prepared(data: Path) -> Prepared:
    return prepare(RunConfig(str(data)), offline=True)


def test_a_class_of_broken_files_beside_one_other_is_named_with_them(
    make_photos: Write, tmp_path: Path
) -> None:
    make_photos(tmp_path / "d", classes=("discs",), n=3, size_px=64)
    broken(tmp_path / "d" / "bees")
    with pytest.raises(TableError, match="at least 2 classes, got 1: 'discs'") as caught:
        lesson_of(prepared(tmp_path / "d"))
    assert "no image can be read of 'bees' (2 files" in caught.value.rule
    assert "bees/0.jpg: the file is empty" in caught.value.rule
    assert "regraft check" in caught.value.cure
    assert len(caught.value.rejected) == 2


def test_a_class_of_broken_files_beside_others_is_a_finding(
    make_photos: Write, tmp_path: Path
) -> None:
    make_photos(tmp_path / "d", classes=("discs", "squares"), n=3, size_px=64)
    broken(tmp_path / "d" / "bees")
    for found in (
        prepared(tmp_path / "d").findings,
        check(RunConfig(str(tmp_path / "d")), offline=True).findings,
    ):
        (finding,) = [f for f in found if f.kind == "class-unreadable"]
        assert "'bees' (2)" in finding.message
        assert len(finding.paths) == 2


def test_a_class_broken_in_train_alone_is_refused_with_its_files(
    make_photos: Write, tmp_path: Path
) -> None:
    make_photos(tmp_path / "d", splits={"train": 3, "test": 2}, size_px=64)
    shutil.rmtree(tmp_path / "d" / "train" / "discs")
    broken(tmp_path / "d" / "train" / "discs")
    with pytest.raises(TableError, match="1 class is unknown: 'discs'") as caught:
        lesson_of(prepared(tmp_path / "d"))
    assert "2 of the files that cannot be read are of it" in caught.value.rule
    assert "train/discs/0.jpg: the file is empty" in caught.value.rule


def test_one_class_alone_says_what_was_left_out(make_photos: Write, tmp_path: Path) -> None:
    make_photos(tmp_path / "d", classes=("discs",), n=2, splits=("train", "test"), size_px=32)
    make_photos(tmp_path / "d" / "rest", classes=("squares",), n=2, size_px=32)
    with pytest.raises(TableError, match="at least 2 classes") as caught:
        prepared(tmp_path / "d")
    assert "left out" in caught.value.rule
    assert "rest" in caught.value.rule


def test_links_and_rows_without_a_file_are_of_a_class_too(tmp_path: Path) -> None:
    (tmp_path / "d" / "ants").mkdir(parents=True)
    (tmp_path / "d" / "ants" / "1.jpg").touch()
    (tmp_path / "d" / "bees").mkdir()
    (tmp_path / "d" / "bees" / "1.jpg").symlink_to("nowhere")
    (tmp_path / "m.csv").write_text("path,label\nd/ants/1.jpg,ants\nd/gone.jpg,bees\n")
    for table in (read_folder(tmp_path / "d"), read_manifest(tmp_path / "m.csv")):
        assert [bad.label for bad in table.rejected] == ["bees"]
        assert "class-unreadable" in [f.kind for f in find_table_problems(table)]
