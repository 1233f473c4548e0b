"""Files that could not be read and are left out of a score or a picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.markup import escape

from regraft.checks.finding import in_order
from regraft.checks.left_out import findings_of
from regraft.console.finding import STYLES
from regraft.console.screen import hang, stdout
from regraft.console.wording import literal
from regraft.data.table import Skipped
from regraft.wording import count

MOST_FILES = 3


def show_left_out(rejected: Sequence[Any]) -> None:
    """The first of them, with the reasons."""
    screen = stdout()
    for bad in rejected[:MOST_FILES]:
        said = f"[yellow]left out[/] {literal(bad.path)}: {escape(bad.reason)}"
        hang(screen, "", said, indent=0)
    if len(rejected) > MOST_FILES:
        screen.print(f"… and {len(rejected) - MOST_FILES} more left out (--json lists all)")


def show_not_used(skipped: Iterable[Skipped]) -> None:
    """What lies in the data and is not used, the serious things first."""
    for finding in in_order(list(findings_of(skipped))):
        style = STYLES[finding.severity]
        words = f"{literal(finding.message)}; {escape(finding.why)}"
        hang(stdout(), "", f"[{style}]{finding.severity}[/] {words}", indent=0)


def show_other_splits(n_images: Mapping[str, int]) -> None:
    """Images of the splits that a score leaves out."""
    parts = [f"{count(n, 'image')} {_place(split)}" for split, n in n_images.items()]
    stdout().print(f"not scored: {', '.join(parts)} (--split all scores every image)")


def _place(split: str) -> str:
    return f"of {split}" if split else "in no split"
