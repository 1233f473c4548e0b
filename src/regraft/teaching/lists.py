"""Lists of pictures to mend or look at: copies across classes, odd ones, what is confused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regraft.features.engine import FINAL, stage_of
from regraft.probe.classifier import Classifier
from regraft.probe.doubts import EVERY
from regraft.teaching.lesson import Taught
from regraft.teaching.project import Picture, Project
from regraft.teaching.sight import Sight

# Pictures less typical than this are like nothing that was learnt; so many of one's own may be too.
ODD = 0.02
# Where too few pictures taught to tell so small a share, the smallest that they can, up to this.
MOST_ODD = 0.05
# Rows that are copied at once; rows that tell what is usual, and how many can.
AT_ONCE, SAMPLE, ENOUGH = 1024, 2000, 50
# Labelled pictures that are compared at most where the nearest are asked for.
MOST_NEAR = 20_000


@dataclass(frozen=True)
class Confusion:
    """Pictures of one class that are taken for another, left out of the fit."""

    label: str
    taken_for: str
    numbers: tuple[int, ...]


def copies_across_classes(project: Project, sight: Sight) -> list[tuple[Picture, ...]]:
    """Labelled pictures that show one thing and do not have one label.

    What shows one thing was found when it was looked at first; a burst does not.
    """
    groups = dict[str, list[Picture]]()
    for one in project.shown():
        if one.label and one in sight:
            groups.setdefault(one.together or one.digest, []).append(one)
    return [
        tuple(group)
        for key, group in groups.items()
        if len({one.label for one in group}) > 1 and key in {one.digest for one in group}
    ]


def odd_level(classifier: Classifier) -> float:
    """How typical a picture is at most that is like nothing that was learnt.

    Raises
    ------
    UsageError
        Too few pictures taught to tell.
    """
    unknown = classifier.unknown
    assert unknown is not None
    unknown.require_reject(MOST_ODD)
    return max(ODD, unknown.least_typical)


def odd_ones(classifier: Classifier, project: Project, sight: Sight) -> list[tuple[int, float]]:
    """Pictures without a label that are like nothing that was learnt, the oddest first.

    Parameters
    ----------
    classifier : Classifier
        That knows doubt (`Taught.knowing_doubt`).

    Returns
    -------
    list of (number, p-value)

    Raises
    ------
    UsageError
        Too few pictures taught to tell.
    """
    level = odd_level(classifier)
    unsorted = [one for one in project.shown() if one.label is None and one in sight]
    if not unsorted:
        return []
    starts = range(0, len(unsorted), AT_ONCE)
    typical = np.concatenate(
        [_typical(classifier, sight, unsorted[start : start + AT_ONCE]) for start in starts]
    )
    rows = np.argsort(typical, kind="stable")
    return [(unsorted[row].number, float(typical[row])) for row in rows if typical[row] <= level]


def _typical(
    classifier: Classifier, sight: Sight, pictures: Sequence[Picture]
) -> NDArray[np.float64]:
    found = classifier.answers_of(sight.features(pictures), EVERY)[1].typical
    assert found is not None
    return np.asarray(found, np.float64)


def confusions(taught: Taught, project: Project) -> list[Confusion]:
    """Which class is taken for which, the most frequent first."""
    if taught.classifier is None:
        return []
    classes, found = taught.classifier.classes, dict[tuple[str, str], list[int]]()
    for one in project.shown():
        if one.label in classes and one.number in taught.proba:
            called = classes[int(taught.proba[one.number].argmax())]
            if called != one.label:
                found.setdefault((str(one.label), called), []).append(one.number)
    listed = [Confusion(*pair, tuple(numbers)) for pair, numbers in found.items()]
    return sorted(listed, key=lambda one: (-len(one.numbers), one.label, one.taken_for))


def nearest(
    features: NDArray[np.float32], project: Project, sight: Sight, *, n: int, but: int = 0
) -> list[tuple[Picture, float]]:
    """The labelled pictures that are most like one, by the final features, and the cosine.

    Parameters
    ----------
    features : (D,) float32
    n : int
    but : int
        The number of a picture that is none of them.
    """
    labelled = [one for one in project.shown() if one.label and one in sight and one.number != but][
        :MOST_NEAR
    ]
    if not labelled:
        return []
    cosine = _cosines(sight, labelled, features)
    best = np.argsort(-cosine, kind="stable")[:n]
    return [(labelled[row], float(cosine[row])) for row in best.tolist()]


def _cosines(
    sight: Sight, pictures: Sequence[Picture], features: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Of one row with pictures, by final features on the scale that is usual among some of them."""
    X = sight.rows(pictures)
    sample = _final(sight, X[:: -(-len(pictures) // SAMPLE)])
    is_enough = len(sample) >= ENOUGH
    mean = sample.mean(axis=0) if is_enough else np.zeros(sample.shape[1], np.float32)
    spread = np.maximum(sample.std(axis=0), 1e-6) if is_enough else np.ones_like(mean)

    def directions(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        Z = (_final(sight, rows) - mean) / spread
        found: NDArray[np.float32] = Z / np.maximum(np.linalg.norm(Z, axis=1, keepdims=True), 1e-6)
        return found

    (own,) = directions(features[None])
    starts = range(0, len(pictures), AT_ONCE)
    return np.concatenate([directions(X[start : start + AT_ONCE]) @ own for start in starts])


def _final(sight: Sight, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The columns of the network's last stage, of each network."""
    taps = [tap for tap in sight.built.info.taps if stage_of(tap.name) == FINAL]
    return np.concatenate([rows[:, tap.start : tap.stop] for tap in taps], axis=1)


def numbers_of(groups: Sequence[Sequence[Picture]]) -> list[list[int]]:
    """For JSON."""
    return [[one.number for one in group] for group in groups]
