"""The curve is read as a careful person would, and drawn into a file that opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
    assert "final 70.0 % is within chance" in few.words
    assert few.peak == "blocks.1"


@pytest.mark.parametrize("accuracies", [(0.64, 0.7, 0.84, 0.83), (0.2, 0.9, 0.86)])
def test_early_is_never_called_as_good_as_late_where_it_is_not(accuracies: Any) -> None:
    words = layer_curve.read(curve(*accuracies), 245).words
    assert "early and late" not in words
    assert f"better than the first (blocks.0 {100 * accuracies[0]:.1f} %)" in words
    near = layer_curve.read(curve(0.83, 0.84, 0.82), 245).words
    assert near.startswith("early and late stages are about equally accurate: blocks.0 83.0 %")


def test_stages_are_compared_on_the_same_images() -> None:
    """Four points are chance between other images, and not where hardly any image changed."""
    points = [p | {"below_best_error": 0.013} for p in curve(0.6, 0.96, 0.92)]
    points[1]["below_best_error"] = 0.0
    assert layer_curve.read(points, 245).is_before_end
    assert not layer_curve.read(curve(0.6, 0.96, 0.92), 245).is_before_end


def test_a_curve_that_falls_from_its_first_stage_is_said_to() -> None:
    words = layer_curve.read(curve(0.9, 0.7, 0.4), 1000).words
    assert words.startswith("the curve peaks at blocks.0 90.0 %, before the end (final 40.0 %)")


def test_a_single_point_is_read() -> None:
    assert "final 90.0 %" in layer_curve.read(curve(0.9), 100).words


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
