"""How good a classifier is: its score and how sure that is, its classes, what it confuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from regraft.console.screen import bare_table
from regraft.console.wording import interval, literal, whole_percent
from regraft.evaluation.confusion import Confusion
from regraft.evaluation.metrics import is_even
from regraft.wording import count, percent, printable

# Above this many classes only the worst are listed, and the confusions instead of the matrix.
MAX_CLASSES_LISTED = 12
# Below this many scored images the result says so.
FEW_SCORED = 30


def show_classes(screen: Console, evaluation: Mapping[str, Any]) -> None:
    """Class by class, and what is taken for what."""
    _per_class(screen, evaluation["per_class"])
    _confusion(screen, evaluation)


def show_score(screen: Console, evaluation: Mapping[str, Any]) -> None:
    """How many are right, and how sure that is."""
    accuracy, n = evaluation["accuracy"], evaluation["n"]
    where = f"{evaluation['split']} " if evaluation["split"] not in ("", "all") else ""
    screen.print(
        f"[bold green]{percent(accuracy['value'])}[/] of {count(n, where + 'image')} right "
        f"({_how_sure(accuracy)})",
        soft_wrap=True,
    )
    if not is_even([row["n"] for row in evaluation["per_class"]]):
        balanced = evaluation["balanced_accuracy"]
        screen.print(
            f"Balanced accuracy {percent(balanced['value'])} ({_how_sure(balanced)})",
            soft_wrap=True,
        )
    if n < FEW_SCORED:
        screen.print(
            f"[yellow]very uncertain: the score is of {count(n, 'image')} only[/]", soft_wrap=True
        )


def _how_sure(estimate: Mapping[str, Any]) -> str:
    return f"{whole_percent(estimate['level'])} interval {interval(estimate)}"


def _per_class(screen: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    shown = rows
    if len(rows) > MAX_CLASSES_LISTED:
        shown = sorted(rows, key=lambda r: (r["f1"]["value"] is None, r["f1"]["value"] or 0))
        shown = shown[:MAX_CLASSES_LISTED]
        screen.print(
            f"the {len(shown)} weakest of {len(rows)} classes (metrics.json has all)",
            soft_wrap=True,
        )
    table = bare_table()
    table.add_column("class", overflow="fold", max_width=28)
    for heading in ("images", "recall", "interval", "precision", "F1"):
        table.add_column(heading, justify="right")
    for row in shown:
        table.add_row(
            literal(row["label"]),
            str(row["n"]),
            percent(row["recall"]["value"]),
            interval(row["recall"], short=True),
            percent(row["precision"]["value"]),
            percent(row["f1"]["value"]),
        )
    screen.print(table)
    screen.print()


def _confusion(screen: Console, evaluation: Mapping[str, Any]) -> None:
    names = [row["label"] for row in evaluation["per_class"]]
    confusion = Confusion.from_dict(evaluation)
    if len(names) > MAX_CLASSES_LISTED:
        _worst_confusions(screen, names, confusion)
        return
    matrix = confusion.matrix.tolist()
    first = "true \\ predicted"
    widths = _header_widths(names, matrix, screen.width - max(len(first), 16))
    table = bare_table()
    table.add_column(first, no_wrap=True)
    for name, width in zip(names, widths, strict=True):
        table.add_column(literal(name, width), justify="right", no_wrap=True)
    for i, name in enumerate(names):
        cells = [
            f"[green]{n}[/]" if i == j else (f"[red]{n}[/]" if n else "[dim]·[/]")
            for j, n in enumerate(matrix[i])
        ]
        table.add_row(literal(name, 16), *cells)
    screen.print(table)
    screen.print()


def _header_widths(names: list[str], matrix: list[list[int]], room: int) -> list[int]:
    """As much of each name as fits beside the others; short names leave their room to long ones."""
    lengths = [len(printable(name)) for name in names]
    digits = max(len(str(n)) for row in matrix for n in row)
    for cap in range(max(lengths), 4, -1):
        widths = [max(digits, min(length, cap)) for length in lengths]
        if sum(widths) + 2 * len(widths) <= room:
            return widths
    return [max(digits, min(length, 4)) for length in lengths]


def _worst_confusions(screen: Console, names: list[str], confusion: Confusion) -> None:
    named = [(n, names[i], names[j]) for n, i, j in confusion.mistakes()]
    for n, truth, called in sorted(named, key=lambda pair: (-pair[0], pair[1:]))[:5]:
        screen.print(
            f"  {n} x {literal(truth, 30)} predicted as {literal(called, 30)}", soft_wrap=True
        )
    screen.print()
