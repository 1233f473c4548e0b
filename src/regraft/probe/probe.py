"""The probe: the network stays as it is, a head learns on its features (feature extraction)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from regraft.errors import ConfigError, DataError
from regraft.evaluation.calibration import fit_temperature, softmax
from regraft.features.engines import BuiltEngine
from regraft.machine import blas
from regraft.machine.allowed import choice_meant
from regraft.machine.processor import available_cores
from regraft.probe.base import Codes, FittedHead, Floats
from regraft.probe.choice import POOL, Choice, choose
from regraft.probe.chosen_head import SMALL_ROWS, Train, fit_chosen
from regraft.probe.classifier import Classifier, Learnt
from regraft.probe.closed_form import CLOSED_FORM
from regraft.probe.judging import Judged
from regraft.probe.network import Network
from regraft.probe.representation import Representation
from regraft.probe.source_classifier import source_classifiers
from regraft.probe.unknown import of_left_out
from regraft.wording import near_names

# Measured on train: the better of what has a closed form, or their pool.
AUTO = "auto"
HEADS = (AUTO, "lda", "ridge", "logistic", "svm", "ncm", "knn")
# Heads that are one matrix, from which training by gradients can go on.
LINEAR_HEADS = (AUTO, "lda", "ridge", "logistic", "svm")
# What scores are divided by where no temperature can be fitted; their scale is the head's own
# (docs/experiments.md, "Few images of each class").
USUAL_TEMPERATURES = {
    "lda": 0.1, "ridge": 0.1, "logistic": 1.0, "svm": 0.2, "ncm": 0.1, "knn": 1.0
}  # fmt: skip
# Above this many numbers neither represented features nor scores of all rows are held at once
# (closed forms stream).
MAX_NUMBERS_IN_MEMORY = 250_000_000


@dataclass(frozen=True)
class Probe:
    """How a head is learnt on frozen features; what is left open is measured on the data, or taken
    as usual where too few images can judge (:mod:`regraft.probe.judging`).

    Parameters
    ----------
    taps : tuple of str, or None
        Stages, 'final' and 'source' to use; None measures and chooses.
    head : {'auto', 'lda', 'ridge', 'logistic', 'svm', 'ncm', 'knn'}
        'auto' measures and chooses among 'lda', 'ridge' and their pool.
    class_weight : {'balanced'} or None
        'balanced' gives every class the same total weight.
    random_state : int
    """

    taps: tuple[str, ...] | None = None
    head: str = AUTO
    class_weight: str | None = None
    random_state: int = 0

    def fit(
        self,
        X: Floats,
        y: Codes,
        *,
        network: BuiltEngine | Network,
        classes: Sequence[str],
        units: Codes | None = None,
    ) -> Classifier:
        """Choose taps and strength, fit on all of train, calibrate on left-out scores.

        Parameters
        ----------
        X : (N, D) float32
            As the pass leaves them; may be memory-mapped.
        y : (N,) codes
        network : BuiltEngine or Network
            Whose features X are; of a Network alone comes a classifier of features.
        classes : sequence of K str
            The name of each code.
        units : (N,) int, optional
            Rows of one unit (near-duplicates, a group) are left out together.

        Raises
        ------
        DataError
            Fewer than two classes.
        """
        y, units = np.asarray(y), np.arange(len(y)) if units is None else np.asarray(units)
        require_two_classes(y)
        start, weight = time.perf_counter(), class_weights(y, self.class_weight)
        known = network_of(network)
        require_head(self.head)
        train = Train(X, y, units, weight, len(classes), known, self.random_state)
        choice = self._choose(train)
        chosen = time.perf_counter()
        representation, fitted = self._fitted(train, choice)
        with blas.threads(1):  # of a few hundred landmarks
            ground = choice.ground
            unknown, landed = of_left_out(
                representation, X, y, units, fitted.oof_rows, fitted.oof_scores,
                n_classes=len(classes), seed=self.random_state,
                Z=None if ground is None else ground.represented(representation.blocks),
            )  # fmt: skip
        rows = fitted.oof_rows
        temperature = USUAL_TEMPERATURES.get(choice.head, 1.0)
        if len(rows):
            temperature = fit_temperature(fitted.oof_scores, y[rows])
        learnt = Learnt(
            candidates=choice.candidates,
            head=choice.head,
            strength=fitted.strength,
            curve=fitted.curve,
            chosen_by=choice.by,
            oof_rows=rows,
            oof_proba=softmax(fitted.oof_scores, temperature=temperature),
            judged=Judged.of(y, units).by(rows),
            seconds={"choose": chosen - start, "fit": time.perf_counter() - chosen},
            landed=landed,
        )
        classifier = Classifier(
            tuple(classes), representation, fitted.head, temperature, learnt=learnt,
            unknown=unknown,
        )  # fmt: skip
        return classifier.on(network) if isinstance(network, BuiltEngine) else classifier

    def _choose(self, train: Train) -> Choice:
        if self.taps is not None:
            require_taps(self.taps, train.network)
            if self.head != AUTO:
                return Choice(train.network.meant(self.taps), self.head, [], "given")
        given = None if self.taps is None else train.network.meant(self.taps)
        choice = choose(
            train.X, train.y, train.network, taps=given,
            heads=(self.head,) if self.head in CLOSED_FORM else CLOSED_FORM,
            pools=self.head == AUTO, n_classes=train.n_classes, units=train.units,
            weight=train.weight, seed=self.random_state,
        )  # fmt: skip
        if self.head in (AUTO, *CLOSED_FORM):
            return choice
        return replace(choice, head=self.head, members=(), ground=None)

    def _fitted(self, train: Train, choice: Choice) -> tuple[Representation, FittedHead]:
        if choice.head in (POOL, *CLOSED_FORM):
            return fit_chosen(train, choice)
        represent = train.representation(choice.taps, train.blocks(choice.taps))
        for what, width in (("features", len(represent.centre)), ("scores", train.n_classes)):
            numbers = len(train.X) * width
            if numbers > MAX_NUMBERS_IN_MEMORY:
                raise ConfigError(
                    f"head {self.head!r} needs all {what} in memory: {numbers * 4 / 2**30:.1f} GiB",
                    cure="--head auto, lda or ridge, which stream",
                )
        with blas.threads(1 if len(train.y) <= SMALL_ROWS else available_cores()):
            fitted = _fit_function(choice.head)(
                represent(train.X), train.y, n_classes=train.n_classes, folds=train.units,
                sample_weight=train.weight,
            )  # fmt: skip
        return represent, fitted


def require_head(head: str) -> None:
    """ConfigError unless there is such a head."""
    if head not in HEADS:
        raise ConfigError(f"no head is called {head!r}", cure=choice_meant(head, HEADS))


def require_class_weight(class_weight: str | None) -> None:
    """ConfigError unless classes can be weighted so."""
    if class_weight not in (None, "balanced"):
        raise ConfigError(
            f"'class_weight' has no choice {class_weight!r}",
            cure="'balanced', or leave out 'class_weight'",
            setting="class_weight",
        )


def network_of(network: BuiltEngine | Network) -> Network:
    """What the probe has to know of an engine's network."""
    if isinstance(network, Network):
        return network
    return Network(network.info.taps, source_classifiers(network))


