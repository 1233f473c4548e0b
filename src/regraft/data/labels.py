"""Labels as a program gives them: one column, none missing, told apart, kept as text with a type.

Inside, and for other programs, a label is text. What kind of value it was is kept beside it, so
that a model from disk answers with the labels that it was taught.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.data.cells import is_missing, name_of
from regraft.data.table import first_few, quoted
from regraft.wording import count

# A label's kind, and the Python and NumPy types that are of it; bool before int, which it is too.
KINDS: dict[str, tuple[type, ...]] = {
    "bool": (bool, np.bool_),
    "int": (int, np.integer),
    "float": (float, np.floating),
    "str": (str,),
    "bytes": (bytes,),
}
_NUMBERS = {"bool", "int", "float"}
_NO_COLUMN = (str, bytes, bytearray, Mapping, set, frozenset)


@dataclass(frozen=True)
class LabelType:
    """What kind of values the labels are whose text a model keeps.

    Attributes
    ----------
    kind : {'str', 'int', 'float', 'bool', 'bytes'}
    dtype : str
        NumPy's name of numbers of a fixed width, such as 'int32'; else empty.

    Examples
    --------
    >>> kept = LabelType("int", "int32")
    >>> kept.texts(np.array([3, 12], "int32")), kept.values(("3", "12"))
    (['3', '12'], array([ 3, 12], dtype=int32))
    """

    kind: str = "str"
    dtype: str = ""

    def __str__(self) -> str:
        return self.dtype or self.kind

    @classmethod
    def of(cls, values: NDArray[Any]) -> LabelType:
        """The type of an array of labels of one kind."""
        kind = _kind(values[0]) or "str"
        return cls(kind, values.dtype.name if values.dtype.kind in "iuf" else "")

    def texts(self, values: Iterable[Any]) -> list[str]:
        """The labels as text, each another one."""
        if self.kind == "bytes":  # what is no UTF-8 travels as surrogates, as in names of files
            return [bytes(value).decode("utf-8", "surrogateescape") for value in values]
        return [str(value) for value in values]

    def values(self, texts: Sequence[str]) -> NDArray[Any]:
        """The inverse, ``(K,)``; ValueError for a text that is no label of this type."""
        return np.array([self._value(text) for text in texts])

    def _value(self, text: str) -> Any:
        if self.kind == "bytes":
            return text.encode("utf-8", "surrogateescape")
        if self.kind == "bool":
            if text not in ("True", "False"):
                raise ValueError(f"{text!r} is no bool")
            return text == "True"
        if self.kind in ("int", "float"):
            return np.dtype(self.dtype).type(text) if self.dtype else KINDS[self.kind][0](text)
        return text


def column_of(values: Any, what: str, *, n_rows: int) -> list[Any]:
    """One value a row of whatever holds them: a sequence, an array, a Series, a tensor.

    ``(n, 1)`` and a table of one column are a column; NumPy's own scalars stay what they are.

    Parameters
    ----------
    values : sequence, iterable, (n,) or (n, 1) array, table of one column
    what : str
        Its name in what is refused: 'y'.
    n_rows : int
        How many there must be.

    Raises
    ------
    TypeError
        It is no column of values.
    ValueError
        It has several columns, or not a value for every row.

    Examples
    --------
    >>> column_of(np.array([[3], [4]]), "y", n_rows=2)
    [np.int64(3), np.int64(4)]
    >>> column_of([[0, 1], [1, 0]], "y", n_rows=2)
    Traceback (most recent call last):
        ...
    ValueError: y has 2 values a row, expected one; of one-hot rows: y.argmax(axis=1)
    """
    if values is None or isinstance(values, _NO_COLUMN):
        found = "None" if values is None else type(values).__name__
        raise TypeError(f"{what} must be a sequence with one value for each image, got {found}")
    listed = _listed(values, what)
    if widths := {len(row) for row in listed if _is_row(row)}:
        if widths != {1} or not all(map(_is_row, listed)):
            raise ValueError(_several(max(widths), what))
        listed = [row[0] for row in listed]
    if len(listed) != n_rows:
        raise ValueError(
            f"X and {what} must be equally long, got {n_rows} and {len(listed)}: "
            f"give one value of {what} for each image"
        )
    return [value.item() if _is_scalar_tensor(value) else value for value in listed]


def labels_of(y: Any, *, n_rows: int) -> NDArray[Any]:
    """``(N,)`` labels of one kind, none of them missing, no two written alike.

    Raises
    ------
    TypeError, ValueError
        See `column_of`; labels are missing, of several kinds or of another, or two look the same.

    Examples
    --------
    >>> labels_of((True, False), n_rows=2)
    array([ True, False])
    >>> labels_of(["ant", 1], n_rows=2)
    Traceback (most recent call last):
        ...
    TypeError: labels must be of one kind, got int (y[1] = 1) and str (y[0] = 'ant')
    """
    listed = column_of(y, "y", n_rows=n_rows)
    _refuse_missing(listed)
    _refuse_several_kinds(listed)
    if not listed:
        return np.zeros(0, str)
    dtypes = {value.dtype for value in listed if isinstance(value, (np.integer, np.floating))}
    is_of_one = len(dtypes) == 1 and all(hasattr(value, "dtype") for value in listed)
    found = np.array(listed, dtypes.pop() if is_of_one else None)
    _refuse_changed(listed, found)
    _refuse_twins(np.unique(found).tolist())
    return found


def check_same_kind(y: NDArray[Any], labels: NDArray[Any]) -> None:
    """Refuse labels that can equal none of a model's, because they are of another kind.

    Examples
    --------
    >>> check_same_kind(np.array(["3"]), np.array([3, 4]))
    Traceback (most recent call last):
        ...
    TypeError: y holds str, '3' for one, and the model's labels are int: 3, 4
    """
    if not len(y):
        return
    given, known = _kind(y[0]), _kind(labels[0])
    if given == known or {given, known} <= _NUMBERS:
        return
    raise TypeError(
        f"y holds {given}, {_plain(y[0])!r} for one, and the model's labels are {known}: "
        f"{quoted(map(_plain, labels))}"
    )


def codes_of(y: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.intp]:
    """The place of each value of y among a model's labels; -1 for one that it does not know."""
    check_same_kind(y, labels)
    places = {label: place for place, label in enumerate(labels.tolist())}
    return np.array([places.get(value, -1) for value in y.tolist()], np.intp)


