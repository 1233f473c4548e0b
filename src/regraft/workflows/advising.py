"""`regraft advise`: which way to take, by what a probe measures in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.backbones import listing
from regraft.choosing import learning_curve, recommendation, scenario
from regraft.choosing.arm import TRIED, Arm, Judged
from regraft.choosing.learning_curve import LearningCurve
from regraft.choosing.past import Past
from regraft.choosing.recommendation import Recommendation
from regraft.choosing.scenario import Scenario
from regraft.choosing.way import BACKBONES_TRIED, Way, known_backbones
from regraft.errors import BackboneError, DataError
from regraft.evaluation.influence import standard_error
from regraft.features.rows import rows_of
from regraft.listener import SILENT, Listener
from regraft.machine import blas
from regraft.machine.processor import available_cores
from regraft.record import results
from regraft.record.configuration import RunConfig
from regraft.training.chosen_settings import situation_of
from regraft.workflows import fitting, work_to_do
from regraft.workflows.lesson import lesson_of
from regraft.workflows.preparation import prepare

# Of all that teach, so many draw the learning curve.
MOST_ROWS = 4_000


@dataclass(frozen=True, eq=False)
class Advice:
    """What was measured, and what it says.

    Attributes
    ----------
    scenario : Scenario
        Of the tutorials' four.
    curve : LearningCurve
    recommendation : Recommendation
    absent : dict of str to str
        Backbones that cannot be had, and why.
    left_out : dict
        Of the probe.
    config : RunConfig
    """

    scenario: Scenario
    curve: LearningCurve
    recommendation: Recommendation
    absent: dict[str, str]
    left_out: dict[str, Any]
    config: RunConfig

    def command(self, number: int) -> str:
        """That runs one of the ways."""
        plain = replace(self.config, backbone="default")
        offer = self.recommendation.offers[number]
        return offer.way.command(self.config.data, plain.same_data_options)

    def to_dict(self) -> dict[str, Any]:
        """For ``advise --json``."""
        found, curve = self.recommendation, self.curve
        scenario_ = {
            "name": self.scenario.name,
            "small": self.scenario.is_small,
            "alike": self.scenario.is_alike,
            "advice": self.scenario.advice,
            "numbers": self.scenario.numbers,
        }
        return {
            "schema": 1,
            "scenario": scenario_,
            "probe": self.left_out,
            "learning_curve": curve.to_list(),
            "foretold": None if curve.foretold is None else curve.foretold.to_dict(),
            "doubled": None if curve.doubled is None else curve.doubled.to_dict(),
            "gain_of_doubling": curve.gain,
            "more_images": curve.words,
            "ways": [
                {
                    "way": offer.way.method,
                    "backbone": offer.way.backbone,
                    **offer.bill.to_dict(),
                    "expected": {
                        "log_loss": round(offer.expected.log_loss, 6),
                        "gain": round(offer.expected.gain, 6),
                        "by": offer.expected.by,
                    },
                    "command": self.command(number),
                }
                for number, offer in enumerate(found.offers)
            ],
            "absent": [{"backbone": name, "why": why} for name, why in self.absent.items()],
            "recommended": found.best,
            "why": found.why,
        }


@blas.one_thread
def advise(
    config: RunConfig,
    *,
    backbones: Sequence[str] = BACKBONES_TRIED,
    offline: bool = False,
    listener: Listener = SILENT,
) -> Advice:
    """Which way to take: scenario, learning curve, ways with their bills, and the one to take.

    One probe is fitted and judged by images of train that were left out; the test is not looked at.

    Raises
    ------
    DataError
        Too few images could be left out to measure anything.
    RegraftError
        What `train` would refuse.
    """
    config = replace(config, method="probe", training=None)
    prepared = prepare(config, offline=offline, listener=listener)
    lesson = lesson_of(prepared)
    probe = fitting.task_of(config, prepared, lesson).fit_probe()
    learnt = probe.learnt
    assert learnt is not None
    if not learnt.candidates or not len(learnt.oof_rows):
        judged = learnt.judged
        raise DataError(
            judged.in_words(lesson.classes).partition(";")[0] if judged else "nothing was measured",
            place=config.data,
            cure="more pictures of each class, that are not copies or of one group; "
            "regraft train takes usual settings meanwhile",
        )
    points = results.layer_curve(learnt)
    counts = np.bincount(lesson.y[lesson.learn], minlength=len(lesson.classes)).tolist()
    rows = lesson.learn[learnt.oof_rows]
    arm = Arm(
        Way("probe", config.backbone), state=TRIED,
        judged=Judged.of(rows, learnt.oof_proba, lesson.y, lesson.unit_of_each),
    )  # fmt: skip
    info, facts = prepared.built.info, prepared.extraction.facts
    situation = situation_of(probe, info, facts, len(lesson.learn))
    read = scenario.read(
        points, learnt.candidates[0].n_images, counts, gain_of_stages=situation.gain_of_stages
    )
    names, absent = known_backbones(dict.fromkeys([config.backbone, *backbones]))
    own, work = work_to_do.work_of(config, prepared, lesson, probe).untimed, {}
    for name in names:
        of_name = replace(config, backbone=name)
        n_missing, is_built = work_to_do.to_be_seen(of_name, prepared.extraction.table)
        try:
            if not is_built:
                listing.require_known(name)
        except BackboneError as error:
            absent[name] = f"{error.rule}: {error.cure}"
            continue
        work[name] = replace(
            own, n_missing=n_missing, is_built=is_built, is_made=False, is_repeated=False
        )
    some = np.arange(len(lesson.learn))
    if len(some) > MOST_ROWS:
        some = np.sort(np.random.default_rng(config.seed).permutation(some)[:MOST_ROWS])
    seen = probe.representation(rows_of(prepared.X, lesson.learn[some]))
    assert arm.judged is not None
    with blas.threads(available_cores()):
        curve = learning_curve.measure(
            seen, lesson.y[lesson.learn[some]], lesson.units[some], arm.judged.right,
            seed=config.seed,
        )  # fmt: skip
    found = recommendation.recommend(config, [arm], situation, work, Past.read())
    guessed = _loss_of_shares(lesson.y[lesson.learn], lesson.y[rows])
    if not _is_surely_less(arm.judged.loss, guessed, arm.judged.units):
        means = float(arm.judged.loss.mean()), float(guessed.mean())
        found = recommendation.of_guesses(found, arm.way, *means)
    return Advice(read, curve, found, absent, arm.left_out or {}, config)


def _loss_of_shares(taught: NDArray[np.intp], y: NDArray[np.intp]) -> NDArray[np.float64]:
    """Log loss of each of these images to who knows how frequent its class is, and no more."""
    shares = np.bincount(taught) / len(taught)
    return np.asarray(-np.log(shares[y]))


def _is_surely_less(
    loss: NDArray[np.float64], other: NDArray[np.float64], units: NDArray[np.intp] | None
) -> bool:
    """Less than another of the same images, by two standard errors of the paired difference."""
    less = other - loss
    return bool(less.mean() > 2 * standard_error(less, units))
