"""What the page is told of a taught folder, as plain values for JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from regraft.evaluation import Estimate, Evaluation
from regraft.teaching import lists
from regraft.teaching.classroom import Classroom, facts_of
from regraft.teaching.journal import Entry
from regraft.teaching.leaving import folder_name
from regraft.teaching.lesson import MORE, Taught
from regraft.teaching.order import next_pictures
from regraft.teaching.project import Picture

HELD = 1
# Labelled pictures that those to label next are held against: the newest.
MOST_COMPARED = 1500
# Entries of lists that are told at most.
MOST_LISTED = 300


def pictures(room: Classroom, since: int) -> dict[str, Any]:
    """What has changed since a version; everything where nothing is known yet.

    ``pictures`` are ``[number, path, flags, digest]``; a removed one is in ``removed``.
    """
    project = room.project
    with project.lock:
        version = project.version
        is_all = not 0 < since <= version
        entries = [] if is_all else project.journal.entries[since:]
        touched = None if is_all else _touched(entries)
        found = list(project.pictures.values())
        classes, undo, redo = project.classes, project.undoable, project.redoable
    if touched is not None:
        found = [one for one in found if one.number in touched]
    return {
        "version": version,
        "is_all": is_all,
        "folder": folder_name(project),
        "place": str(project.folder.resolve()),
        "classes": list(classes),
        "pictures": [_row(one) for one in found if not one.is_removed],
        "removed": [one.number for one in found if one.is_removed and not is_all],
        "bad": {str(n): [reason, room.sight.mend(n)] for n, reason in list(room.sight.bad.items())},
        "left_out": dict(list(room.disk.left_out.items())[:MOST_LISTED]),
        "undo": undo.words if undo else "",
        "redo": redo.words.removeprefix("undo: ") if redo else "",
        "trouble": room.trouble,
    }


def _touched(entries: Iterable[Entry]) -> set[int]:
    found: set[int] = set()
    for entry in entries:
        found |= {move.picture for move in entry.moves} | set(entry.facts)
    return found


def _row(one: Picture) -> list[Any]:
    return [one.number, one.path, HELD * one.is_held, one.digest[:16]]


def lesson(room: Classroom) -> dict[str, Any]:
    """What was learnt last: the score, where it is weak, what would help, what it would say."""
    taught, before = room.taught, room.before
    return {
        "number": room.n_lessons,
        "version": taught.version,
        "missing": taught.missing,
        "classes": list(taught.classifier.classes) if taught.classifier else [],
        "n_teaching": len(taught.teaching),
        "score": _score(taught.score),
        "before": _score(before.score) if before else None,
        "waiting": list(taught.waiting),
        "n_changed": room.n_changed,
        "helps": {"label": taught.helps, "n": MORE} if taught.helps else None,
        "points": facts_of(room.points),
        "confusions": [
            {"label": one.label, "taken_for": one.taken_for, "numbers": one.numbers[:MOST_LISTED]}
            for one in lists.confusions(taught, room.project)[:12]
        ],
        "suspects": [vars(one) for one in taught.suspects[:MOST_LISTED]],
        "guesses": _guesses(room, taught),
    }


def _score(score: Evaluation | None) -> dict[str, Any] | None:
    if score is None:
        return None
    return {
        "n": score.n,
        "n_groups": score.n_groups,
        "accuracy": _estimate(score.accuracy),
        "per_class": [
            {"label": one.label, "n": one.n, "recall": _estimate(one.recall)}
            for one in score.per_class
        ],
    }


def _estimate(one: Estimate) -> dict[str, float | None]:
    found: dict[str, float | None] = one.to_dict()
    return found


def _guesses(room: Classroom, taught: Taught) -> dict[str, list[Any]]:
    """What unlabelled pictures would be called. Of those set aside nothing is said: their labels
    make the score, and must be a person's own."""
    if taught.classifier is None:
        return {"numbers": [], "labels": [], "sure": []}
    numbers = [one.number for one in open_ones(room) if one.number in taught.proba]
    width = len(taught.classifier.classes)
    P = np.array([taught.proba[number] for number in numbers]).reshape(len(numbers), width)
    return {
        "numbers": numbers,
        "labels": P.argmax(axis=1).tolist(),
        "sure": P.max(axis=1).round(4).tolist(),
    }


def open_ones(room: Classroom) -> list[Picture]:
    """Pictures without a label that are not set aside."""
    return [one for one in room.project.shown() if one.label is None and not one.is_held]


def certain(room: Classroom, above: float) -> dict[int, str | None]:
    """What unlabelled pictures would be called whose certainty is at least so much."""
    taught = room.taught
    if taught.classifier is None:
        return {}
    found: dict[int, str | None] = {}
    for one in open_ones(room):
        proba = taught.proba.get(one.number)
        if proba is not None and proba.max() >= above:
            found[one.number] = taught.classifier.classes[int(proba.argmax())]
    return found


def following(room: Classroom, n: int) -> dict[str, Any]:
    """The pictures to label next, each with what it would be called."""
    taught, sight = room.taught, room.sight
    shown = [one for one in room.project.shown() if one in sight]
    unsorted = [one for one in shown if one.label is None]
    proba = taught.proba if taught.classifier else {}
    labelled = [one for one in shown if one.label][-MOST_COMPARED:]
    chosen = next_pictures(unsorted, labelled, proba, sight, n=n)
    return {
        "n_unsorted": sum(one.label is None for one in room.project.shown()),
        "pictures": [_asked(taught, one) for one in chosen],
    }


def _asked(taught: Taught, one: Picture) -> dict[str, Any]:
    row: dict[str, Any] = {"number": one.number, "held": one.is_held, "top": []}
    proba = taught.proba.get(one.number)
    if taught.classifier and proba is not None and not one.is_held:
        best = np.argsort(-proba, kind="stable")[:3].tolist()
        row["top"] = [[taught.classifier.classes[k], round(float(proba[k]), 4)] for k in best]
    return row


def near(found: list[tuple[Picture, float]]) -> list[dict[str, Any]]:
    """Labelled pictures that are most alike."""
    return [
        {"number": one.number, "label": one.label, "similarity": round(cosine, 3)}
        for one, cosine in found
    ]
