"""A bill: seconds with their range, what they go to, memory and disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from regraft.console.screen import hang, print_json, stdout
from regraft.wording import count, duration

if TYPE_CHECKING:
    from regraft.choosing.bill import Bill
    from regraft.choosing.way import Way

# Parts of a second or less are not told one by one; a bill of less than this is not told at all.
SMALL_S, WORTH_TELLING_S = 1.0, 10.0


def show_bill(bill: Bill, way: Way, *, as_json: bool) -> None:
    """Before a run: `regraft train --dry-run`."""
    if as_json:
        own = {"schema": 1, "way": way.method, "backbone": way.backbone}
        print_json({**own, **bill.to_dict()})
        return
    from regraft.choosing.bill import PARTS

    screen = stdout()
    time = f"[bold]{duration(bill.seconds)}[/] ({duration(bill.low)} to {duration(bill.high)})"
    hang(screen, "Bill", f"{escape(way.name)}: {time}")
    parts = [f"{PARTS[name]} {duration(s)}" for name, s in bill.parts.items() if s >= SMALL_S]
    if parts:
        hang(screen, "", f"[dim]{escape(', '.join(parts))}[/]")
    hang(screen, "", f"[dim]nothing kept yet: {duration(bill.cold_s)}; all kept: "
         f"{duration(bill.warm_s)}[/]")  # fmt: skip
    hang(screen, "Memory", f"up to {bill.memory_mib:,.0f} MiB")
    hang(screen, "Disk", f"{bill.disk_mib:,.0f} MiB, checkpoints and what is kept included")
    by = f"{count(bill.n_past, 'past run')} on this machine" if bill.n_past else ""
    hang(screen, "", f"[dim]{by or 'no past run on this machine yet: a rough guess'}[/]")


def show_settled(screen: Console, metrics: Mapping[str, Any]) -> None:
    """After a run that was long, or was said to be: what it took against its bill."""
    bill = metrics.get("bill") or {}  # none of `auto`, nor of an older Regraft
    if bill and max(bill["took_s"], bill["seconds"]["value"]) >= WORTH_TELLING_S:
        hang(screen, "", escape(bill["words"]))
