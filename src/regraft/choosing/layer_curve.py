"""The layer curve: how well a head does on each stage alone, and what its shape says.

The tutorials' rule of thumb asks whether the data are like what the network learnt on. The curve
measures it: the more a network's last, most specialised stages help, the more alike the data are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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

    Examples
    --------
    >>> curve = [{"tap": "blocks.4", "accuracy": 0.79}, {"tap": "final", "accuracy": 0.70}]
    >>> read(curve, 1290).is_before_end
    True
    >>> print(read(curve, 20).words)
    the curve is level from blocks.4 on: early or late stages serve about as well
    """
    best = max(curve, key=lambda point: float(point["accuracy"]))
    peak, final = float(best["accuracy"]), float(curve[-1]["accuracy"])
    # The same images are scored twice; treating them as independent errs on the quiet side.
    error = math.sqrt((peak * (1 - peak) + final * (1 - final)) / max(1, n_images))
    name = str(best["tap"])
    is_at_end = name == str(curve[-1]["tap"])
    is_before_end = not is_at_end and peak - final > 2 * error
    if is_before_end:
        words = (
            f"the curve peaks at {name}, before the end: these images are unlike those that the "
            "network learnt on, and its earlier stages serve them better than its last"
        )
    elif is_at_end and (len(curve) < 2 or peak - float(curve[-2]["accuracy"]) > error):
        words = (
            "the curve rises to the end: these images are like those that the network learnt on, "
            "and its features serve as they are"
        )
    elif is_at_end:
        words = (
            "the last stages serve about equally well: these images are like those that the "
            "network learnt on"
        )
    else:
        words = f"the curve is level from {name} on: early or late stages serve about as well"
    return Reading(name, peak, final, is_before_end, words)


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
