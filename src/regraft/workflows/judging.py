"""How an arm did on images of train that had taught it nothing, as its classifier left it."""

from __future__ import annotations

import functools

from regraft.choosing.arm import TRIED, Arm, Judged
from regraft.features.rows import rows_of
from regraft.probe.classifier import Classifier
from regraft.workflows.lesson import Lesson
from regraft.workflows.preparation import Prepared


def settle_probe(arm: Arm, classifier: Classifier, sight: Prepared, lesson: Lesson) -> None:
    """By every image of train, each left out in turn, and by those that choose, if there are."""
    learnt = classifier.learnt
    assert learnt is not None
    found, units = [], lesson.unit_of_each
    if len(learnt.oof_rows):
        found.append(Judged.of(lesson.learn[learnt.oof_rows], learnt.oof_proba, lesson.y, units))
    if lesson.choose is not None and len(lesson.choose):
        # Those that choose taught nobody, and judge what learns by gradients.
        own = classifier.proba_of(rows_of(sight.X, lesson.choose))
        found.append(Judged.of(lesson.choose, own, lesson.y, units))
    arm.state = TRIED
    if found:
        arm.judged = functools.reduce(Judged.and_of, found)
    else:
        arm.why = "too few images could be left out to judge it"


def settle_trained(arm: Arm, classifier: Classifier, lesson: Lesson) -> None:
    """By the part of train that was held out, unless what was learnt is not taken."""
    learnt = classifier.learnt
    assert learnt is not None
    assert learnt.training is not None
    arm.keeps_probe = bool(learnt.training["probe_kept"])
    if arm.keeps_probe:
        arm.why = "no better than the probe that it began from"
    elif len(learnt.oof_rows):
        arm.judged = Judged.of(learnt.oof_rows, learnt.oof_proba, lesson.y, lesson.unit_of_each)
    else:
        arm.why = "no image was left out that could judge it"
