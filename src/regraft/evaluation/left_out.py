"""Accuracy on training images that were left out, beside the tested one, and what parts the two.

Both are asked about images that did not teach. If they differ by more than chance, the tested
images are not like those of train: another camera, another source, easier or harder ones. Then
neither number speaks for new photographs before it is known whose kind those are.

Array letters: n left-out images, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regraft.evaluation.evaluate import Evaluation
from regraft.evaluation.influence import unit_codes
from regraft.evaluation.intervals import Estimate
from regraft.evaluation.metrics import Array
from regraft.evaluation.rates import estimate_accuracy, estimate_rates

# Up to this share of images in other classes, two mixes of classes pass for the same.
SAME_MIX = 0.1


@dataclass(frozen=True)
class LeftOut:
    """What left-out training images say, beside the test.

    Attributes
    ----------
    n : int
        Training images that were left out of a fit and asked.
    accuracy : Estimate
        Of these.
    at_test_mix : Estimate or None
        The same if the classes were as frequent as among the tested images; None where they are.
    difference : Estimate
        Tested accuracy minus that of left-out images, at the mix of the test.
    recalls : list of K Estimate
        Of the left-out images of each class; NaN of a class that has none.
    """

    n: int
    accuracy: Estimate
    at_test_mix: Estimate | None
    difference: Estimate
    recalls: list[Estimate]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        at_test_mix = self.at_test_mix
        return {
            "n": self.n,
            "accuracy": self.accuracy.to_dict(),
            "at_test_mix": None if at_test_mix is None else at_test_mix.to_dict(),
            "difference": self.difference.to_dict(),
        }


def beside(tested: Evaluation, y: Array, is_right: Array, *, units: Array | None = None) -> LeftOut:
    """The accuracy of left-out images beside that of a test.

    Parameters
    ----------
    tested : Evaluation
    y : int array of shape (n,)
        True codes of the left-out images, in the order of ``tested.classes``.
    is_right : bool array of shape (n,)
    units : array of shape (n,), optional
        Images with the same number (copies, a group) were left out together and count as one.

    Raises
    ------
    ValueError
        If the lengths differ or there are no images.

    Examples
    --------
    >>> from regraft.evaluation import evaluate
    >>> proba = np.repeat([[0.9, 0.1], [0.1, 0.9]], 50, axis=0)
    >>> test = evaluate(np.array([0] * 30 + [1] * 70), proba, classes=["ants", "bees"])
    >>> found = beside(test, np.arange(200) % 2, np.arange(200) < 190)
    >>> print(f"{found.accuracy.value:.2f}, {found.difference.value:.2f}")
    0.95, -0.15
    """
    y, is_right = np.asarray(y), np.asarray(is_right, dtype=bool)
    if y.shape != is_right.shape or y.ndim != 1 or not len(y):
        raise ValueError(
            f"need y (n,) and is_right (n,) with n of at least 1, got {y.shape}, {is_right.shape}"
        )
    level = tested.accuracy.level
    groups = unit_codes(units)
    accuracy = estimate_accuracy(is_right, groups=groups, level=level)
    K = len(tested.per_class)
    recalls = estimate_rates(is_right, y, K, groups=groups, level=level)
    return _beside(tested, np.bincount(y, minlength=K), accuracy, recalls)


def beside_kept(
    tested: Evaluation, n: Sequence[int], accuracy: Estimate, recalls: Sequence[Estimate]
) -> LeftOut:
    """As :func:`beside`, from what it once found beside another test, to the last bit.

    Intervals come along as they are: copies and groups, which widen them, are no longer known.

    Parameters
    ----------
    n : sequence of K int
        Left-out images of each class, one at least in all.

    Examples
    --------
    >>> from regraft.evaluation import evaluate
    >>> test = evaluate(np.array([0, 1]), np.eye(2), classes=["ants", "bees"])
    >>> is_right, units = np.arange(40) >= 4, np.arange(40) // 4
    >>> first = beside(test, np.arange(40) // 20, is_right, units=units)
    >>> beside_kept(test, [20, 20], first.accuracy, first.recalls) == first
    True
    """
    return _beside(tested, np.asarray(n), accuracy, recalls)


def _beside(
    tested: Evaluation, n: Array, accuracy: Estimate, recalls: Sequence[Estimate]
) -> LeftOut:
    mix = np.array([row.n for row in tested.per_class], dtype=float)
    at_test_mix = _at_mix(n, recalls, mix)
    compared = accuracy if at_test_mix is None else at_test_mix
    difference = combined([tested.accuracy, compared], [1, -1])
    return LeftOut(int(n.sum()), accuracy, at_test_mix, difference, list(recalls))


def beside_counts(tested: Evaluation, n: Sequence[int], n_right: Sequence[int]) -> LeftOut | None:
    """As :func:`beside`, from how many left-out images each class had and how many were right.

    None where there were none. Each image counts as one, whatever belonged together.

    Examples
    --------
    >>> from regraft.evaluation import evaluate
    >>> test = evaluate(np.array([0, 1]), np.eye(2), classes=["ants", "bees"])
    >>> beside_counts(test, [40, 60], [38, 57]).accuracy.value
    0.95
    """
    y = np.repeat(np.arange(len(n)), n)
    if not len(y):
        return None
    is_right = np.concatenate(
        [np.arange(all_of_it) < r for all_of_it, r in zip(n, n_right, strict=True)]
    )
    return beside(tested, y, is_right)


def combined(estimates: Sequence[Estimate], weights: Sequence[float]) -> Estimate:
    """A weighted sum of independent estimates, with an interval made of theirs.

    The distances from each value to its limits are put together as standard errors are, each side
    for itself (the method of variance estimates recovery). Of two proportions with Wilson's limits
    this is Newcombe's interval for their difference.

    References
    ----------
    Newcombe (1998), Statistics in Medicine 17, 873-890, method 10. Zou, Huang, Zhang (2009),
    Computational Statistics & Data Analysis 53, 1080-1085.

    Examples
    --------
    >>> a, b = Estimate(56 / 70, 0.6918, 0.8772), Estimate(48 / 80, 0.4903, 0.7005)
    >>> found = combined([a, b], [1, -1])
    >>> print(f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})")
    0.200 (0.052 to 0.334)
    """
    value = sum(w * e.value for w, e in zip(weights, estimates, strict=True))
    below = above = 0.0
    for weight, estimate in zip(weights, estimates, strict=True):
        down, up = (
            weight * (estimate.value - estimate.low),
            weight * (estimate.high - estimate.value),
        )
        below += (down if weight > 0 else up) ** 2
        above += (up if weight > 0 else down) ** 2
    level = estimates[0].level
    return Estimate(value, value - math.sqrt(below), value + math.sqrt(above), level)


def _at_mix(n: Array, recalls: Sequence[Estimate], mix: Array) -> Estimate | None:
    """Accuracy if the classes were as frequent as `mix` (K,); None where they are, about."""
    mix = np.where(n > 0, mix, 0.0)  # what was not left out is not known
    if not mix.any() or np.abs(n / n.sum() - mix / mix.sum()).sum() / 2 <= SAME_MIX:
        return None
    asked = np.flatnonzero(mix)
    return combined([recalls[int(k)] for k in asked], (mix[asked] / mix.sum()).tolist())
