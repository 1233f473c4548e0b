"""Advice: the scenario, the learning curve, ways with their bills, and the one to take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from regraft.console.commands import show_next
from regraft.console.screen import bare_table, hang, print_json, stdout
from regraft.wording import duration, duration_range, percent

if TYPE_CHECKING:
    from regraft.workflows.advising import Advice


def show_advice(found: Advice, *, as_json: bool) -> None:
    """All of it; the command last."""
    if as_json:
        print_json(found.to_dict())
        return
    screen, best = stdout(), found.recommendation.best
    hang(screen, "Data", f"[bold]{escape(found.scenario.name)}[/]: {found.scenario.numbers}")
    hang(screen, "", f"[dim]the tutorials' rule: {escape(found.scenario.advice)}[/]")
    points = [f"{percent(p.accuracy)} of {p.n}" for p in found.curve.points]
    hang(screen, "Curve", " → ".join(points) + " images that teach, left-out accuracy")
    hang(screen, "", escape(found.curve.words))
    table = bare_table()
    for heading in ("  way", "bill", "range", "memory", "log loss"):
        table.add_column(heading, justify="left" if heading == "  way" else "right")
    for number, offer in enumerate(found.recommendation.offers):
        bill = offer.bill
        table.add_row(
            ("* " if number == best else "  ") + escape(offer.way.name),
            duration(bill.seconds),
            duration_range(bill.low, bill.high),
            f"{bill.memory_mib:,.0f} MiB",
            f"{offer.expected.log_loss:.3f}",
        )
    screen.print(table)
    for name, why in found.absent.items():
        hang(screen, "", f"[dim]left out: {escape(name)}: {escape(why)}[/]")
    hang(screen, "Take", f"[bold]{escape(found.recommendation.offer.way.name)}[/]")
    hang(screen, "", escape(found.recommendation.why))
    show_next(screen, found.command(best))
