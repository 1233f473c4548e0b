"""Which arm stands first, by images that taught it nothing; and how flattered the first one is.

Probes are judged by every image of train, each left out in turn; what learns by gradients, by a
part of train that it never saw, the same for all. The two are made comparable by the probe that an
arm began from: its score on that part is taken off, its score on all of train put in its place
(a control variate, so that luck in the drawing of the part cancels).

The best of many is best by luck too. How much, is measured by the bootstrap: the choice is made
anew on images drawn with replacement, and scored on those that were not drawn (Tsamardinos et al.
2018, "Bootstrapping the out-of-sample predictions for efficient and accurate cross-validation").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.choosing.arm import Arm
from regraft.choosing.network_cost import cost_of
from regraft.evaluation.influence import standard_error
from regraft.training.methods import METHODS

# A costlier arm takes the place of a cheaper one if it is better by so many standard errors.
MARGIN, MARGIN_IN_WORDS = 0.5, "half a standard error of the paired difference"
# What is nothing to speak of: less log loss than this, and than this share of it. No costlier arm
# is taken for less than the smaller of them, none is tried for less than the larger.
LEAST_LOSS, LEAST_SHARE = 0.002, 0.05
N_DRAWS = 200
# Units that judged; drawing from fewer tells nothing.
FEWEST_TO_DRAW = 10
LEVEL, Z = 0.95, 1.96


@dataclass(frozen=True)
class Score:
    """An arm's log loss and accuracy, as all of train would have judged it."""

    log_loss: float
    accuracy: float


def score(arm: Arm, arms: Sequence[Arm]) -> Score:
    """Comparable with those of other arms.

    Examples
    --------
    >>> from regraft.choosing.arm import Judged
    >>> from regraft.choosing.way import Way
    >>> rows = np.arange(4)
    >>> probe = Arm(Way(), judged=Judged(rows, np.array([0.1, 0.3, 0.2, 0.6]), rows < 3))
    >>> full = Arm(Way("full"), judged=Judged(rows[2:], np.array([0.1, 0.2]), rows[2:] < 9))
    >>> round(score(full, [probe, full]).log_loss, 2)  # 0.3 on all, 0.25 less on the part
    0.05
    """
    assert arm.judged is not None
    own = Score(float(arm.judged.loss.mean()), float(arm.judged.right.mean()))
    probe = _probe_of(arm, arms)
    if probe is None or probe is arm:
        return own
    assert probe.judged is not None
    shared = np.intersect1d(arm.judged.rows, probe.judged.rows)
    if not len(shared):
        return own
    mine, its = arm.judged.on(shared), probe.judged.on(shared)
    whole = score(probe, arms)
    return Score(
        max(0.0, whole.log_loss + float((mine.loss - its.loss).mean())),
        min(1.0, whole.accuracy + float(mine.right.mean() - its.right.mean())),
    )


def first(arms: Sequence[Arm]) -> Arm | None:
    """The arm that stands first: the cheapest that no dearer one beats by the margin."""
    known = [arm for arm in arms if arm.judged is not None and not arm.keeps_probe]
    best: Arm | None = None
    for arm in sorted(known, key=_price):
        if best is None or is_better(arm, best, arms):
            best = arm
    return best


def difference(arm: Arm, other: Arm, arms: Sequence[Arm]) -> dict[str, float]:
    """Log loss of an arm less that of another, with its 95 % interval; below 0 is better."""
    value = score(arm, arms).log_loss - score(other, arms).log_loss
    margin = Z * _error(arm, other)
    return {"value": value, "low": value - margin, "high": value + margin, "level": LEVEL}


def is_better(arm: Arm, than: Arm, arms: Sequence[Arm]) -> bool:
    """By more than half a standard error of the paired difference, and by something to speak of."""
    before = score(than, arms).log_loss
    least = min(LEAST_LOSS, LEAST_SHARE * before)
    return score(arm, arms).log_loss - before + MARGIN * _error(arm, than) < -least


def optimism(arms: Sequence[Arm], seed: int = 0) -> dict[str, Any] | None:
    """How the choice itself does on images that had no part in it, of all arms on the images that
    judged every one of them; None where there was no choice."""
    known = [arm for arm in arms if arm.judged is not None]
    if len(known) < 2:
        return None
    rows = _common(known)
    judged = [arm.judged.on(rows) for arm in known if arm.judged is not None]
    loss = np.stack([one.loss for one in judged])
    right = np.stack([one.right for one in judged])
    units = np.arange(len(rows)) if judged[0].units is None else judged[0].units
    names, unit = np.unique(units, return_inverse=True)
    if len(names) < FEWEST_TO_DRAW:
        return None
    rng, losses, shares = np.random.default_rng(seed), [], []
    for _ in range(N_DRAWS):
        # Units whole: an image is not unseen where another of its group has chosen.
        times = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))[unit]
        unseen = np.flatnonzero(times == 0)
        winner = int(np.average(loss, axis=1, weights=times).argmin())
        losses.append(float(loss[winner, unseen].mean()))
        shares.append(float(right[winner, unseen].mean()))
    winner = int(loss.mean(1).argmin())
    return {
        "compared": len(known),
        "n": len(rows),
        "log_loss": round(float(np.mean(losses)), 6),
        "accuracy": round(float(np.mean(shares)), 6),
        "log_loss_of_winner": round(float(loss[winner].mean()), 6),
        "accuracy_of_winner": round(float(right[winner].mean()), 6),
        "by": "the choice made anew on images drawn with replacement, scored on the others",
    }


def _price(arm: Arm) -> tuple[bool, int, int, str]:
    """What answering costs, and whether anything had to learn for it; of equal ones the way with
    less to learn, so that nothing depends on the order in which they were tried."""
    price = arm.way.n_looks * cost_of(arm.way.backbone).multiply_adds
    return arm.way.trains, price, list(METHODS).index(arm.way.method), arm.way.name


def _error(arm: Arm, other: Arm) -> float:
    """Standard error of the difference of two arms, on the images that judged both."""
    assert arm.judged is not None
    assert other.judged is not None
    rows = np.intersect1d(arm.judged.rows, other.judged.rows)
    mine = arm.judged.on(rows)
    return standard_error(mine.loss - other.judged.on(rows).loss, mine.units)


def _probe_of(arm: Arm, arms: Sequence[Arm]) -> Arm | None:
    wanted = arm.way.probe
    sized = [one for one in arms if one.way == wanted and one.judged is not None]
    plain = [
        one for one in arms
        if one.judged is not None and not one.way.trains
        and one.way.backbone == wanted.backbone and one.way.look == wanted.look
    ]  # fmt: skip
    return next(iter([*sized, *plain]), None)


def _common(arms: Sequence[Arm]) -> NDArray[np.intp]:
    rows: NDArray[np.intp] | None = None
    for arm in arms:
        assert arm.judged is not None
        rows = arm.judged.rows if rows is None else np.intersect1d(rows, arm.judged.rows)
    assert rows is not None
    return np.sort(rows)
