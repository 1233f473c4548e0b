"""A head that is there at once: how pictures lie to each other is decomposed once, labels anew.

It sees the network's final features, and is the discriminant or the ridge regression that left-out
pictures lose less with. A label that changes costs no new decomposition, nor do a few pictures that
come or go, so ten thousand pictures are learnt from in a fraction of a second.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from regraft.evaluation.calibration import fit_temperature, softmax
from regraft.features.engines import BuiltEngine
from regraft.machine import blas
from regraft.machine.processor import available_cores
from regraft.probe import closed_form
from regraft.probe.base import Codes, Floats
from regraft.probe.changed_rows import with_rows
from regraft.probe.chosen_head import SMALL_ROWS, Train
from regraft.probe.classifier import Classifier, Learnt
from regraft.probe.judging import Judged
from regraft.probe.out_of_fold import ChosenHead
from regraft.probe.probe import USUAL_TEMPERATURES, network_of
from regraft.probe.representation import Representation
from regraft.probe.ridge import RidgeSystem
from regraft.probe.unknown import of_left_out

FINAL = ("final",)
# From the strength that served last on.
STRIDES_NEAR = (1,)
# Pictures that may have come or gone since the decomposition: at ten thousand pictures the products
# with so many columns cost about a third of a new one.
MOST_CHANGED = 128


class QuickHead:
    """Fits on the same pictures again and again, under labels that change.

    Parameters
    ----------
    built : BuiltEngine
        Whose features it gets.
    """

    def __init__(self, built: BuiltEngine) -> None:
        self.built, self.known = built, network_of(built)
        self.taps = self.known.meant(FINAL)
        self._decomposition: _Decomposition | None = None
        self._near: dict[str, float] = {}

    def fit(
        self,
        X: Floats,
        y: Codes,
        units: Codes,
        classes: tuple[str, ...],
        pictures: tuple[object, ...],
    ) -> tuple[Classifier, Floats]:  # fmt: skip
        """A calibrated classifier, and the scores of the rows that were left out, ``(n, K)``.

        Parameters
        ----------
        X : (N, D) float32
        y, units : (N,) int
        classes : tuple of K str
        pictures : tuple of N
            What the rows are told by, each once.
        """
        train = Train(X, y, units, np.ones(len(y)), len(classes), self.known, 0)
        with blas.threads(1 if len(y) <= SMALL_ROWS else available_cores()):
            represent, system = self._decomposed(train, pictures)
            fitted, kind = self._solved(system)
        rows, scores = fitted.oof_rows, fitted.oof_scores
        temperature = fit_temperature(scores, y[rows]) if len(rows) else USUAL_TEMPERATURES[kind]
        learnt = Learnt(
            head=kind,
            strength=fitted.strength,
            curve=fitted.curve,
            chosen_by="left-out log loss" if len(rows) else "usual",
            oof_rows=rows,
            oof_proba=softmax(scores, temperature=temperature),
            judged=Judged.of(y, units).by(rows),
        )
        found = Classifier(classes, represent, fitted.head, temperature, learnt=learnt)
        return found.on(self.built), scores

    def _decomposed(
        self, train: Train, pictures: tuple[object, ...]
    ) -> tuple[Representation, RidgeSystem]:
        if self._decomposition is not None:
            system = self._decomposition.now(train, pictures)
            if system is not None:
                return self._decomposition.represent, system
        represent = train.representation(self.taps, train.blocks(self.taps))
        system = train.system(represent)
        is_whole = len(system.rows) == len(train.y)
        self._decomposition = _Decomposition(pictures, represent, system) if is_whole else None
        return represent, system

    def _solved(self, system: RidgeSystem) -> tuple[ChosenHead, str]:
        if not system.can_choose:
            return closed_form.finish(system, "lda"), "lda"
        both = [
            closed_form.solve(
                system,
                kind,
                near=self._near.get(kind),
                strides=STRIDES_NEAR if self._near else closed_form.STRIDES,
            )
            for kind in closed_form.CLOSED_FORM
        ]
        self._near = {solved.kind: solved.strength for solved, _ in both}
        best, curve = min(both, key=lambda found: found[0].loss)
        scores = best.scores.astype(np.float32)
        return ChosenHead(best.head(), best.strength, curve, system.judged_rows, scores), best.kind


@dataclass(frozen=True, eq=False)
class _Decomposition:
    """What was decomposed last: pictures, on the scale that they gave, and their system."""

    pictures: tuple[object, ...]
    represent: Representation
    system: RidgeSystem

    @cached_property
    def _row_of(self) -> dict[object, int]:
        return {one: row for row, one in enumerate(self.pictures)}

    def now(self, train: Train, pictures: tuple[object, ...]) -> RidgeSystem | None:
        """The system of other labels and of nearly the same pictures; None if too many differ."""
        places = np.array([self._row_of.get(one, -1) for one in pictures], np.intp)
        new = np.flatnonzero(places < 0)
        n_gone = len(self.pictures) - (len(pictures) - len(new))
        if len(new) + n_gone > MOST_CHANGED:
            return None
        places[new] = len(self.pictures) + np.arange(len(new))
        come = self.represent(train.X[new])
        found = with_rows(self.system, come, places, train.y, train.units, train.n_classes)
        if found is None and pictures == self.pictures:
            return self.system.with_labels(train.y, n_classes=train.n_classes)
        return found


def knowing_doubt(
    classifier: Classifier, X: Floats, y: Codes, units: Codes, scores: Floats
) -> Classifier:
    """The same with what it needs for sets and for "none of these", which takes a little longer.

    Parameters
    ----------
    classifier, scores
        Of `QuickHead.fit`.
    X, y, units
        What it learnt from, in the same order.
    """
    assert classifier.learnt is not None
    unknown, _ = of_left_out(
        classifier.representation, X, y, units, classifier.learnt.oof_rows, scores,
        n_classes=len(classifier.classes), seed=0,
    )  # fmt: skip
    return replace(classifier, unknown=unknown)
