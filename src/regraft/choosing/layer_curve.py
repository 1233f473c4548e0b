"""The layer curve: how well a head does on each stage alone, and what its shape says.

The tutorials' rule of thumb asks whether the data are like what the network learnt on. The curve
measures it: the more a network's last, most specialised stages help, the more alike the data are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regraft.features.engine import network_of
from regraft.wording import percent

BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Reading:
    """What a layer curve says.

    Attributes
    ----------
    peak : str
        The tap with the best left-out accuracy.
    peak_accuracy, final_accuracy : float
    is_before_end : bool
        The peak is above 'final' by more than chance would make it (two standard errors).
    words : str
        In plain words.
    """

    peak: str
    peak_accuracy: float
    final_accuracy: float
    is_before_end: bool
    words: str


def read(curve: Sequence[Mapping[str, Any]], n_images: int) -> Reading:
    """Read a curve of ``{"tap", "accuracy"}`` from early to late, the last being 'final'.

    The first stage, the best and the last are compared: below the best is what is so by more than
    two standard errors. Of several networks side by side the first one's curve is read.

    Examples
    --------
    >>> curve = [{"tap": "blocks.4", "accuracy": 0.79}, {"tap": "final", "accuracy": 0.70}]
    >>> read(curve, 1290).is_before_end
    True
    >>> print(read(curve, 20).words)
    early and late stages are about equally accurate: blocks.4 79.0 %, final 70.0 %, within chance
    """
    curve = _of_first_network(curve)
    first, last = curve[0], curve[-1]
    best = max(curve, key=_accuracy)
    words = f"{_early(curve, best, n_images)}{_end(curve, best, n_images)}"
    is_before_end = _is_below(last, best, n_images)
    if is_before_end:
        rise = f", after {_said(first)}" if _is_below(first, best, n_images) else ""
        words = (
            f"the curve peaks at {_said(best)}{rise}, before the end ({_said(last)}): these images "
            "are unlike those that the network learnt on, and its earlier stages serve them better "
            "than its last"
        )
    return Reading(str(best["tap"]), _accuracy(best), _accuracy(last), is_before_end, words)


def _of_first_network(curve: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    first = network_of(str(curve[0].get("tap", "")))
    return [point for point in curve if network_of(str(point.get("tap", ""))) == first]


def _early(curve: Sequence[Mapping[str, Any]], best: Mapping[str, Any], n_images: int) -> str:
    """From which stage on nothing is below the best."""
    first, last = curve[0], curve[-1]
    if not _is_below(first, best, n_images):
        said = dict.fromkeys(map(_said, (first, best, last)))  # in order, each once
        chance = ", within chance" if len(said) > 1 else ""
        return f"early and late stages are about equally accurate: {', '.join(said)}{chance}"
    level = next(point for point in curve if not _is_below(point, best, n_images))
    if level is last:
        return f"the curve rises to the end, from {_said(first)} to {_said(last)}"
    return (
        f"from {_said(level)} on the stages are about equally accurate and better than the first "
        f"({_said(first)})"
    )


def _end(curve: Sequence[Mapping[str, Any]], best: Mapping[str, Any], n_images: int) -> str:
    """What the end says of the images, where it is not below the best."""
    first, last = curve[0], curve[-1]
    if not _is_below(first, best, n_images):
        return ""
    if best is last:
        return ": these images are like those that the network learnt on"
    return f"; the best is {_said(best)}, and {_said(last)} is within chance of it"


def _is_below(point: Mapping[str, Any], best: Mapping[str, Any], n_images: int) -> bool:
    """By more than chance. Runs of an older Regraft kept no paired differences; taking their
    images as independent errs on the quiet side."""
    below = _accuracy(best) - _accuracy(point)
    error = point.get("below_best_error")
    if error is None:
        variance = sum(a * (1 - a) for a in (_accuracy(point), _accuracy(best)))
        error = math.sqrt(variance / max(1, n_images))
    return below > 2 * float(error)


def _accuracy(point: Mapping[str, Any]) -> float:
    return float(point["accuracy"])


def _said(point: Mapping[str, Any]) -> str:
    return f"{point['tap']} {percent(_accuracy(point))}"


def bars(curve: Sequence[Mapping[str, Any]]) -> str:
    """The curve as a row of bars from 0 to its best.

    Examples
    --------
    >>> bars([{"accuracy": 0.1}, {"accuracy": 0.4}, {"accuracy": 0.8}])
    '▁▄█'
    """
    best = max(float(point["accuracy"]) for point in curve) or 1.0
    levels = [max(0, math.ceil(8 * float(point["accuracy"]) / best) - 1) for point in curve]
    return "".join(BARS[level] for level in levels)


def draw(curve: Sequence[Mapping[str, Any]], n_images: int, file: str) -> None:
    """The curve as a picture, with 95 % intervals; PNG, SVG or PDF by the file's ending."""
    from matplotlib.figure import Figure

    from regraft.evaluation import wilson_interval

    accuracy = [float(point["accuracy"]) for point in curve]
    bounds = [wilson_interval(round(a * n_images), n_images) for a in accuracy]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    places = range(len(curve))
    axes.fill_between(
        places, [low for low, _ in bounds], [high for _, high in bounds], alpha=0.2, linewidth=0
    )
    axes.plot(places, accuracy, marker="o")
    axes.set_xticks(places, [str(point["tap"]) for point in curve], rotation=30, ha="right")
    axes.set_ylabel("cross-validated accuracy on train")
    axes.set_ylim(0, 1.02)
    axes.set_title(f"How far each stage carries (n = {n_images}, band: 95 % interval)", fontsize=10)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=150)