def require_two_classes(y: Codes) -> None:
    """Refuse to learn where there is nothing to tell apart."""
    n_classes = len(np.unique(y))
    if n_classes < 2:
        raise DataError(
            f"training needs images of at least 2 classes, got {n_classes}",
            cure="one folder per class: DATA/train/<class>/... or DATA/<class>/...",
        )


def class_weights(y: Codes, class_weight: str | None) -> Floats:
    """A weight for each row, of mean 1: equal ones, or every class the same total ('balanced')."""
    require_class_weight(class_weight)
    if class_weight is None:
        return np.ones(len(y))
    counts = np.bincount(y)
    balanced: Floats = len(y) / (np.count_nonzero(counts) * counts[y].astype(np.float64))
    return balanced


def require_taps(taps: Sequence[str], network: Network) -> None:
    """ConfigError unless the network has all of these taps, and at least one is named."""
    unknown = [name for name in network.meant(taps) if name not in network.names]
    if unknown:
        near = near_names(unknown[0], [*network.stages, *network.names], n=1)
        raise ConfigError(
            f"no tap is called {unknown[0]!r}",
            cure=(f"--taps {near[0]}? " if near else "") + f"Taps here: {', '.join(network.names)}",
        )
    if not taps:
        raise ConfigError("no tap is named", cure=f"taps here: {', '.join(network.names)}")


def _fit_function(head: str) -> Callable[..., FittedHead]:
    """Imported when asked for."""
    if head == "logistic":
        from regraft.probe.logistic import fit_logistic

        return fit_logistic
    if head == "svm":
        from regraft.probe.svm import fit_svm

        return fit_svm
    if head == "ncm":
        from regraft.probe.neighbours import fit_nearest_mean

        return fit_nearest_mean
    from regraft.probe.neighbours import fit_knn

    return fit_knn
