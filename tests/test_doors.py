"""R2, one image, one answer: every door to a model gives the same labels and probabilities.

The reference is the run's own probabilities in memory. Files hold five or six decimals, so their
tolerance is half a unit of the last one on top.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bad_files import YCCK, encoded, gradient, with_orientation
from conftest import ONE_ANSWER, PROBABILITY
from regraft.data.table import ImageTable
from regraft.errors import DecodeError
from regraft.estimator import ImageClassifier
from regraft.features import extract
from regraft.features.store import Store
from regraft.images import DECODER_VERSION, pictures
from regraft.images.geometry import Preprocess
from regraft.model import load, predicting, scoring
from regraft.probe.probe import HEADS
from regraft.record.configuration import RunConfig
from regraft.workflows import experiment
from regraft.workflows.experiment import Result

pytestmark = pytest.mark.numerics

Write = Callable[..., Path]
WAYS = [("probe", head, taps) for head in HEADS for taps in (None,)]
WAYS += [("probe", "ridge", ("final",)), ("probe", "logistic", ("final",))]


@dataclass(frozen=True)
class House:
    """Models of every method and head on the same pictures, and the cache that they share."""

    room: Path
    results: dict[tuple[str, str, Any], Result]

    @property
    def val(self) -> list[str]:
        table = next(iter(self.results.values())).prepared.table
        return [str(path) for path in table.paths[table.splits == "val"]]

    def model(self, way: tuple[str, str, Any]) -> Path:
        return self.results[way].folder / "model"

    def proba(self, way: tuple[str, str, Any]) -> np.ndarray:
        """``(N, K)`` of val, from the method in memory."""
        result = self.results[way]
        X = result.prepared.X[result.prepared.table.splits == "val"]
        return result.classifier.proba_of(X)


@pytest.fixture(scope="module")
def house(
    make_room: Callable[[str], Path], put_engines: Callable[[Path], object], make_photos: Write
) -> House:
    room = make_room("house")
    make_photos(room / "photos", splits={"train": 7, "val": 3}, size_px=80)
    for path in (room / "photos").rglob("*.jpg"):
        os.utime(path, ns=(10**18, 10**18))
    put_engines(room / "cache")
    results = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(room / "cache"))
        for method, head, taps in WAYS:
            config = RunConfig(
                str(room / "photos"), method=method, head=head, taps=list(taps) if taps else None
            )
            results[method, head, taps] = experiment.run(config, out=str(room / "runs"))
    return House(room, results)


@pytest.fixture
def warm(house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setenv("REGRAFT_CACHE", str(house.room / "cache"))
    return house


@pytest.fixture
def cold(house: House, engine_cache: Path) -> House:
    """No feature is stored: every door computes its own."""
    return house


def precision_of(house: House) -> str:
    return next(iter(house.results.values())).prepared.built.info.precision


@pytest.mark.parametrize("way", WAYS)
def test_predictions_csv_is_what_the_method_said(house: House, way: Any) -> None:
    with open(house.results[way].folder / "predictions.csv", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    wanted, classes = house.proba(way), ["discs", "squares", "stripes"]
    found = np.array([[float(row[f"p({c})"]) for c in classes] for row in rows])
    np.testing.assert_allclose(found, wanted, atol=5.1e-6)
    assert [row["predicted"] for row in rows] == [classes[i] for i in wanted.argmax(1)]


@pytest.mark.parametrize("way", WAYS)
def test_serving_and_the_estimator_say_what_the_run_said(warm: House, way: Any) -> None:
    wanted = warm.proba(way)
    served = predicting.predict(warm.model(way), warm.val)
    assert list(served.classes) == ["discs", "squares", "stripes"]
    np.testing.assert_allclose(served.proba, wanted, atol=ONE_ANSWER)
    loaded = ImageClassifier.load(warm.model(way))
    np.testing.assert_allclose(loaded.predict_proba(warm.val), wanted, atol=ONE_ANSWER)
    assert list(loaded.predict(warm.val)) == served.labels
    assert len({tuple(row) for row in wanted.round(9)}) > 1, "all the same answer proves nothing"


@pytest.mark.parametrize("way", WAYS)
def test_evaluate_scores_what_the_run_scored(warm: House, way: Any) -> None:
    scored = scoring.evaluate_model(warm.model(way), warm.room / "photos").evaluation
    reported = warm.results[way].evaluation
    assert scored.split == reported.split == "val"
    assert scored.accuracy == reported.accuracy
    assert scored.log_loss.value == pytest.approx(reported.log_loss.value, abs=1e-5)
    assert np.array_equal(scored.confusion.matrix, reported.confusion.matrix)


FEW = [("probe", "ridge", None), ("probe", "ridge", ("final",))]


@pytest.mark.parametrize("way", FEW)
def test_without_stored_features_the_answers_are_the_same(cold: House, way: Any) -> None:
    """Fresh features, in another order, singly and from another folder, equal the stored ones."""
    wanted = cold.proba(way)
    order = np.random.default_rng(0).permutation(len(cold.val))
    served = predicting.predict(cold.model(way), [cold.val[i] for i in order])
    np.testing.assert_allclose(served.proba, wanted[order], atol=ONE_ANSWER)


def test_place_in_a_batch_batch_size_and_threads_change_nothing(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built_engines: Path
) -> None:
    from dataclasses import replace

    way = FEW[0]
    loaded, wanted = load(house.model(way)), house.proba(way)
    monkeypatch.setenv("REGRAFT_CACHE", str(built_engines))
    built = loaded.built(offline=True)
    table = ImageTable.from_paths(house.val)
    for batch_size, n_threads in ((1, 2), (4, 1), (9, 3)):
        other = replace(built, info=replace(built.info, batch_size=batch_size))
        with Store.open(Path(os.devnull) / "none", decoder=DECODER_VERSION) as nothing:
            done = extract.run(table, other, nothing, n_threads=n_threads)
        assert done.computed == len(house.val)
        proba = loaded.proba_of(done.X)
        np.testing.assert_allclose(proba, wanted, atol=ONE_ANSWER)


@pytest.mark.parametrize("way", FEW)
def test_the_command_line_says_the_same(
    warm: House, way: Any, run_cli: Any, tmp_path: Path
) -> None:
    env = {"REGRAFT_CACHE": str(warm.room / "cache")}
    wanted = dict(zip(warm.val, warm.proba(way), strict=True))
    done = run_cli(
        "predict", warm.model(way), *warm.val, "--json", "--top", 3, "--out", "a.csv", env=env
    )
    assert done.returncode == 0, done.stderr
    classes = ["discs", "squares", "stripes"]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["path"] for row in rows] == warm.val
    for row in rows:
        found = dict(row["top"])
        expected = wanted[row["path"]]
        assert [found[c] for c in classes] == pytest.approx(list(expected), abs=2e-6)
        assert row["label"] == classes[int(expected.argmax())]
    with open(tmp_path / "a.csv", encoding="utf-8") as stream:
        for written, row in zip(csv.DictReader(stream), rows, strict=True):
            assert (written["path"], written["predicted"]) == (row["path"], row["label"])
            assert float(written["probability"]) == pytest.approx(row["probability"], abs=6e-6)
    done = run_cli("evaluate", warm.model(way), warm.room / "photos", "--json", env=env)
    scored = json.loads(done.stdout)["evaluation"]
    assert scored["accuracy"] == warm.results[way].metrics["evaluation"]["accuracy"]


def test_a_picture_twice_and_under_another_name_has_one_answer(warm: House, tmp_path: Path) -> None:
    copy = tmp_path / "Öther näme.jpeg"
    shutil.copy(warm.val[0], copy)
    served = predicting.predict(warm.model(FEW[0]), [warm.val[0], str(copy)])
    assert np.array_equal(served.proba[0], served.proba[1])
    again = predicting.predict(warm.model(FEW[0]), [warm.val[0], warm.val[0]])
    assert len(again.paths) == 1, "each path once"


def test_pictures_in_memory_have_the_answer_of_their_file(warm: House, tmp_path: Path) -> None:
    path = tmp_path / "lossless.png"
    Image.open(warm.val[0]).convert("RGB").save(path)
    classifier = ImageClassifier.load(warm.model(FEW[0]))
    array = np.asarray(Image.open(path))
    found = classifier.predict_proba([str(path), path, Image.open(path), array, array / 255])
    np.testing.assert_allclose(found, np.tile(found[:1], (5, 1)), atol=1e-7)


def as_jpeg(picture: Any, **options: Any) -> bytes:
    return encoded(picture, "JPEG", quality=90, **options)


def kinds() -> dict[str, bytes]:
    """Files of every kind whose pictures once depended on who opened them."""
    rgb = Image.fromarray(gradient(120, 90))
    deep = np.linspace(0, 65535, 96 * 80).astype(np.uint16).reshape(80, 96)
    return {
        "I;16 PNG": encoded(Image.fromarray(deep), "PNG"),
        "I;16 TIFF": encoded(Image.fromarray(deep), "TIFF"),
        "I;16B TIFF": encoded(Image.fromarray(deep.astype(">u2")), "TIFF"),
        "I PPM": encoded(Image.fromarray(deep), "PPM"),
        "I TIFF": encoded(Image.fromarray(deep.astype(np.int32) * 3), "TIFF"),
        "F TIFF": encoded(Image.fromarray((deep / 65535).astype(np.float32)), "TIFF"),
        "CMYK JPEG": as_jpeg(rgb.convert("CMYK")),
        "YCCK JPEG": YCCK,
        "CMYK TIFF": encoded(rgb.convert("CMYK"), "TIFF"),
        "LA PNG": encoded(rgb.convert("LA"), "PNG"),
        "P GIF": encoded(rgb.quantize(16), "GIF"),
        "WebP": encoded(rgb, "WEBP", quality=80),
        "turned": with_orientation(6),
        "large JPEG": as_jpeg(smooth(1600, 1200)),
    }


def smooth(width: int, height: int) -> Image.Image:
    """Light and dark of every size, as in a photograph: each octave twice as fine, half as strong.

    Fine grain on top, as of a sensor.
    """
    random, values = np.random.default_rng(0), np.zeros((height, width, 3))
    for octave in range(8):
        side = 2 ** (octave + 2)
        noise = random.integers(0, 256, (side, side, 3), np.uint8)
        layer = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
        values += (np.asarray(layer, float) - 128) / 1.6**octave
    values += random.normal(0, 4, values.shape)
    return Image.fromarray(np.clip(128 + values * 0.8, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("kind", kinds())
def test_a_picture_opened_in_pil_answers_as_its_file(
    warm: House, kind: str, tmp_path: Path
) -> None:
    data = kinds()[kind]
    (tmp_path / "picture").write_bytes(data)
    read, asked = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(data))
    read.load()
    same = [tmp_path / "picture", data, io.BytesIO(data), asked]
    if kind != "large JPEG":
        same += [read]
    if kind.startswith("I;16"):
        same += [read.copy(), read.convert("I"), np.asarray(read)]
    with Image.open(tmp_path / "picture") as by_path:
        found = load(warm.model(FEW[0])).predict_proba([*same, by_path])
    np.testing.assert_allclose(found, np.tile(found[:1], (len(found), 1)), atol=1e-7)
    if kind != "WebP":  # Pillow reads it as soon as it is opened
        assert asked.tile, "it is left as it was"


def test_scaled_decoding_moves_the_input_by_less_than_one_grey_level() -> None:
    preprocess = Preprocess(input_px=(224, 224), resize_px=256, interpolation="bilinear")
    for width, height in ((1200, 800), (1600, 1200), (2080, 1560)):
        data = as_jpeg(smooth(width, height))
        whole = np.asarray(Image.open(io.BytesIO(data)))
        assert pictures.content_of(data).decode(min_side_px=384).scale > 1
        by_file, by_array = pictures.plain(data, preprocess), pictures.plain(whole, preprocess)
        moved = np.abs(by_file.astype(float) - by_array)
        assert 0 < moved.mean() < 1


def test_a_picture_that_cannot_be_read_is_refused_alike(tmp_path: Path) -> None:
    cut = as_jpeg(smooth(200, 150))[:-2000]
    closed = Image.open(io.BytesIO(as_jpeg(smooth(200, 150))))
    closed.fp.close()
    for picture in (cut, io.BytesIO(cut), Image.open(io.BytesIO(cut)), closed):
        with pytest.raises(DecodeError):
            pictures.decoded(picture)


@pytest.mark.parametrize("way", [("probe", "ridge", ("final",)), ("probe", "logistic", ("final",))])
def test_timm_says_the_same_where_the_head_is_linear(warm: House, way: Any) -> None:
    import timm
    import torch

    model = timm.create_model(f"local-dir:{warm.model(way)}", pretrained=True).eval()
    loaded = load(warm.model(way))
    preprocess = loaded.info.preprocess
    pixels = np.stack(pictures.sample(warm.val, 9)(preprocess))
    mean, std = (torch.tensor(preprocess.to_dict()[k]).view(1, 3, 1, 1) for k in ("mean", "std"))
    x = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - mean) / std
    with torch.no_grad():
        proba = model(x).softmax(1).numpy()
    wanted = warm.proba(way)[: len(pixels)]
    assert len(pixels) == len(warm.val)
    np.testing.assert_allclose(proba, wanted, atol=PROBABILITY[precision_of(warm)])
