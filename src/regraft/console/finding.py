"""A finding about the data: in one line, or with its images, why it matters and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape

from regraft.console.screen import INDENT, hang
from regraft.console.wording import literal

STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}
MOST_PATHS = 3


def show_finding(screen: Console, finding: Mapping[str, Any]) -> None:
    """What was found."""
    style = STYLES[finding["severity"]]
    hang(screen, "", f"[{style}]{finding['severity']}[/] {literal(finding['message'])}")


def show_finding_in_full(screen: Console, finding: Mapping[str, Any]) -> None:
    """What was found, the first of the images, why it matters, what to do."""
    show_finding(screen, finding)
    paths = finding["paths"]
    for path in paths[:MOST_PATHS]:
        screen.print(f"{' ' * INDENT}  {literal(path)}", soft_wrap=True)
    if len(paths) > MOST_PATHS:
        screen.print(f"{' ' * INDENT}  … and {len(paths) - MOST_PATHS} more")
    if finding.get("why"):
        hang(screen, "", f"[dim]{escape(finding['why'])}[/]", indent=INDENT + 2)
    hang(screen, "", f"[green]{escape(finding['mend'])}[/]", indent=INDENT + 2)
