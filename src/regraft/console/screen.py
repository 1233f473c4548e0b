"""Standard output as a screen: its width, lines that hang under a heading, tables, JSON."""

from __future__ import annotations

import sys

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from regraft.console.json_line import print_json as print_json
from regraft.console.lines import breaks, width_of, wrapped

# Lines under a heading begin here.
INDENT = 8
# Of tables where no width is known.
WIDE = 100


def stdout() -> Console:
    """Where outcomes go: as wide as the terminal, or 100 columns where there is none."""
    return Console(highlight=False, soft_wrap=False, width=width_of(sys.stdout) or WIDE)


def say_aside(text: str) -> None:
    """One dim sentence on stderr."""
    lines = escape(wrapped(text, width_of(sys.stderr)))
    Console(stderr=True, highlight=False).print(f"[dim]{lines}[/]", soft_wrap=True)


class _Trimmed(Table):
    """A table whose lines end with their last sign, so that they can be copied as they are."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        drawn = (one for one in super().__rich_console__(console, options))
        for line in Segment.split_lines(one for one in drawn if isinstance(one, Segment)):
            while line and not line[-1].text.strip():
                line.pop()
            if line:
                line[-1] = line[-1]._replace(text=line[-1].text.rstrip())
            yield from line
            yield Segment.line()


def bare_table() -> Table:
    """A table without lines, for columns to be added."""
    return _Trimmed(box=None, pad_edge=False, header_style="bold")


def hang(
    screen: Console, heading: str, text: str, *, indent: int = INDENT, is_bold: bool = True
) -> None:
    """Markup under a heading; with a hanging indent where a width is known, else in one line.

    Words longer than a line (paths) stay whole, and a number stays with its unit.
    """
    lead = Text(f"{heading} " if len(heading) >= indent > 0 else f"{heading:{indent}}")
    lead.stylize("bold" if is_bold and heading else "")
    whole = Text.from_markup(text)
    lines = [whole]
    if screen.is_terminal or width_of(sys.stdout) is not None:
        lines = list(whole.divide(breaks(whole.plain, max(20, screen.width - len(lead.plain)))))
    for number, line in enumerate(lines):
        line.rstrip()
        start = lead if number == 0 else Text(" " * len(lead.plain))
        screen.print(Text.assemble(start, line), soft_wrap=True)
