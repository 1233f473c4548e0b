"""What makes a table tidy: names that are text, rows in order, each file once, each one there.

A folder needs the first two, since walking it gives the others; a manifest needs all four. What is
left out is named on the table.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import numpy as np

from regraft.data.image_files import why_not_a_file
from regraft.data.remote import is_address
from regraft.data.table import ImageTable, ObjectArray, Rejected, Skipped, first_few
from regraft.data.texts import Texts
from regraft.errors import TableError
from regraft.wording import count, none_can


def check_text(names: Iterable[str], role: str, source: str) -> None:
    """Refuse names of a role ('class', 'label', 'group') that are not UTF-8, with a TableError.

    They are written into models and reports, so they must be text; file names need not.

    Examples
    --------
    >>> check_text(["M\\udcfcller"], "label", "leaves.csv")
    Traceback (most recent call last):
    regraft.errors.TableError: the label b'M\\xfcller' is not UTF-8 text
      where: leaves.csv
      cure:  save the manifest in UTF-8, or rename the label's folder
    """
    for name in names:
        if not name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in name):
            shown = os.fsencode(name) if "\udc80" <= max(name) <= "\udcff" else ascii(name)
            raise TableError(
                f"the {role} {shown!r} is not UTF-8 text",
                place=source,
                cure=f"save the manifest in UTF-8, or rename the {role}'s folder",
                label=name,
            )


def in_order(table: ImageTable) -> ImageTable:
    """The same rows in the order of their paths.

    Examples
    --------
    >>> in_order(ImageTable.from_paths(["b.jpg", "a.jpg"])).paths
    array(['a.jpg', 'b.jpg'], dtype=object)
    """
    if all(one <= following for one, following in pairwise(table.paths)):
        return table
    if isinstance(table.paths, Texts):
        return table.select(table.paths.order())
    paths: list[str] = table.paths.tolist()
    return table.select(sorted(range(len(paths)), key=paths.__getitem__))


def without_repeats(table: ImageTable) -> ImageTable:
    """One row for each path, of a table in order.

    Raises
    ------
    TableError
        If rows say different things of one image, with ``error.paths``.

    Examples
    --------
    >>> table = without_repeats(ImageTable.from_paths(["a.jpg", "a.jpg", "b.jpg"]))
    >>> table.paths, [entry.path for entry in table.skipped]
    (array(['a.jpg', 'b.jpg'], dtype=object), ['a.jpg'])
    """
    is_repeat = (one == following for one, following in pairwise(table.paths))
    repeats = np.flatnonzero(np.fromiter(is_repeat, bool)) + 1
    if not len(repeats):
        return table
    for name, values in _columns_that_must_agree(table):
        differs = repeats[values[repeats] != values[repeats - 1]]
        if len(differs):
            told = [f"{table.paths[i]!r} ({values[i - 1]!r}, {values[i]!r})" for i in differs]
            raise TableError(
                f"{count(len(differs), 'repeated row gives', 'repeated rows give')} one image "
                f"different {name}: {first_few(told)}",
                place=table.source,
                cure="keep the right row of each",
                paths=table.paths[differs].tolist(),
            )
    skipped = [Skipped(path, "repeated-row", "listed before") for path in table.paths[repeats]]
    keep = np.ones(len(table), dtype=bool)
    keep[repeats] = False
    return replace(table.select(keep), skipped=(*table.skipped, *skipped))


def _columns_that_must_agree(table: ImageTable) -> list[tuple[str, ObjectArray]]:
    columns = [("labels", table.labels), ("splits", table.splits)]
    return columns if table.groups is None else [*columns, ("groups", table.groups)]


def without_missing(table: ImageTable) -> ImageTable:
    """The rows whose files are there; the others go to ``table.rejected``, with a mend.

    Raises
    ------
    TableError
        If none is there, with ``error.rejected``.

    Examples
    --------
    >>> without_missing(ImageTable.from_paths(["no such folder/1.jpg"]))
    Traceback (most recent call last):
    regraft.errors.TableError: the only file cannot be opened; tried ...
    """
    problems = [None if is_address(path) else why_not_a_file(path) for path in table.paths]
    rejected = tuple(
        Rejected(path, *problem, label)
        for path, problem, label in zip(table.paths, problems, table.labels, strict=True)
        if problem is not None
    )
    if len(rejected) == len(table):
        raise TableError(
            f"{none_can(len(table), 'file', 'be opened')}; "
            f"tried {rejected[0].path!r}: it {rejected[0].reason}",
            place=table.source,
            cure="give absolute paths, or paths relative to the folder that holds the manifest"
            + (", with / instead of \\" if "\\" in rejected[0].path else ""),
            rejected=rejected,
        )
    if not rejected:
        return table
    keep = np.array([problem is None for problem in problems])
    return replace(table.select(keep), rejected=rejected)
