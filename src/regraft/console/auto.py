"""A search for the best way as it goes on, and what came of it: a table of arms, or plain lines."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape

from regraft.console import progress
from regraft.console.lines import width_of, wrapped
from regraft.console.screen import bare_table, hang, stdout
from regraft.listener import Listener
from regraft.wording import count, duration, percent

Watch = Callable[[Any], None]
# A table of more arms would not fit a screen.
MOST_ROWS = 14
# A reason is of the kind of its first words; behind them stand figures of one way.
_KIND_OF_REASON = re.compile(r" \(|: |; ")


@contextmanager
def watching(*, quiet: bool) -> Iterator[tuple[Listener, Watch]]:
    """A listener, and who is shown the arms: a live table on a terminal, plain lines without."""
    if quiet or not sys.stderr.isatty():
        with progress.listening(quiet=quiet, after="") as listener:
            yield listener, lambda search: None
        return
    from rich.live import Live

    screen = Console(stderr=True, highlight=False)
    with Live(console=screen, transient=True, refresh_per_second=4) as live:

        def say(text: str) -> None:
            live.console.print(escape(wrapped(text, width_of(sys.stderr))))

        def counted(stage: str, done: int, total: int) -> None:
            if not rows[0]:
                live.update(f"{escape(stage)} {done} of {total}")

        def watch(search: Any) -> None:
            rows[0] = True
            live.update(_board(search))

        rows = [False]
        yield Listener(say=say, progress=counted), watch


def _board(search: Any) -> Any:
    """Arms with what became of them, and the budget running down."""
    left = max(0.0, search.budget.left)
    table = bare_table()
    table.title = f"{duration(left)} of {duration(search.budget.seconds)} left"
    for heading in ("way", "state", "left out", "log loss", "seconds", "bill"):
        table.add_column(heading, justify="left" if heading in ("way", "state") else "right")
    for arm in search.contest.arms[:MOST_ROWS]:
        found = arm.left_out
        state = arm.progress if arm.state == "running" and arm.progress else arm.state
        if arm.state == "waiting" and arm.paused_at:
            state = f"paused after {percent(arm.paused_at)} of its epochs"
        table.add_row(
            escape(arm.way.name) + (" *" if arm is search.contest.took and found else ""),
            escape(state if not arm.why else f"{arm.state}: {arm.why[:40]}"),
            percent(found["accuracy"]) if found else "",
            f"{found['log_loss']:.3f}" if found else "",
            f"{arm.seconds:.1f}" if arm.seconds else "",
            duration(arm.predicted_s) if arm.predicted_s else "",
        )
    return table


def show_search(auto: Mapping[str, Any]) -> None:
    """What was tried, what was not and why, and what was taken."""
    screen = stdout()
    spent = f"{duration(auto['spent_s'])} of {duration(auto['budget_s'])}"
    took = auto["took"]
    hang(screen, "Took", f"[bold]{escape(_named(took))}[/]: {escape(took['why'])} ({spent})")
    if (again := took.get("again")) is not None:
        words = "learnt once more as train does, from most of the images that judged it too"
        if not again["kept"]:
            words = f"was to learn once more as train does: {again['why']}"
        hang(screen, "", f"[dim]{words} ({duration(again['seconds'])})[/]")
    table = bare_table()
    for heading in ("  tried", "left out", "log loss", "seconds", "bill"):
        justify: Literal["left", "right"] = "left" if heading == "  tried" else "right"
        table.add_column(heading, justify=justify, no_wrap=True)
    for arm in auto["tried"]:
        found = arm.get("comparable") or arm["left_out"]
        table.add_row(
            ("* " if arm["took"] else "  ") + escape(_named(arm)),
            percent(found["accuracy"]) if found else "",
            f"{found['log_loss']:.3f}" if found else "",
            f"{arm['seconds']:.1f}",
            f"{arm['predicted_s']:.1f}",
        )
    screen.print(table)
    for arm in auto["tried"]:
        if arm["why"]:
            hang(screen, "", f"[dim]{escape(_named(arm))}: {escape(arm['why'])}[/]")
    if (compared := auto["compared"]) is not None:
        hang(
            screen,
            "",
            f"[dim]the best of {compared['compared']} is best by some luck too: on the "
            f"{count(compared['n'], 'image')} that judged all of them it has log loss "
            f"{compared['log_loss_of_winner']:.3f}; if the choice has no part in an image's score, "
            f"what is chosen has {compared['log_loss']:.3f} "
            f"({percent(compared['accuracy'])} right)[/]",
        )
    _show_not_tried(screen, auto["not_tried"])
    screen.print()


def _show_not_tried(screen: Console, arms: Sequence[Mapping[str, Any]]) -> None:
    """A line for each kind of reason; the figures of each way are in metrics.json."""
    by_kind: dict[str, list[Mapping[str, Any]]] = {}
    for arm in arms:
        by_kind.setdefault(_KIND_OF_REASON.split(arm["why"], maxsplit=1)[0], []).append(arm)
    for kind, alike in by_kind.items():
        why = alike[0]["why"] if len(alike) == 1 else kind
        names = "; ".join(map(_named, alike))
        hang(screen, "", f"[dim]not tried: {escape(names)}: {escape(why)}[/]")
    if len(arms) > len(by_kind):
        hang(screen, "", "[dim]the reason of each, with its figures: metrics.json[/]")


def _named(arm: Mapping[str, Any]) -> str:
    plain = ", ".join(str(arm[key]) for key in ("way", "backbone") if arm[key])
    return str(arm.get("name", plain))
