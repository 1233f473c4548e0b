"""The probe: the network stays as it is, a head learns on its features (feature extraction).

Which stages the head sees is measured on train: every candidate's exact left-out squared error,
and the simplest candidate that is not worse than the best by more than two standard errors of the
paired difference (after Breiman et al. 1984). No single stage, nor all of them, wins everywhere
(docs/experiments.md), so nothing is taken for granted. What chose is never what reports.
"""

from __future__ import annotations

import difflib
import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from regraft import blas
from regraft.data.splits import carve
from regraft.errors import ConfigError, DataError
from regraft.evaluation.calibration import fit_temperature, softmax
from regraft.features.engines import Tap, available_cores
from regraft.methods import ridge
from regraft.methods.base import Codes, FittedHead, Floats, Head
from regraft.methods.representation import (
    SOURCE,
    Block,
    Representation,
    SourceClassifier,
    blocks_of,
)

HEADS = ("ridge", "logistic", "svm", "ncm", "knn")
# Taps are compared on at most this many train images: the comparison needs no more, and its cost
# grows with the cube. Strength, head and temperature always see all of train.
MAX_ROWS_TO_CHOOSE = 1_280
# Up to this many rows one core is faster than several that wait for each other.
SMALL_ROWS = 512
# Above this many numbers the represented features are never held at once (ridge only).
MAX_NUMBERS_IN_MEMORY = 250_000_000


@dataclass(frozen=True)
class Candidate:
    """A set of taps and its left-out result on train.

    Attributes
    ----------
    taps : tuple of str
    loss, accuracy : float
        Left out, at the best strength.
    worse_by, standard_error : float
        Paired difference of the squared error to the best candidate's.
    """

    taps: tuple[str, ...]
    loss: float
    accuracy: float
    strength: float
    n_images: int
    worse_by: float = 0.0
    standard_error: float = 0.0

    @property
    def is_tie(self) -> bool:
        """Not worse than the best by more than two standard errors."""
        return self.worse_by <= 2 * self.standard_error

    def to_dict(self) -> dict[str, Any]:
        """For metrics.json."""
        return {
            "taps": list(self.taps),
            "left_out_loss": round(self.loss, 6),
            "left_out_accuracy": round(self.accuracy, 6),
            "strength": self.strength,
            "n": self.n_images,
            "worse_by": round(self.worse_by, 6),
            "standard_error": round(self.standard_error, 6),
        }


