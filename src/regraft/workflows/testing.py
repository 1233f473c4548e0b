"""A run's classifier, tested: its score on the reported split, and all that stands beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.checks.duplicates import leaked
from regraft.choosing import verdict
from regraft.evaluation import Evaluation, baseline, evaluate, left_out, nearest_neighbour_hits
from regraft.evaluation.baseline import Baseline
from regraft.evaluation.blocks import called
from regraft.evaluation.label_issues import find_label_issues
from regraft.evaluation.label_noise import label_noise
from regraft.evaluation.metrics import log_loss
from regraft.features.rows import Rows, rows_of
from regraft.model import promises
from regraft.probe.classifier import Classifier, Learnt
from regraft.probe.doubts import Doubts
from regraft.record.configuration import RunConfig
from regraft.record.results import Tested
from regraft.workflows.lesson import Lesson
from regraft.workflows.preparation import Prepared


def tested(
    prepared: Prepared,
    lesson: Lesson,
    classifier: Classifier,
    answers: tuple[NDArray[Any], Doubts],
    seed: int,
) -> Tested:
    """The score on the reported split, without leaked images too, and what stands beside it.

    Parameters
    ----------
    classifier : Classifier
        With what it learnt of images that were left out.
    answers : (R, K) probabilities and doubts
        Of the images of the reported split (`promises.answers`).
    """
    assert classifier.learnt is not None
    proba = answers[0]
    groups, rows = prepared.table.groups, lesson.roles.reports
    every = np.ones(int(rows.sum()), bool)
    is_leaked = leaked(prepared.duplicates, prepared.table.splits, lesson.roles.reported)[rows]
    score = _score(prepared, lesson, proba, every, seed)
    clean = None
    if is_leaked.any() and not is_leaked.all():
        clean = _score(prepared, lesson, proba, ~is_leaked, seed)
    return Tested(
        score,
        clean,
        int(is_leaked.sum()),
        _baselines(prepared, lesson, called(proba) == lesson.y[rows]),
        _left_out(lesson, classifier.learnt, score),
        promises.kept(
            classifier, answers, lesson.y[rows], None if groups is None else groups[rows]
        ),
    )


def judged(metrics: dict[str, Any], prepared: Prepared, config: RunConfig) -> dict[str, Any]:
    """The metrics of a run with the verdict on them."""
    findings = [finding.to_dict() for finding in prepared.findings]
    found = verdict.verdict(metrics, findings, options=config.same_data_options)
    return {**metrics, "verdict": found.to_dict()}


def _score(
    prepared: Prepared, lesson: Lesson, proba: NDArray[Any], kept: NDArray[np.bool_], seed: int
) -> Evaluation:
    rows, groups = np.flatnonzero(lesson.roles.reports)[kept], prepared.table.groups
    # A copy can be gigabytes with many classes.
    scored: Any = proba if kept.all() else Rows(proba, kept)
    return evaluate(
        lesson.y[rows],
        scored,
        classes=lesson.classes,
        split=lesson.roles.reported,
        groups=None if groups is None else groups[rows],
        seed=seed,
    )


def _baselines(
    prepared: Prepared, lesson: Lesson, is_right: NDArray[np.bool_]
) -> dict[str, Baseline]:
    """Naive ways to answer, each held against the classifier on the same images."""
    train, rows, y = lesson.roles.train, lesson.roles.reports, lesson.y
    groups = None if prepared.table.groups is None else prepared.table.groups[rows]
    final = prepared.built.info.final
    columns = slice(final.start, final.stop)
    taught, asked = (rows_of(prepared.X, some, columns) for some in (train, rows))
    some, is_near_right = nearest_neighbour_hits(taught, y[train], asked, y[rows])
    favourite = np.bincount(y[train]).argmax()
    return {
        "majority class": baseline.held_against(is_right, y[rows] == favourite, groups=groups),
        "nearest neighbour": baseline.held_against(
            is_right[some], is_near_right, groups=None if groups is None else groups[some]
        ),
    }


def _left_out(lesson: Lesson, learnt: Learnt, score: Evaluation) -> dict[str, Any] | None:
    """What images that were left out of a fit say, beside the score; None if there were none."""
    training = learnt.training
    is_cross_validated = training is None or bool(training.get("probe_kept"))
    taught = lesson.learn if learnt.probe_rows is None else learnt.probe_rows
    rows = taught[learnt.oof_rows] if is_cross_validated else learnt.oof_rows
    if not len(rows):
        return None
    y, proba, K = lesson.y[rows], learnt.oof_proba, len(lesson.classes)
    is_right = called(proba) == y
    units = lesson.unit_of_each[rows]
    found = left_out.beside(score, y, is_right, units=units)
    doubtful = find_label_issues(proba, y)
    by = "cross-validation" if is_cross_validated else "held-out images"
    return {
        "by": by,
        **found.to_dict(),
        "per_class": {
            "n": np.bincount(y, minlength=K).tolist(),
            "right": np.bincount(y[is_right], minlength=K).tolist(),
            "recall": [recall.to_dict() for recall in found.recalls],
        },
        "log_loss": log_loss(y, proba),
        "doubtful_labels": len(doubtful),
        "label_noise": label_noise(proba, y, units=units).to_dict(),
    }
