"""The listener of an arm: it keeps the clock, and ends or pauses what it listens to."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from regraft.choosing.arm import Arm
from regraft.listener import Listener
from regraft.machine import deadline
from regraft.machine.deadline import OutOfTimeError
from regraft.wording import duration

# Steps after which their speed says when an arm would end, and by how much it may be over then.
TELLING_SHARE, OVER = 0.08, 1.1
# A bill may be too long: of what it says is still to come after a part, so much surely is.
SURELY = 0.6


class PausedError(Exception):
    """An arm stops after an epoch: another one goes as far, then the better one goes on."""


class Watched:
    """What an arm is told to listen with.

    Parameters
    ----------
    arm : Arm
    moment : float
        Of `time.monotonic`, by which the arm must be over.
    heard : Listener
        Who is told in the end.
    on_progress : callable()
    on_epoch : callable(epoch, n_epochs)
        May raise `PausedError`.
    """

    def __init__(
        self, arm: Arm, moment: float, heard: Listener, *,
        on_progress: Callable[[], None] = lambda: None,
        on_epoch: Callable[[Any, int], None] = lambda epoch, n_epochs: None,
    ) -> None:  # fmt: skip
        self.arm, self.moment, self.heard = arm, moment, heard
        self.on_progress, self.on_epoch = on_progress, on_epoch
        self._first: tuple[float, int] | None = None

    @property
    def listener(self) -> Listener:
        """For the arm."""
        return Listener(say=self.heard.say, progress=self._progress, epoch=self._epoch)

    def _progress(self, stage: str, done: int, total: int) -> None:
        if stage == "steps":
            self._require_speed(done, total)
        else:
            still_s = self.arm.to_learn_s if self._first is None else 0.0  # else it has learnt
            deadline.check(self.moment - SURELY * still_s)
        self.arm.progress = f"{done} of {total} {stage}"
        self.heard.progress(f"{stage}: {self.arm.way.name}", done, total)
        self.on_progress()

    def _require_speed(self, done: int, total: int) -> None:
        """Steps that would not end in time, with what comes after them, end the arm at once."""
        deadline.check(self.moment)
        now = time.monotonic()
        if self._first is None:
            self._first = (now - 1e-3, done - 1)
        began, before = self._first
        if done - before < max(3, TELLING_SHARE * (total - before)):
            return
        left = (now - began) / (done - before) * (total - done)
        if now + left / OVER + SURELY * self.arm.rest_s > self.moment:
            raise OutOfTimeError(
                f"would not end within the budget: {duration(left)} of learning and "
                f"{duration(self.arm.rest_s)} of choosing were left, and "
                f"{duration(max(0.0, self.moment - now))} of the budget"
            )

    def _epoch(self, epoch: Any, n_epochs: int) -> None:
        self.on_epoch(epoch, n_epochs)
