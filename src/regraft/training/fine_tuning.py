"""The story of a network that learns on, whichever method says what of it learns.

A probe comes first. Its head is where the new one starts, its left-out error says how much there
is to learn, and it is the end of the way on which the result is looked for: from the probe
(alpha = 0) to the weights that were learnt (alpha = 1), whatever the held-out images like best.
What moved while the held-out images were held out is then added to the probe of all of train.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.listener import Doing
from regraft.machine import blas, processes
from regraft.machine.processor import available_cores
from regraft.probe.classifier import Classifier, Learnt
from regraft.probe.probe import require_two_classes
from regraft.training.plan import Plan
from regraft.training.task import Task
from regraft.training.trainable import Trainable

if TYPE_CHECKING:
    from regraft.backbones.catalog import Source
    from regraft.training.learning import Outcome
    from regraft.training.lr_find import RangeTest


def fit(task: Task) -> Classifier:
    """Learn from the images of a task, by a method that trains.

    Returns
    -------
    Classifier
        Of the network as it is now.

    Raises
    ------
    DataError
        Fewer than two classes.
    TrainingError
        The loss is not finite.
    """
    from regraft.training import learning

    started = time.perf_counter()
    plan, trainable = planned(task)
    planned_at = time.perf_counter()
    with blas.threads(processes.share(available_cores())):
        outcome = learning.learn(plan, trainable)
        if plan.settings.refit and plan.rows.n_choose and outcome.alpha > 0:
            outcome = _again_on_all(plan, outcome)
    outcome.record["seconds"] = _seconds(outcome.record, started, planned_at)
    return _classifier(plan, outcome)


def _seconds(record: Mapping[str, Any], started: float, planned_at: float) -> dict[str, float]:
    """Of the parts of a training, for its bill; those epochs that were gone through just now."""
    steps = sum(epoch["seconds"] for epoch in record["epochs"][record["resumed_at"] :])
    rest = time.perf_counter() - planned_at - steps
    return {"plan": planned_at - started, "steps": steps, "rest": max(0.0, rest)}


def try_rates(task: Task) -> RangeTest:
    """The loss over a rate that rises, on what `fit` would learn from; keeps nothing."""
    from regraft.training import lr_find

    plan, trainable = planned(task)
    with blas.threads(available_cores()):
        return lr_find.range_test(plan, trainable)


def planned(task: Task) -> tuple[Plan, Trainable]:
    """Everything that training needs, computed by the first process, found by the others."""
    require_two_classes(task.y[task.learn])
    assert task.method.trainable is not None
    with processes.main_first():
        plan = Plan.of(task)
        with blas.threads(available_cores()):
            return plan, task.method.trainable(plan)


def _classifier(plan: Plan, outcome: Outcome) -> Classifier:
    if outcome.record["probe_kept"]:
        return _kept(plan, outcome)
    probe = plan.start.probe.learnt
    assert probe is not None
    learnt = Learnt(
        candidates=probe.candidates,
        curve=probe.curve,
        chosen_by=probe.chosen_by,
        head=probe.head,
        oof_rows=plan.rows.of_extraction[plan.rows.choose],
        oof_proba=outcome.held_out_proba,
        oof_scores=outcome.held_out_scores,
        judged=probe.judged,
        training=outcome.record,
        probe=plan.look.probe,
        probe_rows=plan.rows.of_extraction,
    )
    return replace(outcome.classifier, method=plan.task.method.name, learnt=learnt)


def _kept(plan: Plan, outcome: Outcome) -> Classifier:
    """The probe, and what was tried beside it."""
    probe = outcome.classifier
    assert probe.learnt is not None
    learnt = replace(probe.learnt, training=outcome.record)
    if probe is plan.start.probe:  # of pictures of another size than the report's features
        learnt = replace(learnt, probe=plan.look.probe, probe_rows=plan.rows.of_extraction)
    return replace(probe, method=plan.task.method.name, learnt=learnt)


def _again_on_all(plan: Plan, outcome: Outcome) -> Outcome:
    """Learn once more, from those that chose too, with the settings that they chose."""
    from regraft.training import learning

    plan.listener.say(Doing("learning again from all images, those that chose included"))
    environment, order = plan.task.environment, np.argsort(plan.rows.of_extraction)
    rows = plan.rows.of_extraction[order]
    again = replace(
        plan.task,
        settings=replace(plan.settings, epochs=max(1, outcome.best_epoch), refit=False),
        environment=replace(
            environment, folder=environment.folder and environment.folder / "refit"
        ),
        learn=rows,
        choose=rows[:0],
        units_of_choose=None,
        units=plan.rows.units[order],
    )
    second = learning.learn(*planned(again), alpha=outcome.alpha)
    record = {**second.record, "held_out": plan.rows.n_choose, "chosen_by": outcome.record}
    return replace(
        second,
        classifier=replace(second.classifier, temperature=outcome.classifier.temperature),
        held_out_proba=outcome.held_out_proba,
        held_out_scores=outcome.held_out_scores,
        record=record,
    )


def require_split_point(source: Source, name: str, *, offline: bool = False) -> None:
    """BackboneError unless this network can be cut before the module `name`; reads no weights."""
    from regraft.backbones import network
    from regraft.backbones.split_points import require_point

    require_point(network.without_weights(source, offline=offline), name)
