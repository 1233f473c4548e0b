"""The search for the best way within a budget: the probe first, then what may win most a second.

It chooses on train alone, by images that taught none of what they judge (`choosing/standing.py`);
the reported split is not looked at here.
"""

from __future__ import annotations

import hashlib
import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from regraft.choosing import bill, standing
from regraft.choosing.arm import DROPPED, RUNNING, TRIED, WAITING, Arm, Judged
from regraft.choosing.expectation import Expected, expected
from regraft.choosing.network_cost import cost_of
from regraft.choosing.past import Past
from regraft.choosing.way import Way, known_backbones, ways_of
from regraft.errors import RegraftError
from regraft.listener import SILENT, Listener
from regraft.machine import deadline
from regraft.machine.deadline import OutOfTimeError
from regraft.machine.memory import available_mib
from regraft.probe.classifier import Classifier
from regraft.record.configuration import RunConfig
from regraft.training.methods import METHODS
from regraft.training.plan import situation_of
from regraft.training.task import Environment
from regraft.wording import duration, percent
from regraft.workflows import billing, fitting
from regraft.workflows.journal import Journal
from regraft.workflows.lesson import Lesson
from regraft.workflows.preparation import Clock, Prepared, see

ARMS = "arms"
# Images that judge what learns by gradients: so many are wanted, within these shares of train.
TO_JUDGE, LEAST_SHARE, MOST_SHARE = 150, 0.1, 0.3
# A bill may be short by this much; what is done last (test, saving) is reckoned this generously.
SHORT, GENEROUS = 1.15, 1.5
# Steps after which their speed says when an arm would end, and by how much it may be over then.
TELLING_SHARE, OVER = 0.08, 1.1
# The clock stops an arm this long before what comes last must begin.
BREATH_S = 0.3
# Of what is left: a probe that costs no more is tried whatever may be expected of it.
CHEAP_SHARE = 0.05
# By how much a slow hour makes bills longer, at most.
MOST_SLOWNESS = 1.2
# Fewer epochs than that are not tried where a budget is short.
FEWEST_EPOCHS = 3
# An arm that costs so much more of the largest gain is put before cheaper ones it would lose to.
MUCH_MORE = 1.1

Watch = Callable[["Search"], None]


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


