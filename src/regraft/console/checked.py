"""`regraft check`: what is in the data, what cannot be read, what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from regraft.console.commands import command_on, show_next
from regraft.console.finding import show_finding_in_full
from regraft.console.screen import hang, print_json, stdout
from regraft.console.wording import literal
from regraft.record.configuration import RunConfig
from regraft.wording import count, printable, within

MOST_CLASSES, MOST_REJECTED = 8, 10


def show_check(checked: Any, *, as_json: bool, config: RunConfig | None = None) -> None:
    """Counts, rejected files and findings; the next command if nothing makes a result wrong."""
    if as_json:
        print_json(checked.to_dict())
        return
    screen = stdout()
    content = checked.to_dict()
    screen.print(
        f"[bold]{count(content['images'], 'image')}[/] in "
        f"{count(len(content['classes']), 'class', 'classes')}"
        + (f", {len(content['rejected'])} rejected" if content["rejected"] else "")
    )
    _counts(screen, content["counts"])
    _rejected(screen, content["rejected"], content["source"])
    findings = [f for f in content["findings"] if f["kind"] != "unreadable"]
    for finding in findings:
        show_finding_in_full(screen, finding, content["source"])
    if not findings and not content["rejected"]:
        screen.print("[green]nothing found that is wrong[/]")
    if not checked.has_errors:
        show_next(screen, command_on(content["source"], "train", config))


def _counts(screen: Console, counts: Mapping[str, Mapping[str, int]]) -> None:
    """Images of each split, and of its classes."""
    for split, classes in counts.items():
        shown = list(classes.items())[:MOST_CLASSES]
        listed = ", ".join(f"{printable(name)} {n}" for name, n in shown)
        left = len(classes) - MOST_CLASSES
        more = f", … {left} more" if left > 0 else ""
        words = f"{sum(classes.values())} ({escape(listed)}{more})"
        hang(screen, f"  {split}:", words, is_bold=False)


def _rejected(screen: Console, rejected: Sequence[Mapping[str, Any]], data: str) -> None:
    for bad in rejected[:MOST_REJECTED]:
        mend = f"; {escape(bad['mend'])}" if bad["mend"] else ""
        words = f"{literal(within(bad['path'], data))}: {escape(bad['reason'])}{mend}"
        hang(screen, "", f"[red]rejected[/] {words}", indent=2)
    if len(rejected) > MOST_REJECTED:
        screen.print(f"  … and {len(rejected) - MOST_REJECTED} more (--json lists all)")
