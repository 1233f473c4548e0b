"""The whole evaluation of one split: every metric with its interval, in one frozen object.

What is reported here chose nothing: which split that is, is decided in ``regraft.data.splits``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regraft.evaluation.auroc import estimate_auroc
from regraft.evaluation.blocks import as_asked, called, iterate_rows, sureness
from regraft.evaluation.calibration_error import estimate_ece
from regraft.evaluation.confusion import Confusion
from regraft.evaluation.influence import group_codes
from regraft.evaluation.intervals import Estimate
from regraft.evaluation.mean_loss import estimate_mean
from regraft.evaluation.metrics import (
    Array,
    Reliability,
    binned,
    brier_scores,
    log_losses,
    reliability_of,
    true_ranks,
)
from regraft.evaluation.rates import (
    estimate_accuracy,
    estimate_balanced_accuracy,
    estimate_f1,
    estimate_macro_f1,
    estimate_rates,
)

_BINS = 15


@dataclass(frozen=True)
class ClassScores:
    """One class against the rest; every estimate is NaN where ``n`` or its denominator is 0."""

    label: str
    n: int
    precision: Estimate
    recall: Estimate
    f1: Estimate
    auroc: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        estimates = {
            name: getattr(self, name).to_dict() for name in ("precision", "recall", "f1", "auroc")
        }
        return {"label": self.label, "n": self.n, **estimates}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How good a classifier is on one split, and how sure that is.

    Attributes
    ----------
    split : str
    n : int
        Images.
    n_groups : int or None
        Groups, if intervals count groups and not images.
    accuracy, balanced_accuracy, macro_f1, auroc, log_loss, brier, ece : Estimate
        ``auroc`` is the mean over classes. See docs/metrics.md.
    top_k : dict of int to Estimate
        Accuracy within the k most probable classes, for each k asked that is below K.
    per_class : tuple of ClassScores
        In the order of ``classes``; a class without images is a row with ``n`` 0.
    confusion : Confusion
    reliability : Reliability
        15 bins of confidence against accuracy.
    """

    split: str
    n: int
    n_groups: int | None
    accuracy: Estimate
    balanced_accuracy: Estimate
    macro_f1: Estimate
    auroc: Estimate
    log_loss: Estimate
    brier: Estimate
    ece: Estimate
    top_k: dict[int, Estimate]
    per_class: tuple[ClassScores, ...]
    confusion: Confusion
    reliability: Reliability

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(row.label for row in self.per_class)

    def to_dict(self) -> dict[str, Any]:
        """The ``evaluation`` object of ``--json`` and metrics.json: plain values, NaN as None."""
        names = ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "log_loss", "brier", "ece")
        return {
            "split": self.split,
            "n": self.n,
            "n_groups": self.n_groups,
            **{name: getattr(self, name).to_dict() for name in names},
            **{f"top_{k}_accuracy": value.to_dict() for k, value in self.top_k.items()},
            "per_class": [row.to_dict() for row in self.per_class],
            **self.confusion.to_dict(),
            "reliability": _reliability_rows(self.reliability),
        }


def evaluate(
    y_true: Array,
    proba: Array,
    *,
    classes: Sequence[str],
    split: str = "",
    groups: Iterable[Any] | None = None,
    level: float = 0.95,
    seed: int = 0,
    top_k: Sequence[int] = (5,),
) -> Evaluation:
    """Score probabilities against the truth: every metric, with an interval.

    Parameters
    ----------
    y_true : int array of shape (N,)
        Codes into ``classes``. Not every class has to occur.
    proba : array of shape (N, K)
        Rows sum to 1 (within 0.001). The predicted class is the first of the most probable.
    classes : sequence of K str
    split : str
        Name of the part that was scored, for the report.
    groups : one key per image, optional
        Images that belong together (one plant, one patient): intervals then count groups. None
        as a key makes an image a group of its own.
    level : float in (0, 1)
    seed : int
        For the draws behind the interval of the calibration error; nothing else is random.
    top_k : sequence of int
        Those below K are reported.

    Raises
    ------
    ValueError
        No images, shapes that do not fit, codes outside the classes, or rows that are not
        probabilities (NaN, negative, or not summing to 1).

    Examples
    --------
    >>> proba = np.array([[0.9, 0.1], [0.7, 0.3], [0.4, 0.6], [0.55, 0.45]])
    >>> result = evaluate(np.array([0, 0, 1, 1]), proba, classes=["ants", "bees"], split="val")
    >>> print(score_in_words(result.accuracy, result.n, split=result.split))
    75.0 % of 4 val images right (95 % interval 30.1 to 95.4 %)
    >>> result.per_class[1].recall.value
    0.5
    """
    y, proba = _checked(y_true, proba, n_classes=len(classes))
    codes = group_codes(groups, len(y))
    # Each is one reading of all, which may lie on disk.
    predicted, sure = called(proba), sureness(proba)
    confusion = Confusion.of(y, predicted, len(classes))
    auroc, auroc_by_class = estimate_auroc(y, proba, groups=codes, level=level)
    table = reliability_of(y == predicted, sure, n_bins=_BINS)
    return Evaluation(
        split=split,
        n=len(y),
        n_groups=None if codes is None else int(codes.max()) + 1,
        accuracy=estimate_accuracy(y == predicted, groups=codes, level=level),
        balanced_accuracy=estimate_balanced_accuracy(
            y, predicted, confusion, groups=codes, level=level
        ),
        macro_f1=estimate_macro_f1(y, predicted, confusion, groups=codes, level=level),
        auroc=auroc,
        log_loss=estimate_mean(
            log_losses(y, proba), groups=codes, upper=_largest_loss(proba), level=level
        ),
        brier=estimate_mean(brier_scores(y, proba), groups=codes, upper=2.0, level=level),
        ece=estimate_ece(
            table, y == predicted, *binned(sure, _BINS), groups=codes, level=level, seed=seed
        ),
        top_k=_estimate_top_k(y, proba, top_k, codes, level),
        per_class=_per_class(y, predicted, classes, auroc_by_class, codes, level),
        confusion=confusion,
        reliability=table,
    )