def groups_of(groups: Any, *, n_rows: int) -> list[str | None] | None:
    """One group's name a row; None for a row that is in none, as None, NaN and blanks say.

    Whatever has a text is a name: numbers, dates, categories.
    """
    if groups is None:
        return None
    listed = column_of(groups, "groups", n_rows=n_rows)
    return [name_of(value) for value in listed]


def _listed(values: Any, what: str) -> list[Any]:
    if hasattr(values, "__array__"):
        array = np.asarray(values)
        if array.ndim == 0:
            raise TypeError(f"{what} must be a sequence, got one value: {_shown(array.item())}")
        if array.ndim > 1 and array.shape[1:] != (1,):
            raise ValueError(_several(math.prod(array.shape[1:]), what))
        return list(array.ravel())
    try:
        return list(values)
    except TypeError:
        raise TypeError(
            f"{what} must be a sequence, got {_shown(values)} ({type(values).__name__})"
        ) from None


def _several(n: int, what: str) -> str:
    return f"{what} has {n} values a row, expected one; of one-hot rows: {what}.argmax(axis=1)"


def _is_row(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or bool(getattr(value, "shape", ()))


def _is_scalar_tensor(value: Any) -> bool:
    return getattr(value, "shape", None) == () and not isinstance(value, np.generic)


def _refuse_missing(listed: list[Any]) -> None:
    places = [place for place, value in enumerate(listed) if is_missing(value)]
    if not places:
        return
    first = first_few(f"y[{place}] = {_shown(listed[place])}" for place in places)
    raise ValueError(
        f"{len(places)} of {count(len(listed), 'label')} {'is' if len(places) == 1 else 'are'} "
        f"missing (None, NaN, NA or blank): {first}; "
        "leave those images out, or give them a label"
    )


def _refuse_several_kinds(listed: list[Any]) -> None:
    kinds: dict[str, int] = {}
    for place, value in enumerate(listed):
        kind = _kind(value)
        if kind is None:
            raise TypeError(
                f"labels must be {_one_of(KINDS)}, got {type(value).__name__}: "
                f"y[{place}] = {_shown(value)}; give str(label)"
            )
        kinds.setdefault(kind, place)
    if len(kinds) > 1 and set(kinds) != {"int", "float"}:
        each = (f"{k} (y[{place}] = {_shown(listed[place])})" for k, place in sorted(kinds.items()))
        raise TypeError(f"labels must be of one kind, got {' and '.join(each)}")


def _refuse_changed(listed: list[Any], held: NDArray[Any]) -> None:
    """NumPy drops zero bytes at the end of text, and digits where huge integers meet floats."""
    for place, (given, kept) in enumerate(zip(listed, held.tolist(), strict=True)):
        if kept != _plain(given):
            raise ValueError(
                f"a label cannot be kept as it is: y[{place}] = {_shown(given)} becomes "
                f"{_shown(kept)}; give a shorter or simpler one"
            )


def _refuse_twins(labels: Collection[Any]) -> None:
    """Two classes whose names a reader cannot tell apart are one class that is written twice."""
    seen: dict[str, str] = {}
    for label in labels:
        if not isinstance(label, str):
            return
        twin = seen.setdefault(unicodedata.normalize("NFC", label).strip(), label)
        if twin != label:
            raise ValueError(
                f"two labels differ only in blanks around them or in how accents are written: "
                f"{twin!a} and {label!a}; give "
                '[unicodedata.normalize("NFC", label).strip() for label in y]'
            )


def _kind(value: Any) -> str | None:
    return next((kind for kind, types in KINDS.items() if isinstance(value, types)), None)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _shown(value: Any) -> str:
    text = repr(_plain(value))
    return text if len(text) <= 60 else f"{text[:57]}..."


def _one_of(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"
