"""`regraft report` of one run: where its page is."""

from __future__ import annotations

from pathlib import Path

from regraft.console.screen import print_json, stdout
from regraft.console.wording import literal


def show_page(page: Path, *, as_json: bool) -> None:
    """One line."""
    if as_json:
        print_json({"schema": 1, "report": str(page)})
        return
    stdout().print(f"[bold]Report[/]  {literal(str(page))}", soft_wrap=True)
