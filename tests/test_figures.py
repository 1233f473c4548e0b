"""Pictures of a training: every number is in them, for one epoch and for many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from regraft.report import figures


def rows(n: int, *, held_out: bool = True) -> list[dict[str, Any]]:
    return [
        {
            "epoch": i + 1, "loss": 1.5 / (i + 1), "accuracy": 1 - 0.5 / (i + 1),
            "held_out_loss": 1.7 / (i + 1) if held_out else None,
            "held_out_accuracy": 1 - 0.6 / (i + 1) if held_out else None,
            "rate": 0.01 / (i + 1), "is_best": i < 3,
        }
        for i in range(n)
    ]  # fmt: skip


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures, kept to be looked into."""
    kept: list[Any] = []
    save = Figure.savefig

    def saved(figure: Figure, *args: Any, **options: Any) -> None:
        kept.append(figure)
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", saved)
    return kept


@pytest.mark.parametrize("n", [1, 2, 8, 200])
@pytest.mark.parametrize("held_out", [True, False])
def test_every_number_is_drawn_and_lies_in_the_picture(
    tmp_path: Path, drawn: list[Any], n: int, held_out: bool
) -> None:
    epochs = rows(n, held_out=held_out)
    file = tmp_path / figures.TRAINING
    figures.training_curves(epochs, file, n_learnt_from=220, n_held_out=25 if held_out else 0)
    figure = drawn[0]
    loss, accuracy, rate = figure.axes
    wanted = {"loss": (loss, 1), "accuracy": (accuracy, 100), "rate": (rate, 1)}
    for name, (axes, unit) in wanted.items():
        np.testing.assert_allclose(axes.lines[0].get_ydata(), [unit * row[name] for row in epochs])
        for line in axes.lines:
            low, high = axes.get_ylim()
            assert (low <= np.array(line.get_ydata())).all()
            assert (np.array(line.get_ydata()) <= high).all()
    assert len(loss.lines) == (3 if held_out else 1)
    if held_out:
        np.testing.assert_allclose(
            accuracy.lines[1].get_ydata(), [100 * row["held_out_accuracy"] for row in epochs]
        )
        assert loss.lines[2].get_xdata() == [min(n, 3)]  # the last that was the best so far
    assert "n = 220" in figure.get_suptitle()
    assert ("n = 25" in figure.get_suptitle()) is held_out
    assert all(tick == round(tick) for tick in rate.get_xticks())
    with Image.open(file) as picture:
        assert len(picture.convert("L").getcolors()) > 10


def test_no_epoch_is_no_picture(tmp_path: Path) -> None:
    figures.training_curves([], tmp_path / "t.png", n_learnt_from=1, n_held_out=0)
    assert list(tmp_path.iterdir()) == []


def test_the_range_test_shows_its_curve_and_its_marks(tmp_path: Path, drawn: list[Any]) -> None:
    rates, losses = [1e-3, 1e-2, 1e-1, 1.0], [2.0, 1.5, 0.5, 40.0]
    figures.rate_curve(
        rates, losses, losses, tmp_path / "r.png", marks={"steepest": 1e-2}, n_images=77
    )
    axes = drawn[0].axes[0]
    assert list(axes.lines[1].get_ydata()) == losses
    assert list(axes.lines[2].get_xdata()) == [1e-2, 1e-2]
    assert axes.get_ylim()[1] < 3  # what diverges does not flatten the rest
    assert "n = 77" in axes.get_title(loc="left")