@dataclass
class Probe:
    """A head on frozen features; its choices are measured on the data it is given.

    Parameters
    ----------
    available : tuple of Tap
        Columns of each tap in X.
    taps : tuple of str, or None
        Stages, 'final' and 'source' to use; None measures and chooses.
    head : {'ridge', 'logistic', 'svm', 'ncm', 'knn'}
    class_weight : {'balanced'} or None
        'balanced' gives every class the same total weight.
    source : SourceClassifier, optional
        The network's own last layer; enables the tap 'source'.
    random_state : int

    Attributes
    ----------
    representation_ : Representation
    head_ : Head
    temperature_ : float
        Softmax of scores / temperature is calibrated on left-out scores.
    candidates_ : list of Candidate
        The measured choice of taps; empty if they were given.
    strength_ : float or None
    curve_ : list of dict
        Left-out loss and accuracy for every strength.
    oof_rows_, oof_proba_ : (n,) int, (n, K)
        Left-out probabilities of train images.
    """

    available: tuple[Tap, ...]
    taps: tuple[str, ...] | None = None
    head: str = "ridge"
    class_weight: str | None = None
    source: SourceClassifier | None = None
    random_state: int = 0

    representation_: Representation = field(init=False, repr=False)
    head_: Head = field(init=False, repr=False)
    temperature_: float = field(init=False)
    strength_: float | None = field(init=False)
    curve_: list[dict[str, float]] = field(init=False, repr=False)
    candidates_: list[Candidate] = field(init=False, repr=False, default_factory=list)
    chosen_by_: str = field(init=False, default="")
    oof_rows_: Any = field(init=False, repr=False)
    oof_proba_: Floats = field(init=False, repr=False)
    seconds_: dict[str, float] = field(init=False, repr=False, default_factory=dict)

    def fit(self, X: Floats, y: Codes, *, n_classes: int, units: Codes | None = None) -> Probe:
        """Choose taps and strength, fit on all of train, calibrate on left-out scores.

        Parameters
        ----------
        X : (N, D) float32
            As the pass leaves them; may be memory-mapped.
        y : (N,) codes
        n_classes : int
        units : (N,) int, optional
            Rows of one unit (near-duplicates, a group) are left out together.

        Raises
        ------
        DataError
            Fewer than two classes.
        """
        y, units = np.asarray(y), np.arange(len(y)) if units is None else np.asarray(units)
        if len(np.unique(y)) < 2:
            raise DataError(
                f"training needs images of at least 2 classes, got {len(np.unique(y))}",
                cure="one folder per class: DATA/train/<class>/... or DATA/<class>/...",
            )
        start = time.perf_counter()
        weight = self._weights(y)
        taps = self._checked_taps() or self._choose_taps(X, y, n_classes, units, weight)
        chosen = time.perf_counter()
        self.representation_ = Representation.fit(
            X, taps, self.available, source=self.source, sample_weight=weight
        )
        with blas.threads(1 if len(y) <= SMALL_ROWS else available_cores()):
            fitted = self._fit_head(X, y, n_classes, units, weight)
        self.head_, self.strength_, self.curve_ = fitted.head, fitted.strength, fitted.curve
        self.oof_rows_ = getattr(fitted, "oof_rows", np.arange(len(y)))
        self.temperature_ = fit_temperature(fitted.oof_scores, y[self.oof_rows_])
        self.oof_proba_ = softmax(fitted.oof_scores, temperature=self.temperature_)
        self.seconds_ = {"choose": chosen - start, "fit": time.perf_counter() - chosen}
        return self

    def predict_proba(self, X: Floats) -> Floats:
        """``(N, D)`` features to ``(N, K)`` probabilities."""
        parts = [
            softmax(self.head_.scores(self.representation_(rows)), temperature=self.temperature_)
            for rows in ridge.rows_in_chunks(X)
        ]
        return np.concatenate(parts)

    def _weights(self, y: Codes) -> Floats:
        if self.class_weight is None:
            return np.ones(len(y))
        if self.class_weight != "balanced":
            raise ConfigError(f"class_weight must be None or 'balanced', got {self.class_weight!r}")
        counts = np.bincount(y)
        balanced: Floats = len(y) / (np.count_nonzero(counts) * counts[y].astype(np.float64))
        return balanced

    def _checked_taps(self) -> tuple[str, ...] | None:
        if self.taps is None:
            return None
        known = [tap.name for tap in self.available] + ([SOURCE] if self.source else [])
        unknown = [name for name in self.taps if name not in known]
        if unknown:
            near = difflib.get_close_matches(unknown[0], known, n=1)
            raise ConfigError(
                f"no tap is called {unknown[0]!r}",
                cure=(f"--taps {near[0]}? " if near else "") + f"Taps here: {', '.join(known)}",
            )
        if not self.taps:
            raise ConfigError("no tap is named", cure=f"taps here: {', '.join(known)}")
        self.candidates_, self.chosen_by_ = [], "given"
        return self.taps

    def _choose_taps(
        self, X: Floats, y: Codes, n_classes: int, units: Codes, weight: Floats
    ) -> tuple[str, ...]:
        rows = rows_to_compare(y, units, self.random_state)
        X, y, units, weight = X[rows], y[rows], units[rows], weight[rows]
        candidates = candidate_taps(self.available, self.source is not None)

        def standardised(block: Block) -> Floats:
            alone = Representation.of_blocks(
                X, (block.tap,), (block,), source=self.source, sample_weight=weight
            )
            return alone(X)

        def measure(taps: tuple[str, ...]) -> ridge.LeftOut:
            blocks = blocks_of(taps, self.available, self.source)
            return _left_out(taps, [parts[b] for b in blocks], y, n_classes, units, weight)

        # One thread a candidate and one core a thread: matrices this small are not worth sharing.
        with blas.threads(1), ThreadPoolExecutor(available_cores()) as pool:
            known = (blocks_of(taps, self.available, self.source) for taps in candidates)
            distinct = list(dict.fromkeys(itertools.chain.from_iterable(known)))
            parts = dict(zip(distinct, pool.map(standardised, distinct), strict=True))
            results = dict(zip(candidates, pool.map(measure, candidates), strict=True))
        self.candidates_ = compare(results, y)
        chosen = next(c for c in self.candidates_ if c.is_tie)
        how = "leave-one-out" if len(np.unique(units)) == len(units) else "leave-one-unit-out"
        self.chosen_by_ = (
            f"{how} squared error of ridge on {len(rows)} train images: the simplest of "
            f"{len(results)} sets of taps within two standard errors of the best"
        )
        return chosen.taps

    def _fit_head(
        self, X: Floats, y: Codes, n_classes: int, units: Codes, weight: Floats
    ) -> FittedHead:
        represent = self.representation_
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


