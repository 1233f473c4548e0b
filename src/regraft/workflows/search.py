"""The search for the best way within a budget: the probe first, then what may win most a second.

It chooses on train alone, by images that taught none of what they judge (`choosing/standing.py`);
the reported split is not looked at here.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from typing import Any

from regraft.choosing import standing
from regraft.choosing.arm import DROPPED, RUNNING, TRIED, WAITING, Arm
from regraft.choosing.way import Way, known_backbones, ways_of
from regraft.errors import RegraftError
from regraft.listener import SILENT, Listener
from regraft.machine import deadline
from regraft.machine.contention import Turns
from regraft.machine.deadline import OutOfTimeError
from regraft.probe.classifier import Classifier
from regraft.record.configuration import RunConfig
from regraft.training.chosen_settings import situation_of
from regraft.training.task import Environment
from regraft.wording import duration
from regraft.workflows import fitting, judging, search_words
from regraft.workflows.arm_folders import ArmFolders
from regraft.workflows.contest import Contest
from regraft.workflows.journal import Journal
from regraft.workflows.lesson import Lesson
from regraft.workflows.preparation import Prepared
from regraft.workflows.rungs import pauses
from regraft.workflows.sights import Sights
from regraft.workflows.spending import BREATH_S, SHORT, Budget, Spending
from regraft.workflows.watched import PausedError, Watched

Watch = Callable[["Search"], None]


class Search:
    """Tries arms, the probe first; what is known of them all is its `contest`.

    Parameters
    ----------
    base : RunConfig
        The data and everything that all ways share.
    prepared, lesson
        The data, looked at by the first backbone.
    last_s : float
        What comes after the search, beside the test: the report.
    says_least : bool
        Whether a budget below the probe's own time is still to be told.
    on_first : callable(classifier)
        Saves the first model.
    watch : callable(search)
        Told whenever something changed.
    """

    def __init__(
        self, base: RunConfig, prepared: Prepared, lesson: Lesson, budget: Budget, *,
        methods: list[str], backbones: list[str], journal: Journal, offline: bool = False,
        last_s: float = 0.0, says_least: bool = True, listener: Listener = SILENT,
        on_first: Callable[[Classifier], None] = lambda classifier: None,
        watch: Watch = lambda search: None,
    ) -> None:  # fmt: skip
        self.base, self.prepared, self.lesson, self.budget = base, prepared, lesson, budget
        self.journal, self.offline, self.listener = journal, offline, listener
        self.on_first, self.watch, self.says_least = on_first, watch, says_least
        self.absent: list[tuple[str, str]] = []
        self.stopped_by = ""
        self.again: Arm | None = None
        self.spending = Spending(prepared, lesson, budget, last_s, [])
        self._folders = ArmFolders(journal.folder)
        self._first = Way("probe", base.backbone)
        self._sights = Sights(self._first, prepared, offline=offline, listener=listener)
        self.contest = Contest(base, self._first, lesson, self.spending, self._sights)
        self._best: tuple[Arm, Classifier] | None = None
        self._methods, self._backbones = methods, backbones

    # -- the story ---------------------------------------------------------------------------

    def run(self) -> tuple[RunConfig, Classifier, Prepared]:
        """Try arms until the budget ends or nothing can win any more; what stands first."""
        went_on = self.journal.read()
        self._begin_with_the_probe(went_on)
        try:
            while (arm := self._next()) is not None:
                self._try(arm)
        except KeyboardInterrupt:
            self.stopped_by = "stopped by Ctrl-C"
        self._drop_what_waits()
        return self._taken()

    def _begin_with_the_probe(self, went_on: bool) -> None:
        way = self._first
        probe = next((a for a in self.journal.arms if a.way == way and a.judged), Arm(way))
        classifier = fitting.task_of(way.config(self.base), self.prepared, self.lesson).fit_probe()
        judging.settle_probe(probe, classifier, self.prepared, self.lesson)
        self.on_first(classifier)
        if not went_on or not probe.seconds:
            n_missing = self.prepared.extraction.computed
            own = self.spending.bill(way, self.contest.config_of(way), n_missing=n_missing)
            probe.predicted_s, probe.seconds = own.seconds, self.budget.spent
        facts, info = self.prepared.extraction.facts, self.prepared.built.info
        n_learn = len(self.lesson.learn)
        self.spending.situation = situation_of(classifier, info, facts, n_learn)
        self.contest.tried.append(probe)
        self.contest.arms = [probe, *self._others()]
        self._best = (probe, classifier)
        self.contest.tried += [arm for arm in self.contest.arms[1:] if arm.state == TRIED]
        self.contest.tried.sort(key=self._order)
        self._tell(probe)
        needs = max(probe.predicted_s, probe.seconds)
        if self.says_least and needs > self.budget.seconds:
            self.listener.say(search_words.too_short(self.budget.seconds, duration(needs)))

    def _others(self) -> list[Arm]:
        """The other arms: as an earlier process left them, or new ones with their bills."""
        found, missing = known_backbones(self._backbones)
        self.absent = list(missing.items())
        kept = {arm.way: arm for arm in self.journal.arms}
        ways = [way for way in ways_of(self._methods, found) if way != self._first]
        arms = [kept.get(way) or Arm(way) for way in ways]
        for arm in arms:
            self.contest.bill_of(arm)
            if arm.state == DROPPED:
                arm.state, arm.why = WAITING, ""
        known = {self._first, *ways}
        return arms + [arm for arm in self.journal.arms if arm.way not in known]

    def _next(self) -> Arm | None:
        if not self.contest.can_judge:
            self.stopped_by = "too few images could be left out to judge one way against another"
            return None
        return self.contest.next_arm()

    def _try(self, arm: Arm) -> None:
        """One arm, to its end or until it is lost; whatever becomes of it, the search goes on."""
        if (classifier := self._attempted(arm)) is not None:
            self.contest.tried.append(arm)
            self._consider(arm, classifier)
        elif arm.state == DROPPED:
            self._folders.forget(arm)
        self._show()
        self._tell(arm)

    def _attempted(self, arm: Arm) -> Classifier | None:
        """What an arm learns; None if it is paused or lost."""
        arm.state, began, before = RUNNING, time.monotonic(), arm.seconds
        self._show()
        moment = self.budget.began + self.budget.seconds - self.contest.kept - BREATH_S
        try:
            deadline.check(moment)
            classifier = self._fitted(arm, moment)
            arm.state = TRIED
            return classifier
        except OutOfTimeError as error:
            arm.drop(str(error))
        except PausedError:
            arm.state = WAITING
        except KeyboardInterrupt:
            arm.drop("stopped by Ctrl-C")
            raise
        except MemoryError:
            arm.drop("out of memory")
        except RegraftError as error:
            arm.drop(error.rule)
        except Exception as error:  # whatever it is: the arm is lost, not the search
            arm.drop(f"{type(error).__name__}: {str(error).strip()[:200]}")
            self.journal.log({"arm": arm.name, "traceback": traceback.format_exc()})
        finally:
            arm.seconds = before + time.monotonic() - began
        return None

    def _fitted(self, arm: Arm, moment: float) -> Classifier:
        config = self._config(arm)
        sight = self._sight(arm.way, moment)
        deadline.check(moment)
        if not arm.way.trains:
            classifier = fitting.task_of(config, sight, self.lesson).fit_probe()
            judging.settle_probe(arm, classifier, sight, self.lesson)
            return classifier
        watched = Watched(
            arm, moment, self.listener, on_progress=lambda: self.watch(self),
            on_epoch=lambda epoch, n_epochs: self._after_epoch(arm, epoch, n_epochs, moment),
        )  # fmt: skip
        environment = Environment(
            folder=self._folders.of(arm), listener=watched.listener, offline=self.offline
        )
        work, began = self.spending.work(config, n_missing=0), time.monotonic()
        turns = Turns.now()
        classifier = fitting.fit(fitting.task_of(config, sight, self.lesson, environment))
        judging.settle_trained(arm, classifier, self.lesson)
        took_s, alone = time.monotonic() - began, Turns.now().share_since(turns)
        self.spending.learn(arm.way, config, work, classifier, took_s, alone)
        if not work.has_torch:
            self._bill_without_loading()
        return classifier

    def _bill_without_loading(self) -> None:
        """PyTorch is loaded now: other trainings take less than was said of them."""
        for arm in self.contest.waiting:
            if arm.way.trains and not arm.paused_at:
                arm.predicted_s = 0.0
                self.contest.bill_of(arm)

    def _after_epoch(self, arm: Arm, epoch: Any, n_epochs: int, moment: float) -> None:
        self.journal.log({"arm": arm.name, **epoch.to_dict()})
        self._keep()
        may_pause = self.journal.folder is not None and not arm.is_again
        if may_pause and moment < float("inf"):
            left = moment - time.monotonic()
            if pauses(arm, epoch, n_epochs, self.contest.hopeful, left, self.spending.cost):
                raise PausedError

    def _consider(self, arm: Arm, classifier: Classifier) -> None:
        """Whether the arm stands first now."""
        if standing.first(self.contest.tried) is not arm:
            self._folders.forget(arm)
            if not arm.why:
                arm.why = f"not better than what stands first by {standing.MARGIN_IN_WORDS}"
            return
        assert self._best is not None
        self._folders.forget(self._best[0])
        self._best = (arm, classifier)

    def _taken(self) -> tuple[RunConfig, Classifier, Prepared]:
        """What stands first; made anew from its checkpoints where an earlier process made it."""
        best = self.contest.took
        assert self._best is not None
        if self._best[0] is not best:
            self._best = (best, self._fitted(best, float("inf")))
        config, classifier = self._learnt_again() or (self._config(best), self._best[1])
        return config, classifier, self._sight(best.way, float("inf"))

    def _learnt_again(self) -> tuple[RunConfig, Classifier] | None:
        """What was taken, learnt as `train` would, from most of the images that judged it too.

        To be judged against others a training holds more images out than a run of its own does,
        and what it was chosen for it does better with them. None where that wins no image, does not
        fit into what is left of the budget, or ends with the probe after all.
        """
        way = self.contest.took.way
        config, judged = way.config(self.base), self.contest.config_of(way)
        share = config.settings.select_fraction
        if not way.trains or share >= judged.settings.select_fraction or self.stopped_by:
            return None
        arm = Arm(way, is_again=True)
        self.spending.charge(arm, self.spending.bill(way, config, n_missing=0))
        if not self.contest.fits(arm) and not self._folders.has_begun(arm):
            return None
        self.again = arm
        try:
            classifier = self._attempted(arm)
        except KeyboardInterrupt:
            self.stopped_by, classifier = "stopped by Ctrl-C", None
        self._tell(arm)
        return None if classifier is None or arm.keeps_probe else (config, classifier)

    # -- what is known -----------------------------------------------------------------------

    # -- configurations, folders, words ------------------------------------------------------

    def _config(self, arm: Arm) -> RunConfig:
        return arm.way.config(self.base) if arm.is_again else self.contest.config_of(arm.way)

    def _sight(self, way: Way, moment: float) -> Prepared:
        return self._sights.of(way, self.contest.config_of(way.probe), moment)

    def _order(self, arm: Arm) -> int:
        """As they were tried before."""
        ways = [one.way for one in self.journal.arms if one.state == TRIED]
        return ways.index(arm.way) if arm.way in ways else -1

    def _keep(self) -> None:
        """In the journal, what was tried first and in its order."""
        rest = [arm for arm in self.contest.arms if arm not in self.contest.tried]
        self.journal.write([*self.contest.tried, *rest], self.budget.spent)

    def _show(self) -> None:
        self._keep()
        self.watch(self)

    def _tell(self, arm: Arm) -> None:
        """A line for an arm that is over, or paused."""
        contest = self.contest
        self.listener.say(search_words.of_arm(arm, contest.tried, contest.took, self.budget.left))
        self.journal.log(
            {"arm": arm.name, "state": arm.state, "why": arm.why,
             "seconds": round(arm.seconds, 2), "left_out": arm.left_out}
        )  # fmt: skip

    def _drop_what_waits(self) -> None:
        """Of every arm that still waits, why it was not tried."""
        for arm in self.contest.waiting:
            self._folders.forget(arm)
            arm.drop(self.stopped_by or self._why_not(arm))

    def _why_not(self, arm: Arm) -> str:
        contest = self.contest
        if contest.loss == 0.0:
            return "nothing is left to win: no left-out image is in doubt"
        offer, needs_s = contest.expected(arm), SHORT * contest.cost(arm) + contest.kept
        is_worth_it = contest.is_worth_it(arm, offer)
        return search_words.why_not(
            arm, offer, contest.loss, is_worth_it, needs_s, self.budget.left
        )
