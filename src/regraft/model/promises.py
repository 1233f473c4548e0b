"""What a classifier's promises came to on images that had no part in them, and what they cost.

Sets: how often they held the truth. "None of these": false alarms on the reported split, each class
of train left out once as the unknown, and drawn pictures that show nothing. Answers that stand
alone: how many, and how many right.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.data.table import ImageTable
from regraft.evaluation import Estimate, conformal
from regraft.evaluation.auroc import estimate_auroc
from regraft.evaluation.blocks import called, iterate_rows, own, sureness
from regraft.evaluation.influence import group_codes
from regraft.evaluation.left_out import combined
from regraft.evaluation.levels import fewest_all_right, fewest_for
from regraft.evaluation.rates import estimate_accuracy, estimate_rates
from regraft.features import extract
from regraft.images import drawn
from regraft.probe.classifier import Classifier
from regraft.probe.doubts import EVERY, Doubts
from regraft.probe.left_out_classes import ClassOut, each_class_out
from regraft.probe.unknown import Landed, Unknown

# What is shown of each; those that too few images calibrate are left out.
COVERAGES = (0.8, 0.9, 0.95, 0.99)
REJECTS = (0.01, 0.02, 0.05, 0.1)
PRECISIONS = (0.9, 0.95, 0.99)
# The one that stands for all.
REJECT = 0.02


def answers(classifier: Classifier, X: Any) -> tuple[NDArray[np.float64], Doubts]:
    """Probabilities of ``(N, D0)`` features, and with them the doubts that `kept` counts."""
    return classifier.answers_of(X, EVERY if _has_doubts(classifier) else None)


def kept(
    classifier: Classifier,
    answers: tuple[NDArray[np.float64], Doubts],
    y: NDArray[np.intp],
    groups: NDArray[np.object_] | None = None,
    *,
    uses_store: bool = True,
) -> dict[str, Any]:
    """For metrics.json: ``sets``, ``alone`` and ``unknown`` on these images.

    Parameters
    ----------
    answers : (N, K) probabilities and doubts
        Those of `answers`, of images that had no part in the classifier.
    y : (N,) codes
    groups : (N,) names, optional
    uses_store : bool
        Whether features of the drawn pictures are kept for the next time.
    """
    unknown, (proba, doubts) = classifier.unknown, answers
    if unknown is None or doubts.typical is None:
        return {"sets": [], "alone": [], "unknown": None}
    codes = group_codes(None if groups is None else groups.tolist(), len(y))
    n, n_odd = unknown.calibrating.n_units, len(np.unique(unknown.odd_units))
    landed = classifier.learnt.landed if classifier.learnt else None
    of_unknown = _unknown(
        doubts.typical, [r for r in REJECTS if fewest_for(r) <= n_odd], landed, codes,
        classifier.classes,
    )  # fmt: skip
    if of_unknown is not None:
        far = _typical(classifier, _far(classifier, uses_store))
        of_unknown["calibrated_on"] = {"units": n_odd}
        of_unknown["far"] = _turned_away(unknown, doubts.typical, far)
    sure, is_right = sureness(proba), called(proba) == y
    return {
        "sets": _sets(
            unknown,
            [c for c in COVERAGES if fewest_for(1 - c) <= n],
            proba,
            y,
            codes,
            classifier.classes,
        ),
        "alone": [
            _alone(unknown, precision, sure, is_right, codes)
            for precision in PRECISIONS
            if fewest_all_right(precision) <= n
        ],
        "unknown": of_unknown,
    }


def _has_doubts(classifier: Classifier) -> bool:
    return classifier.unknown is not None and len(classifier.unknown.odd) > 0


def strangers(classifier: Classifier, X_own: Any, X_other: Any) -> dict[str, Any]:
    """How many of other pictures are turned away, for metrics: at each level, and their AUROC.

    Parameters
    ----------
    X_own : (N, D0) float32
        Features of images of one's own that had no part in the classifier.
    X_other : (M, D0) float32
        Of pictures that are none of the classes.

    Raises
    ------
    UsageError
        The model knows nothing of what it does not know.
    """
    classifier.require(EVERY)
    assert classifier.unknown is not None
    own, other = (_typical(classifier, X) for X in (X_own, X_other))
    return _turned_away(classifier.unknown, own, other)


def _turned_away(unknown: Unknown, own: Any, other: Any) -> dict[str, Any]:
    """Of their p-values: how well the others are told apart, and what each level turns away."""
    n = len(np.unique(unknown.odd_units))
    both = np.concatenate([own, other])
    is_other = np.arange(len(both)) >= len(own)
    auroc = estimate_auroc(is_other.astype(int), np.column_stack([both, -both]))[0]
    return {
        "images": len(other),
        "auroc": auroc.to_dict(),
        "levels": [
            {
                "asked": share,
                "caught": estimate_accuracy(other <= share).to_dict(),
                "false_alarms": estimate_accuracy(own <= share).to_dict(),
            }
            for share in REJECTS
            if fewest_for(share) <= n
        ],
    }


def _far(classifier: Classifier, uses_store: bool) -> Any:
    """Features of drawn pictures: as far from any photograph as a picture can be."""
    table = ImageTable.from_paths(drawn.pictures())
    return extract.through_store(table, classifier.built(), uses_store=uses_store).X


def _typical(classifier: Classifier, X: Any) -> Any:
    return classifier.answers_of(X, EVERY)[1].typical


def _sets(
    unknown: Unknown, coverages: list[float], proba: Any, y: NDArray[np.intp], groups: Any,
    classes: tuple[str, ...],
) -> list[dict[str, Any]]:  # fmt: skip
    """At each coverage; all are counted in one reading of the probabilities."""
    if not coverages:
        return []
    leasts = [unknown.least_probability(c, len(classes), per_class=False) for c in coverages]
    sizes = [
        [conformal.sets(rows, least).sum(axis=1) for least in leasts]
        for rows in iterate_rows(proba)
    ]
    true = own(proba, y)
    return [
        _set_of(unknown, coverage, conformal.sets(true, least), size, y, groups, classes)
        for coverage, least, size in zip(
            coverages, leasts, map(np.concatenate, zip(*sizes, strict=True)), strict=True
        )
    ]


def _set_of(
    unknown: Unknown, coverage: float, holds: NDArray[np.bool_], size: NDArray[Any],
    y: NDArray[np.intp], groups: Any, classes: tuple[str, ...],
) -> dict[str, Any]:  # fmt: skip
    each = estimate_rates(holds, y, len(classes), groups=groups)
    n, sizes = (np.bincount(y, weight, minlength=len(classes)) for weight in (None, size))
    return {
        "coverage_asked": coverage,
        "coverage": estimate_accuracy(holds, groups=groups).to_dict(),
        "mean_size": float(size.mean()),
        "empty": int((size == 0).sum()),
        "of_one": int((size == 1).sum()),
        "calibrated_on": {
            "images": len(unknown.calibrating), "units": unknown.calibrating.n_units,
            "which": unknown.which,
        },
        "guarantee": unknown.guarantee,
        "per_class": [
            {
                "label": label, "n": int(n[code]), "coverage": each[code].to_dict(),
                "mean_size": float(sizes[code] / n[code]) if n[code] else None,
            }
            for code, label in enumerate(classes)
        ],
    }  # fmt: skip


def _alone(
    unknown: Unknown, precision: float, sure: Any, is_right: NDArray[np.bool_], groups: Any
) -> dict[str, Any]:
    is_alone, right = sure >= unknown.least_confidence(precision), None
    if is_alone.any():
        some = None if groups is None else group_codes(groups[is_alone].tolist(), is_alone.sum())
        right = estimate_accuracy(is_right[is_alone], groups=some).to_dict()
    return {
        "precision_asked": precision,
        "share": float(is_alone.mean()),
        "for_a_person": int((~is_alone).sum()),
        "precision": right,
    }


def _unknown(
    typical: Any, levels: list[float], landed: Landed | None, groups: Any, classes: tuple[str, ...]
) -> dict[str, Any] | None:
    if not levels:
        return None
    asked = REJECT if REJECT in levels else levels[0]
    alarms = {
        level: estimate_accuracy(typical <= level, groups=groups).to_dict() for level in levels
    }
    outs = [] if landed is None else each_class_out(landed)
    auroc = _mean_auroc(outs)
    return {
        "leave_class_out_auroc": None if auroc is None else auroc.to_dict(),
        "false_alarms_asked": asked,
        "false_alarms": alarms[asked],
        "caught": _caught(outs, asked),
        "levels": [
            {"asked": level, "false_alarms": alarms[level], "caught": _caught(outs, level)}
            for level in levels
        ],
        "classes_left_out": [
            {
                "label": classes[out.code], "images": len(out.unknown), "auroc": out.auroc,
                "caught": out.caught(asked),
            }
            for out in outs
        ],
    }  # fmt: skip


def _caught(outs: list[ClassOut], share: float) -> float | None:
    return float(np.mean([out.caught(share) for out in outs])) if outs else None


def _mean_auroc(outs: list[ClassOut]) -> Estimate | None:
    """Mean over the classes; their intervals put together as if they were independent."""
    if not outs:
        return None
    each = []
    for out in outs:
        odd = np.concatenate([out.known, out.unknown])
        is_unknown = np.arange(len(odd)) >= len(out.known)
        each.append(estimate_auroc(is_unknown.astype(int), np.column_stack([-odd, odd]))[0])
    found = combined(each, [1 / len(each)] * len(each))
    return Estimate(found.value, max(found.low, 0.0), min(found.high, 1.0), found.level)
