"""A folder while it is taught: what changes is seen and learnt from at once, by a thread aside."""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from regraft.errors import RegraftError
from regraft.features.engines import BuiltEngine
from regraft.listener import Listener
from regraft.teaching.bulletin import Bulletin
from regraft.teaching.disk import Disk
from regraft.teaching.lesson import Taught, Teacher
from regraft.teaching.project import Project
from regraft.teaching.sight import Sight

# How often the folder is looked at for what other programs did to it, in seconds.
DISK_S = 3.0
# And when it is looked again for a picture that is not where it should be.
SOON_S = 0.3
# Pictures that are seen before what was seen so far is learnt from.
AT_ONCE = 400
# While many are still to be seen, it learns anew once so many times more were.
MORE_BY = 1.5
# Scores that are remembered, for the curve.
MOST_POINTS = 200


@dataclass(frozen=True)
class Point:
    """The score when so many pictures taught."""

    n_teaching: int
    accuracy: float
    low: float
    high: float


class Classroom:
    """A project, what the network sees of it, and what was learnt last.

    Parameters
    ----------
    folder : path
    built : BuiltEngine
    note_bug : callable(text)
        Hears the traceback of what should not happen.

    Raises
    ------
    UsageError, DataError
        As `Project` and `Disk`.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        built: BuiltEngine,
        *,
        note_bug: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.project = Project(folder)
        try:
            self.disk = Disk(self.project)
            self.disk.take_over()
        except BaseException:
            self.project.close()
            raise
        self.sight, self.teacher = Sight(built), Teacher()
        self.bulletin, self.note_bug = Bulletin(), note_bug
        self.taught, self.n_changed, self.n_lessons = Taught(-1, "looking at the pictures"), 0, 0
        self.before: Taught | None = None
        self.points: list[Point] = []
        self.trouble = ""
        self._n_bad = self._n_left = 0
        self._n_taught_of, self._was_asked = -1, False
        self._wake, self._is_closing = threading.Event(), False
        self._looked_at = time.monotonic()
        self._thread = threading.Thread(target=self._work, name="regraft-teacher", daemon=True)

    def start(self) -> None:
        """See and learn, from now on."""
        self._thread.start()

    def close(self) -> None:
        """No more is learnt; another process may have the folder."""
        self._is_closing = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self.project.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def changed(self) -> None:
        """Tell everyone that something was done, and learn from it."""
        self._was_asked = True
        self.bulletin.tell("changed", version=self.project.version)
        self._wake.set()

    def wait_until_taught(self, timeout_s: float = 60.0) -> Taught:
        """What is learnt from the state of now; TimeoutError if it takes longer."""
        end = time.monotonic() + timeout_s
        while not self._is_up_to_date():
            if time.monotonic() > end:
                raise TimeoutError(f"not learnt within {timeout_s:g} s: {self.trouble}")
            time.sleep(0.01)
        return self.taught

    def _is_up_to_date(self) -> bool:
        is_of_all = self._n_taught_of == self.n_seen and self._has_seen_all()
        return is_of_all and self.taught.version == self.project.version

    # -- The thread aside ---------------------------------------------------------------------

    def _work(self) -> None:
        while not self._is_closing:
            n_seen = self.n_seen
            try:
                self._step()
                self._say_trouble("")
            except RegraftError as error:
                self._say_trouble(f"{error.rule}. {error.cure}")
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                self._say_trouble(f"the folder cannot be used: {reason}. make room, or mend it")
            except Exception:
                self.note_bug(traceback.format_exc())
                self._say_trouble("a bug of ours, please report it; the terminal has the traceback")
            if self._has_seen_all() or self.trouble:
                self._wake.wait(DISK_S)
            elif self.n_seen == n_seen:  # a file is on its way: gone from where it was
                self._wake.wait(SOON_S)
            self._wake.clear()

    def _step(self) -> None:
        before = self.project.version
        self.sight.look(self.project, most=AT_ONCE, listener=Listener(progress=self._progress))
        if self.project.version != before or len(self.sight.bad) != self._n_bad:
            self._n_bad = len(self.sight.bad)
            self.bulletin.tell("changed", version=self.project.version)
        if self._is_due():
            self._learn()
        else:  # whoever waits for the score does not wait for the disk
            self._look_at_disk()

    def _is_due(self) -> bool:
        """Whether to learn now: not after every few pictures of many that are still to be seen."""
        if self.project.version == self.taught.version and self.n_seen == self._n_taught_of:
            return False
        is_many_more = self.n_seen >= MORE_BY * max(self._n_taught_of, 1)
        return self._was_asked or is_many_more or self._has_seen_all()

    def _look_at_disk(self) -> None:
        if time.monotonic() - self._looked_at < DISK_S:
            return
        if self.disk.take_over() is not None:
            self.bulletin.tell("changed", version=self.project.version)
        self._looked_at = time.monotonic()

    def _learn(self) -> None:
        n_seen, start = self.n_seen, time.perf_counter()
        self._was_asked = False
        taught = self.teacher.teach(self.project, self.sight)
        self.before, self.n_changed = self.taught, answers_changed(self.taught, taught)
        self.taught, self._n_taught_of = taught, n_seen
        self.n_lessons += 1
        self._note_point(taught)
        seconds = round(time.perf_counter() - start, 3)
        self.bulletin.tell("taught", version=taught.version, seconds=seconds)

    def _note_point(self, taught: Taught) -> None:
        if taught.score is None:
            return
        found = taught.score.accuracy
        point = Point(len(taught.teaching), found.value, found.low, found.high)
        if self.points and self.points[-1].n_teaching == point.n_teaching:
            self.points.pop()
        self.points = [*self.points[-MOST_POINTS + 1 :], point]

    @property
    def n_seen(self) -> int:
        """Pictures that were looked at."""
        return len(self.sight)

    def _has_seen_all(self) -> bool:
        return all(
            one in self.sight or one.number in self.sight.bad for one in self.project.shown()
        )

    def _progress(self, stage: str, done: int, total: int) -> None:
        left = sum(one not in self.sight for one in self.project.shown()) if done == 1 else None
        if left is not None:
            self._n_left = left
        if done % 10 == 0 or done == total:
            self.bulletin.tell("progress", done=done, total=max(total, self._n_left))

    def _say_trouble(self, text: str) -> None:
        if text != self.trouble:
            self.trouble = text
            self.bulletin.tell("trouble", text=text)


def answers_changed(before: Taught, now: Taught) -> int:
    """Pictures that are called otherwise than they were."""
    if before.classifier is None or now.classifier is None:
        return 0
    old, new = (_answers(taught) for taught in (before, now))
    return sum(old[number] != label for number, label in new.items() if number in old)


def _answers(taught: Taught) -> dict[int, str]:
    assert taught.classifier is not None
    classes, numbers = taught.classifier.classes, list(taught.proba)
    if not numbers:
        return {}
    best = np.stack([taught.proba[number] for number in numbers]).argmax(axis=1)
    return {number: classes[code] for number, code in zip(numbers, best.tolist(), strict=True)}


def facts_of(points: list[Point]) -> list[dict[str, Any]]:
    """For JSON."""
    return [vars(point) for point in points]
