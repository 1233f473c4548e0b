"""What is typed as DATA, or lies where an image belongs, is called by what it is."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from regraft.cli.options import require_folder_of, require_room
from regraft.data.sources import read_table
from regraft.errors import DecodeError, TableError, UsageError
from regraft.explain.explanations import _file_names
from regraft.images.decode import decode
from regraft.model.predicting import all_images
from regraft.record.configuration import RunConfig
from regraft.record.run_folder import folder_for


@pytest.mark.parametrize(
    ("typed", "words", "cure"),
    [
        ("-", "standard input", "give their folder"),
        ("", "names nothing", "give a folder of images"),
        ("  ", "names nothing", "give a folder of images"),
        ("https://example.org/photos.zip", "folders elsewhere are not listed", "write a manifest"),
        ("ftp://example.org/list.csv", "is an address of a kind that is not read", "download it"),
        ("file:///data/photos", "is an address", "'/data/photos'"),
        ("~/photos", "begins with ~", os.path.expanduser("~/photos")),
        ("photos/*.png", "a pattern that matches no file", "give a folder"),
        ("photos/*", "a pattern in quotes", "give 'photos'; predict and explain take"),
        ("phot?s", "a pattern in quotes", "give 'photos'"),
        ("phtos", "does not exist", "did you mean 'photos'?"),
    ],
)
def test_data_that_are_no_path_are_called_what_they_are(
    typed: str, words: str, cure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("ants", "bees"):
        Path("photos", name).mkdir(parents=True)
        Path("photos", name, "1.jpg").touch()
    with pytest.raises(TableError) as caught:
        read_table(typed)
    assert words in caught.value.rule
    assert cure in caught.value.cure
    assert "mean ''" not in str(caught.value)
    if typed.strip():
        (bad,) = all_images([typed, "photos"]).rejected
        assert words in bad.reason or bad.reason == "no such file"


def test_a_file_may_be_called_like_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "a[1]*.jpg").touch()
    assert len(read_table(tmp_path / "a[1]*.jpg")) == 1


# -- Targa --


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
@pytest.mark.parametrize("packed", [None, "tga_rle"])
@pytest.mark.parametrize("n_foot", [0, 26])
def test_targa_is_targa_and_no_cursor(mode: str, packed: str | None, n_foot: int) -> None:
    file = io.BytesIO()
    Image.new(mode, (7, 5), 1).save(file, "TGA", compression=packed)
    data = file.getvalue()
    with pytest.raises(DecodeError, match="a Targa picture"):
        decode(data[: len(data) - n_foot])


def test_a_cursor_and_an_icon_are_no_targa() -> None:
    file = io.BytesIO()
    Image.new("RGBA", (16, 16)).save(file, "ICO")
    icon = file.getvalue()
    with pytest.raises(DecodeError, match="an icon"):
        decode(icon)
    with pytest.raises(DecodeError, match="a cursor"):
        decode(icon[:2] + b"\2" + icon[3:])


# -- Names that are too long --

LONG = "a" * 256


def test_names_that_are_too_long_are_refused_before_the_work(tmp_path: Path) -> None:
    config = RunConfig("photos")
    for refuse in (
        lambda: folder_for(config, out=str(tmp_path), name=LONG),
        lambda: folder_for(config, out=str(tmp_path / LONG / "runs")),
        lambda: require_folder_of(str(tmp_path / f"{LONG}.csv")),
        lambda: require_room(str(tmp_path / "new" / LONG)),
    ):
        with pytest.raises(UsageError, match="bytes long; this disk allows 255") as caught:
            refuse()
        assert "a shorter name with --" in caught.value.cure
    folder_for(config, out=str(tmp_path), name="é" * 127)
    with pytest.raises(UsageError, match="256 bytes long"):
        folder_for(config, out=str(tmp_path), name="é" * 128)


@pytest.mark.parametrize("n", [1, 200, 240, 255])
def test_data_of_any_name_have_a_run_of_their_own(n: int, tmp_path: Path) -> None:
    name = RunConfig(str(tmp_path / ("a" * n)), method="partial").default_name
    (tmp_path / name).mkdir()
    assert name.startswith("a" * min(n, 200) + "-partial-")


def test_pictures_of_explain_have_names_that_can_be_written(tmp_path: Path) -> None:
    names = _file_names([f"{folder}/{'é' * 125}.jpg" for folder in "ab"] + ["c/1.jpg"])
    assert names[2] == "1.png"
    assert len(set(names)) == 3
    for name in names:
        (tmp_path / name).touch()
