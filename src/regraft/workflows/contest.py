"""The arms of a search in contest: which stands first, what the others cost and may win, and which
is tried next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from regraft.backbones import catalog
from regraft.choosing import bill, standing
from regraft.choosing.arm import WAITING, Arm
from regraft.choosing.expectation import Expected, expected
from regraft.choosing.network_cost import cost_of
from regraft.choosing.way import Way
from regraft.record.configuration import RunConfig
from regraft.training.methods import METHODS
from regraft.workflows.lesson import Lesson
from regraft.workflows.rungs import next_of
from regraft.workflows.sights import Sights
from regraft.workflows.spending import SHORT, Spending

# Images that judge what learns by gradients: so many are wanted, within these shares of train.
TO_JUDGE, LEAST_SHARE, MOST_SHARE = 150, 0.1, 0.3
# Of what is left: a probe that costs no more is tried whatever may be expected of it.
CHEAP_SHARE = 0.05
# Fewer epochs than that are not tried where a budget is short.
FEWEST_EPOCHS = 3
# An arm that costs so much more of the largest gain is put before cheaper ones it would lose to.
MUCH_MORE = 1.1


class Contest:
    """What is known of the arms. The search tries them; nothing learns here.

    Parameters
    ----------
    base : RunConfig
        The data and everything that all ways share.
    first : Way
        The probe that the search begins with.
    spending : Spending
        Its list of what was tried is that of the contest.

    Attributes
    ----------
    arms : list of Arm
        The probe first, then all others.
    tried : list of Arm
        As they were tried.
    """

    def __init__(
        self, base: RunConfig, first: Way, lesson: Lesson, spending: Spending, sights: Sights
    ) -> None:
        self.base, self.lesson, self.spending = base, lesson, spending
        self.arms: list[Arm] = []
        self.tried = spending.tried
        self._first, self._sights = first, sights

    # -- which is next -----------------------------------------------------------------------

    def next_arm(self) -> Arm | None:
        """Of the arms that fit into what remains, the one that may win most a second."""
        if self.loss == 0.0:
            return None
        self._look_twice()
        if (rung := next_of(self.waiting, self.fits)) is not None:
            return rung
        offers = [(arm, self.expected(arm)) for arm in self.waiting]
        worth = [(arm, e) for arm, e in offers if self.is_worth_it(arm, e) and self.fits(arm)]
        worth = worth or self._shortened() or self._hoped_for(offers)
        if not worth:
            return None
        quick = max(worth, key=lambda pair: pair[1].hope / max(0.5, self.cost(pair[0])))
        large = max(worth, key=lambda pair: pair[1].hope)
        left = self.spending.budget.left - self.kept - SHORT * self.cost(quick[0])
        is_shut_out = SHORT * self.cost(large[0]) > left
        if large[0] is not quick[0] and is_shut_out and large[1].hope > MUCH_MORE * quick[1].hope:
            return large[0]
        return quick[0]

    def _look_twice(self) -> None:
        """A probe that stands first is an arm once more, with each picture's mirror image."""
        way = self.took.way
        twice = replace(way, look=catalog.FLIP)
        if not way.trains and not way.look and twice not in [arm.way for arm in self.arms]:
            self.arms.append(self.bill_of(Arm(twice)))

    def _shortened(self) -> list[tuple[Arm, Expected]]:
        """Where nothing fits whole: what learns by gradients, for as many epochs as fit, by a
        schedule of its own; each once."""
        found = []
        for arm in self.hopeful:
            if arm.way.trains and not self._is_tried_shorter(arm):
                found += self._for_fewer_epochs(arm)
        self.arms += found
        return [(arm, self.expected(arm)) for arm in found]

    def _hoped_for(self, offers: list[tuple[Arm, Expected]]) -> list[tuple[Arm, Expected]]:
        """Where nothing fits by its bill and time would be left unused: what may end in time if its
        bill is too long. It is ended as soon as its speed tells that it will not."""
        return [
            (arm, offer) for arm, offer in offers
            if self.is_worth_it(arm, offer) and self.spending.may_fit(arm, self.kept)
            and not self._is_tried_shorter(arm)
        ]  # fmt: skip

    def _is_tried_shorter(self, arm: Arm) -> bool:
        return any(a is not arm and replace(a.way, epochs=None) == arm.way for a in self.arms)

    def _for_fewer_epochs(self, arm: Arm) -> list[Arm]:
        """The arm for as many epochs as fit; none where that would be too few to learn much."""
        config, cost = self.config_of(arm.way), cost_of(arm.way.backbone)
        situation = self.spending.situation
        usual = bill.resolved(arm.way, config.settings, situation, cost).epochs or 0
        for epochs in range(usual - 1, max(FEWEST_EPOCHS, round(0.4 * usual)) - 1, -1):
            short = self.bill_of(Arm(replace(arm.way, epochs=epochs)))
            if self.fits(short):
                return [short]
        return []

    # -- what is known -----------------------------------------------------------------------

    @property
    def took(self) -> Arm:
        """The arm that stands first."""
        return standing.first(self.tried) or self.arms[0]

    @property
    def optimism(self) -> dict[str, Any] | None:
        """How flattered it is by having been chosen."""
        return standing.optimism([arm for arm in self.tried if not arm.keeps_probe])

    @property
    def waiting(self) -> list[Arm]:
        """Arms that may still be tried."""
        return [arm for arm in self.arms if arm.state == WAITING]

    @property
    def hopeful(self) -> list[Arm]:
        """Of these, the ones that may win something to speak of."""
        return [arm for arm in self.waiting if self.is_worth_it(arm, self.expected(arm))]

    @property
    def can_judge(self) -> bool:
        """Whether the probe left out images that judge."""
        return self.arms[0].judged is not None

    @property
    def loss(self) -> float:
        """Left-out log loss of what stands first."""
        return standing.score(self.took, self.tried).log_loss

    def expected(self, arm: Arm) -> Expected:
        """What an arm that waits may win."""
        return expected(arm.way, self.tried, self.spending.situation)

    def is_worth_it(self, arm: Arm, offer: Expected) -> bool:
        """It may win something to speak of; or it is a probe that costs next to nothing, and to
        measure is better than to expect."""
        is_cheap = not arm.way.trains and self.cost(arm) <= CHEAP_SHARE * self.spending.budget.left
        return is_cheap or offer.may_be_worth_it(self.loss)

    def cost(self, arm: Arm) -> float:
        """Seconds that an arm would still take."""
        return self.spending.cost(arm)

    def fits(self, arm: Arm) -> bool:
        """Whether it would end within the budget, and in memory."""
        return self.spending.fits(arm, self.kept)

    @property
    def kept(self) -> float:
        """Seconds kept for what comes last: the test of what stands first, saving, the report."""
        way = self.took.way if self.tried else self._first
        return self.spending.kept_for(way, self.config_of(way))

    def config_of(self, way: Way) -> RunConfig:
        """Of a run of this way; what learns by gradients holds enough images out to be judged."""
        config = way.config(self.base)
        if not METHODS[way.method].trains or self.lesson.choose is not None:
            return config
        n = len(self.lesson.learn)
        share = round(min(MOST_SHARE, max(LEAST_SHARE, TO_JUDGE / max(1, n))), 2)
        given = {"select_fraction": share, **(config.training or {})}
        return replace(config, training=given)

    def bill_of(self, arm: Arm) -> Arm:
        """The arm with its bill, if it had none."""
        if not arm.predicted_s:
            n_missing = 0 if arm.way in self._sights else None
            own = self.spending.bill(arm.way, self.config_of(arm.way), n_missing=n_missing)
            self.spending.charge(arm, own)
        return arm
