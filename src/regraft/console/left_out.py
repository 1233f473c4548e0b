"""Files that could not be read and are left out of a score or a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.markup import escape

from regraft.console.screen import stdout
from regraft.console.wording import literal

MOST_FILES = 3


def show_left_out(rejected: Sequence[Any]) -> None:
    """The first of them, with the reasons."""
    screen = stdout()
    for bad in rejected[:MOST_FILES]:
        screen.print(
            f"[yellow]left out[/] {literal(bad.path)}: {escape(bad.reason)}", soft_wrap=True
        )
    if len(rejected) > MOST_FILES:
        screen.print(f"… and {len(rejected) - MOST_FILES} more left out (--json lists all)")
