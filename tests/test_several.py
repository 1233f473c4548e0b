"""One picture or many: told apart, in order, named; what is neither is refused in words."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regraft.errors import DecodeError
from regraft.images import pictures, several

RGB = np.zeros((6, 8, 3), np.uint8)


class Table:
    """As a DataFrame: columns by name."""

    def __init__(self, **columns: list[Any]) -> None:
        self.held = columns
        self.columns = list(columns)
        self.shape = (len(next(iter(columns.values()))), len(columns))

    def __getitem__(self, name: str) -> list[Any]:
        return self.held[name]


ONE: dict[str, Callable[[], Any]] = {
    "text": lambda: "a.jpg",
    "path": lambda: Path("a.jpg"),
    "NumPy's text": lambda: np.str_("a.jpg"),
    "array of one text": lambda: np.array("a.jpg"),
    "bytes": lambda: b"...",
    "file": lambda: io.BytesIO(b"..."),
    "PIL": lambda: Image.new("L", (8, 6)),
    "grey": lambda: RGB[:, :, 0],
    "one channel": lambda: RGB[:, :, :1],
    "colour": lambda: RGB,
    "transparent": lambda: np.zeros((6, 8, 4)),
}
TWO: dict[str, Callable[[], Any]] = {
    "list": lambda: ["a.jpg", "b.jpg"],
    "tuple": lambda: (RGB, b"..."),
    "array of paths": lambda: np.array(["a.jpg", "b.jpg"]),
    "column of paths": lambda: np.array([["a.jpg"], ["b.jpg"]]),
    "column of objects": lambda: np.array([["a.jpg"], ["b.jpg"]], object),
    "table of one column": lambda: Table(path=["a.jpg", "b.jpg"]),
    "grey pictures": lambda: np.zeros((2, 6, 8), np.uint8),
    "pictures": lambda: np.stack([RGB, RGB]),
    "generator": lambda: (RGB for _ in range(2)),
}


@pytest.mark.parametrize("kind", ONE)
def test_one_of_each_kind_is_one(kind: str) -> None:
    assert len(list(several.named(ONE[kind]()))) == 1


@pytest.mark.parametrize("kind", TWO)
def test_two_of_each_kind_are_two(kind: str) -> None:
    assert len(list(several.named(TWO[kind]()))) == 2


def test_tensors_are_one_or_many_as_arrays_are() -> None:
    torch = pytest.importorskip("torch")
    assert len(list(several.named(torch.zeros(6, 8, 3)))) == 1
    assert len(list(several.named(torch.zeros(2, 6, 8, 3)))) == 2
    for tensor, words in (
        (torch.zeros(3, 8, 8), "permute"),
        (torch.zeros(8, 8, 3, requires_grad=True), "detach"),
        (torch.zeros(8, 8, 3, dtype=torch.bfloat16), r"float\(\)"),
    ):
        (held,) = several.named(tensor)
        with pytest.raises((TypeError, ValueError), match=words):
            pictures.content_of(held)


@pytest.mark.parametrize(
    ("images", "error", "words"),
    [
        ({"a.jpg", "b.jpg"}, TypeError, "no order"),
        ({"a": "a.jpg"}, TypeError, r"values\(\)"),
        (Table(path=["a.jpg"], label=["ant"]), TypeError, "2 columns, 'path', 'label'"),
        (np.zeros(9), ValueError, r"\(9,\).*reshape"),
        (np.zeros((1, 2, 6, 8, 3)), ValueError, r"\(1, 2, 6, 8, 3\)"),
        (np.array([["a.jpg", "ant"]]), ValueError, "one column"),
        (7, TypeError, "neither a picture nor several"),
    ],
)
def test_what_is_neither_is_refused_at_once(
    images: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        list(several.named(images))


@pytest.mark.parametrize(
    ("picture", "error", "words"),
    [
        ((RGB, 1), TypeError, r"image 2 \(a tuple\).*pair\[0\]"),
        ({"image": RGB}, TypeError, r"image 2 .*'image'.*row\[KEY\]"),
        (["a.jpg"], TypeError, "image 2 .*flat list"),
        (None, TypeError, "image 2 .*got None"),
        (np.zeros((4, 4, 2), np.uint8), ValueError, r"image 2 .*\(4, 4, 2\)"),
        (io.StringIO("text"), TypeError, "image 2 .*opened for bytes"),
    ],
)
def test_one_among_many_is_named_by_its_place(
    picture: Any, error: type[Exception], words: str
) -> None:
    held = list(several.named([RGB, picture]))[1]
    with pytest.raises(error, match=words):
        pictures.content_of(held)


def test_a_message_never_holds_the_content() -> None:
    (held,) = several.named([bytes(10_000)])
    assert str(held) == "image 1 (bytes)"


def test_a_file_is_read_once_however_often_it_is_asked_for() -> None:
    """An engine that must be built looks at some pictures before the pass does."""
    file = io.BytesIO(Path(__file__).read_bytes())
    (held,) = several.named(file)
    assert pictures.content_of(held).digest == pictures.content_of(held).digest


def test_a_file_at_its_end_is_no_empty_one() -> None:
    file = io.BytesIO(b"P5 1 1 255 \0")
    file.read()
    with pytest.raises(DecodeError, match="stands at its end") as caught:
        pictures.content_of(file)
    assert caught.value.cure == "file.seek(0)"
