"""Which taps the head sees: measured on train, every unit left out, the simplest of the best.

Every candidate's exact left-out squared error, and the simplest candidate that is not worse than
the best by more than two standard errors of the paired difference (after Breiman et al. 1984). No
single stage, nor all of them, wins everywhere (docs/experiments.md), so nothing is taken for
granted. What chose is never what reports. Where too few images can judge (`judging`), the final
features are taken, with the source classes where the network tells some apart.
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.data.splits import carve
from regraft.features.engine import Tap
from regraft.machine import blas
from regraft.machine.processor import available_cores
from regraft.probe import ridge
from regraft.probe.base import Codes, Floats
from regraft.probe.judging import rows_that_judge
from regraft.probe.network import Network
from regraft.probe.representation import Block, Representation, blocks_of
from regraft.probe.sets_of_taps import of_each
from regraft.probe.source_classifier import SOURCE
from regraft.wording import count

# Taps are compared on at most this many train images: the comparison needs no more, and its cost
# grows with the cube. Strength, head and temperature always see all of train.
MAX_ROWS_TO_CHOOSE = 1_280
# Of these, no unit gives more than a tenth: the rest of a large one says little that is new.
MAX_ROWS_OF_UNIT = MAX_ROWS_TO_CHOOSE // 10


# How taps were chosen where nothing could be measured.
USUAL = "usual ones, not measured"


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
    is_right : (n,) bool
        Of the images that judged, in one order for all candidates.
    """

    taps: tuple[str, ...]
    loss: float
    accuracy: float
    strength: float
    n_images: int
    worse_by: float = 0.0
    standard_error: float = 0.0
    is_right: NDArray[np.bool_] = field(
        default_factory=lambda: np.zeros(0, bool), repr=False, compare=False
    )

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


@dataclass(frozen=True, eq=False)
class Choice:
    """The taps that were chosen.

    Attributes
    ----------
    taps : tuple of str
    candidates : list of Candidate
        What was compared; empty if nothing was.
    by : str
        How.
    """

    taps: tuple[str, ...]
    candidates: list[Candidate]
    by: str


def choose_taps(
    X: Floats,
    y: Codes,
    network: Network,
    *,
    n_classes: int,
    units: Codes,
    weight: Floats,
    seed: int,
) -> Choice:
    """Compare the candidates on train, every unit left out in turn.

    Parameters
    ----------
    X : (N, D) float32
        As the pass leaves them; may be memory-mapped.
    y : (N,) codes
    network : Network
    units : (N,) int
        Rows of one unit are left out together.
    weight : (N,) float
    """
    rows = rows_to_compare(y, units, seed)
    if not len(rows_that_judge(y[rows], units[rows])):
        return Choice(usual_taps(network), [], USUAL)
    X, y, units, weight = X[rows], y[rows], units[rows], weight[rows]
    candidates = of_each(network, candidate_taps)

    def standardised(block: Block) -> Floats:
        alone = Representation.of_blocks(
            X, (block.tap,), (block,), source=network.source, sample_weight=weight
        )
        return alone(X)

    def measure(taps: tuple[str, ...]) -> ridge.LeftOut:
        blocks = blocks_of(taps, network.taps, network.source)
        return _left_out(taps, [parts[b] for b in blocks], y, n_classes, units, weight)

    # One thread a candidate and one core a thread: matrices this small are not worth sharing.
    with blas.threads(1), ThreadPoolExecutor(available_cores()) as pool:
        known = (blocks_of(taps, network.taps, network.source) for taps in candidates)
        distinct = list(dict.fromkeys(itertools.chain.from_iterable(known)))
        parts = dict(zip(distinct, pool.map(standardised, distinct), strict=True))
        results = dict(zip(candidates, pool.map(measure, candidates), strict=True))
    compared = compare(results, y)
    how = "leave-one-out" if len(np.unique(units)) == len(units) else "leave-one-unit-out"
    by = (
        f"{how} squared error of ridge on {compared[0].n_images} train images: the simplest of "
        f"{count(len(results), 'set')} of taps within two standard errors of the best"
    )
    return Choice(next(c for c in compared if c.is_tie).taps, compared, by)


def usual_taps(network: Network) -> tuple[str, ...]:
    """What is best of few images, where nothing can be measured (docs/experiments.md)."""
    return network.meant(("final", SOURCE) if network.source else ("final",))


def candidate_taps(available: tuple[Tap, ...], has_source: bool) -> list[tuple[str, ...]]:
    """Sets of taps to compare, the simplest first: final, all, the later half, final and all with
    the source classes, each stage alone."""
    names = tuple(tap.stage for tap in available)
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
                result.scores.argmax(1) == y[result.rows],
            )
        )
    return compared


def rows_to_compare(y: Codes, units: Codes, seed: int) -> Any:
    """All rows, or a stratified part of whole units (of a part of large ones), of at most
    MAX_ROWS_TO_CHOOSE."""
    if len(y) <= MAX_ROWS_TO_CHOOSE:
        return np.arange(len(y))
    rows = _without_most_of_large_units(units, seed)
    y, units = y[rows], units[rows]
    if len(rows) <= MAX_ROWS_TO_CHOOSE:
        return rows
    # In parts of about a tenth of what is wanted, so that nearly all of it is used.
    n_parts = min(-(-10 * len(y) // MAX_ROWS_TO_CHOOSE), len(np.unique(units)))
    part = carve(y, n_parts, units=units, seed=seed)
    fits = np.cumsum(np.bincount(part, minlength=n_parts)) <= MAX_ROWS_TO_CHOOSE
    return rows[fits[part]]


def _without_most_of_large_units(units: Codes, seed: int) -> Any:
    """Rows in order, at most MAX_ROWS_OF_UNIT of each unit, by chance."""
    order = np.random.default_rng(seed).permutation(len(units))
    order = order[np.argsort(units[order], kind="stable")]
    _, starts, sizes = np.unique(units[order], return_index=True, return_counts=True)
    place = np.arange(len(units)) - np.repeat(starts, sizes)
    return np.sort(order[place < MAX_ROWS_OF_UNIT])


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
