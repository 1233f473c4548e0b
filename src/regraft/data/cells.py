"""What a value of a table says: a name, or that there is none; one rule for every door.

Labels, groups and splits come from folders' names, from cells of CSV and Parquet, and from Python.
Wherever they come from, they go through here, so that one table means one thing by every door.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from typing import Any

# Marks of pandas and NumPy for a value that is not there, which have no truth to ask for. By name,
# because neither package needs to be imported to meet them.
_MARKS = frozenset(("NAType", "NaTType", "MaskedConstant"))


def is_missing(value: Any) -> bool:
    """Whether this is no value: None, NaN, pandas' NA and NaT, a masked one, or blank text.

    Examples
    --------
    >>> [is_missing(value) for value in (None, float("nan"), "", "  ", 0, False, "nan")]
    [True, True, True, True, False, False, False]
    """
    if value is None or isinstance(value, (str, bytes)):
        return value is None or not value.strip()
    return type(value).__name__ in _MARKS or _differs_from_itself(value)


def name_of(value: Any) -> str | None:
    """The name that a value stands for; None if it stands for none.

    Blanks at the ends are no part of a name, and letters are composed (NFC), for a Mac writes the
    name of a folder with its accents apart. Booleans are written as Python and pandas do.

    Examples
    --------
    >>> name_of(" ants "), name_of(7), name_of(True), name_of("007"), name_of(float("nan"))
    ('ants', '7', 'True', '007', None)
    >>> name_of("cafe\\u0301") == name_of("caf\\u00e9")
    True
    """
    if is_missing(value):
        return None
    text = os.fsdecode(value) if isinstance(value, bytes) else str(value)
    return composed(text.strip())


def composed(text: str) -> str:
    """The text in NFC, in which equal names are equal.

    Examples
    --------
    >>> len("e\\u0301"), len(composed("e\\u0301"))
    (2, 1)
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text)


class Names(dict[Any, str | None]):
    """Values with the names they stand for, each worked out once.

    Examples
    --------
    >>> names = Names()
    >>> [names[cell] for cell in ("ants", " ants", "")]
    ['ants', 'ants', None]
    """

    def __missing__(self, value: Any) -> str | None:
        name = name_of(value)
        name = self[value] = self.setdefault(name, name)  # equal names are one object
        return name


def names_for(values: Iterable[Any], n_images: int, what: str) -> list[str | None]:
    """The names of N values given beside N images.

    Parameters
    ----------
    values : iterable of N
    n_images : int
    what : str
        How the argument is called: 'groups'.

    Raises
    ------
    ValueError
        There are more or fewer values than images.

    Examples
    --------
    >>> names_for(["plant 1", None, 3], 3, "groups")
    ['plant 1', None, '3']
    >>> names_for(["plant 1"], 3, "groups")
    Traceback (most recent call last):
    ValueError: groups has 1 value for 3 images; give one for each, None where there is none
    """
    of_text = Names()
    names = [of_text[v] if isinstance(v, str) else name_of(v) for v in values]
    if len(names) != n_images:
        raise ValueError(
            f"{what} has {len(names):,} value{'s' * (len(names) != 1)} for {n_images:,} "
            f"image{'s' * (n_images != 1)}; give one for each, None where there is none"
        )
    return names


def spelt(name: str) -> str:
    """The letters of a name that are not ASCII, with their code points: what two names that look
    the same differ in.

    Examples
    --------
    >>> spelt("\\u0430nts")
    "'\\u0430' is U+0430"
    """
    letters = dict.fromkeys(letter for letter in name if not letter.isascii())
    return ", ".join(f"{letter!r} is U+{ord(letter):04X}" for letter in letters)


def _differs_from_itself(value: Any) -> bool:
    """As NaN does, and nothing else."""
    try:
        return bool(value != value)
    except (TypeError, ValueError):  # an array, or something without a truth
        return False
