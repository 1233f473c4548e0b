"""What the head sees and which head it is: measured on train, every unit left out in turn.

Candidates are sets of taps, each with the heads that one decomposition gives at any strength
(`closed_form`), and the pool of the best of them (`pool`), which is one linear head again. All are
judged alike: by the log loss of left-out scores after each one's own temperature, which is fitted
without the fold that it is judged on. Of those that are no worse than the best by more than one
standard error of the paired difference the simplest is taken (after Breiman et al. 1984). No one
wins everywhere (docs/experiments.md), so nothing is taken for granted. What chose is never what
reports. Where too few images can judge (`judging`), usual settings are taken.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.evaluation.influence import standard_error
from regraft.features.engine import Tap, stage_of
from regraft.machine import blas
from regraft.machine.processor import available_cores
from regraft.probe import scale
from regraft.probe.base import Codes, Floats
from regraft.probe.closed_form import CLOSED_FORM, NEAR, STRIDES, Solved, solve
from regraft.probe.ground import Ground, shown_classes
from regraft.probe.judging import rows_that_judge
from regraft.probe.network import Network
from regraft.probe.pool import fit_weights, nested_losses
from regraft.probe.rows_that_choose import rows_to_compare, rows_to_screen
from regraft.probe.sets_of_taps import of_each
from regraft.probe.source_classifier import FINAL, SOURCE
from regraft.wording import count

FINALISTS = 2
# Standard errors of the paired difference within which two candidates are level.
LEVEL = 1.0
# Up to this many images a pool is solved for all of them; of more, one head is.
MAX_ROWS_TO_POOL = 6_000
POOL = "pool"

# How taps were chosen where nothing could be measured.
USUAL = "usual ones, not measured"
USUAL_HEAD = "ridge"


@dataclass(frozen=True)
class Candidate:
    """Taps and a head, and what was left out of train says of them.

    Attributes
    ----------
    taps : tuple of str
    head : {'lda', 'ridge', 'pool'}
    loss, accuracy, balanced_accuracy : float
        Log loss after its own temperature, and shares of right answers, left out.
    strength : float or None
        The best one; None for a pool.
    worse_by, standard_error : float
        Paired difference of the log loss to the best candidate's on the same images.
    is_right : (n,) bool
        Of the images that judged, in one order for all candidates of as many images.
    units : (n,) int or None
        Those of one number (a group, near copies) count as one; None: each by itself.
    """

    taps: tuple[str, ...]
    head: str
    loss: float
    accuracy: float
    balanced_accuracy: float
    strength: float | None
    n_images: int
    worse_by: float = 0.0
    standard_error: float = 0.0
    is_right: NDArray[np.bool_] = field(
        default_factory=lambda: np.zeros(0, bool), repr=False, compare=False
    )
    units: Codes | None = field(default=None, repr=False, compare=False)

    @property
    def is_tie(self) -> bool:
        """Level with the best."""
        return self.worse_by <= LEVEL * self.standard_error

    def to_dict(self) -> dict[str, Any]:
        """For metrics.json."""
        return {
            "taps": list(self.taps),
            "head": self.head,
            "left_out_log_loss": round(self.loss, 6),
            "left_out_accuracy": round(self.accuracy, 6),
            "left_out_balanced_accuracy": round(self.balanced_accuracy, 6),
            "strength": self.strength,
            "n": self.n_images,
            "worse_by": round(self.worse_by, 6),
            "standard_error": round(self.standard_error, 6),
        }


@dataclass(frozen=True, eq=False)
class Member:
    """One head of a choice: its taps, and how it was solved on the images that chose."""

    taps: tuple[str, ...]
    n_images: int
    solved: Solved
    curve: list[dict[str, float]]


@dataclass(frozen=True, eq=False)
class Entry:
    """A candidate at work: its heads, and the log losses of left-out images.

    Attributes
    ----------
    members : tuple of Member
        One, or those of a pool.
    losses : (n,) float
        After a temperature, or weights, fitted without the image's fold.
    """

    taps: tuple[str, ...]
    head: str
    members: tuple[Member, ...]
    losses: Floats
    candidate: Candidate


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen.

    Attributes
    ----------
    taps : tuple of str
    head : str
        A head's name, or 'pool'.
    candidates : list of Candidate
        What was compared; empty if nothing was.
    by : str
        How.
    members : tuple of Member
        The head, or those of the pool; empty if nothing was compared.
    ground : Ground or None
        The images that chose, where they are all of train.
    """

    taps: tuple[str, ...]
    head: str
    candidates: list[Candidate]
    by: str
    members: tuple[Member, ...] = ()
    ground: Ground | None = None


