"""`regraft report` of several runs: their scores, which is better, and where the page is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.markup import escape

from regraft.console.page import show_page
from regraft.console.screen import bare_table, hang, print_json, stdout
from regraft.console.wording import interval, literal
from regraft.wording import percent

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def show_comparison(compared: Any, page: Path, *, as_json: bool) -> None:
    """A line a run with its difference to the first; what each is; what to take."""
    if as_json:
        print_json({**compared.to_dict(), "report": str(page)})
        return
    table = bare_table()
    for heading in ("", "accuracy", "interval", "difference to A"):
        table.add_column(heading, justify="left" if not heading else "right")
    table.add_column("")
    tests = [None, *(against.test for against in compared.against)]
    for number, test in enumerate(tests):
        accuracy = compared.accuracy(number).to_dict()
        table.add_row(
            _letter(number), percent(accuracy["value"]), interval(accuracy, short=True),
            *_difference(test),
        )  # fmt: skip
    screen = stdout()
    for words in compared.overlap:
        hang(screen, "", escape(words), indent=0)
    screen.print(table)
    for number, run in enumerate(compared.runs):
        words = f"{literal(compared.names[number])}: {escape(compared.made_by(run))}"
        hang(screen, _letter(number), words, indent=3)
    hang(screen, "", f"[bold]{escape(compared.best)}[/]", indent=0)
    show_page(page, as_json=False)


def _letter(number: int) -> str:
    return LETTERS[number] if number < len(LETTERS) else str(number + 1)


def _difference(test: Any) -> tuple[str, str]:
    """In points with its interval, and what that means."""
    if test is None:
        return "", ""
    value, low, high = (
        100 * x for x in (test.difference.value, test.difference.low, test.difference.high)
    )
    meaning = "tie" if test.is_tie else "better" if value > 0 else "worse"
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f})", f"{meaning}, p = {test.p_value:.3f}"
