"""The clock of a search: what is kept for the end, who is ended in time, who is paused for whom."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regraft.choosing.arm import TRIED, Arm, Judged
from regraft.choosing.way import Way
from regraft.listener import Listener
from regraft.machine.deadline import OutOfTimeError
from regraft.training.history import Epoch
from regraft.workflows import rungs, spending
from regraft.workflows.journal import FILE, Journal
from regraft.workflows.watched import PausedError, Watched


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def training(name: str = "lite1", **given: Any) -> Arm:
    usual = {"predicted_s": 60.0, "steps_s": 40.0, "rest_s": 5.0}
    return Arm(Way("partial", name), **{**usual, **given})


def epoch(number: int, loss: float | None) -> Epoch:
    return Epoch(number, 1.0, 1.0, 1.0, 0.5, loss, None, 0.1, is_best=True)


# -- the clock -------------------------------------------------------------------------------


def take_steps(arm: Arm, clock: Clock, *, within: float, step_s: float, n: int = 100) -> int:
    """Steps until the clock ends the arm."""
    watched = Watched(arm, clock.now + within, Listener())
    for done in range(1, n + 1):
        clock.now += step_s
        try:
            watched.listener.progress("steps", done, n)
        except OutOfTimeError:
            return done
    return n


def test_steps_that_end_in_time_are_left_alone(clock: Clock) -> None:
    assert take_steps(training(), clock, within=110, step_s=1.0) == 100


def test_steps_that_would_not_end_in_time_end_early(clock: Clock) -> None:
    assert take_steps(training(), clock, within=60, step_s=1.0) < 15


def test_what_comes_after_the_steps_counts(clock: Clock) -> None:
    """The steps alone would end in time, but not with choosing and building the engine."""
    assert take_steps(training(rest_s=0.0), clock, within=101, step_s=1.0) == 100
    assert take_steps(training(rest_s=60.0), clock, within=101, step_s=1.0) < 15


def test_nothing_that_comes_before_the_steps_uses_their_time(clock: Clock) -> None:
    watched = Watched(training(), clock.now + 50, Listener())
    clock.now += 20
    watched.listener.progress("views", 1, 9)
    clock.now += 10
    with pytest.raises(OutOfTimeError):
        watched.listener.progress("views", 2, 9)


def test_what_comes_after_the_steps_has_all_that_is_left(clock: Clock) -> None:
    """Learning is over: nothing of its time is kept while the tuned network sees pictures."""
    watched = Watched(training(), clock.now + 60, Listener())
    for done in range(1, 11):
        clock.now += 4.0
        watched.listener.progress("steps", done, 10)
    clock.now += 15.0
    watched.listener.progress("images", 9, 10)
    clock.now += 6.0
    with pytest.raises(OutOfTimeError):
        watched.listener.progress("images", 10, 10)


def test_an_arm_that_went_on_is_judged_by_the_steps_of_now(clock: Clock) -> None:
    watched = Watched(training(), clock.now + 70, Listener())
    for done in range(51, 101):
        clock.now += 1.0
        watched.listener.progress("steps", done, 100)


def test_a_slow_hour_keeps_more_for_the_end() -> None:
    quick = [Arm(Way(), predicted_s=4.0, seconds=3.0)]
    slow = [Arm(Way(), predicted_s=4.0, seconds=12.0)]
    assert spending.slowness(quick) == 1.0
    assert spending.slowness(slow) == 3.0
    assert spending.slowness([Arm(Way(), predicted_s=4.0, seconds=400.0)]) == 4.0


def test_a_paused_arm_owes_what_it_has_not_learnt() -> None:
    assert training().to_pay_s == 60
    assert training(paused_at=0.5).to_pay_s == 40


# -- the journal -----------------------------------------------------------------------------


def test_a_journal_comes_back_and_a_damaged_one_is_begun_anew(tmp_path: Path) -> None:
    judged = Judged(np.arange(2), np.array([0.1, 0.2]), np.array([True, False]))
    paused = training(paused_at=0.4, paused_loss=0.3, paused_for="partial, lite2")
    Journal(tmp_path, "me").write([Arm(Way(), state=TRIED, judged=judged), paused], 3.5)
    again = Journal(tmp_path, "me")
    assert again.read()
    assert again.spent_s == 3.5
    assert (again.arms[1].way, again.arms[1].to_pay_s) == (paused.way, paused.to_pay_s)
    assert not Journal(tmp_path, "another").read()
    whole = (tmp_path / FILE).read_text(encoding="utf-8")
    for good, bad in (
        ("60.0", '"soon"'), ('"partial"', '"prob"'), ('"waiting"', '"gone"'), ("[", "7"), ("{", ""),
    ):  # fmt: skip
        (tmp_path / FILE).write_text(whole.replace(good, bad), encoding="utf-8")
        assert not Journal(tmp_path, "me").read(), bad


def test_a_line_after_one_that_a_kill_cut_off_is_whole(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"arm": "probe"}\n{"arm": "ful')
    Journal(tmp_path).log({"arm": "full"})
    Journal(tmp_path).log({"arm": "partial"})
    first, torn, *last = log.read_text().splitlines()
    assert (first, torn) == ('{"arm": "probe"}', '{"arm": "ful')
    assert [json.loads(line)["arm"] for line in last] == ["full", "partial"]


# -- halving ---------------------------------------------------------------------------------


@dataclass
class Case:
    """A training in its epochs, and others that wait."""

    arm: Arm
    others: list[Arm]
    left_s: float

    def pauses(self, number: int, loss: float | None = 0.4, seconds: float = 1.0) -> bool:
        return rungs.pauses(
            self.arm, replace(epoch(number, loss), seconds=seconds), 10, self.others, self.left_s,
            lambda one: one.to_pay_s,
        )  # fmt: skip


def test_a_training_stops_where_one_of_two_fits() -> None:
    case = Case(training("lite1"), [training("lite2")], left_s=88.0)
    assert not any(case.pauses(number) for number in (1, 2, 3, 5, 9, 10))
    assert case.pauses(4)
    assert (case.arm.paused_at, case.arm.paused_loss) == (0.4, 0.4)
    assert case.arm.paused_for == "partial, lite2"
    assert not case.pauses(4), "no arm stops twice"


@pytest.mark.parametrize("left_s", [60.0, 200.0])
def test_where_both_fit_or_the_other_never_would_nothing_stops(left_s: float) -> None:
    assert not Case(training(), [training("lite2")], left_s).pauses(4)


def test_on_a_slow_hour_nothing_stops_that_might_not_end() -> None:
    """Epochs of 8 s where the bill said 4."""
    assert not Case(training(), [training("lite2")], left_s=88.0).pauses(4, seconds=8.0)
    assert Case(training(), [training("lite2")], left_s=176.0).pauses(4, seconds=8.0)


def test_a_short_rest_is_not_worth_stopping() -> None:
    arm = training(steps_s=10.0, rest_s=1.0)
    assert not Case(arm, [training("lite2")], 60.0).pauses(4)


def test_probes_and_trainings_without_a_validation_part_stop_nothing() -> None:
    assert not Case(training(), [Arm(Way(), predicted_s=60.0)], 88.0).pauses(4)
    assert not Case(training(), [training("lite2")], 88.0).pauses(4, loss=None)


def test_the_better_one_goes_on() -> None:
    ahead = training("lite1", paused_at=0.4, paused_loss=0.3)
    assert Case(training("lite2"), [ahead], 50.0).pauses(4, loss=0.35)
    assert not Case(training("lite2"), [ahead], 50.0).pauses(4, loss=0.25)


def test_a_rival_comes_next_and_then_the_better_one() -> None:
    def fits(arm: Arm) -> bool:
        return True

    fresh, other = training("lite2"), training("default")
    paused = training("lite1", paused_at=0.4, paused_loss=0.3, paused_for=fresh.way.name)
    assert rungs.next_of([fresh], fits) is None
    assert rungs.next_of([other, paused, fresh], fits) is fresh
    worse = replace(fresh, paused_at=0.4, paused_loss=0.5)
    assert rungs.next_of([other, worse, paused], fits) is paused
    assert rungs.next_of([worse, paused], lambda arm: False) is None
    assert rungs.next_of([other, paused], fits) is None, "the rival is over: one arm among others"


def test_who_listens_to_epochs_may_pause_the_arm() -> None:
    def on_epoch(done: Any, n_epochs: int) -> None:
        raise PausedError

    with pytest.raises(PausedError):
        Watched(training(), 1e12, Listener(), on_epoch=on_epoch).listener.epoch(epoch(1, 0.4), 3)