def choose(
    X: Floats,
    y: Codes,
    network: Network,
    *,
    taps: tuple[str, ...] | None = None,
    heads: Sequence[str] = CLOSED_FORM,
    pools: bool = True,
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
    taps : tuple of str, optional
        Given ones, of which only the heads are compared.
    heads : sequence of {'lda', 'ridge'}
    pools : bool
        Whether several heads may be taken as one.
    units : (N,) int
        Rows of one unit are left out together.
    weight : (N,) float
    """
    rows, few = rows_to_compare(y, units, seed), rows_to_screen(y, units, seed)
    if not len(rows_that_judge(y[rows], units[rows])):
        return Choice(
            taps or usual_taps(network), USUAL_HEAD if USUAL_HEAD in heads else heads[0], [], USUAL
        )
    sets = [taps] if taps else of_each(network, candidate_taps)
    search = Search(heads, are_given=taps is not None)
    screened: list[Entry] = []
    # One thread a candidate and one core a thread: matrices this small are not worth sharing.
    with blas.threads(1), ThreadPoolExecutor(available_cores()) as threads:

        def tried(rows: NDArray[np.intp]) -> tuple[Ground, list[Entry]]:
            codes, n_shown = shown_classes(y, rows, n_classes)
            ground = Ground.of(
                X[rows], codes, units[rows], weight[rows], n_classes=n_shown, network=network,
                sets=sets, threads=threads, few_strengths=bool(search.near),
            )  # fmt: skip
            found = threads.map(lambda taps: _entries(ground, taps, search), sets)
            return ground, list(itertools.chain.from_iterable(found))

        if len(few) < len(rows) and len(sets) > FINALISTS:
            search = replace(search, strides=(2,))
            screened = tried(few)[1]
            sets = _survivors(screened, sets)
            search = replace(search, strides=NEAR, near=_near(screened, len(rows) / len(few)))
        ground, entries = tried(rows)
        if pools and len(entries) > 1 and len(y) <= MAX_ROWS_TO_POOL:
            entries += _pooled(ground, _best_sets(entries, sets), entries)
    compared = compare(entries, ground.judging_weight)
    taken = entries[next(i for i, found in enumerate(compared) if found.is_tie)]
    before = compare(screened, np.ones(1)) if screened else []
    return Choice(
        taken.taps, taken.head, before + compared, _by(ground, compared, before), taken.members,
        ground if len(rows) == len(y) else None,
    )  # fmt: skip


@dataclass(frozen=True)
class Search:
    """What is solved on a set of taps, and how strengths are looked for: strides on their scale,
    and where a search begins."""

    heads: Sequence[str]
    strides: Sequence[int] = STRIDES
    near: Mapping[tuple[tuple[str, ...], str], float] = field(default_factory=dict)
    are_given: bool = False

    def heads_on(self, taps: tuple[str, ...]) -> Sequence[str]:
        """One on a stage alone, which is there for the layer curve unless it was asked for."""
        is_of_curve = len(taps) == 1 and stage_of(taps[0]) != FINAL and not self.are_given
        return self.heads[:1] if is_of_curve else self.heads


def _entries(ground: Ground, taps: tuple[str, ...], search: Search) -> list[Entry]:
    """Each head on these taps, the better one first."""
    system = ground.system(taps)
    members = []
    for kind in search.heads_on(taps):
        near = search.near.get((taps, kind))
        solved = solve(system, kind, near=near, strides=search.strides)
        members.append(Member(taps, len(ground.y), *solved))
    entries = [_entry(ground, taps, member.solved.kind, (member,)) for member in members]
    return sorted(entries, key=lambda entry: entry.candidate.loss)


def _near(screened: list[Entry], times: float) -> dict[tuple[tuple[str, ...], str], float]:
    """Where the search begins on so many times the images: their inner products grow as they do."""
    return {
        (entry.taps, entry.head): times * entry.members[0].solved.strength for entry in screened
    }


def _pooled(ground: Ground, sets: list[tuple[str, ...]], entries: list[Entry]) -> list[Entry]:
    """Of the heads on the best sets of taps those with a weight, if they are several."""
    members = [entry.members[0] for entry in entries if entry.taps in sets]
    weights = fit_weights(np.stack([m.solved.scores for m in members]), ground.judged_y)
    kept = tuple(m for m, weight in zip(members, weights, strict=True) if weight > 0)
    if len(kept) < 2:
        return []
    taps = dict.fromkeys(itertools.chain.from_iterable(member.taps for member in kept))
    ordered = tuple(name for name in ground.network.names if name in taps)
    return [_entry(ground, ordered, POOL, kept)]


def _entry(ground: Ground, taps: tuple[str, ...], head: str, members: tuple[Member, ...]) -> Entry:
    y = ground.judged_y
    if len(members) == 1:
        scores, weight = members[0].solved.scores, members[0].solved.weight
        losses = scale.nested_losses(scores, y, ground.folds, weight)
    else:
        stack = np.stack([member.solved.scores for member in members])
        weights = fit_weights(stack, y)
        scores = np.tensordot(weights, stack, 1)
        losses = nested_losses(stack, y, ground.folds, weights)
    is_right = scores.argmax(1) == y
    sizes = np.bincount(y)
    recalls = (np.bincount(y, is_right) / np.maximum(sizes, 1))[sizes > 0]
    candidate = Candidate(
        taps, head, float(np.average(losses, weights=ground.judging_weight)),
        float(is_right.mean()), float(recalls.mean()),
        members[0].solved.strength if len(members) == 1 else None, len(y), is_right=is_right,
        units=ground.units[ground.judges],
    )  # fmt: skip
    return Entry(taps, head, members, losses, candidate)


def _best_sets(entries: list[Entry], sets: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The few with the least loss, in their order."""
    ranked = sorted(entries, key=lambda entry: entry.candidate.loss)
    best = list(dict.fromkeys(entry.taps for entry in ranked))[:FINALISTS]
    return [taps for taps in sets if taps in best]


def _survivors(screened: list[Entry], sets: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The best few, and the simplest that is level with the best: more images may take it."""
    compared = compare(screened, np.ones(1))
    simplest = next(found.taps for found in compared if found.is_tie)
    best = _best_sets(screened, sets)
    return [taps for taps in sets if taps in best or taps == simplest]


def compare(entries: list[Entry], weight: Floats) -> list[Candidate]:
    """Candidates in the order given, each with its paired difference to the best."""
    best = min(entries, key=lambda entry: entry.candidate.loss)
    compared = []
    for entry in entries:
        difference = weight / weight.mean() * (entry.losses - best.losses)
        error = standard_error(difference, entry.candidate.units)
        compared.append(
            replace(entry.candidate, worse_by=float(difference.mean()), standard_error=error)
        )
    return compared


def _by(ground: Ground, compared: list[Candidate], screened: list[Candidate]) -> str:
    alone = len(np.unique(ground.units)) == len(ground.units)
    how = "leave-one-out" if alone else "leave-one-unit-out"
    before = (
        f", on the best of {count(len({c.taps for c in screened}), 'set')} of "
        f"taps by {screened[0].n_images} of these images"
        if screened
        else ""
    )
    return (
        f"{how} log loss after a temperature on {compared[0].n_images} train images: the simplest "
        f"of {count(len(compared), 'candidate')} (taps and head) within one standard error of the "
        f"best{before}"
    )


def usual_taps(network: Network) -> tuple[str, ...]:
    """What is best of few images, where nothing can be measured (docs/experiments.md)."""
    return network.meant(("final", SOURCE) if network.source else ("final",))


def candidate_taps(available: tuple[Tap, ...], has_source: bool) -> list[tuple[str, ...]]:
    """Sets of taps to compare, the simplest first: final, the later half and all, each without and
    with the source classes; then each stage alone."""
    names = tuple(tap.stage for tap in available)
    stages = names[:-1]
    late = (*stages[len(stages) // 2 :], "final")
    candidates: list[tuple[str, ...]] = [("final",)]
    candidates += [("final", SOURCE)] if has_source else []
    candidates += [late] if len(stages) > 3 else []
    candidates += [(*late, SOURCE)] if len(stages) > 3 and has_source else []
    candidates += [names]
    candidates += [(*names, SOURCE)] if has_source else []
    candidates += [(name,) for name in stages]
    return list(dict.fromkeys(candidates))
