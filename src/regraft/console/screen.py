"""Standard output as a screen: its width, lines that hang under a heading, tables, JSON."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

# Lines under a heading begin here.
INDENT = 8


def stdout() -> Console:
    """Where outcomes go: as wide as the terminal, or 100 columns where there is none."""
    return Console(highlight=False, soft_wrap=False, width=None if sys.stdout.isatty() else 100)


def print_json(content: Any) -> None:
    """One object or list, on one line of stdout."""
    print(json.dumps(content, allow_nan=False))


def say_aside(text: str) -> None:
    """One dim line on stderr."""
    Console(stderr=True, highlight=False).print(f"[dim]{escape(text)}[/]", soft_wrap=True)


def bare_table() -> Table:
    """A table without lines, for columns to be added."""
    return Table(box=None, pad_edge=False, header_style="bold")


def hang(
    screen: Console, heading: str, text: str, *, indent: int = INDENT, is_bold: bool = True
) -> None:
    """Markup under a heading; wrapped with a hanging indent on a terminal, else in one line.

    Words longer than a line (paths) stay whole, and a number stays with its unit.
    """
    lead = Text(f"{heading} " if len(heading) >= indent > 0 else f"{heading:{indent}}")
    lead.stylize("bold" if is_bold and heading else "")
    whole = Text.from_markup(text)
    lines = [whole]
    if screen.is_terminal:
        lines = list(whole.divide(_breaks(whole.plain, max(20, screen.width - len(lead.plain)))))
    for number, line in enumerate(lines):
        line.rstrip()
        start = lead if number == 0 else Text(" " * len(lead.plain))
        screen.print(Text.assemble(start, line), soft_wrap=True)


def _breaks(text: str, width: int) -> list[int]:
    """Where the lines after the first begin.

    Examples
    --------
    >>> _breaks("a line of 95 % and more", 14)
    [15]
    """
    found, start, end = [], 0, 0
    for word in re.finditer(r"\S+(?: %)?", text):
        if word.end() - start > width and end > start:
            found.append(word.start())
            start = word.start()
        end = word.end()
    return found
