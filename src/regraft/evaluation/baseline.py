"""A naive way to answer, held against a classifier on the same images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from regraft.evaluation.intervals import Estimate, estimate_rates, group_codes
from regraft.evaluation.metrics import Array
from regraft.evaluation.paired import PairedComparison, compare_paired


@dataclass(frozen=True)
class Baseline:
    """How good a naive way is, and how much better the classifier.

    Attributes
    ----------
    accuracy : Estimate
        Of the naive way.
    paired : PairedComparison
        A is the classifier, B the naive way.
    """

    accuracy: Estimate
    paired: PairedComparison

    def to_dict(self) -> dict[str, Any]:
        """The accuracy as any estimate, and the comparison under 'paired'."""
        return {**self.accuracy.to_dict(), "paired": self.paired.to_dict()}


def held_against(
    is_right: Array, is_naive_right: Array, *, groups: Iterable[Any] | None = None
) -> Baseline:
    """A naive way beside the classifier, both asked about the same images.

    Parameters
    ----------
    is_right, is_naive_right : bool array of shape (N,)
        Of the classifier and of the naive way, in the same order.
    groups : one key per image, optional
        Images that belong together.

    Examples
    --------
    >>> found = held_against(np.arange(50) < 45, np.arange(50) < 44)
    >>> found.accuracy.value, found.paired.is_tie
    (0.88, True)
    """
    codes = group_codes(groups, len(is_naive_right))
    everything = np.zeros(len(is_naive_right), np.int64)
    [accuracy] = estimate_rates(np.asarray(is_naive_right), everything, 1, groups=codes)
    return Baseline(accuracy, compare_paired(is_right, is_naive_right, groups=groups))
