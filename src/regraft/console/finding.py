"""A finding about the data: in one line, or with its images, why it matters and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape

from regraft.console.screen import INDENT, hang
from regraft.console.wording import literal
from regraft.wording import within

STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}
MOST_PATHS, MOST_COPIES = 3, 4


def show_finding(screen: Console, finding: Mapping[str, Any]) -> None:
    """What was found."""
    style = STYLES[finding["severity"]]
    hang(screen, "", f"[{style}]{finding['severity']}[/] {literal(finding['message'])}")


def show_finding_in_full(screen: Console, finding: Mapping[str, Any], data: str = "") -> None:
    """What was found, the first images that it does not name, why it matters, what to do.

    Images are called as they are within `data`; those that are one picture stand together.
    """
    show_finding(screen, finding)
    sets = finding.get("sets") or [[path] for path in finding["paths"]]
    for images in sets[:MOST_PATHS]:
        names = [within(path, data) for path in images]
        if any(repr(name) not in finding["message"] for name in names):
            _one_picture(screen, [literal(name) for name in names])
    if len(sets) > MOST_PATHS:
        screen.print(f"{' ' * INDENT}  … and {len(sets) - MOST_PATHS} more (--json lists all)")
    if finding.get("why"):
        hang(screen, "", f"[dim]{escape(finding['why'])}[/]", indent=INDENT + 2)
    mend = " ".join(finding["mend"].split("\n"))  # lines of its own are for an error on stderr
    hang(screen, "", f"[green]{escape(mend)}[/]", indent=INDENT + 2)


def _one_picture(screen: Console, names: list[str]) -> None:
    """Copies on one line where that is short enough, else below each other."""
    more = f" and {len(names) - MOST_COPIES} more" if len(names) > MOST_COPIES else ""
    names = names[:MOST_COPIES]
    room = screen.width - INDENT - 2
    is_short = sum(map(len, names)) + 3 * len(names) + len(more) <= room
    lead, between = " " * (INDENT + 2), " = " if is_short else f"\n{' ' * (INDENT + 2)}= "
    screen.print(f"{lead}{between.join(names)}{more}", soft_wrap=True)
