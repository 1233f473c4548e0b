"""What the arms of a search cost, and what its budget has left for them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from regraft.choosing import bill
from regraft.choosing.arm import Arm
from regraft.choosing.bill import Bill
from regraft.choosing.past import Past
from regraft.choosing.way import Way
from regraft.choosing.workload import Workload
from regraft.machine.memory import available_mib
from regraft.probe.classifier import Classifier
from regraft.record.configuration import RunConfig
from regraft.workflows import billing, work_to_do
from regraft.workflows.lesson import Lesson
from regraft.workflows.preparation import Prepared

# A bill may be short by this much; what is done last (test, saving) is reckoned this generously.
SHORT, GENEROUS = 1.15, 1.5
# The clock stops an arm this long before what comes last must begin.
BREATH_S = 0.3
# By how much a slow hour makes the bills of arms longer, at most, and that of what comes last.
MOST_SLOWNESS, MOST_SLOWNESS_AT_LAST = 1.2, 4.0
# Predictions below this say nothing about how slow the machine is.
TELLING_S = 1.0


@dataclass(frozen=True, eq=False)
class Budget:
    """Seconds, and since when.

    Attributes
    ----------
    seconds : float
    began : float
        `time.monotonic` when the clock began to run; earlier by what was spent before a kill.
    """

    seconds: float
    began: float

    @property
    def spent(self) -> float:
        """Until now."""
        return time.monotonic() - self.began

    @property
    def left(self) -> float:
        """May be negative."""
        return self.seconds - self.spent


class Spending:
    """Bills of the arms, how slow the hour is, and what must be kept for the end.

    Parameters
    ----------
    prepared, lesson
        The data, looked at by the first backbone.
    last_s : float
        What comes after the search, beside the test: the report.
    tried : list of Arm
        Grows while the search goes on.

    Attributes
    ----------
    situation : Situation or None
        What kind of data these are, as soon as the probe has said it.
    """

    def __init__(
        self, prepared: Prepared, lesson: Lesson, budget: Budget, last_s: float, tried: list[Arm]
    ) -> None:
        self.prepared, self.lesson, self.budget = prepared, lesson, budget
        self.last_s, self.tried = last_s, tried
        self.past = Past.read()
        self.situation: Any = None
        self._tested: dict[Way, float] = {}

    def bill(self, way: Way, config: RunConfig, *, n_missing: int | None = None) -> Bill:
        """Of a way; `n_missing` images have to be seen, if that is known already."""
        return bill.bill_of(way, config, self.work(config, n_missing), self.past)

    def work(self, config: RunConfig, n_missing: int | None = None) -> Workload:
        """What an arm has to go through, by what is known and loaded now."""
        work = work_to_do.work_of(config, self.prepared, self.lesson)
        if n_missing is None:
            n_missing, is_built = work_to_do.to_be_seen(config, self.prepared.table)
            work = replace(work, is_built=is_built)
        return replace(work.untimed, n_missing=n_missing, situation=self.situation)

    def learn(
        self, way: Way, config: RunConfig, work: Workload, trained: Classifier, took_s: float,
        alone: float,
    ) -> None:  # fmt: skip
        """Let a training that an arm went through whole make the bills of later commands better.

        Not those of this search: how slow the hour is, is reckoned with here already.

        Parameters
        ----------
        work : Workload
            As it was before.
        took_s : float
            With what had to be loaded first.
        alone : float
            Share of it that it would have taken alone.
        """
        assert trained.learnt is not None
        training = trained.learnt.training
        if training is None or training["resumed_at"]:
            return
        past = Past.read()
        real = billing.real_parts({"fit": took_s}, training)
        bill.note(way, config, work, past, real, None, alone=alone)
        past.save()

    def charge(self, arm: Arm, own: Bill) -> None:
        """Write an arm's bill down; the process runs already."""
        arm.predicted_s, arm.memory_mib = own.seconds - own.parts["start"], own.memory_mib
        arm.at_best_s = own.low - own.parts["start"]
        arm.steps_s, arm.rest_s = own.parts.get("steps", 0.0), own.parts.get("rest", 0.0)

    def cost(self, arm: Arm) -> float:
        """What an arm would still take, by what was said, and a little more on a slow hour.

        Not all of it: short arms are slowed down by what is over soon, and an arm that will not end
        in time is ended soon itself.
        """
        return arm.to_pay_s * min(MOST_SLOWNESS, self.slowness)

    def fits(self, arm: Arm, kept: float) -> bool:
        """Whether it would end within the budget, `kept` for the end, and in memory."""
        short = 1.0 if arm.paused_at else SHORT  # of what was begun the clock knows soon
        in_time = short * self.cost(arm) + kept <= self.budget.left
        return in_time and arm.memory_mib <= available_mib()

    def may_fit(self, arm: Arm, kept: float) -> bool:
        """Whether it would end within the budget if it takes the least that was said."""
        in_time = arm.at_best_s + kept <= self.budget.left
        return in_time and arm.memory_mib <= available_mib()

    @property
    def slowness(self) -> float:
        """How much longer arms took than was said, since others use the machine too."""
        return slowness(self.tried)

    def kept_for(self, way: Way, config: RunConfig) -> float:
        """For what comes last, if this way is taken: its test, saving, the report."""
        if way not in self._tested:
            parts = self.bill(way, config, n_missing=0).parts
            self._tested[way] = parts.get("evaluate", 0.3) + parts.get("save", 0.3)
        return (GENEROUS * self._tested[way] + self.last_s) * self.slowness


def slowness(tried: Sequence[Arm]) -> float:
    """Seconds that arms took over those that were said; from 1 on.

    Examples
    --------
    >>> slowness([Arm(Way(), predicted_s=4.0, seconds=10.0), Arm(Way(), predicted_s=0.1)])
    2.5
    """
    pairs = [(arm.seconds, arm.predicted_s) for arm in tried if arm.predicted_s > TELLING_S]
    if not pairs:
        return 1.0
    took, said = (sum(column) for column in zip(*pairs, strict=True))
    return float(min(MOST_SLOWNESS_AT_LAST, max(1.0, took / said)))
