"""The report's pictures, each drawn from numbers that the rooms computed.

Blue (`c0`) is what the picture is about, vermilion (`c1`) what it is held against: two colours that
every eye tells apart (Wong, 2011, Nature Methods 8:441).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from regraft.evaluation import wilson_interval
from regraft.evaluation.confusion import Confusion
from regraft.evaluation.curves import coverage_of, precision_recall_curve, roc_curve
from regraft.report.chart import WIDTH, Chart, percent, plain
from regraft.wording import shortened

Row = Mapping[str, Any]
# Sixteen colours for classes on the map; more classes share them and are told by hovering.
N_COLOURS = 16
# Above this many classes the confusion matrix has no room for names.
MOST_NAMED = 24
MOST_POINTS, FEWEST_KEPT = 200, 10
# Of the confusion matrix: mistakes that are drawn, the most frequent first, and classes whose right
# answers have a cell of their own and not a share of one line.
MOST_MISTAKEN, MOST_RIGHT = 5_000, 1_000


SIMPLE = {"majority class": "commonest class", "nearest neighbour": "nearest image"}


def score_bar(value: Row, baselines: Mapping[str, Row]) -> Markup:
    """The score with its interval on a line from 0 to 100 %, baselines beside it."""
    chart = Chart((0, 1), (0, 1), title=_score_title(value), height=112, bottom=46, left=16)
    chart.bar((0, 1), (0.35, 0.65), "track")
    chart.bar((value["low"], value["high"]), (0.1, 0.9), "c0 soft")
    chart.bar((value["value"] - 0.003, value["value"] + 0.003), (0.0, 1.0), "c0")
    heights = itertools.cycle((0.86, -0.02))  # above and below, so that close ones do not collide
    for name, baseline in baselines.items():
        if baseline["value"] is not None:
            at = float(baseline["value"])
            chart.bar((at - 0.002, at + 0.002), (0.2, 0.8), "c1")
            anchor, step = ("start", 0.008) if at < 0.3 else ("end", -0.008)
            chart.text(at + step, next(heights), SIMPLE.get(name, name), anchor=anchor)
    chart.x_axis("share of images classified correctly", [0, 0.25, 0.5, 0.75, 1], percent)
    return chart.svg()


def _score_title(value: Row) -> str:
    return (
        f"{percent(value['value'])} right, interval {percent(value['low'])} to "
        f"{percent(value['high'])}"
    )


def layer_curve(points: Sequence[Row], n: int) -> Markup:
    """Left-out accuracy of each stage alone, with 95 % intervals."""
    accuracy = [float(point["accuracy"]) for point in points]
    bounds = [wilson_interval(round(a * n), n) for a in accuracy]
    chart = Chart((0, max(1, len(points) - 1)), (0, 1), title="accuracy of each stage", bottom=84)
    chart.y_axis("cross-validated accuracy", words=percent)
    places = list(range(len(points)))
    chart.x_axis("stage, from early to late", places, [str(p["tap"]) for p in points], slanted=True)
    chart.band(places, [low for low, _ in bounds], [high for _, high in bounds], "c0")
    chart.line(places, accuracy, "c0")
    chart.points(places, accuracy, "c0", radius=3.5)
    return chart.svg()


def training(epochs: Sequence[Row], name: str, label: str) -> Markup:
    """One measure (`loss` or `accuracy`) over the epochs, learnt and held out."""
    at = [row["epoch"] for row in epochs]
    learnt = [float(row[name]) for row in epochs]
    held = [
        (row["epoch"], float(v)) for row in epochs if (v := row[f"held_out_{name}"]) is not None
    ]
    values = learnt + [v for _, v in held]
    low = 0.0 if name == "loss" else max(0.0, min(values) - 0.05)
    high = 1.0 if name == "accuracy" else max(values) * 1.05 or 1.0
    chart = Chart((min(at) - 0.5, max(at) + 0.5), (low, high), title=f"{label} per epoch")
    chart.y_axis(label, words=percent if name == "accuracy" else plain)
    step = -(-len(at) // 8)
    chart.x_axis("epoch", at[::step])
    chart.line(at, learnt, "c0")
    chart.points(at, learnt, "c0")
    if held:
        chart.line([e for e, _ in held], [v for _, v in held], "c1")
        chart.points([e for e, _ in held], [v for _, v in held], "c1")
    return chart.svg()


def rate(epochs: Sequence[Row]) -> Markup:
    """The learning rate at each epoch's end."""
    at, rates = [row["epoch"] for row in epochs], [float(row["rate"]) for row in epochs]
    chart = Chart(
        (min(at) - 0.5, max(at) + 0.5), (0, max(rates) * 1.1 or 1), title="rate", height=170
    )
    chart.y_axis("rate", [0, max(rates)])
    chart.x_axis("epoch", at[:: -(-len(at) // 8)])
    chart.line(at, rates, "quiet")
    chart.points(at, rates, "quiet")
    return chart.svg()


def confusion(counted: Confusion, names: Sequence[str]) -> Markup:
    """Truth in rows, what it was called in columns; only cells that are not 0 are drawn, and of
    very many mistakes the most frequent."""
    n_classes = len(names)
    is_named = n_classes <= MOST_NAMED
    side, edge = 420.0, 120.0 if is_named else 24.0
    cell = (side - edge - 4) / n_classes
    parts = [
        Markup('<rect class="track" x="{0}" y="{0}" width="{1:.1f}" height="{1:.1f}"/>').format(
            plain(edge), cell * n_classes
        )
    ]
    if n_classes > MOST_RIGHT:
        ends = edge, edge + cell * n_classes
        parts.append(
            Markup('<polygon class="cell right" points="{0} {0} {2} {0} {1} {3} {1} {1}"/>').format(
                *(f"{end:.1f}" for end in (*ends, ends[0] + 1, ends[1] - 1))
            )
        )
    for i, j, n in _cells(counted):
        share, kind = n / counted.true[i], "right" if i == j else "wrong"
        size = max(cell - 0.5, 0.8 if i == j else 3.0)  # one mistake among 200 classes is seen
        parts.append(
            Markup(
                '<rect class="cell {}" style="fill-opacity:{:.2f}" x="{:.2f}" y="{:.2f}" '
                'width="{:.2f}" height="{:.2f}"><title>{}</title></rect>'
            ).format(
                kind, 0.45 + 0.55 * share, edge + j * cell, edge + i * cell,
                size, size,
                f"{n} {names[i]} predicted as {names[j]}",
            )
        )  # fmt: skip
        if is_named and cell > 11:
            middle = edge + (j + 0.5) * cell, edge + (i + 0.5) * cell + 4
            parts.append(
                Markup(
                    '<text class="count {}" x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>'
                ).format("on" if share > 0.6 else "", *middle, n)
            )
    if is_named:
        for k, name in enumerate(names):
            place, word = edge + (k + 0.5) * cell, shortened(name, 17)
            parts.append(
                Markup('<text x="{0}" y="{1:.1f}" text-anchor="end">{2}</text>').format(
                    plain(edge - 6), place + 4, word
                )
            )
            parts.append(
                Markup(
                    '<text x="{0:.1f}" y="{1}" transform="rotate(-60 {0:.1f} {1})">{2}</text>'
                ).format(place, plain(edge - 6), word)
            )
    else:
        parts.append(Markup('<text x="28" y="16">predicted</text>'))
        parts.append(Markup('<text x="16" y="28" transform="rotate(90 16 28)">true</text>'))
    return Markup(
        '<svg class="chart" viewBox="0 0 {0} {0}" role="img" aria-label="confusion matrix">'
        "{1}</svg>"
    ).format(plain(side), Markup("").join(parts))


def _cells(counted: Confusion) -> Iterator[tuple[int, int, int]]:
    """True and predicted code and images of those that are drawn, in their order."""
    (true, called), n = counted.cells.T, counted.counts
    drawn = true != called
    if np.count_nonzero(drawn) > MOST_MISTAKEN:
        places = np.flatnonzero(drawn)
        drawn[places[np.argsort(-n[places], kind="stable")[MOST_MISTAKEN:]]] = False
    if counted.n_classes <= MOST_RIGHT:
        drawn |= true == called
    yield from zip(true[drawn].tolist(), called[drawn].tolist(), n[drawn].tolist(), strict=True)


def reliability(after: Sequence[Row], before: Sequence[Row] | None) -> Markup:
    """How often it is right against how sure it is, after temperature and before."""
    chart = Chart((0, 1), (0, 1), title="how sure against how often right")
    chart.y_axis("share that is right", words=percent)
    chart.x_axis("how sure it says it is", words=percent)
    chart.diagonal()
    most = max((row["n"] for row in after), default=1) or 1
    for row in before or ():
        if row["n"]:
            size = 2 + 5 * math.sqrt(row["n"] / most)
            chart.points([row["confidence"]], [row["accuracy"]], "c1 hollow", radius=size)
    for row in after:
        if row["n"]:
            low, high = wilson_interval(round(row["accuracy"] * row["n"]), row["n"])
            chart.line([row["confidence"]] * 2, [low, high], "c0 thin")
            size = 2 + 5 * math.sqrt(row["n"] / most)
            chart.points([row["confidence"]], [row["accuracy"]], "c0", radius=size)
    return chart.svg()


def coverage(is_right: NDArray[np.bool_], sureness: NDArray[Any]) -> Markup:
    """Accuracy of what is kept where the least sure are left to a person."""
    curve = coverage_of(is_right, sureness, max_points=None)
    # From a handful on: the interval of one image reaches from nothing to everything.
    n = len(is_right)
    first = min(n - 1, max(FEWEST_KEPT, n // 20))
    rows = np.unique(np.linspace(first, len(curve.coverage) - 1, MOST_POINTS).astype(int))
    if len(curve.coverage) <= first:  # nearly all are equally sure
        rows = np.arange(len(curve.coverage))
    kept, right, low, high = (
        np.asarray(values)[rows].tolist()
        for values in (curve.coverage, curve.accuracy, curve.low, curve.high)
    )
    floor = math.floor(20 * min(low)) / 20
    chart = Chart((0, 1), (min(floor, 0.9), 1), title="accuracy against share kept")
    chart.y_axis("right among those kept", words=percent)
    chart.x_axis("share of images kept, the surest first", words=percent)
    chart.band(kept, low, high, "c0")
    chart.line(kept, right, "c0")
    return chart.svg()


def roc(y: NDArray[Any], scores: Mapping[int, NDArray[Any]]) -> Markup:
    """True against false alarms for some classes, each against the rest."""
    chart = Chart((0, 1), (0, 1), title="receiver operating characteristic")
    chart.y_axis("found (true positives)", words=percent)
    chart.x_axis("false alarms among the others", words=percent)
    chart.diagonal()
    for place, (code, score) in enumerate(scores.items()):
        curve = roc_curve(y == code, score)
        chart.line(
            list(curve.false_positive_rate), list(curve.true_positive_rate), f"k{place % N_COLOURS}"
        )
    return chart.svg()


def precision_recall(y: NDArray[Any], scores: Mapping[int, NDArray[Any]]) -> Markup:
    """Precision against recall for the same classes."""
    chart = Chart((0, 1), (0, 1), title="precision against recall")
    chart.y_axis("precision", words=percent)
    chart.x_axis("recall", words=percent)
    for place, (code, score) in enumerate(scores.items()):
        curve = precision_recall_curve(y == code, score)
        chart.line(list(curve.recall), list(curve.precision), f"k{place % N_COLOURS}")
    return chart.svg()


def sizes(pairs: Sequence[Sequence[int]], input_px: int) -> Markup:
    """Width against height of the images, and what the network sees."""
    widths, heights = [float(w) for w, _ in pairs], [float(h) for _, h in pairs]
    both = [*widths, *heights, float(input_px)]
    low, high = 10 ** math.floor(math.log10(min(both))), 10 ** math.ceil(math.log10(max(both) + 1))
    chart = Chart((low, high), (math.log10(low), math.log10(high)), title="sizes", log_x=True)
    powers = [10**k for k in range(round(math.log10(low)), round(math.log10(high)) + 1)]
    chart.y_axis("height (px)", [math.log10(p) for p in powers], [plain(p) for p in powers])
    chart.x_axis("width (px)", powers)
    chart.rule(x=input_px, css="c1")
    chart.rule(y=math.log10(input_px), css="c1")
    counted: dict[tuple[float, float], int] = {}
    for w, h in zip(widths, heights, strict=True):
        counted[w, h] = counted.get((w, h), 0) + 1
    for (w, h), n in counted.items():
        chart.points([w], [math.log10(h)], "c0 see-through", radius=min(9, 2 + math.log2(n)))
    return chart.svg()


def feature_map(points: Sequence[Row]) -> Markup:
    """Images as dots, like ones together; a ring where the model is wrong."""
    side = WIDTH
    x, y = (np.array([point[axis] for point in points], float) for axis in "xy")
    reach = max(float(np.ptp(x)), float(np.ptp(y)), 1e-9) if len(x) else 1.0
    room = side - 24
    dots = []
    for i, point in enumerate(points):
        px = 12 + room * (x[i] - x.min()) / reach + (room - room * np.ptp(x) / reach) / 2
        py = 12 + room * (y[i] - y.min()) / reach + (room - room * np.ptp(y) / reach) / 2
        is_wrong = point["called"] not in (-1, point["code"])
        dots.append(
            Markup('<circle class="dot k{}{}" data-i="{}" cx="{:.1f}" cy="{:.1f}" r="{}"/>').format(
                point["code"] % N_COLOURS, " missed" if is_wrong else "", i, px, py,
                4 if point["called"] >= 0 else 2.8,
            )
        )  # fmt: skip
    return Markup(
        '<svg class="chart map" viewBox="0 0 {0} {0}" role="img" '
        'aria-label="map of the images by what the network sees in them">{1}</svg>'
    ).format(plain(side), Markup("").join(dots))


def time_bar(seconds: Mapping[str, float]) -> Markup:
    """Where the time went, as one bar."""
    parts = [(name, value) for name, value in seconds.items() if name != "total" and value > 0]
    total = sum(value for _, value in parts) or 1.0
    chart = Chart((0, total), (0, 1), title="where the time went", height=66, bottom=40, left=16)
    start = 0.0
    for i, (_, value) in enumerate(parts):
        chart.bar((start, start + value), (0, 1), f"k{i % N_COLOURS}")
        start += value
    chart.x_axis("seconds")
    return chart.svg()


def interval_bar(value: Row) -> Markup:
    """A small bar for a table's cell: interval and value from 0 to 1."""
    if value["value"] is None:
        return Markup("")
    low, high, at = (60 * float(value[name]) for name in ("low", "high", "value"))
    return Markup(
        '<svg class="mini" viewBox="0 0 62 10" aria-hidden="true"><rect class="track" y="4" '
        'width="62" height="2"/><rect class="bar c0 soft" x="{:.1f}" y="2" width="{:.1f}" '
        'height="6"/><rect class="bar c0" x="{:.1f}" width="2" height="10"/></svg>'
    ).format(low, high - low, at)
