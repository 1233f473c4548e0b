"""A finished run and a fitted classifier as a notebook shows them: a few lines and a short table.

All names go through one template that escapes them; colours are the notebook's own, so that light
and dark are alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from regraft.choosing.difference import left_out_in_words
from regraft.record.run_folder import REPORT
from regraft.wording import count, percent, printable, shortened

# Of more classes the weakest are listed.
MOST_CLASSES = 12
MOST_CHARACTERS = 60

_PAGE = Markup('<div class="regraft" style="max-width: 46em; line-height: 1.5">{}</div>')
_LINE = Markup(
    '<div><span style="display: inline-block; min-width: 5.5em; opacity: 0.65">{}</span>{}</div>'
)
_HEADS = ("class", "images", "recall", "interval", "precision")
_CELL = "text-align: {}; padding: 0.1em 1.2em 0.1em 0; font-size: inherit"
_TABLE = Markup(
    '<table style="margin: 0.6em 0; font-size: inherit"><thead>{}</thead><tbody>{}</tbody></table>'
)


def of_run(metrics: Mapping[str, Any], folder: Path) -> str:
    """HTML of a finished run: the score and how sure it is, the classes, where everything is.

    Parameters
    ----------
    metrics : dict
        As in metrics.json.
    folder : Path
        The run's.
    """
    evaluation, data, backbone = metrics["evaluation"], metrics["data"], metrics["backbone"]
    accuracy = evaluation["accuracy"]
    score = Markup("<b>{} of {} right</b>, {} % interval {}").format(
        percent(accuracy["value"]),
        count(evaluation["n"], f"{evaluation['split']} image".strip()),
        round(100 * accuracy["level"]),
        _range(accuracy),
    )
    splits = ", ".join(f"{n} {name}" for name, n in data["splits"].items())
    images = f"{count(data['images'], 'image')}, {count(len(data['classes']), 'class', 'classes')}"
    rejected = f", {data['rejected']} rejected" if data["rejected"] else ""
    left_out, judged = metrics.get("left_out"), metrics.get("verdict")
    lines = [
        *([("beside", left_out_in_words(left_out))] if left_out else []),
        *([("trust", judged["sentence"])] if judged else []),
        ("data", f"{images}: {splits}{rejected}"),
        ("findings", f"{data['findings']}, in findings.json" if data["findings"] else "none"),
        ("method", f"{metrics['method']} on {backbone['name']}"),
        ("chosen", _chosen(metrics["chosen"]["taps"], metrics["chosen"]["head"])),
        ("model", _code(folder / "model")),
    ]
    if (folder / REPORT).is_file():
        lines.append(("report", _link(folder / REPORT)))
    return _page(score, _classes(evaluation["per_class"]), _lines(lines))


def of_classifier(
    method: str, backbone: str, classes: Sequence[Any], taps: Sequence[str], head: str
) -> str:
    """HTML of a fitted classifier: what it is made of and what it tells apart."""
    shown = ", ".join(_name(label) for label in classes[:MOST_CLASSES])
    more = f", … {len(classes) - MOST_CLASSES} more" if len(classes) > MOST_CLASSES else ""
    return _page(
        Markup("<b>A classifier of {}</b>").format(count(len(classes), "class", "classes")),
        _lines(
            [
                ("classes", shown + more),
                ("method", f"{method} on {backbone}"),
                ("chosen", _chosen(taps, head)),
            ]
        ),
    )


def _classes(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """The classes in their order, or the weakest of many."""
    shown = rows
    if len(rows) > MOST_CLASSES:
        weakest = sorted(rows, key=lambda r: (r["f1"]["value"] is None, r["f1"]["value"] or 0))
        shown = weakest[:MOST_CLASSES]
    cells = [
        (
            _name(row["label"]),
            row["n"],
            percent(row["recall"]["value"]),
            _range(row["recall"]),
            percent(row["precision"]["value"]),
        )
        for row in shown
    ]
    table = _TABLE.format(_row("th", _HEADS), Markup("").join(_row("td", row) for row in cells))
    if len(shown) == len(rows):
        return table
    return _LINE.format("", f"the {len(shown)} weakest of {len(rows)} classes:") + table


def _row(tag: str, cells: Sequence[object]) -> Markup:
    """Of a table: the name on the left, numbers on the right."""
    cell = Markup('<{0} style="{1}">{2}</{0}>')
    sides = ("left", *["right"] * (len(cells) - 1))
    inner = (cell.format(tag, _CELL.format(s), c) for s, c in zip(sides, cells, strict=True))
    return Markup("<tr>{}</tr>").format(Markup("").join(inner))


def _chosen(taps: Sequence[str], head: str) -> str:
    return f"{head} head on the taps " + ", ".join(printable(tap) for tap in taps)


def _page(*parts: Markup) -> str:
    return str(_PAGE.format(Markup("").join(parts)))


def _lines(pairs: Sequence[tuple[str, str]]) -> Markup:
    return Markup("").join(_LINE.format(heading, text) for heading, text in pairs)


def _name(name: object) -> str:
    return shortened(printable(str(name)), MOST_CHARACTERS)


def _code(path: Path) -> Markup:
    return Markup("<code>{}</code>").format(printable(str(path)))


def _link(path: Path) -> Markup:
    """A link where a notebook can follow it: to files beside and below it."""
    if path.is_absolute():
        return _code(path)
    address = quote(path.as_posix(), errors="surrogateescape")
    return Markup('<a href="{}">{}</a>').format(address, printable(str(path)))


def _range(estimate: Mapping[str, Any]) -> str:
    if estimate["value"] is None or estimate["low"] is None:
        return "–"
    return f"{percent(estimate['low'])} to {percent(estimate['high'])}"
