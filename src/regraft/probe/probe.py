"""The probe: the network stays as it is, a head learns on its features (feature extraction)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from regraft.errors import ConfigError, DataError
from regraft.evaluation.calibration import fit_temperature, softmax
from regraft.features.engines import BuiltEngine
from regraft.machine import blas
from regraft.machine.processor import available_cores
from regraft.probe import ridge
from regraft.probe.base import Codes, FittedHead, Floats
from regraft.probe.choice import Choice, choose_taps
from regraft.probe.classifier import Classifier, Learnt
from regraft.probe.judging import Judged
from regraft.probe.network import Network
from regraft.probe.representation import Representation
from regraft.probe.source_classifier import source_classifiers
from regraft.probe.unknown import of_left_out
from regraft.wording import near_names

HEADS = ("ridge", "logistic", "svm", "ncm", "knn")
# Heads that are one matrix, from which training by gradients can go on.
LINEAR_HEADS = ("ridge", "logistic", "svm")
# What scores are divided by where no temperature can be fitted; their scale is the head's own
# (docs/experiments.md, "Units that swallow classes").
USUAL_TEMPERATURES = {"ridge": 0.1, "logistic": 1.0, "svm": 0.2, "ncm": 0.1, "knn": 1.0}
# Up to this many rows one core is faster than several that wait for each other.
SMALL_ROWS = 512
# Above this many numbers the represented features are never held at once (ridge only).
MAX_NUMBERS_IN_MEMORY = 250_000_000


@dataclass(frozen=True)
class Probe:
    """How a head is learnt on frozen features; what is left open is measured on the data, or taken
    as usual where too few images can judge (:mod:`regraft.probe.judging`).

    Parameters
    ----------
    taps : tuple of str, or None
        Stages, 'final' and 'source' to use; None measures and chooses.
    head : {'ridge', 'logistic', 'svm', 'ncm', 'knn'}
    class_weight : {'balanced'} or None
        'balanced' gives every class the same total weight.
    random_state : int
    """

    taps: tuple[str, ...] | None = None
    head: str = "ridge"
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
        choice = self._choose(X, y, known, len(classes), units, weight)
        chosen = time.perf_counter()
        representation = Representation.fit(
            X, choice.taps, known.taps, source=known.source, sample_weight=weight
        )
        with blas.threads(1 if len(y) <= SMALL_ROWS else available_cores()):
            fitted = self._fit_head(representation, X, y, len(classes), units, weight)
            unknown, landed = of_left_out(
                representation, X, y, units, fitted.oof_rows, fitted.oof_scores,
                n_classes=len(classes), seed=self.random_state,
            )  # fmt: skip
        rows = fitted.oof_rows
        temperature = USUAL_TEMPERATURES[self.head]
        if len(rows):
            temperature = fit_temperature(fitted.oof_scores, y[rows])
        learnt = Learnt(
            candidates=choice.candidates,
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

    def _choose(
        self, X: Floats, y: Codes, network: Network, n_classes: int, units: Codes, weight: Floats
    ) -> Choice:
        if self.taps is not None:
            require_taps(self.taps, network)
            return Choice(network.meant(self.taps), [], "given")
        return choose_taps(
            X, y, network, n_classes=n_classes, units=units, weight=weight, seed=self.random_state
        )

    def _fit_head(
        self,
        represent: Representation,
        X: Floats,
        y: Codes,
        n_classes: int,
        units: Codes,
        weight: Floats,
    ) -> FittedHead:
        if self.head == "ridge":
            # What fits in one chunk is represented once, not anew for each of the three readings.
            whole = [represent(X)] if len(X) <= ridge.CHUNK_ROWS else None

            def chunks() -> Iterator[Floats]:
                return iter(whole or (represent(rows) for rows in ridge.rows_in_chunks(X)))

            return ridge.finish(
                ridge.RidgeSystem.build(
                    chunks,
                    y,
                    n_classes=n_classes,
                    folds=units,
                    sample_weight=weight,
                    seed=self.random_state,
                )
            )
        numbers = len(X) * len(represent.centre)
        if numbers > MAX_NUMBERS_IN_MEMORY:
            raise ConfigError(
                f"head {self.head!r} needs all features in memory: {numbers * 4 / 2**30:.1f} GiB",
                cure="--head ridge, which streams",
            )
        return _fit_function(self.head)(
            represent(X), y, n_classes=n_classes, folds=units, sample_weight=weight
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
    if class_weight is None:
        return np.ones(len(y))
    if class_weight != "balanced":
        raise ConfigError(f"class_weight must be None or 'balanced', got {class_weight!r}")
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
    if head == "knn":
        from regraft.probe.neighbours import fit_knn

        return fit_knn
    raise ConfigError(f"no head is called {head!r}", cure=f"heads: {', '.join(HEADS)}")
