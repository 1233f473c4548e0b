"""compare.html: several ways side by side, accuracy against time, and which one to take."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from regraft.report.chart import Chart, percent
from regraft.report.rendering import publish, render
from regraft.wording import duration


def write(content: Mapping[str, Any], file: Path) -> Path:
    """The page, as one file.

    Parameters
    ----------
    content : dict
        As `regraft compare --json` has it.
    """
    tests = {test["a"]: test for test in content["tests"]}
    html = render(
        "ways.html.j2", of=content, tests=tests, picture=picture(content), named=named,
        duration=duration,
    )  # fmt: skip
    return publish(html, file)


def named(row: Mapping[str, Any]) -> str:
    """A way in a few words."""
    parts = [row["way"], row["backbone"], row.get("look"), row.get("image_size")]
    return ", ".join(str(part) for part in parts if part)


def picture(content: Mapping[str, Any]) -> Markup:
    """Accuracy against seconds, and the ways that none beats in both."""
    rows, front = content["rows"], content["pareto"]
    seconds = [max(0.1, row["seconds"]) for row in rows]
    shares = [row["accuracy"]["value"] for row in rows]
    lows = [row["accuracy"]["low"] for row in rows]
    highs = [row["accuracy"]["high"] for row in rows]
    chart = Chart(
        (min(seconds) / 1.5, max(seconds) * 1.5),
        (max(0.0, min(lows) - 0.01), min(1.0, max(highs) + 0.01)),
        title="accuracy of each way against the time that it took",
        log_x=True,
    )
    at = _round_seconds(min(seconds) / 1.5, max(seconds) * 1.5)
    chart.y_axis("accuracy", words=percent)
    chart.x_axis("seconds", at, duration)
    for second, low, high in zip(seconds, lows, highs, strict=True):
        chart.line([second, second], [low, high], "quiet")
    chart.line([seconds[i] for i in front], [shares[i] for i in front], "c0")
    others = [i for i in range(len(rows)) if i not in front]
    chart.points([seconds[i] for i in front], [shares[i] for i in front], "c0", radius=4.0)
    chart.points([seconds[i] for i in others], [shares[i] for i in others], "quiet")
    middle = (chart.x[0] * chart.x[1]) ** 0.5
    for i in sorted({*front, content["take"]}):
        is_left = seconds[i] < middle
        chart.text(
            seconds[i] * (1.08 if is_left else 1 / 1.08), shares[i], f" {named(rows[i])} ",
            anchor="start" if is_left else "end",
        )  # fmt: skip
    return chart.svg()


def _round_seconds(low: float, high: float) -> list[float]:
    """1, 3, 10, 30 and so on."""
    known = [base * 10.0**power for power in range(-1, 6) for base in (1, 3)]
    return [value for value in known if low <= value <= high] or [low, high]
