"""One white for all pictures of more than 8 bits: by a rule, kept in the model, at every door."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bad_files import encoded, made_png
from conftest import ONE_ANSWER
from regraft.errors import ConfigError, DecodeError
from regraft.estimator import ImageClassifier
from regraft.features import pixels
from regraft.images.brightest import measured_white
from regraft.images.decode import decode
from regraft.images.geometry import Preprocess
from regraft.images.pictures import content_of, decoded
from regraft.images.scale import AS_STORED, MEASURED, rules_for, white_of
from regraft.model import load, predicting, scoring
from regraft.record.configuration import RunConfig
from regraft.workflows import experiment, survey, viewing

TWELVE = np.linspace(0, 4095, 48 * 32).astype(np.uint16).reshape(32, 48)
EIGHT = np.rint(TWELVE * (255 / 4095)).astype(np.uint8)


def grey(data: Any, white: int) -> np.ndarray:
    """One channel, which all three must be."""
    found = decoded(data, white=white).pixels
    assert (found == found[:, :, :1]).all()
    return found[:, :, 0]


# ---- the rule -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint16, ">u2", np.int32, np.float32])
def test_every_container_of_the_same_values_gives_the_same_picture(dtype: Any) -> None:
    data = encoded(Image.fromarray(TWELVE.astype(dtype)), "TIFF")
    assert np.array_equal(grey(data, 4095), EIGHT)


@pytest.mark.parametrize("format", ["PNG", "PPM"])
def test_other_formats_follow_it_too(format: str) -> None:
    assert np.array_equal(grey(encoded(Image.fromarray(TWELVE), format), 4095), EIGHT)


def test_eight_bits_know_no_scale() -> None:
    data = encoded(Image.fromarray(EIGHT), "PNG")
    assert np.array_equal(grey(data, 4095), EIGHT)
    assert (decode(data).peak, decode(data).white) == (0, 0)


def test_without_a_scale_the_file_says_what_is_white() -> None:
    data = encoded(Image.fromarray(TWELVE), "PNG")
    found = decode(data)
    assert (found.peak, found.white) == (4095, 65535)
    assert found.pixels.max() == 16


def test_values_beyond_black_and_white_are_refused_not_clipped() -> None:
    bright = encoded(Image.fromarray(TWELVE * 2), "PNG")
    with pytest.raises(DecodeError, match=r"values up to 8,190, where 0 is black and 4,095 is"):
        decode(bright, white=4095)
    negative = encoded(Image.fromarray(TWELVE.astype(np.int32) - 7), "TIFF")
    with pytest.raises(DecodeError, match="values down to -7"):
        decode(negative, white=4095)


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_colours_of_sixteen_bits_keep_their_lower_half(order: str) -> None:
    colours = np.stack([TWELVE, TWELVE[::-1], 4095 - TWELVE], axis=2)
    expected = np.rint(colours * (255 / 4095)).astype(np.uint8)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colours)
    data = made_png(48, 32, rows, n_bits=16)
    assert np.array_equal(decode(data, white=4095).pixels, expected)
    assert np.array_equal(decode(data).pixels, colours >> 8)
    assert (decode(data).peak, decode(data).white) == (4095, 65535)
    assert np.array_equal(decoded(colours.astype(order), white=4095).pixels, expected)
    assert np.array_equal(decoded(colours.astype(order)).pixels, colours >> 8)
    assert np.array_equal(decoded(Image.open(io.BytesIO(data)), white=4095).pixels, expected)


@pytest.mark.parametrize("name", ["12-bit", "0", "-5", "12.5", "", "auto", "1e3", "9" * 20])
def test_what_is_no_scale_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="no scale is called"):
        RunConfig("photos", scale=name)


def test_one_white_is_found_in_all_pictures(tmp_path: Path) -> None:
    def file(name: str, values: np.ndarray) -> str:
        Image.fromarray(values).save(tmp_path / name)
        return str(tmp_path / name)

    dark, bright = file("dark.png", TWELVE // 4), file("bright.png", TWELVE)
    plain = file("plain.png", EIGHT)
    assert measured_white([dark, plain]) == 1023
    assert measured_white([dark, plain, bright, str(tmp_path / "gone.png")]) == 4095
    assert measured_white([plain]) == measured_white([]) == 0


def test_scale_is_a_part_of_every_recipe(tmp_path: Path) -> None:
    plain, scaled = Preprocess(), Preprocess(white=4095)
    assert "white" not in plain.to_dict()  # older models and engines have none
    assert scaled.to_dict()["white"] == 4095
    assert Preprocess.from_dict(scaled.to_dict()) == scaled
    assert Preprocess.from_dict(plain.to_dict()) == plain
    assert rules_for(0) != rules_for(4095)
    path = str(tmp_path / "a.png")
    Image.fromarray(TWELVE).save(path)
    digests = [content_of(path).digest]
    for white, brightest in ((0, 16), (4095, 255)):
        kept = pixels.decoded([path], digests, min_side_px=40, budget_bytes=2**20, white=white)
        assert (kept.from_cache, kept[0].max()) == (False, brightest)


# ---- the finding ----------------------------------------------------------------------------


def checked(folder: Path, **settings: Any) -> dict[str, Any]:
    found = survey.check(RunConfig(str(folder), **settings), offline=True)
    return {finding.kind: finding for finding in found.findings}


def write(folder: Path, most: int, dtype: Any, suffix: str = ".png", n: int = 8) -> Path:
    """Stripes and discs of values up to `most`, dim ones among them."""
    random, (y, x) = np.random.default_rng(0), np.mgrid[:64, :64]
    for label in ("stripes", "discs"):
        (folder / label).mkdir(parents=True)
        for number in range(n):
            wave = x / 5 if label == "stripes" else np.hypot(x - 32, y - 32) / 5
            picture = (np.sin(wave + random.uniform(0, 6)) + 1) / 2 * random.uniform(0.2, 1)
            picture[0, 0] = 1
            Image.fromarray((picture * most).astype(dtype)).save(
                folder / label / f"{number}{suffix}"
            )
    return folder


@pytest.mark.usefixtures("engine_cache")
def test_a_small_part_of_the_range_is_a_finding_with_its_cure(tmp_path: Path) -> None:
    twelve = write(tmp_path / "twelve", 4095, np.uint16)
    found = checked(twelve)
    assert "a sixteenth of the range" in found["little-range"].message
    assert "--scale 12bit" in found["little-range"].mend
    assert not {"dark", "blank"} & set(found), "it shows something, if one looks rightly"
    for scale in ("12bit", MEASURED, "5000"):
        assert "little-range" not in checked(twelve, scale=scale)
    assert "--scale 10bit" in checked(write(tmp_path / "ten", 1023, np.uint16))["little-range"].mend
    assert "little-range" not in checked(write(tmp_path / "full", 65535, np.uint16))


@pytest.mark.usefixtures("engine_cache")
def test_pictures_that_are_stretched_each_by_itself_are_a_finding(tmp_path: Path) -> None:
    floats = write(tmp_path / "floats", 3000, np.float32, ".tif")
    assert "--scale auto-per-set" in checked(floats)["own-range"].mend
    assert "own-range" not in checked(floats, scale=MEASURED)


@pytest.mark.usefixtures("engine_cache")
def test_a_fault_that_costs_no_row_is_a_finding(tmp_path: Path) -> None:
    folder = write(tmp_path / "photos", 255, np.uint8, ".jpg")
    path = folder / "discs" / "3.jpg"
    path.write_bytes(path.read_bytes()[:-2])
    finding = checked(folder)["faulty-file"]
    assert finding.paths == (str(path),)
    assert "without its end mark" in finding.message


# ---- the model keeps it ---------------------------------------------------------------------


@pytest.mark.numerics
@pytest.mark.usefixtures("engine_cache")
@pytest.mark.parametrize("scale", ["12bit", MEASURED])
def test_every_door_of_a_model_uses_the_scale_that_it_learnt_by(
    tmp_path: Path, scale: str, run_cli: Callable[..., Any]
) -> None:
    folder = write(tmp_path / "twelve", 4095, np.uint16, ".tif")
    result = experiment.run(RunConfig(str(folder), scale=scale), out=str(tmp_path / "runs"))
    model = result.folder / "model"
    paths = [str(path) for path in sorted(folder.rglob("*.tif"))]
    X = dict(zip(result.prepared.table.paths, result.prepared.X, strict=True))
    wanted = result.classifier.proba_of(np.stack([X[path] for path in paths]))

    classifier = load(model)
    assert classifier.info is not None
    assert classifier.info.preprocess.white == 4095
    arrays = [np.asarray(Image.open(path)) for path in paths]
    read = [Image.open(path) for path in paths]
    for image in read:
        image.load()
    contents = [Path(path).read_bytes() for path in paths]
    for door in (
        paths, contents, [io.BytesIO(content) for content in contents],
        [Image.open(path) for path in paths], read, [image.copy() for image in read], arrays,
        [array.astype(">u2") for array in arrays],
    ):  # fmt: skip
        np.testing.assert_allclose(classifier.predict_proba(door), wanted, atol=ONE_ANSWER)
    served = predicting.predict(model, paths)
    np.testing.assert_allclose(served.proba, wanted, atol=ONE_ANSWER)
    scored = scoring.evaluate_model(model, folder, split="all").evaluation
    assert scored.accuracy.value == np.mean(
        [served.labels[i] == Path(path).parent.name for i, path in enumerate(paths)]
    )
    with pytest.raises(Exception, match="where 0 is black and 4,095 is white"):
        classifier.predict_proba(arrays[0] * 9)
    done = run_cli("explain", model, paths[0], "--json", "--out", "maps")
    assert done.returncode == 0, done.stderr
    explained = json.loads(done.stdout.splitlines()[0])
    assert explained["probability"] == pytest.approx(wanted[0].max(), abs=1e-5)


@pytest.mark.numerics
@pytest.mark.usefixtures("engine_cache")
def test_the_estimator_has_it_too(tmp_path: Path) -> None:
    folder = write(tmp_path / "twelve", 4095, np.uint16, ".tif")
    paths = sorted(str(path) for path in folder.rglob("*.tif"))
    labels = [Path(path).parent.name for path in paths]
    arrays = [np.asarray(Image.open(path)) for path in paths]
    fitted = ImageClassifier(scale=MEASURED).fit(arrays, labels)
    named = ImageClassifier(scale="12bit").fit(paths, labels)
    wanted = named.predict_proba(paths)
    np.testing.assert_allclose(fitted.predict_proba(paths), wanted, atol=ONE_ANSWER)
    plain = ImageClassifier().fit(paths, labels).predict_proba(paths)
    assert np.abs(plain - wanted).max() > 1e-3, "the scale changes nothing"
    saved = ImageClassifier.load(fitted.save(tmp_path / "model"))
    np.testing.assert_allclose(saved.predict_proba(arrays), wanted, atol=ONE_ANSWER)


@pytest.mark.usefixtures("engine_cache")
def test_show_draws_what_the_network_sees_by_the_scale(tmp_path: Path) -> None:
    folder = write(tmp_path / "twelve", 4095, np.uint16, n=2)
    for scale, most in (("12bit", 255), (AS_STORED, 16)):
        preview = viewing.look(RunConfig(str(folder), scale=scale), n=2, offline=True)
        assert max(int(image.pictures[0].max()) for image in preview.images) == most
    assert white_of("12bit") == 4095


@pytest.mark.usefixtures("engine_cache")
def test_what_shows_something_in_the_dark_of_its_set_is_not_called_empty(tmp_path: Path) -> None:
    """One bright picture says the set's white; a dim one below it shows specks all the same, and
    whoever is told to remove it loses data. One even tone is still a blank."""
    folder = tmp_path / "cells"
    rng = np.random.default_rng(0)
    for i, level in enumerate([12_000, 300, 300, 0]):
        specks = 100 + level * (rng.random((64, 64)) < 0.02) * (1 + 2 * (level == 300))
        place = folder / "ab"[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(specks.astype(np.uint16)).save(place / f"{i}.png")
    found = checked(folder, scale="auto-per-set")
    assert [Path(path).name for path in found["blank"].paths] == ["3.png"]
    assert {Path(path).name for path in found["dark"].paths} >= {"1.png", "2.png"}
