"""What a taught folder's pictures teach: a classifier, an honest score, and where it is weak."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from regraft.evaluation.evaluate import Evaluation, evaluate
from regraft.evaluation.label_issues import find_label_issues
from regraft.probe.classifier import Classifier
from regraft.teaching.project import Picture, Project
from regraft.teaching.quick import QuickHead, knowing_doubt
from regraft.teaching.sight import Sight
from regraft.wording import count

# Pictures of a class that must teach before anything is learnt.
LEAST = 2
# Rows that are answered at once, so that few are copied.
ROWS_AT_ONCE = 2048
# Pictures that are imagined to be added where it is asked which class would gain.
MORE = 20


@dataclass(frozen=True)
class Suspect:
    """A label that is probably wrong."""

    number: int
    given: str
    suggested: str
    p_given: float
    p_suggested: float


@dataclass(frozen=True, eq=False)
class Taught:
    """What was learnt from the labels as they were.

    Attributes
    ----------
    version : int
        Of the project then.
    missing : str
        Why there is no classifier yet, for people; else empty.
    classifier : Classifier or None
    score : Evaluation or None
        On labelled pictures that were set aside; None as long as there are none.
    proba : dict of number to (K,) array
        Of every picture that was seen; of those that teach, by a fit that did not see them.
    suspects : tuple of Suspect
        The most suspicious first; of both those that teach and those that are set aside.
    helps : str
        The class of which twenty more pictures would help most; empty if none would.
    teaching : tuple of Picture
        Those that taught, as they were.
    scores : (n, K) array
        What the left-out ones of them got.
    waiting : tuple of str
        Classes that have too few pictures to be learnt; the others are.
    """

    version: int
    missing: str = ""
    classifier: Classifier | None = None
    score: Evaluation | None = None
    proba: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    suspects: tuple[Suspect, ...] = ()
    helps: str = ""
    teaching: tuple[Picture, ...] = ()
    scores: NDArray[np.float32] | None = None
    waiting: tuple[str, ...] = ()

    def knowing_doubt(self, sight: Sight) -> Classifier:
        """The classifier with what it needs for sets and for "none of these"."""
        assert self.classifier is not None
        assert self.scores is not None
        y = _codes(self.teaching, self.classifier.classes)
        X, units = sight.rows(self.teaching), _units(self.teaching)
        return knowing_doubt(self.classifier, X, y, units, self.scores)


class Teacher:
    """Learns from a project as often as it is asked; what does not change is kept."""

    def __init__(self) -> None:
        self._head: QuickHead | None = None

    def teach(self, project: Project, sight: Sight) -> Taught:
        """Learn from the labels of now."""
        with project.lock:
            version, every = project.version, tuple(sorted(project.classes))
            seen = [one for one in project.shown() if one in sight]
        teaching = [one for one in seen if one.label in every and not one.is_held]
        if missing := what_is_missing([one for one in seen if one.label], every):
            return Taught(version, missing)
        waiting = too_few(teaching, every)
        classes = tuple(name for name in every if name not in waiting)
        labelled = [one for one in seen if one.label in classes]
        teaching = [one for one in labelled if not one.is_held]
        if self._head is None or self._head.built is not sight.built:
            self._head = QuickHead(sight.built)
        classifier, scores = self._head.fit(
            sight.rows(teaching), _codes(teaching, classes), _units(teaching), classes,
            tuple((one.number, one.digest, one.together) for one in teaching),
        )  # fmt: skip
        proba = _probabilities(classifier, sight, seen, teaching)
        held = [one for one in labelled if one.is_held]
        return Taught(
            version,
            classifier=classifier,
            score=_score(held, proba, classes, any(one.together for one in labelled)),
            proba=proba,
            suspects=_suspects(labelled, proba, classes),
            helps=which_would_help(teaching, labelled, proba, classes),
            teaching=tuple(teaching),
            waiting=waiting,
            scores=scores,
        )


def what_is_missing(labelled: Sequence[Picture], classes: Sequence[str]) -> str:
    """What must come before anything can be learnt, in words; empty if nothing.

    Who has labelled pictures that are set aside is told why they do not count.

    Examples
    --------
    >>> what_is_missing([], ["ants"])
    'add a second class'
    """
    if len(classes) < 2:
        return "add a first class" if not classes else "add a second class"
    few = too_few([one for one in labelled if not one.is_held], classes)
    if len(classes) - len(few) >= 2:
        return ""
    own = [one.is_held for one in labelled if one.label == few[0]]
    n = LEAST - own.count(False)
    asked = f"put {count(n, 'more picture') if own else count(n, 'picture')} into {few[0]}"
    return f"{asked} (those marked test do not count: they only score)" if any(own) else asked


def too_few(teaching: Sequence[Picture], classes: Sequence[str]) -> tuple[str, ...]:
    """Classes that cannot be learnt yet."""
    n_of = Counter(one.label for one in teaching)
    return tuple(name for name in classes if n_of[name] < LEAST)


def which_would_help(
    teaching: Sequence[Picture],
    labelled: Sequence[Picture],
    proba: dict[int, NDArray[np.float64]],
    classes: Sequence[str],
) -> str:
    """The class of which twenty more pictures would lower the error most.

    An estimate: the error of a class is taken to fall with the root of its number of pictures, as
    a learning curve does on the whole.
    """
    y = _codes(labelled, classes)
    P = np.array([proba[one.number] for one in labelled])
    wrong = P.argmax(axis=1) != y
    n = np.bincount(_codes(teaching, classes), minlength=len(classes)).astype(float)
    missed = np.bincount(y[wrong], minlength=len(classes))
    taken_for = np.bincount(P.argmax(axis=1)[wrong], minlength=len(classes))
    gain = (missed + 0.5 * taken_for) * (1 - np.sqrt(n / (n + MORE)))
    return classes[int(gain.argmax())] if gain.any() else ""


def _probabilities(
    classifier: Classifier, sight: Sight, seen: Sequence[Picture], teaching: Sequence[Picture]
) -> dict[int, NDArray[np.float64]]:
    """Of every picture; of those that teach left out, as far as they were left out."""
    found: dict[int, NDArray[np.float64]] = {}
    for start in range(0, len(seen), ROWS_AT_ONCE):
        some = seen[start : start + ROWS_AT_ONCE]
        proba = classifier.proba_of(sight.features(some))
        found |= dict(zip((one.number for one in some), proba, strict=True))
    learnt = classifier.learnt
    if learnt is not None:
        for row, left_out in zip(learnt.oof_rows.tolist(), learnt.oof_proba, strict=True):
            found[teaching[row].number] = left_out
    return found


def _score(
    held: Sequence[Picture],
    proba: dict[int, NDArray[np.float64]],
    classes: Sequence[str],
    has_groups: bool,
) -> Evaluation | None:
    """As `regraft evaluate` scores the table that is taken away, whose groups are these."""
    if not held:
        return None
    P = np.array([proba[one.number] for one in held])
    groups = [one.together or None for one in held]
    return evaluate(
        _codes(held, classes),
        P,
        classes=classes,
        split="set-aside",
        groups=groups if has_groups else None,
    )


def _suspects(
    labelled: Sequence[Picture], proba: dict[int, NDArray[np.float64]], classes: Sequence[str]
) -> tuple[Suspect, ...]:
    P = np.array([proba[one.number] for one in labelled])
    return tuple(
        Suspect(
            labelled[issue.row].number,
            classes[issue.given],
            classes[issue.suggested],
            round(issue.p_given, 4),
            round(issue.p_suggested, 4),
        )
        for issue in find_label_issues(P, _codes(labelled, classes), only_sure=False)
    )


def _codes(pictures: Sequence[Picture], classes: Sequence[str]) -> NDArray[np.intp]:
    code_of = {name: code for code, name in enumerate(classes)}
    return np.array([code_of[str(one.label)] for one in pictures], np.intp)


def _units(pictures: Sequence[Picture]) -> NDArray[np.intp]:
    """What stays together has one number."""
    keys = [one.together or one.digest for one in pictures]
    found: NDArray[np.intp] = np.unique(keys, return_inverse=True)[1]
    return found
