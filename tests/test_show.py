"""`regraft show`: what is drawn is what training and scoring see, of images fairly chosen."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from regraft.backbones import catalog
from regraft.cli.main import cli
from regraft.data.folders import read_folder
from regraft.data.table import ImageTable
from regraft.errors import ConfigError, DataError, UsageError
from regraft.features import engines
from regraft.images import pictures
from regraft.images.augment_presets import PRESETS
from regraft.images.geometry import Preprocess
from regraft.listener import SILENT
from regraft.record.configuration import RunConfig
from regraft.report import grid, lettering
from regraft.training.settings import TrainingSettings
from regraft.training.views import Views
from regraft.workflows import viewing

Write = Callable[..., Path]
# Small pictures, and no engine to be built.
BACKBONE = "random:test_resnet"


@pytest.fixture(scope="module")
def photos(make_room: Callable[[str], Path], make_photos: Write) -> Path:
    room = make_room("show")
    return make_photos(room / "photos", n=5, splits=("train", "val"), size_px=200)


def config(data: Path, **settings: Any) -> RunConfig:
    return RunConfig(str(data), **{"backbone": BACKBONE, **settings})


# -- What is seen --


def test_plain_and_augmented_pictures_are_those_of_training(photos: Path) -> None:
    preview = viewing.look(config(photos, seed=3), n=4)
    assert preview.columns == [("original", 0), *((name, 0) for name in PRESETS)]
    table = read_folder(photos)
    row_of = {table.shown(path): row for row, path in enumerate(table.paths)}
    digests = [hashlib.sha256(Path(path).read_bytes()).digest() for path in table.paths]
    for seen in preview.images:
        plain = pictures.plain(seen.path, preview.preprocess)
        np.testing.assert_array_equal(seen.pictures[1], plain)
    for column, preset in enumerate(PRESETS, 1):
        settings = TrainingSettings(augment=preset)
        views = Views(table, digests, preview.preprocess, settings, seed=3, listener=SILENT)
        for seen in preview.images:
            if column < 2 or seen.split in (None, "train"):
                found = views.augmented(row_of[seen.path], 0)
                np.testing.assert_array_equal(seen.pictures[column], found)
            else:
                assert len(seen.pictures) == 2, "what is scored is never augmented"


def test_the_outlined_part_is_what_the_plain_view_shows(photos: Path) -> None:
    preview = viewing.look(config(photos), n=6, presets=["none"])
    for seen in preview.images:
        top, left, bottom, right = seen.shown_part
        assert 0 <= top < bottom <= 1
        assert 0 <= left < right <= 1
        height, width = seen.height * (bottom - top), seen.width * (right - left)
        assert height == pytest.approx(width, rel=0.02)  # the network's input is a square
        # Cut there and resized by Pillow, it is the plain view but for the filter's margin.
        box = tuple(
            share * side for share, side in
            zip((left, top, right, bottom), (seen.width, seen.height) * 2, strict=True)
        )  # fmt: skip
        resample = Image.Resampling[preview.preprocess.interpolation.upper()]
        with Image.open(seen.path) as image:
            cut = image.convert("RGB").resize(preview.preprocess.input_px[::-1], resample, box=box)
        difference = np.abs(np.asarray(cut, float) - seen.pictures[1]).mean()
        assert difference < 2


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@given(st.integers(1, 3000), st.integers(1, 3000))
def test_the_part_shown_lies_in_the_picture(crop_mode: str, height: int, width: int) -> None:
    preprocess = Preprocess((224, 224), 256, crop_mode=crop_mode)
    top, left, bottom, right = preprocess.shown_part(height, width)
    assert 0 <= top < bottom <= height + 1e-9
    assert 0 <= left < right <= width + 1e-9


def test_one_preset_is_shown_in_several_views_that_differ(photos: Path) -> None:
    preview = viewing.look(config(photos), n=2, presets=["light"])
    assert preview.columns[2:] == [("light", number) for number in range(4)]
    taught = [seen for seen in preview.images if seen.split == "train"]
    assert taught
    for seen in taught:
        views = seen.pictures[2:]
        assert len({view.tobytes() for view in views}) == 4
        assert {view.shape for view in views} == {(*preview.preprocess.input_px, 3)}
    two = viewing.look(config(photos), n=1, presets=["upright", "strong"])
    assert two.columns[2:] == [("upright", 0), ("strong", 0)]


def test_a_seed_is_a_picture(photos: Path) -> None:
    def pixels(seed: int) -> list[bytes]:
        preview = viewing.look(config(photos, seed=seed), n=5, presets=["light"])
        return [picture.tobytes() for seen in preview.images for picture in seen.pictures]

    assert pixels(0) == pixels(0) != pixels(1)


def test_preprocessing_is_that_of_the_engine(photos: Path) -> None:
    settings = config(photos)
    without = viewing.preprocess_of(settings)
    assert engines.find_built(catalog.resolve(BACKBONE)) is None
    built = engines.locate(catalog.resolve(BACKBONE), device="cpu")
    assert (
        without == built.info.preprocess == viewing.preprocess_of(replace(settings, device="cpu"))
    )


# -- Which images --


def spread(labels: list[Any], splits: list[Any], n: int, bad: frozenset[int] = frozenset()) -> Any:
    table = ImageTable.from_paths([f"{i}.jpg" for i in range(len(labels))], labels)
    table = table.with_splits(splits)
    read: list[int] = []

    def seen(row: int) -> Any:
        read.append(row)
        return None if row in bad else row

    return viewing._spread(table, n, 0, seen), read


@given(st.integers(1, 12), st.integers(1, 4), st.integers(1, 30))
def test_images_are_spread_over_classes_and_splits(k: int, m: int, n: int) -> None:
    kinds = [(f"class {i}", split) for i in range(k) for split in ("train", "val")] * m
    rows, _ = spread([label for label, _ in kinds], [split for _, split in kinds], n)
    assert len(rows) == len(set(rows)) == min(n, len(kinds))
    classes = Counter(kinds[row][0] for row in rows)
    splits = Counter(kinds[row][1] for row in rows)
    pairs = Counter(kinds[row] for row in rows)
    assert max(classes.values()) - min(classes[f"class {i}"] for i in range(k)) <= 1
    assert abs(splits["train"] - splits["val"]) <= max(1, k // 2 if len(rows) > k else 1)
    assert max(pairs.values()) - min(pairs[kind] for kind in set(kinds)) <= 1


def test_an_unreadable_image_gives_its_place_to_one_of_its_kind() -> None:
    labels = ["a"] * 4 + ["b"] * 4
    rows, read = spread(labels, ["train"] * 8, 4, bad=frozenset({0, 1, 2}))
    assert sorted(labels[row] for row in rows).count("a") == 1  # no other a can be read
    assert sorted(rows).count(3) == 1
    assert len(rows) == 4
    assert len(read) == len(set(read))


def test_without_labels_and_splits_there_are_pictures_all_the_same(
    tmp_path: Path, make_photos: Write
) -> None:
    folder = make_photos(tmp_path / "photos", classes=("discs",), n=3)
    preview = viewing.look(config(folder / "discs"), n=8, presets=["none"])
    assert [seen.label for seen in preview.images] == [None] * 3
    viewing.draw(preview, tmp_path / "s.png")
    assert (tmp_path / "s.png").stat().st_size > 1000


# -- The picture --


@pytest.fixture
def figure(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """The figure that was drawn, kept to be looked into."""
    from matplotlib.figure import Figure

    kept: list[Any] = []
    save = Figure.savefig

    def saved(figure: Figure, *args: Any, **options: Any) -> None:
        kept.append(figure)
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", saved)
    return lambda: kept[-1]


ODD = [
    "$x^2$ & <b>bold", "a_very_long_class_name_that_goes_on_and_on_for_ever", "W" * 60, "蜜蜂",
    "عربى", "new\nline", "caf\udce9", "Größe", "\u200b", "🐝",
]  # fmt: skip


def test_any_name_is_written_within_the_picture(tmp_path: Path, figure: Callable[[], Any]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    rows = [grid.Row(name, "train", [noise, noise], note="60 × 40 px") for name in ODD]
    grid.draw([("original", ""), ("light", "view 1")], rows, tmp_path / "g.png", caption="x " * 300)
    drawn = figure()
    width, height = drawn.get_size_inches() * drawn.dpi
    for text in drawn.texts:
        box = text.get_window_extent()
        assert -1 <= box.x0 <= box.x1 <= width + 1, text.get_text()
        assert -1 <= box.y0 <= box.y1 <= height + 1, text.get_text()
    texts = [text.get_text() for text in drawn.texts]
    assert any(text.startswith("$x^2$") for text in texts)
    assert "new\\nline" in texts
    assert "caf\\udce9" in texts
    assert "Größe" in texts
    labels = [axes.get_window_extent() for axes in drawn.axes]
    beside = [t.get_window_extent() for t in drawn.texts if t.get_ha() == "right"]
    assert not any(box.overlaps(label) for box in labels for label in beside)


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 4000, 3), (4000, 2, 3), (35, 35, 3)])
def test_every_shape_is_seen_in_its_proportions(
    tmp_path: Path, figure: Callable[[], Any], shape: tuple[int, int, int]
) -> None:
    pixels = np.full(shape, 90, np.uint8)
    grid.draw([("original", "")], [grid.Row("a", "", [pixels], frame=(0, 0, 1, 1))],
              tmp_path / "g.svg")  # fmt: skip
    left, right, bottom, top = figure().axes[0].images[0].get_extent()
    wide, tall = right - left, bottom - top
    assert max(wide, tall) == pytest.approx(1)
    assert wide / tall == pytest.approx(np.clip(shape[1] / shape[0], grid.THINNEST, 50))
    assert (tmp_path / "g.svg").stat().st_size > 500


def test_what_no_font_has_is_spelt() -> None:
    assert lettering.legible("蜂 bee", [lettering.OWN_FONT]) == "\\u8702 bee"
    assert lettering.families(["plain", "Größe", "Ελλάδα"]) == [lettering.OWN_FONT]


@given(st.text(alphabet="ab_- ./", max_size=60), st.integers(2, 20), st.integers(1, 4))
def test_a_wrapped_name_loses_nothing_unseen(text: str, width: int, n_lines: int) -> None:
    lines = grid._wrapped(text, width, n_lines)
    assert len(lines) <= n_lines
    assert all(len(line) <= width for line in lines)
    kept = "".join(lines).replace(" ", "")
    if "…" not in kept:
        assert kept == text.replace(" ", "")


# -- The command --


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["show", *map(str, arguments), "--backbone", BACKBONE])


def test_the_command_writes_a_picture_and_says_what_is_in_it(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(photos, "--n", "3", "--augment", "light")
    assert (done.exit_code, done.output) == (0, "picture: show.png (3 of 30 images)\n")
    with Image.open(tmp_path / "show.png") as picture:
        assert picture.width > picture.height > 600
        assert len(picture.convert("L").getcolors()) > 50
    content = json.loads(run(photos, "--n", "6", "--json", "--out", "six.png").output)
    assert (tmp_path / content["picture"]).is_file()
    assert [row["label"] for row in content["rows"]] == sorted(["discs", "squares", "stripes"] * 2)
    assert Counter(row["split"] for row in content["rows"]) == {"train": 3, "val": 3}
    assert [column["preset"] for column in content["columns"]] == ["original", *PRESETS]
    assert content["input_px"] == [160, 160]
    assert content["rejected"] == []


def test_a_bad_file_is_named(photos: Path, tmp_path: Path, make_photos: Write) -> None:
    folder = make_photos(tmp_path / "photos", n=1, classes=("discs", "squares"))
    (folder / "discs" / "bad.jpg").write_bytes(b"no picture")
    done = run(folder, "--augment", "none", "--out", tmp_path / "s.png")
    assert done.exit_code == 0
    assert "bad.jpg" in done.output
    assert "2 of 3 images" in done.output
    shown = run(folder, "--json", "--augment", "none", "--out", tmp_path / "s.png")
    content = json.loads(shown.output)
    assert [Path(bad["path"]).name for bad in content["rejected"]] == ["bad.jpg"]


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (["--augment", "lihgt"], ConfigError, "did you mean 'light'"),
        (["--out", "show.gif"], UsageError, "none of the endings"),
        (["--out", "nowhere/show.png"], UsageError, "no folder 'nowhere'"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str],
    kind: type, words: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    done = run(photos, *arguments)
    assert type(done.exception) is kind
    assert words in str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_nothing_readable_is_refused_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "photos" / "a").mkdir(parents=True)
    (tmp_path / "photos" / "a" / "bad.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"the only image cannot be read") as refused:
        viewing.look(config(tmp_path / "photos"), presets=["none"])
    assert "bad.jpg" in refused.value.place
