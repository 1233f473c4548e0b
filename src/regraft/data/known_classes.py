"""Classes that a classifier does or will know, and labels that are none of them: slips, mostly."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from regraft.data.cells import name_of, spelt
from regraft.data.table import ImageTable, first_few, quoted
from regraft.errors import TableError
from regraft.wording import agree, near_names


def unknown_classes(table: ImageTable) -> dict[str, list[str]]:
    """Classes of val or test that train does not have, each with the near names that it has.

    Labels are compared as names are: 'Ants' is not 'ants'. Empty if no row is in train, since then
    there is nothing to compare with.

    Examples
    --------
    >>> table = ImageTable.from_paths(["1.jpg", "2.jpg"], ["ants", "Ants"])
    >>> unknown_classes(table.with_splits(["train", "val"]))
    {'Ants': ['ants']}
    """
    taught = {lab for lab in table.labels[table.splits == "train"] if lab is not None}
    if not taught:
        return {}
    scored = (table.splits == "val") | (table.splits == "test")
    asked = {label for label in table.labels[scored] if label is not None}
    return {label: _meant(label, taught) for label in sorted(asked - taught)}


def _meant(label: str, known: Collection[str]) -> list[str]:
    """The same number written otherwise ('00007' for '7'), else near names."""
    same = [
        one for one in known if one.isdecimal() and label.isdecimal() and int(one) == int(label)
    ]
    return same or near_names(label, known)


def check_known_classes(
    labels: Iterable[str | None], known_classes: Collection[str], place: str
) -> None:
    """Refuse labels that are none of the known classes; None is no label and passes.

    Parameters
    ----------
    labels : iterable of str or None
    known_classes : collection of str
        The classes of the training images, or of a saved model.
    place : str
        Where the labels stand, as the user knows it.

    Raises
    ------
    TableError
        With ``error.labels`` (the unknown ones, sorted) and ``error.near`` (a dict of near names).

    Examples
    --------
    >>> check_known_classes(["ants", "Bees"], ["ants", "bees"], "photos/val")
    Traceback (most recent call last):
    regraft.errors.TableError: 1 class is unknown: 'Bees' (near: 'bees'). Known are 'ants', 'bees'.
      where: photos/val
      cure:  rename the class if it is a slip; otherwise add images of it to train, or leave it out
    """
    known = {name_of(name) for name in known_classes}
    unknown = sorted(lab for lab in set(labels) if lab is not None and name_of(lab) not in known)
    if not unknown:
        return
    near = {label: _meant(label, known_classes) for label in unknown}
    each = [f"{label!r}{_near(label, near[label])}" for label in unknown]
    number = "1 class is unknown" if len(unknown) == 1 else f"{len(unknown)} classes are unknown"
    raise TableError(
        f"{number}: {first_few(each)}. Known are {quoted(sorted(known_classes), at_most=10)}.",
        place=place,
        cure=agree(
            len(unknown),
            "rename the [class if it is a slip|classes if these are slips]; otherwise add images "
            "of [it|them] to train, or leave [it|them] out",
        ),
        labels=unknown,
        near=near,
    )


def _near(label: str, near: list[str]) -> str:
    """The near names of a label, and the letters in which it differs from what looks the same."""
    if not near:
        return ""
    letters = "; ".join(filter(None, map(spelt, (label, near[0]))))
    return f" (near: {quoted(near)}{f'; {letters}' if letters else ''})"
