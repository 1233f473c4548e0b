"""Columns of a manifest that are not read and ought to be named: what belongs together, which fold.

Images of one patient in train and in test flatter a score, so a column that may say the patient is
told with the option that reads it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from regraft.data.boxes import boxes_in_columns
from regraft.data.columns import Columns
from regraft.data.split_names import split_name, words_of
from regraft.data.table import Reading, quoted

_TOGETHER = frozenset(
    """patient subject person participant individual session visit video clip sequence track series
    study lesion plant specimen animal site slide case burst scene event writer speaker
    camera""".split()  # noqa: SIM905
)
_BESIDE = frozenset(("id", "ids", "no", "nr", "num", "number", "name", "code", "index", "uid"))

_DIVISIONS = frozenset(("partition", "partitions", "split", "splits", "fold", "folds"))


def unsaid(source: str, columns: Columns, paths: Iterable[str | None]) -> list[Reading]:
    """What to tell of a labelled table's other columns: splits, groups, boxes that are not read."""
    return [
        *splits_unsaid(source, columns, paths),
        *groups_unsaid(source, columns),
        *boxes_in_columns(columns.names, source),
    ]


def groups_unsaid(source: str, columns: Columns) -> list[Reading]:
    """What to tell if no column is the group, and some may be.

    Examples
    --------
    >>> columns = Columns(["image", "label", "patient_id"], {"path": 0, "label": 1})
    >>> groups_unsaid("m.csv", columns)[0].mend
    'if so: --group-column patient_id, which keeps them together'
    """
    if "group" in columns.places:
        return []
    found = [columns.names[place] for place in columns.free if _says_what(columns.names[place])]
    if not found:
        return []
    name = found[0] if re.fullmatch(r"[\w.-]+", found[0]) else f"'{found[0]}'"
    words = (
        f"{source}: {found[0]!r} may say which images belong together, and is not read, so those "
        f"of one {_says_what(found[0])} may be in train and in test"
    )
    mend = f"if so: --group-column {name}, which keeps them together"
    return [Reading("groups-unsaid", words, mend)]


def splits_unsaid(source: str, columns: Columns, paths: Iterable[str | None]) -> list[Reading]:
    """That the folders of the paths are called after splits, and no column says them."""
    if "split" in columns.places:
        return []
    unread = [columns.names[place] for place in columns.free]
    unread = [name for name in unread if split_name(name) or is_fold_column(name)]
    if unread:
        is_are = "is" if len(unread) == 1 else "are"
        words = f"{source}: {quoted(unread)} may say the split, and {is_are} not read"
        cure = "write train, val or test into a column split, or name it with --split-column"
        return [Reading("splits-unsaid", words, cure)]
    folders = {os.path.dirname((path or "").replace("\\", "/")) for path in paths}
    names = {name for folder in folders for name in folder.split("/")}
    found = {name: split.split for name in names if (split := split_name(name)) and split.is_plain}
    if len(set(found.values())) < 2:
        return []
    words = (
        f"{source}: its paths lie in folders called {quoted(sorted(found))}, but no column says "
        "the split; a training takes all of them and they are divided anew"
    )
    return [Reading("splits-unsaid", words, "add a column split to keep the division")]


def is_fold_column(name: str) -> bool:
    """Whether a column may say folds of a cross-validation.

    Examples
    --------
    >>> is_fold_column("fold"), is_fold_column("kfold_5"), is_fold_column("scaffold")
    (True, True, False)
    """
    return any(word in ("fold", "folds", "kfold") for word in words_of(name))


def says_division(path: str) -> bool:
    """Whether a file's name says that it divides images: into parts, into folds.

    Examples
    --------
    >>> says_division("list_eval_partition.txt"), says_division("train_test_split.txt")
    (True, True)
    >>> says_division("labels.txt"), says_division("train.txt")
    (False, False)
    """
    words = words_of(os.path.splitext(os.path.basename(path))[0])
    return not _DIVISIONS.isdisjoint(words)


def _says_what(name: str) -> str:
    words = [word for word in words_of(name) if not word.isdigit()]
    said = [word for word in words if word in _TOGETHER]
    return said[0] if said and _only(words, _TOGETHER | _BESIDE) else ""


def _only(words: Iterable[str], known: frozenset[str]) -> bool:
    return all(word in known for word in words)
