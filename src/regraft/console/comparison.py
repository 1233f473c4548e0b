"""`regraft report` of several runs: their scores, which is better, and where the page is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.markup import escape

from regraft.console.page import show_page
from regraft.console.screen import bare_table, hang, print_json, stdout
from regraft.console.wording import literal
from regraft.wording import percent


def show_comparison(compared: Any, page: Path, *, as_json: bool) -> None:
    """A line a run, then each of the others against the first."""
    if as_json:
        print_json({**compared.to_dict(), "report": str(page)})
        return
    table = bare_table()
    table.add_column("run", overflow="fold")
    table.add_column("method", overflow="fold")
    table.add_column("right", justify="right")
    for row in compared.to_dict()["runs"]:
        name = literal(Path(row["run"]).name)
        table.add_row(name, escape(row["made_by"]), percent(row["accuracy"]))
    screen = stdout()
    screen.print(table)
    for words in compared.overlap:
        hang(screen, "", escape(words), indent=0)
    screen.print()
    for against in compared.against:
        name = literal(against.other.folder.name)
        hang(screen, "", f"[bold]{name}[/] is {escape(against.words)}", indent=0)
    hang(screen, "", escape(compared.best), indent=0)
    show_page(page, as_json=False)
