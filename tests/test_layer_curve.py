"""The curve is read as a careful person would, and drawn into a file that opens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regraft.choosing import layer_curve


def curve(*accuracies: float) -> list[dict[str, object]]:
    names = [f"blocks.{i}" for i in range(len(accuracies) - 1)] + ["final"]
    return [{"tap": name, "accuracy": a} for name, a in zip(names, accuracies, strict=True)]


def test_a_peak_before_the_end_is_told_only_beyond_chance() -> None:
    points = curve(0.3, 0.8, 0.7)
    clear = layer_curve.read(points, 2000)
    assert clear.is_before_end
    assert (clear.peak, clear.peak_accuracy, clear.final_accuracy) == ("blocks.1", 0.8, 0.7)
    assert "unlike" in clear.words
    few = layer_curve.read(points, 40)
    assert not few.is_before_end
    assert "level" in few.words
    assert few.peak == "blocks.1"


def test_a_rise_to_the_end_is_told_only_beyond_chance() -> None:
    clear = layer_curve.read(curve(0.3, 0.7, 0.9), 1000)
    assert not clear.is_before_end
    assert clear.peak == "final"
    assert "rises to the end" in clear.words
    assert "rises" not in layer_curve.read(curve(0.3, 0.895, 0.9), 100).words


def test_the_first_of_equal_peaks_is_named() -> None:
    assert layer_curve.read(curve(0.5, 0.9, 0.9), 100).peak == "blocks.1"


def test_bars_rise_with_accuracy_and_end_full_at_the_best() -> None:
    drawn = layer_curve.bars(curve(0.0, 0.25, 0.5, 1.0, 0.5))
    assert drawn == "▁▂▄█▄"
    assert layer_curve.bars(curve(0.0, 0.0)) == "▁▁"


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_picture_is_written_and_shows_the_curve(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"curve.{ending}"
    layer_curve.draw(curve(0.2, 0.9, 0.6), 120, str(file))
    if ending == "svg":
        assert file.read_text(encoding="utf-8").count("<path") > 10
        return
    pixels = np.asarray(Image.open(file).convert("RGB"))
    assert pixels.shape[0] > 300
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20, "an empty picture has one colour"
    other = tmp_path / "other.png"
    layer_curve.draw(curve(0.9, 0.2, 0.6), 120, str(other))
    assert file.read_bytes() != other.read_bytes()
