"""What is seen while a command works, on stderr: a bar with rate and time left, or plain lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from regraft.listener import Listener

# Where lines go to a file or a pipe: a stage that goes on says so this often, in seconds.
SECONDS_BETWEEN_LINES = 5.0
# Below this many images a counter would be gone before it is seen.
FEW_IMAGES = 150


@contextmanager
def listening(*, quiet: bool, after: str = "choosing and learning") -> Iterator[Listener]:
    """A listener that shows progress on stderr: a bar with rate and time left, or plain lines.

    `after` says, once, what goes on when all images are read.
    """
    if quiet:
        yield Listener(say=_say_plain)
    elif sys.stderr.isatty():
        yield from _bar(after)
    else:
        yield Listener(say=_say_plain, progress=_PlainLines(after).progress, epoch=_say_epoch)


def counting(*, quiet: bool) -> Listener:
    """A listener for a command that may be over in less time than a bar takes to import."""
    if quiet:
        return Listener()
    if not sys.stderr.isatty():
        return Listener(say=_say_plain, progress=_PlainLines().progress)
    return Listener(say=_say_plain, progress=_count)


def _count(stage: str, done: int, total: int) -> None:
    if total >= FEW_IMAGES and (done % 20 == 0 or done == total):
        end = "\n" if done == total else ""
        print(f"\r{done} of {total} {stage}", end=end, file=sys.stderr, flush=True)


class _PlainLines:
    """A line for a stage every few seconds; none for what is over sooner."""

    def __init__(self, after: str = "") -> None:
        self._after = after
        self._spoke: dict[str, float] = {}

    def progress(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done == total:
            self._spoke.pop(stage, None)
            if self._after:
                _say_plain(self._after)
            self._after = ""
        elif now - self._spoke.setdefault(stage, now) >= SECONDS_BETWEEN_LINES:
            _say_plain(f"{done} of {total} {stage}")
            self._spoke[stage] = now


def _say_plain(text: str) -> None:
    print(f"regraft: {text}", file=sys.stderr, flush=True)


def _say_epoch(epoch: Any, n_epochs: int) -> None:
    _say_plain(_epoch_in_words(epoch, n_epochs))


def _epoch_in_words(epoch: Any, n_epochs: int) -> str:
    """One aligned line: what was learnt, what the held-out images say, how fast."""
    learnt = f"loss {epoch.loss:.3f} right {100 * epoch.accuracy:5.1f} %"
    held_out = ""
    if epoch.held_out_loss is not None:
        held_out = (
            f"  held out: {epoch.held_out_loss:.3f} right "
            f"{100 * epoch.held_out_accuracy:5.1f} %{' *' if epoch.is_best else '  '}"
        )
    width = len(str(n_epochs))
    return (
        f"epoch {epoch.epoch:{width}}/{n_epochs}  {learnt}{held_out}  "
        f"{epoch.images_per_second:.0f}/s"
    )


def _bar(after: str) -> Iterator[Listener]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class _Count(MofNCompleteColumn):
        """'5/20', and nothing where no end is known."""

        def render(self, task: Any) -> Text:
            return super().render(task) if task.total is not None else Text("")

    screen = Console(stderr=True, highlight=False)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        _Count(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=screen, transient=True, refresh_per_second=8) as progress:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total, rate="")
            task = progress.tasks[tasks[stage]]
            rate = f"{task.speed:.0f}/s" if task.speed else ""
            progress.update(tasks[stage], completed=done, rate=rate)
            if done == total and after not in tasks:
                tasks[after] = progress.add_task(after, total=None, rate="")

        def tell(epoch: Any, n_epochs: int) -> None:
            progress.console.print(_epoch_in_words(epoch, n_epochs))

        yield Listener(
            say=lambda text: progress.console.print(escape(text)), progress=show, epoch=tell
        )