class Search:
    """The arms, what is known of them, and the one that stands first.

    Parameters
    ----------
    base : RunConfig
        The data and everything that all ways share.
    prepared, lesson
        The data, looked at by the first backbone.
    last_s : float
        What comes after the search, beside the test: the report.
    on_first : callable(classifier)
        Saves the first model.
    watch : callable(search)
        Told whenever something changed.
    """

    def __init__(
        self, base: RunConfig, prepared: Prepared, lesson: Lesson, budget: Budget, *,
        methods: list[str], backbones: list[str], journal: Journal, offline: bool = False,
        last_s: float = 0.0, listener: Listener = SILENT,
        on_first: Callable[[Classifier], None] = lambda classifier: None,
        watch: Watch = lambda search: None,
    ) -> None:  # fmt: skip
        self.base, self.prepared, self.lesson, self.budget = base, prepared, lesson, budget
        self.journal, self.offline, self.last_s = journal, offline, last_s
        self.listener, self.on_first, self.watch = listener, on_first, watch
        self.past = Past.read()
        self.arms: list[Arm] = []
        self.tried: list[Arm] = []
        self.absent: list[tuple[str, str]] = []
        self.stopped_by = ""
        self._sights: dict[tuple[str, str, int | None], Prepared] = {}
        self._best: tuple[Arm, Classifier] | None = None
        self._methods, self._backbones = methods, backbones
        self.situation: Any = None

    # -- the story ---------------------------------------------------------------------------

    def run(self) -> tuple[Way, Classifier, Prepared]:
        """Try arms until the budget ends or nothing can win any more; what stands first."""
        went_on = self.journal.read()
        self._begin_with_the_probe(went_on)
        try:
            while (arm := self._next()) is not None:
                self._try(arm)
        except KeyboardInterrupt:
            self.stopped_by = "stopped by Ctrl-C"
        self._why_not()
        return self._taken()

    def _begin_with_the_probe(self, went_on: bool) -> None:
        way = Way("probe", self.base.backbone)
        self._sights[way.backbone, way.look, way.image_size] = self.prepared
        probe = next((a for a in self.journal.arms if a.way == way and a.judged), Arm(way))
        began = time.monotonic()
        task = fitting.task_of(way.config(self.base), self.prepared, self.lesson)
        classifier = task.fit_probe()
        self._settle_probe(probe, classifier, self.prepared)
        self.on_first(classifier)
        if not went_on or not probe.seconds:
            probe.predicted_s = self._bill(way, self.prepared.extraction.computed).seconds
            probe.seconds = self.budget.spent
        facts = self.prepared.extraction.facts
        n_learn = len(self.lesson.learn)
        info = self.prepared.built.info
        self.situation = situation_of(classifier, info, facts, n_learn, True)
        self._first_s = time.monotonic() - began
        self.arms = [probe, *self._others(way)]
        self.tried = [probe]
        self._best = (probe, classifier)
        for arm in self.arms[1:]:
            if arm.state == TRIED:
                self.tried.append(arm)
        self.tried.sort(key=lambda arm: self._order(arm))
        self._tell(probe)
        if (needs := max(probe.predicted_s, probe.seconds)) > self.budget.seconds:
            self.listener.say(
                f"a budget of {duration(self.budget.seconds)} is less than the probe takes: "
                f"{duration(needs)} is the least here, and the probe is all that is done"
            )

    def _others(self, first: Way) -> list[Arm]:
        """The other arms: as an earlier process left them, or new ones with their bills."""
        found, missing = known_backbones(self._backbones)
        self.absent = list(missing.items())
        kept = {arm.way: arm for arm in self.journal.arms}
        arms = []
        for way in ways_of(self._methods, found):
            if way == first:
                continue
            arm = kept.get(way) or Arm(way)
            if not arm.predicted_s:
                own = self._bill(way)
                arm.predicted_s, arm.memory_mib = own.seconds - bill.START_S, own.memory_mib
            if arm.state == DROPPED:
                arm.state, arm.why = WAITING, ""
            arms.append(arm)
        known = {first, *(arm.way for arm in arms)}
        return arms + [arm for arm in self.journal.arms if arm.way not in known]

    def _next(self) -> Arm | None:
        """Of the arms that fit into what remains, the one that may win most a second."""
        assert self._best is not None
        if not self._can_judge:
            self.stopped_by = "too few images could be left out to judge one way against another"
            return None
        if self._loss == 0.0:
            return None
        offers = [(arm, self.expected(arm)) for arm in self._waiting]
        worth = [(arm, e) for arm, e in offers if self._is_worth_it(arm, e) and self.fits(arm)]
        worth = worth or self._shortened()
        if not worth:
            return None
        quick = max(worth, key=lambda pair: pair[1].gain / max(0.5, self._cost(pair[0])))
        large = max(worth, key=lambda pair: pair[1].gain)
        left = self.budget.left - self._reserve - SHORT * self._cost(quick[0])
        is_shut_out = SHORT * self._cost(large[0]) > left
        if large[0] is not quick[0] and is_shut_out and large[1].gain > MUCH_MORE * quick[1].gain:
            return large[0]
        return quick[0]

    def _shortened(self) -> list[tuple[Arm, Expected]]:
        """Where nothing fits whole: what learns by gradients, for as many epochs as fit, by a
        schedule of its own; each once."""
        found = []
        for arm in self._waiting:
            of_this = [a for a in self.arms if replace(a.way, epochs=None) == arm.way]
            if arm.way.trains and of_this == [arm] and self._is_worth_it(arm, self.expected(arm)):
                found += self._for_fewer_epochs(arm)
        self.arms += found
        return [(arm, self.expected(arm)) for arm in found]

    def _for_fewer_epochs(self, arm: Arm) -> list[Arm]:
        """The arm for as many epochs as fit; none where that would be too few to learn much."""
        config = self.config_of(arm.way)
        cost = cost_of(arm.way.backbone)
        usual = bill.resolved(arm.way, config.settings, self.situation, cost).epochs or 0
        for epochs in range(usual - 1, max(FEWEST_EPOCHS, round(0.4 * usual)) - 1, -1):
            short = Arm(replace(arm.way, epochs=epochs))
            own = self._bill(short.way)
            short.predicted_s, short.memory_mib = own.seconds - bill.START_S, own.memory_mib
            if self.fits(short):
                return [short]
        return []

    def _is_worth_it(self, arm: Arm, offer: Expected) -> bool:
        """It may win something to speak of; or it is a probe that costs next to nothing, and to
        measure is better than to expect."""
        is_cheap = not arm.way.trains and self._cost(arm) <= CHEAP_SHARE * self.budget.left
        return is_cheap or offer.is_worth_it(self._loss)

    def _try(self, arm: Arm) -> None:
        """One arm, to its end or until it is lost; whatever becomes of it, the search goes on."""
        arm.state, began = RUNNING, time.monotonic()
        before = arm.seconds
        self._show()
        moment = self.budget.began + self.budget.seconds - self._reserve - BREATH_S
        try:
            deadline.check(moment)
            classifier = self._fitted(arm, moment)
        except OutOfTimeError as error:
            arm.drop(str(error))
        except KeyboardInterrupt:
            arm.drop("stopped by Ctrl-C")
            raise
        except MemoryError:
            arm.drop("out of memory")
        except RegraftError as error:
            arm.drop(error.rule)
        except Exception as error:  # whatever it is: the arm is lost, not the search
            arm.drop(f"{type(error).__name__}: {str(error).strip()[:200]}")
            self.journal.log({"arm": arm.way.name, "traceback": traceback.format_exc()})
        else:
            arm.state = TRIED
            self.tried.append(arm)
        finally:
            arm.seconds = before + time.monotonic() - began
        if arm.state == TRIED:
            self._consider(arm, classifier)
        else:
            self._forget_checkpoints(arm)
        self._show()
        self._tell(arm)

    def _fitted(self, arm: Arm, moment: float) -> Classifier:
        config = self.config_of(arm.way)
        sight = self._sight(arm.way, moment)
        if not arm.way.trains:
            classifier = fitting.task_of(config, sight, self.lesson).fit_probe()
            self._settle_probe(arm, classifier, sight)
            return classifier
        environment = Environment(
            folder=self._folder_of(arm), listener=self._heard(arm, moment), offline=self.offline
        )
        classifier = fitting.fit(fitting.task_of(config, sight, self.lesson, environment))
        self._settle_trained(arm, classifier)
        return classifier

    # -- judging -----------------------------------------------------------------------------

    def _settle_probe(self, arm: Arm, classifier: Classifier, sight: Prepared) -> None:
        learnt, lesson = classifier.learnt, self.lesson
        assert learnt is not None
        rows, proba = lesson.learn[learnt.oof_rows], learnt.oof_proba
        if lesson.choose is not None and len(lesson.choose):
            # Those that choose taught nobody, and judge what learns by gradients.
            own = classifier.proba_of(sight.X[lesson.choose])
            rows = np.concatenate([rows, lesson.choose])
            proba = np.concatenate([proba, own]) if len(learnt.oof_rows) else own
        arm.state = TRIED
        if len(rows):
            arm.judged = Judged.of(rows, proba, lesson.y)
        else:
            arm.why = "too few images could be left out to judge it"

    def _settle_trained(self, arm: Arm, classifier: Classifier) -> None:
        learnt = classifier.learnt
        assert learnt is not None
        assert learnt.training is not None
        arm.keeps_probe = bool(learnt.training["probe_kept"])
        if arm.keeps_probe:
            arm.why = "no better than the probe that it began from"
        elif len(learnt.oof_rows):
            arm.judged = Judged.of(learnt.oof_rows, learnt.oof_proba, self.lesson.y)
        else:
            arm.why = "no image was left out that could judge it"

    def _consider(self, arm: Arm, classifier: Classifier) -> None:
        """Whether the arm stands first now."""
        if standing.first(self.tried) is not arm:
            self._forget_checkpoints(arm)
            if not arm.why:
                arm.why = "not better than what stands first, by more than chance"
            return
        assert self._best is not None
        self._forget_checkpoints(self._best[0])
        self._best = (arm, classifier)

    def _taken(self) -> tuple[Way, Classifier, Prepared]:
        """What stands first; made anew from its checkpoints where an earlier process made it."""
        best = standing.first(self.tried) or self.arms[0]
        assert self._best is not None
        if self._best[0] is not best:
            self._best = (best, self._fitted(best, float("inf")))
        return best.way, self._best[1], self._sight(best.way, float("inf"))

    @property
    def took(self) -> Arm:
        """The arm that stands first."""
        return standing.first(self.tried) or self.arms[0]

    @property
    def optimism(self) -> dict[str, Any] | None:
        """How flattered it is by having been chosen."""
        return standing.optimism([arm for arm in self.tried if not arm.keeps_probe])

    def expected(self, arm: Arm) -> Expected:
        """What an arm that waits may win."""
        return expected(arm.way, self.tried, self.situation)

    @property
    def _can_judge(self) -> bool:
        return self.arms[0].judged is not None

    @property
    def _loss(self) -> float:
        """Of what stands first."""
        return standing.score(self.took, self.tried).log_loss

    @property
    def _waiting(self) -> list[Arm]:
        return [arm for arm in self.arms if arm.state == WAITING]

    # -- time --------------------------------------------------------------------------------

    def fits(self, arm: Arm) -> bool:
        """Whether it would end within the budget, and in memory."""
        in_time = SHORT * self._cost(arm) + self._reserve <= self.budget.left
        return in_time and arm.memory_mib <= available_mib()

    @property
    def slowness(self) -> float:
        """How much longer arms took than was said, since others use the machine too."""
        pairs = [(a.seconds, a.predicted_s) for a in self.tried if a.predicted_s > 1.0]
        if not pairs:
            return 1.0
        said = sum(predicted for _, predicted in pairs)
        return float(min(4.0, max(1.0, sum(took for took, _ in pairs) / said)))

    def _cost(self, arm: Arm) -> float:
        """What was said, and a little more on a slow hour. Not all of it: short arms are slowed
        down by what is over soon, and an arm that will not end in time is ended soon itself."""
        return arm.predicted_s * min(MOST_SLOWNESS, self.slowness)

    @property
    def _reserve(self) -> float:
        """What comes last: the test of what stands first, saving, the report."""
        parts = self._bill(self.took.way).parts if self.tried else {}
        tested = parts.get("evaluate", 0.3) + parts.get("save", 0.3)
        return GENEROUS * tested * self.slowness + self.last_s

    def _bill(self, way: Way, n_missing: int = 0) -> bill.Bill:
        config = self.config_of(way)
        work = billing.work_of(config, self.prepared, self.lesson)
        if (way.backbone, way.look, way.image_size) in self._sights:
            work = replace(work, n_missing=n_missing)
        else:
            n_missing, is_built = billing.to_be_seen(config, self.prepared.table)
            work = replace(work, n_missing=n_missing, is_built=is_built)
        work = replace(work, situation=self.situation, picture_ms=None, network_ms=None)
        return bill.bill_of(way, config, work, self.past)

    def _heard(self, arm: Arm, moment: float) -> Listener:
        """The listener of an arm: steps that would not end in time end it at once."""
        began: list[float] = []

        def progress(stage: str, done: int, total: int) -> None:
            deadline.check(moment)
            now = time.monotonic()
            if stage == "steps":
                began[:] = began or [now - 1e-3]
                if done >= max(3, TELLING_SHARE * total):
                    left = (now - began[0]) / done * (total - done)
                    if now + left > moment + (OVER - 1) * left:
                        raise OutOfTimeError(
                            f"would not end within the budget: {duration(left)} of learning were "
                            f"left, and {duration(max(0.0, moment - now))} of the budget"
                        )
            arm.progress = f"{done} of {total} {stage}"
            self.listener.progress(f"{stage}: {arm.way.name}", done, total)
            self.watch(self)

        def epoch(done: Any, n_epochs: int) -> None:
            self.journal.log({"arm": arm.way.name, **done.to_dict()})
            self._keep()

        return Listener(say=self.listener.say, progress=progress, epoch=epoch)

    # -- sights, folders, words --------------------------------------------------------------

    def config_of(self, way: Way) -> RunConfig:
        """Of a run of this way; what learns by gradients holds enough images out to be judged."""
        config = way.config(self.base)
        if not METHODS[way.method].trains or self.lesson.choose is not None:
            return config
        n = len(self.lesson.learn)
        share = round(min(MOST_SHARE, max(LEAST_SHARE, TO_JUDGE / max(1, n))), 2)
        given = {"select_fraction": share, **(config.training or {})}
        return replace(config, training=given)

    def _sight(self, way: Way, moment: float) -> Prepared:
        """The data as the way's backbone sees them."""
        key = (way.backbone, way.look, None if way.trains else way.image_size)
        if key not in self._sights:
            config = replace(self.config_of(way.probe), method="probe")
            listener = replace(self.listener, progress=self._counted(way, moment))
            table = self.prepared.extraction.table
            seen = see(config, table, clock=Clock(), offline=self.offline, listener=listener)
            if len(seen.extraction.table) != len(table):
                raise OSError("pictures that were read before cannot be read any more")
            self._sights[key] = replace(self.prepared, extraction=seen.extraction, built=seen.built)
        return self._sights[key]

    def _counted(self, way: Way, moment: float) -> Callable[[str, int, int], None]:
        def progress(stage: str, done: int, total: int) -> None:
            deadline.check(moment)
            self.listener.progress(f"{stage}: {way.name}", done, total)

        return progress

    def _folder_of(self, arm: Arm) -> Path | None:
        folder = self.journal.folder
        if folder is None:
            return None
        name = hashlib.sha256(arm.way.name.encode()).hexdigest()[:8]
        return folder / ARMS / f"{arm.way.method}-{name}"

    def _forget_checkpoints(self, arm: Arm) -> None:
        if (folder := self._folder_of(arm)) is not None and arm.way.trains:
            shutil.rmtree(folder, ignore_errors=True)

    def _order(self, arm: Arm) -> int:
        """As they were tried before."""
        ways = [one.way for one in self.journal.arms if one.state == TRIED]
        return ways.index(arm.way) if arm.way in ways else -1

    def _keep(self) -> None:
        """In the journal, what was tried first and in its order."""
        rest = [arm for arm in self.arms if arm not in self.tried]
        self.journal.write([*self.tried, *rest], self.budget.spent)

    def _show(self) -> None:
        self._keep()
        self.watch(self)

    def _tell(self, arm: Arm) -> None:
        """A line for an arm that is over."""
        left = f"{duration(max(0.0, self.budget.left))} left"
        took = f"{duration(arm.seconds)}, the bill said {duration(arm.predicted_s)}"
        if arm.state == TRIED and arm.left_out is not None:
            found = standing.score(arm, self.tried)
            words = f"left out {percent(found.accuracy)}, log loss {found.log_loss:.3f}"
            first = "; stands first" if self.took is arm else ""
            self.listener.say(f"{arm.way.name}: {words} ({took}){first}; {left}")
        else:
            self.listener.say(f"{arm.way.name}: {arm.why} ({took}); {left}")
        self.journal.log(
            {"arm": arm.way.name, "state": arm.state, "why": arm.why,
             "seconds": round(arm.seconds, 2), "left_out": arm.left_out}
        )  # fmt: skip

    def _why_not(self) -> None:
        """Of every arm that still waits, why it was not tried."""
        loss = self._loss if self._can_judge else 0.0
        for arm in self._waiting:
            arm.state = DROPPED
            if self.stopped_by:
                arm.why = self.stopped_by
            elif loss == 0.0:
                arm.why = "nothing is left to win: no left-out image is in doubt"
            elif not self._is_worth_it(arm, offer := self.expected(arm)):
                gain = max(0.0, offer.gain)
                arm.why = (
                    f"may win next to nothing (log loss {loss:.3f}, by {gain:.3f} less): {offer.by}"
                )
            elif arm.memory_mib > available_mib():
                arm.why = (
                    f"would need {arm.memory_mib:,.0f} MiB of memory, {available_mib():,.0f} are "
                    "free"
                )
            else:
                needs = SHORT * self._cost(arm) + self._reserve
                arm.why = (
                    f"would not end within the budget: needs {duration(needs)} with the test, "
                    f"{duration(max(0.0, self.budget.left))} are left"
                )
