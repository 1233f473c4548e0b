"""Pictures of a training: loss, accuracy and rate over the epochs, and the loss over the rate.

Two colours that every eye tells apart (Wong, 2011, Nature Methods 8:441), and another mark beside
each, so that a print in grey says the same.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

TRAINING = "training.png"
LEARNT, HELD_OUT, QUIET = "#0072B2", "#D55E00", "#666666"
# More epochs than this are a line without marks.
MOST_MARKED = 40


def training_curves(
    epochs: Sequence[Mapping[str, Any]],
    file: str | os.PathLike[str],
    *,
    n_learnt_from: int,
    n_held_out: int,
) -> None:
    """Loss and accuracy of each epoch, and the rate under them, as a picture.

    Parameters
    ----------
    epochs : sequence of dict
        Rows of log.jsonl: `epoch`, `loss`, `accuracy` in 0..1, `held_out_loss` and
        `held_out_accuracy` (None where no image was held out), `rate`, `is_best`. One is enough.
    file : path
        PNG, SVG or PDF by its ending.
    n_learnt_from, n_held_out : int
        Images, for the caption.

    Examples
    --------
    ::

        training_curves(metrics["training"]["epochs"], "t.png", n_learnt_from=220, n_held_out=25)
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    if not epochs:
        return
    figure = Figure(figsize=(7, 6.4), layout="constrained")
    axes = figure.subplots(3, 1, height_ratios=(4, 4, 1.6), sharex=True)
    for panel, name, unit in ((axes[0], "loss", 1.0), (axes[1], "accuracy", 100.0)):
        _pair(panel, epochs, name, unit)
    axes[0].set_ylabel("loss (nats per image)")
    axes[0].set_ylim(0, 1.08 * max(_values(epochs, "loss")) or 1)
    axes[1].set_ylabel("accuracy (%)")
    axes[1].set_ylim(max(0, 95 * min(_values(epochs, "accuracy")) - 2), 102)
    _rate(axes[2], epochs)
    axes[2].set_xlabel("epoch")
    axes[2].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes[2].set_xlim(epochs[0]["epoch"] - 0.5, epochs[-1]["epoch"] + 0.5)
    axes[0].legend(frameon=False, fontsize=9, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
    held_out = f"validation: n = {n_held_out}" if n_held_out else "no validation images"
    figure.suptitle(
        f"Training: n = {n_learnt_from} images; {held_out}",
        fontsize=10,
        x=0.01,
        ha="left",
    )
    figure.savefig(file, dpi=150)


def _pair(axes: Any, epochs: Sequence[Mapping[str, Any]], name: str, unit: float) -> None:
    """One measure on what is learnt from and on what is held out."""
    mark = "o" if len(epochs) <= MOST_MARKED else ""
    _line(axes, epochs, name, unit, LEARNT, label="training", marker=mark)
    found = [row for row in epochs if row[f"held_out_{name}"] is not None]
    if found:
        mark = "s" if mark else ""
        _line(axes, found, f"held_out_{name}", unit, HELD_OUT, label="validation", marker=mark)
        best = [row for row in found if row["is_best"]][-1:]
        for row in best:
            axes.plot(
                row["epoch"], unit * row[f"held_out_{name}"], "s", markersize=11,
                markerfacecolor="none", markeredgecolor=HELD_OUT, label="kept epoch",
            )  # fmt: skip
    _quieten(axes)


def _values(epochs: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """Of both curves."""
    found = [row[key] for row in epochs for key in (name, f"held_out_{name}")]
    return [value for value in found if value is not None]


def _line(
    axes: Any, rows: Sequence[Mapping[str, Any]], name: str, unit: float, colour: str, **how: Any
) -> None:
    x, y = [row["epoch"] for row in rows], [unit * row[name] for row in rows]
    axes.plot(x, y, color=colour, linewidth=1.6, markersize=5, **how)


def _rate(axes: Any, epochs: Sequence[Mapping[str, Any]]) -> None:
    mark = "." if len(epochs) <= MOST_MARKED else ""
    _line(axes, epochs, "rate", 1.0, QUIET, marker=mark)
    axes.set_ylabel("rate at\nepoch's end")
    axes.set_ylim(0, 1.15 * max(row["rate"] for row in epochs) or 1)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)
    _quieten(axes)


def _quieten(axes: Any) -> None:
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def rate_curve(
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    file: str | os.PathLike[str],
    *,
    marks: Mapping[str, float],
    n_images: int,
) -> None:
    """The loss over a rate that rises, one point a step.

    Parameters
    ----------
    rates, losses, smoothed : sequences of the same length
    file : path
        PNG, SVG or PDF by its ending.
    marks : dict of str to float
        Rates that are named in the picture.
    n_images : int
        That the steps were drawn from.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, losses, ".", color=QUIET, alpha=0.5, markersize=4, label="each step")
    axes.plot(rates, smoothed, color=LEARNT, linewidth=1.8, label="smoothed")
    for (name, rate), dashes in zip(marks.items(), ("--", ":"), strict=False):
        axes.axvline(rate, color=HELD_OUT, linestyle=dashes, label=f"{name}: {rate:.1e}")
    axes.set_xscale("log")
    axes.set_xlabel("learning rate (per step)")
    axes.set_ylabel("loss (nats per image)")
    # What diverges leaves the picture at the top; what is learnt stays readable.
    axes.set_ylim(0, 1.05 * max([*smoothed[:-1], *losses[: len(losses) // 4], smoothed[0]]))
    axes.legend(frameon=False, fontsize=9)
    axes.set_title(
        f"Loss while the rate rises ({len(rates)} steps over n = {n_images} images)",
        fontsize=10, loc="left",
    )  # fmt: skip
    _quieten(axes)
    figure.savefig(file, dpi=150)
