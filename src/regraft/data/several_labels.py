"""Cells that hold several labels, which no picture has here: told from labels that hold a comma."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from regraft.data.table import first_few
from regraft.errors import TableError

_SEPARATORS = ("|", ";", ",", " ", "+", "/", "&")
# Lists as programs write them, and numbers in a row: '1 0 0'; '2,5' may be one.
_SEVERAL = re.compile(r"\[.*\]|\{.*\}|\d+([ ;|]+\d+)+")
_SURE = ("|", ";")  # nobody writes one label with these


def refuse_several(labels: Iterable[str | None], source: str) -> None:
    """Refuse labels that are several in one cell, with a TableError.

    'cat|dog' is, if both parts occur elsewhere too; 'golden retriever' is not, unless both
    'golden' and 'retriever' are labels by themselves; "['cat']" and '0 1' always are.

    Examples
    --------
    >>> refuse_several(["golden retriever", "tabby", "Paris, France"], "pets.csv")
    >>> refuse_several(["cat", "dog", "cat dog"], "pets.csv")
    Traceback (most recent call last):
    regraft.errors.TableError: a cell holds several labels: 'cat dog'; Regraft gives an image one...
      where: pets.csv
      cure:  keep one label in each cell, or leave those rows out; if it is one class, name it ...
    """
    names = {label for label in labels if label is not None}
    found = sorted(label for label in names if _SEVERAL.fullmatch(label))
    found = found or next(filter(None, (_joined(names, one) for one in _SEPARATORS)), [])
    if found:
        cells = "a cell holds" if len(found) == 1 else "cells hold"
        raise TableError(
            f"{cells} several labels: {first_few(map(repr, found))}; Regraft gives an image one "
            "class",
            place=source,
            cure="keep one label in each cell, or leave those rows out; if it is one class, name "
            "it without the separator",
            labels=found,
        )


def _joined(names: set[str], separator: str) -> list[str]:
    """Labels of which every part is a label by itself, or part of another one."""
    parts = {name: _parts(name, separator) for name in names if separator in name}
    parts = {name: found for name, found in parts.items() if len(found) > 1}
    if not parts:
        return []
    seen = Counter(part for found in parts.values() for part in set(found))
    alone = names - set(parts)
    is_known = {p for p in seen if p in alone or (separator in _SURE and seen[p] > 1)}
    return sorted(name for name, found in parts.items() if is_known.issuperset(found))


def _parts(name: str, separator: str) -> list[str]:
    return [part.strip() for part in name.split(separator) if part.strip()]