def candidate_taps(available: tuple[Tap, ...], has_source: bool) -> list[tuple[str, ...]]:
    """Sets of taps to compare, the simplest first: final, all, the later half, final and all with
    the source classes, each stage alone."""
    names = tuple(tap.name for tap in available)
    stages = names[:-1]
    candidates: list[tuple[str, ...]] = [("final",), names]
    if len(stages) > 3:
        candidates.append((*stages[len(stages) // 2 :], "final"))
    if has_source:
        candidates += [("final", SOURCE), (*names, SOURCE)]
    candidates += [(name,) for name in stages]
    return list(dict.fromkeys(candidates))


def compare(results: dict[tuple[str, ...], ridge.LeftOut], y: Codes) -> list[Candidate]:
    """Candidates in the order given, each with its paired difference to the best."""
    best = min(results.values(), key=lambda result: result.loss)
    compared = []
    for taps, result in results.items():
        difference = result.squared_error - best.squared_error
        error = float(difference.std(ddof=1) / np.sqrt(len(difference)))
        compared.append(
            Candidate(
                taps,
                result.loss,
                result.accuracy(y),
                result.strength,
                len(difference),
                float(difference.mean()),
                error,
            )
        )
    return compared


def rows_to_compare(y: Codes, units: Codes, seed: int) -> Any:
    """All rows, or a stratified part of whole units, of at most MAX_ROWS_TO_CHOOSE."""
    if len(y) <= MAX_ROWS_TO_CHOOSE:
        return np.arange(len(y))
    # In parts of about a tenth of what is wanted, so that nearly all of it is used.
    n_parts = min(-(-10 * len(y) // MAX_ROWS_TO_CHOOSE), len(np.unique(units)))
    part = carve(y, n_parts, units=units, seed=seed)
    fits = np.cumsum(np.bincount(part, minlength=n_parts)) <= MAX_ROWS_TO_CHOOSE
    return np.flatnonzero(fits[part])


def _left_out(
    taps: tuple[str, ...],
    parts: list[Floats],
    y: Codes,
    n_classes: int,
    units: Codes,
    weight: Floats,
) -> ridge.LeftOut:
    """Of the representation by `taps`, whose standardised blocks are `parts`."""
    Z = np.concatenate(parts, axis=1)
    Z *= np.float32(1 / np.sqrt(len(parts)))
    return ridge.RidgeSystem.build(
        lambda: iter([Z]), y, n_classes=n_classes, folds=units, sample_weight=weight
    ).left_out()


def _fit_function(head: str) -> Callable[..., FittedHead]:
    """Imported when asked for."""
    if head == "logistic":
        from regraft.methods.logistic import fit_logistic

        return fit_logistic
    if head == "svm":
        from regraft.methods.svm import fit_svm

        return fit_svm
    if head == "ncm":
        from regraft.methods.neighbours import fit_nearest_mean

        return fit_nearest_mean
    if head == "knn":
        from regraft.methods.neighbours import fit_knn

        return fit_knn
    raise ConfigError(f"no head is called {head!r}", cure=f"heads: {', '.join(HEADS)}")
