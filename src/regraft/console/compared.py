"""Ways that were compared: a table, the tests against the best, and which one to take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.markup import escape

from regraft.choosing.difference import points
from regraft.console.page import show_page
from regraft.console.screen import bare_table, hang, print_json, stdout
from regraft.console.wording import interval
from regraft.wording import duration, percent

if TYPE_CHECKING:
    from regraft.choosing.comparing import Ranking


def show_ranking(ranking: Ranking, page: Path, *, as_json: bool) -> None:
    """A line a way; the one to take is marked."""
    content = ranking.to_dict()
    if as_json:
        print_json({**content, "page": str(page)})
        return
    screen, table = stdout(), bare_table()
    for heading in ("  way", "accuracy", "interval", "log loss", "time", "model"):
        justify: Literal["left", "right"] = "left" if heading == "  way" else "right"
        table.add_column(heading, justify=justify, no_wrap=True)
    for number, row in enumerate(ranking.rows):
        table.add_row(
            ("* " if number == ranking.take else "  ") + escape(row.way.name),
            percent(row.accuracy["value"]),
            interval(row.accuracy, short=True),
            f"{row.log_loss:.3f}",
            duration(row.seconds) + (", warm" if row.is_warm else ""),
            f"{row.model_mib:.0f} MiB",
        )
    screen.print(table)
    if any(row.is_warm for row in ranking.rows):
        words = "warm: its features were kept from an earlier run, so its time holds no pass"
        hang(screen, "", f"[dim]{words}[/]")
    best = ranking.rows[ranking.best]
    for number, test in enumerate(content["tests"]):
        heading = "Tests" if number == 0 else ""
        row = ranking.rows[test["a"]]
        kept = "; it kept the probe" if row.keeps_probe else ""
        hang(screen, heading, escape(f"{row.way.name}: {_against(test)}{kept}"))
    if content["tests"]:
        hang(screen, "", f"[dim]each against {escape(best.way.name)}, which is highest[/]")
    for one in ranking.lost:
        hang(screen, "", f"[dim]lost: {escape(one['way'])}, {escape(one['backbone'])}, seed "
             f"{one['seed']}: {escape(one['why'])}[/]", indent=0)  # fmt: skip
    took = ranking.rows[ranking.take]
    hang(screen, "Take", f"[bold]{escape(took.way.name)}[/]: {escape(ranking.why)}")
    hang(screen, "Saved", escape(took.runs[0]))
    show_page(page, as_json=False)


def _against(test: dict[str, float]) -> str:
    words = f"{points({**test, 'value': test['difference']})}, p = {test['p']:.3f}"
    return f"{words}: a tie" if test["tie"] else words
