"""Ways that were compared: a table, the tests against the best, and which one to take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

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
        table.add_column(heading, justify="left" if heading == "  way" else "right")
    table.add_column("against the best")
    tests = {test["a"]: test for test in content["tests"]}
    for number, row in enumerate(ranking.rows):
        table.add_row(
            ("* " if number == ranking.take else "  ") + escape(row.way.name),
            percent(row.accuracy["value"]),
            interval(row.accuracy, short=True),
            f"{row.log_loss:.3f}",
            duration(row.seconds) + (" (kept features)" if row.is_warm else ""),
            f"{row.model_mib:.0f} MiB",
            _against(tests.get(number)) + ("; kept the probe" if row.keeps_probe else ""),
        )
    screen.print(table)
    for one in ranking.lost:
        hang(screen, "", f"[dim]lost: {escape(one['way'])}, {escape(one['backbone'])}, seed "
             f"{one['seed']}: {escape(one['why'])}[/]", indent=0)  # fmt: skip
    took = ranking.rows[ranking.take]
    hang(screen, "Take", f"[bold]{escape(took.way.name)}[/]: {escape(ranking.why)}")
    hang(screen, "Saved", escape(took.runs[0]))
    show_page(page, as_json=False)


def _against(test: dict[str, float] | None) -> str:
    if test is None:
        return "the best"
    value, low, high = (100 * test[name] for name in ("difference", "low", "high"))
    words = f"{value:+.1f} ({low:+.1f} to {high:+.1f}), p = {test['p']:.3f}"
    return f"{words}: a tie" if test["tie"] else words
