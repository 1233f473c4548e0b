"""What is seen while a command works, on stderr: a bar with rate and time left, or plain lines."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from regraft.console.lines import say_plain, width_of, wrapped
from regraft.listener import Doing, Listener

# Where lines go to a file or a pipe: a stage that goes on says so this often, in seconds.
SECONDS_BETWEEN_LINES = 5.0
# Below this many images a counter would be gone before it is seen.
FEW_IMAGES = 150
# A stage before the images: what comes after these does not come after it.
BEFORE_IMAGES = "shards"
# What the lines of the epochs mean.
LEGEND = "(val: loss and accuracy on the validation images; *: least loss so far)"


@contextmanager
def listening(*, quiet: bool, after: str = "choosing and learning") -> Iterator[Listener]:
    """A listener that shows progress on stderr: a bar with rate and time left, or plain lines.

    `after` says, once, what goes on when all images are read.
    """
    if quiet:
        yield Listener(say=_once(_say_what_must_be_known))
    elif sys.stderr.isatty():
        yield from _bar(after)
    else:
        lines = _PlainLines(after)
        yield Listener(
            say=_once(_say_plain), progress=lines.progress, epoch=_Epochs(_say_plain).tell
        )


@contextmanager
def waiting(doing: str, *, quiet: bool = False, after_s: float = 0.5) -> Iterator[None]:
    """On a terminal, what is done, from when it takes longer; gone when it is over.

    For what has no steps to count, as importing PyTorch.
    """
    if quiet or not sys.stderr.isatty():
        yield
        return
    lock, over = threading.Lock(), False

    def show() -> None:
        with lock:
            if not over:
                print(f"{doing} ...", end="", file=sys.stderr, flush=True)

    timer = threading.Timer(after_s, show)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with lock:
            over = True
            timer.cancel()
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def counting(*, quiet: bool) -> Listener:
    """A listener for a command that may be over in less time than a bar takes to import."""
    if quiet:
        return Listener(say=_once(_say_what_must_be_known))
    if not sys.stderr.isatty():
        return Listener(say=_once(_say_plain), progress=_PlainLines().progress)
    return Listener(say=_once(_say_plain), progress=_count)


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
            if self._after and stage != BEFORE_IMAGES:
                _say_plain(self._after)
                self._after = ""
        elif now - self._spoke.setdefault(stage, now) >= SECONDS_BETWEEN_LINES:
            _say_plain(f"{done} of {total} {stage}")
            self._spoke[stage] = now


def _say_plain(text: str) -> None:
    say_plain(text, lead="regraft: ")


def _say_what_must_be_known(text: str) -> None:
    if not isinstance(text, Doing):
        _say_plain(text)


def _once(say: Callable[[str], None]) -> Callable[[str], None]:
    """A sentence that was said already is not said again."""
    said: set[str] = set()

    def say_new(text: str) -> None:
        if text not in said:
            said.add(text)
            say(text)

    return say_new


def _epoch_in_words(epoch: Any, n_epochs: int, *, is_least: bool) -> str:
    """One aligned line: loss and accuracy in training, those on validation images, the speed."""
    width = len(str(n_epochs))
    words = f"epoch {epoch.epoch:{width}}/{n_epochs}  {epoch.images_per_second:4.0f}/s  "
    words += f"loss {epoch.loss:.3f} accuracy {100 * epoch.accuracy:5.1f} %"
    if epoch.held_out_loss is None:
        return words
    accuracy = f"{100 * epoch.held_out_accuracy:5.1f} %{' *' if is_least else ''}"
    return f"{words}  val {epoch.held_out_loss:.3f} {accuracy}"


def _rate(speed: float | None) -> str:
    """Images a second; of a few, a decimal: three in ten seconds are not none.

    Examples
    --------
    >>> _rate(412.3), _rate(0.31), _rate(None)
    ('412/s', '0.3/s', '')
    """
    if not speed:
        return ""
    return f"{speed:.1f}/s" if speed < 10 else f"{speed:.0f}/s"


class _Epochs:
    """A line an epoch, and below the first one what the lines mean."""

    def __init__(self, print_line: Callable[[str], None]) -> None:
        self._print, self._has_begun, self._least = print_line, False, math.inf

    def tell(self, epoch: Any, n_epochs: int) -> None:
        # Not `is_best`: where the last epoch is kept, each is the best so far.
        loss = math.inf if epoch.held_out_loss is None else epoch.held_out_loss
        self._print(_epoch_in_words(epoch, n_epochs, is_least=loss < self._least))
        self._least = min(self._least, loss)
        if not self._has_begun and epoch.held_out_loss is not None:
            self._print(LEGEND)
        self._has_begun = True


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
        # Until the first stage: importing PyTorch or reading a folder's names may take seconds.
        start = progress.add_task("starting", total=None, rate="")

        def show(stage: str, done: int, total: int) -> None:
            progress.update(start, visible=False)
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total, rate="")
            task = progress.tasks[tasks[stage]]
            progress.update(tasks[stage], completed=done, rate=_rate(task.speed))
            if done == total and stage != BEFORE_IMAGES and after not in tasks:
                tasks[after] = progress.add_task(after, total=None, rate="")

        def say(text: str) -> None:
            progress.console.print(escape(wrapped(text, width_of(sys.stderr))))

        yield Listener(say=_once(say), progress=show, epoch=_Epochs(say).tell)
