"""Findings about names of classes and groups: alike, like nothing, after a day or a camera."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from regraft.checks.finding import Finding
from regraft.checks.table_problems import Mask, TableCase
from regraft.data.table import ImageTable, first_few, quoted
from regraft.wording import agree, count

# What programs write behind the name of a copied folder.
_COPY = re.compile(
    r"(?:\s*\(\d+\)|[\s_-]+(?:copy|kopie|copie|copia|cópia|副本|old|bak|backup)"
    r"(?:[\s_-]*\(?\d+\)?)?)$",
    re.IGNORECASE,
)


def similar_names(case: TableCase) -> Iterator[Finding]:
    """Classes whose names differ in case, blanks, punctuation or the mark of a copy only."""
    by_plain: dict[str, list[str]] = {}
    for label in case.table.classes:
        plain = re.sub(r"[\s_-]+", " ", _COPY.sub("", label)).strip().casefold()
        by_plain.setdefault(plain, []).append(label)
    alike = [names for names in by_plain.values() if len(names) > 1]
    if alike:
        yield Finding(
            "similar-class-names",
            "warning",
            "classes with almost the same name: "
            + first_few(" and ".join(map(repr, names)) for names in alike),
            "they are learnt as different classes",
            "give them one name if they are one class",
        )


def named_like_nothing(case: TableCase) -> Iterator[Finding]:
    """Classes and groups whose name is what programs write where there is none."""
    groups = () if case.table.groups is None else set(case.table.groups) - {None}
    for what, plural, names in (("class", "classes", case.table.classes), ("group", "", groups)):
        found = sorted(name for name in names if name.casefold() in _NOTHING)
        if found:
            yield Finding(
                "named-like-nothing",
                "warning",
                f"{count(len(found), what, plural)} with a name that programs write where a value "
                f"is missing: {quoted(found)}",
                agree(len(found), "[it is|each is] read as a ") + f"{what} like any other",
                "if that means that there is none, leave the cells empty, or the folders out; "
                "else give " + agree(len(found), "[it another name|them other names]"),
                case.paths(_rows_named(case.table, what, found)),
            )


def named_unlabelled(case: TableCase) -> Iterator[Finding]:
    """Classes whose name says that nobody has labelled their images."""
    found = [name for name in case.table.classes if _plain(name) in _UNLABELLED]
    if found:
        yield Finding(
            "named-unlabelled",
            "warning",
            f"{count(len(found), 'class', 'classes')} called after images that nobody has "
            f"labelled: {quoted(found)}",
            agree(
                len(found),
                "images of other classes may be in [it|them], and are learnt as [a class|classes] "
                "apart",
            ),
            agree(
                len(found),
                "move [it away if it is no class|them away if they are no classes]; predict can "
                "label the images later",
            ),
            case.paths_of_classes(found),
        )


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


_UNLABELLED = frozenset(
    """unlabeled unlabelled nolabel nolabels unsup unsupervised unannotated unsorted
    unassigned""".split()  # noqa: SIM905
)


def _rows_named(table: ImageTable, what: str, names: list[str]) -> Mask:
    column = table.labels if what == "class" or table.groups is None else table.groups
    return np.array([name in names for name in column], np.bool_)


_NOTHING = frozenset(("nan", "none", "null", "na", "n/a", "#n/a", "<na>", "nat", "nil"))


# A day, an hour, a folder that a camera made.
_WHEN = re.compile(r"(?:19|20)\d\d[\W_]?[01]\d[\W_]?[0-3]\d(?:[\W_T]?\d\d[\W_]?\d\d.*)?")
_CAMERA = re.compile(
    r"\d{3}[\W_]?(?:canon|nikon|msdcf|apple|media|gopro|olymp|_?pana|andro|d\d+|nd\d+)|dcim|"
    r"camera(?: roll)?",
    re.IGNORECASE,
)


def named_after_time(case: TableCase) -> Iterator[Finding]:
    """Classes that are all called after days, or after the folders of a camera."""
    names = case.table.classes
    for pattern, what in ((_WHEN, "dates"), (_CAMERA, "a camera's folders")):
        if len(names) > 1 and all(pattern.fullmatch(name) for name in names):
            yield Finding(
                "named-after-time",
                "warning",
                f"all {count(len(names), 'class', 'classes')} are called like {what}: "
                + quoted(names, at_most=3),
                "it would be learnt when or by which camera a picture was taken, not what it shows",
                "put the images into folders of what they show; or list them in a CSV with the "
                "columns path,label,group, the folder as the group",
            )


NAME_CHECKS = (similar_names, named_like_nothing, named_unlabelled, named_after_time)
