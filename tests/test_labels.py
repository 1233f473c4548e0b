"""Labels as programs give them: one column, of one kind, none missing; text and type on disk."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from regraft.data.cells import is_missing
from regraft.data.labels import LabelType, codes_of, groups_of, labels_of


class NAType:
    """As pandas' NA: equal to nothing, and without a truth."""

    def __eq__(self, other: object) -> Any:
        return self

    def __bool__(self) -> bool:
        raise TypeError("boolean value of NA is ambiguous")

    __hash__ = None  # type: ignore[assignment]


class Colour(enum.Enum):
    RED = 1


class Table:
    """As a DataFrame: two dimensions, an array on demand."""

    def __init__(self, rows: list[list[Any]]) -> None:
        self.rows = rows

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(self.rows, object)


@pytest.mark.parametrize(
    ("y", "wanted"),
    [
        ([3, 1], [3, 1]),
        ((True, False), [True, False]),
        ([0.5, 2], [0.5, 2.0]),
        ([b"\xff", b"a"], [b"\xff", b"a"]),
        (np.array([3, 1], "uint8"), [3, 1]),
        (np.array([0.1, 0.2], "float32"), np.array([0.1, 0.2], "float32").tolist()),
        (np.array(["b", "a"], object), ["b", "a"]),
        (np.array([[3], [1]]), [3, 1]),
        ([["b"], ["a"]], ["b", "a"]),
        (Table([["b"], ["a"]]), ["b", "a"]),
        ((label for label in "ba"), ["b", "a"]),
        ([2**70, -1], [2**70, -1]),
    ],
)
def test_any_column_comes_back_from_its_text(y: Any, wanted: list[Any]) -> None:
    labels = labels_of(y, n_rows=2)
    assert labels.tolist() == wanted
    names = np.unique(labels)
    kept = LabelType.of(names)
    texts = kept.texts(names)
    assert all(isinstance(text, str) for text in texts)
    again = kept.values(texts)
    assert again.tolist() == names.tolist()
    assert again.dtype == names.dtype
    assert [type(value) for value in again.tolist()] == [type(value) for value in names.tolist()]


def test_tensors_are_columns_too() -> None:
    torch = pytest.importorskip("torch")
    for y in (torch.tensor([1, 0]), torch.tensor([[1], [0]]), [torch.tensor(1), torch.tensor(0)]):
        assert labels_of(y, n_rows=2).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("y", "error", "words"),
    [
        (None, TypeError, "got None"),
        ("ab", TypeError, "got str"),
        ({"a": 1, "b": 2}, TypeError, "got dict"),
        ({1, 2}, TypeError, "got set"),
        (3, TypeError, r"got 3 \(int\)"),
        (np.array(3), TypeError, "got one value: 3"),
        (np.eye(2), ValueError, r"2 values a row.*argmax\(axis=1\)"),
        ([[0, 1], [1, 0]], ValueError, r"2 values a row.*argmax\(axis=1\)"),
        (Table([["a", 1], ["b", 2]]), ValueError, "2 values a row"),
        (["a", ["b"]], ValueError, "values a row"),
        ([], ValueError, "got 2 and 0"),
        (["a", "c"] * 2, ValueError, "got 2 and 4"),
        (["a", None], ValueError, r"1 of 2 labels is missing.*y\[1\] = None"),
        ([float("nan"), 1.0], ValueError, r"y\[0\] = nan"),
        (["a", NAType()], ValueError, "1 of 2 labels is missing"),
        (["  ", "a"], ValueError, "1 of 2 labels is missing"),
        (np.array(["2020-01-01", "NaT"], "M8[D]"), ValueError, "1 of 2 labels is missing"),
        (["a", 1], TypeError, r"int \(y\[1\] = 1\) and str \(y\[0\] = 'a'\)"),
        ([True, 2], TypeError, r"bool .* and int"),
        ([Colour.RED, Colour.RED], TypeError, "got Colour"),
        ([datetime.date(2020, 1, 1)] * 2, TypeError, r"got date.*str\(label\)"),
        (["ants", "ants "], ValueError, "blanks"),
        (["caf\u00e9", "cafe\u0301"], ValueError, r"'caf\\xe9' and 'cafe\\u0301'|accents"),
        (["a\0", "b"], ValueError, r"cannot be kept as it is: y\[0\]"),
    ],
)
def test_what_are_no_labels_is_refused_in_words(y: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        labels_of(y, n_rows=2)


def test_values_that_say_that_there_is_none() -> None:
    assert all(map(is_missing, [None, float("nan"), np.float32("nan"), NAType(), "", "\t", b" "]))
    assert not any(map(is_missing, [0, False, "nan", "0", b"a", float("inf")]))


def test_groups_are_names_and_none_is_no_group() -> None:
    assert groups_of(None, n_rows=2) is None
    found = groups_of([1, "1", None, float("nan"), " a", NAType()], n_rows=6)
    assert found == ["1", "1", None, None, "a", None]
    days = [datetime.date(2020, 1, 1), np.datetime64("NaT")]
    assert groups_of(days, n_rows=2) == ["2020-01-01", None]
    assert groups_of(np.arange(2).reshape(-1, 1), n_rows=2) == ["0", "1"]
    for groups, words in (([1], "got 2 and 1"), ("ab", "got str"), ([(1, 2), (3, 4)], "a row")):
        with pytest.raises((TypeError, ValueError), match=words):
            groups_of(groups, n_rows=2)


def test_labels_of_another_kind_are_refused_and_unknown_ones_have_no_code() -> None:
    labels = np.array([3, 7])
    assert codes_of(np.array([7, 3, 9]), labels).tolist() == [1, 0, -1]
    assert codes_of(np.array([7.0, 3.0]), labels).tolist() == [1, 0]
    with pytest.raises(TypeError, match=r"y holds str, '7'.*int: 3, 7"):
        codes_of(np.array(["7"]), labels)


@pytest.mark.parametrize(
    ("kept", "texts"),
    [
        (LabelType("int", "int8"), ["300"]),
        (LabelType("int"), ["x"]),
        (LabelType("bool"), ["yes"]),
        (LabelType("float"), ["1,5"]),
    ],
)
def test_text_of_another_type_is_an_error(kept: LabelType, texts: list[str]) -> None:
    read: Callable[..., Any] = kept.values
    with pytest.raises((ValueError, OverflowError)):
        read(texts)