def score_in_words(estimate: Estimate, n: int, *, split: str = "") -> str:
    """One line for a person, for an accuracy.

    Never says 100 % of what is not all right, nor 0 % of what is not all wrong.

    Examples
    --------
    >>> score_in_words(Estimate(146 / 153, 0.908, 0.977), 153, split="val")
    '95.4 % of 153 val images right (95 % interval 90.8 to 97.7 %)'
    """
    images = " ".join(word for word in (f"{n:,}", split, "image" if n == 1 else "images") if word)
    low, high = _percent(estimate.low), _percent(estimate.high)
    return (
        f"{_percent(estimate.value)} % of {images} right "
        f"({100 * estimate.level:g} % interval {low} to {high} %)"
    )


def _percent(fraction: float) -> str:
    for digits in (1, 2, 3, 4):
        text = f"{100 * fraction:.{digits}f}"
        if (float(text) < 100 or fraction >= 1) and (float(text) > 0 or fraction <= 0):
            break
    return text


def _estimate_top_k(
    y: Array, proba: Array, top_k: Sequence[int], groups: Array | None, level: float
) -> dict[int, Estimate]:
    asked = [k for k in top_k if 1 <= k < proba.shape[1]]
    if not asked:
        return {}
    ranks = true_ranks(y, proba)
    return {k: estimate_accuracy(ranks < k, groups=groups, level=level) for k in asked}


def _per_class(
    y: Array,
    predicted: Array,
    classes: Sequence[str],
    auroc: list[Estimate],
    groups: Array | None,
    level: float,
) -> tuple[ClassScores, ...]:
    K, is_right = len(classes), y == predicted
    precision = estimate_rates(is_right, predicted, K, groups=groups, level=level)
    recall = estimate_rates(is_right, y, K, groups=groups, level=level)
    f1 = estimate_f1(y, predicted, K, groups=groups, level=level)
    n = np.bincount(y, minlength=K).tolist()
    rows = zip(map(str, classes), n, precision, recall, f1, auroc, strict=True)
    return tuple(ClassScores(*row) for row in rows)


def _largest_loss(proba: Array) -> float:
    return -math.log(np.finfo(proba.dtype).eps)


def _reliability_rows(table: Reliability) -> list[dict[str, Any]]:
    columns = (table.edges[:-1], table.edges[1:], table.n, table.confidence, table.accuracy)
    names = ("low", "high", "n", "confidence", "accuracy")
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [
        dict(zip(names, (None if x != x else x for x in row), strict=True))  # x != x is NaN
        for row in rows
    ]


def _checked(y_true: Array, proba: Array, *, n_classes: int) -> tuple[Array, Array]:
    y, p = np.asarray(y_true), as_asked(proba)
    if y.ndim != 1 or len(y) == 0 or p.shape != (len(y), n_classes):
        raise ValueError(
            f"need y_true (N,) and proba (N, {n_classes}) for {n_classes} classes with N of at "
            f"least 1, got shapes {y.shape} and {p.shape}"
        )
    if not np.issubdtype(y.dtype, np.integer) or y.min() < 0 or y.max() >= n_classes:
        raise ValueError(
            f"y_true must hold whole codes in 0 to {n_classes - 1}, "
            f"got {y.dtype} from {y.min()} to {y.max()}"
        )
    if not np.issubdtype(p.dtype, np.floating) or p.dtype == np.float16:
        p = np.asarray(p, np.float32 if p.dtype == np.float16 else np.float64)
    read = [(rows.sum(axis=1, dtype=np.float64), rows.min(axis=1)) for rows in iterate_rows(p)]
    sums, least = map(np.concatenate, zip(*read, strict=True))
    # NaN fails both comparisons.
    is_bad = ~((np.abs(sums - 1) <= 1e-3) & (least >= 0))
    if is_bad.any():
        i = int(is_bad.argmax())
        raise ValueError(
            f"each row of proba must be at least 0 and sum to 1; {is_bad.sum()} of {len(p)} do "
            f"not, first row {i} with minimum {least[i]:.6g} and sum {sums[i]:.6g}"
        )
    return y.astype(np.int64, copy=False), p
