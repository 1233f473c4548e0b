"""The same settings on data that changed: nothing of an earlier run is lost, shown as new, or mixed
with what came later."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from regraft.errors import UsageError
from regraft.listener import Listener
from regraft.record import run_folder
from regraft.record.configuration import RunConfig
from regraft.workflows import experiment, reporting

Write = Callable[..., Path]


@pytest.fixture
def photos(
    tmp_path: Path, engine_cache: Path, make_photos: Write, monkeypatch: pytest.MonkeyPatch
) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_photos(tmp_path / "photos", splits={"train": 6, "val": 4}, size_px=64)


def train(config: RunConfig, **options: Any) -> tuple[experiment.Result, list[str]]:
    said: list[str] = []
    return experiment.run(config, listener=Listener(say=said.append), **options), said


def change(photos: Path) -> None:
    """A picture goes."""
    next((photos / "train" / "discs").iterdir()).unlink()


def test_training_again_after_the_data_changed_keeps_both_runs(photos: Path) -> None:
    config = RunConfig("photos")
    first, said = train(config)
    assert not any("made from" in line for line in said)
    before = {p.name: p.read_bytes() for p in first.folder.iterdir() if p.is_file()}
    change(photos)
    second, said = train(config)
    assert second.folder != first.folder
    assert any(
        f"{first.folder.name!r} was made from other data (30 images, now 29)" in line
        for line in said
    )
    assert {p.name: p.read_bytes() for p in first.folder.iterdir() if p.is_file()} == before
    for result, n in (first, 30), (second, 29):
        record = json.loads((result.folder / "run.json").read_text())
        assert record["made_from"]["images"] == n
    again, said = train(config)
    assert again.folder == second.folder
    assert sorted(p.name for p in Path("runs").iterdir()) == sorted(
        [first.folder.name, second.folder.name]
    )


@pytest.mark.parametrize("what", ["label", "content", "name", "split"])
def test_other_data_is_any_change_of_what_is_learnt(photos: Path, what: str) -> None:
    config = RunConfig("photos")
    first, _ = train(config)
    picture = next((photos / "train" / "discs").iterdir())
    if what == "label":
        picture.rename(photos / "train" / "squares" / picture.name)
    elif what == "content":
        other = next((photos / "val" / "discs").iterdir())
        picture.write_bytes(other.read_bytes())
    elif what == "name":
        picture.rename(picture.with_name("renamed.jpg"))
    else:
        picture.rename(photos / "val" / "discs" / picture.name)
    assert train(config)[0].folder != first.folder


def test_what_is_no_picture_and_times_of_files_are_no_matter(photos: Path) -> None:
    config = RunConfig("photos")
    first, _ = train(config)
    (photos / "train" / "discs" / ".DS_Store").write_bytes(b"x")
    for picture in photos.rglob("*.jpg"):
        picture.touch()
    assert train(config)[0].folder == first.folder


def test_under_a_given_name_resume_shows_no_old_score_and_both_runs_are_kept(photos: Path) -> None:
    config = RunConfig("photos")
    first, _ = train(config, name="mine")
    before = (first.folder / "metrics.json").read_bytes()
    assert experiment.begin(config, name="mine", resume=True).finished is not None
    change(photos)
    with pytest.raises(UsageError, match=r"'mine' was made from other data \(30 images, now 29"):
        experiment.begin(config, name="mine", resume=True)
    assert run_folder.finished(first.folder, config) is not None
    second, said = train(config, name="mine")
    assert any("it is kept as 'mine-1'" in line for line in said)
    assert second.metrics["data"]["images"] == 29
    assert Path("runs/mine-1/metrics.json").read_bytes() == before


def test_resume_on_the_command_line_says_that_the_data_changed(
    photos: Path, run_warm: Callable[..., Any]
) -> None:
    train(RunConfig("photos"))
    done = run_warm("train", "photos", "--resume", "--no-report")
    assert "this run is finished already" in done.stdout
    change(photos)
    done = run_warm("train", "photos", "--resume", "--no-report")
    assert done.returncode == 0
    assert "finished already" not in done.stdout
    assert "was made from other data (30 images, now 29)" in done.stderr.replace("\n", " ")


def test_more_epochs_on_other_data_begin_anew_in_words(photos: Path) -> None:
    def config(epochs: int) -> RunConfig:
        return RunConfig("photos", method="head", training={"epochs": epochs})

    first, _ = train(config(1))
    longer, said = train(config(2), resume=True)
    assert longer.folder == first.folder
    assert longer.metrics["training"]["resumed_at"] == 1
    assert not any("made from" in line for line in said)
    change(photos)
    anew, said = train(config(3), resume=True)
    assert anew.folder != first.folder
    assert anew.metrics["training"]["resumed_at"] == 0
    assert any(f"{first.folder.name!r} was made from other data" in line for line in said)
    record = json.loads((first.folder / "run.json").read_text())
    assert record["config"]["training"] == {"epochs": 2}


def test_a_page_is_not_drawn_from_data_that_changed(photos: Path) -> None:
    first, _ = train(RunConfig("photos"))
    change(photos)
    with pytest.raises(UsageError, match="was made from other data") as caught:
        reporting.report_again(first.folder)
    assert "train --config" in str(caught.value)
