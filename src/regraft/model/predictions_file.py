"""Predictions as a CSV file, the same whoever writes them: a run, or `regraft predict --out`.

The columns: ``path``; ``label``, what the image is, where that is known; ``group``, what it belongs
to, where the data have groups; ``predicted`` and its ``probability``; ``p(CLASS)`` of every class,
or, of more than fifty, ``top_5`` with the five most probable; where they were asked for ``set`` (a
JSON list, the most probable class first), ``typical``, ``none_of_these`` (then ``predicted`` is
empty) and ``alone``; ``error``, why a file could not be read.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

from numpy.typing import NDArray

from regraft.data.table import Rejected
from regraft.evaluation.blocks import first
from regraft.probe.doubts import Doubts

# Above this many classes the five most probable are named instead of all.
MAX_CLASS_COLUMNS = 50
# Of the first line, what only predictions have.
_FIRST, _CALLED = "path", ("predicted", "probability")
_LABEL, _GROUP = "label", "group"


def write(
    file: str | os.PathLike[str],
    paths: list[str],
    proba: NDArray[Any],
    classes: Sequence[str],
    *,
    labels: Sequence[Any] | None = None,
    groups: Sequence[Any] | None = None,
    rejected: Iterable[Rejected] = (),
    doubts: Doubts | None = None,
) -> None:
    """A row for each image, then one for each file that could not be read.

    Parameters
    ----------
    file : path
    paths : list of N str
    proba : (N, K)
    classes : sequence of K str
    labels : sequence of N, optional
        What the images are, where that is known.
    groups : sequence of N, optional
        What they belong to; None for an image on its own.
    rejected : iterable of Rejected
    doubts : Doubts, optional
        What was asked for beside the answers.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    shows_all, doubts = len(classes) <= MAX_CLASS_COLUMNS, doubts or Doubts()
    asked = doubts.names
    with open(file, "w", newline="", encoding="utf-8", errors="backslashreplace") as stream:
        writer = csv.writer(stream)
        beforehand = {_LABEL: labels, _GROUP: groups}
        known = {name: given for name, given in beforehand.items() if given is not None}
        extra = [f"p({c})" for c in classes] if shows_all else ["top_5"]
        writer.writerow([_FIRST, *known, *_CALLED, *extra, *asked, "error"])
        for row, path in enumerate(paths):
            p = proba[row]
            best = int(p.argmax())
            values = [f"{v:.5f}" for v in p] if shows_all else [_top_words(p, classes)]
            given = [values_of[row] for values_of in known.values()]
            beside = doubts.to_dict(row, classes, p)
            called = "" if beside.get("none_of_these") else classes[best]
            doubted = [_cell(beside[name]) for name in asked]
            writer.writerow([path, *given, called, f"{p[best]:.5f}", *values, *doubted, ""])
        for bad in rejected:
            blanks = [""] * (len(known) + 2 + len(extra) + len(asked))
            writer.writerow([bad.path, *blanks, bad.reason])


def groups_in(file: str | os.PathLike[str]) -> list[str] | None:
    """What each image belongs to, empty for one on its own; None where the file does not say."""
    try:
        with open(file, newline="", encoding="utf-8", errors="surrogateescape") as stream:
            rows = csv.DictReader(stream)
            return (
                [row[_GROUP] or "" for row in rows] if _GROUP in (rows.fieldnames or ()) else None
            )
    except OSError:
        return None


def _cell(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def is_another(file: str | os.PathLike[str]) -> bool:
    """Whether a file is there that holds something else; an empty one holds nothing.

    Pipes and terminals are not read: that would wait for what nobody sends.
    """
    if not os.path.isfile(file):
        return False
    try:
        with open(file, encoding="utf-8", errors="replace") as stream:
            first = stream.readline()
    except OSError:  # writing tells
        return False
    is_own = first.startswith(f"{_FIRST},") and ",".join(_CALLED) in first
    return bool(first.strip()) and not is_own


def _top_words(p: NDArray[Any], classes: Sequence[str]) -> str:
    return " ".join(f"{classes[i]}={p[i]:.5f}" for i in first(p, 5))
