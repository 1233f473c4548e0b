"""Charts as SVG text: places worked out by hand, words escaped."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regraft.evaluation.confusion import Confusion
from regraft.report import chart, drawings
from regraft.report.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Chart


def test_corners_of_the_axes_are_corners_of_the_picture() -> None:
    drawn = Chart((0, 10), (5, 15), title="t")
    assert (drawn.place_x(0), drawn.place_x(10)) == (LEFT, WIDTH - RIGHT)
    assert (drawn.place_y(5), drawn.place_y(15)) == (HEIGHT - BOTTOM, TOP)
    assert drawn.place_x(5) == pytest.approx((LEFT + WIDTH - RIGHT) / 2)


def test_powers_of_ten_are_equally_far_apart() -> None:
    drawn = Chart((1, 100), (0, 1), title="t", log_x=True)
    assert drawn.place_x(10) == pytest.approx((drawn.place_x(1) + drawn.place_x(100)) / 2)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_lie_within_and_are_even(low: float, width: float) -> None:
    high = low + width
    found = chart.ticks(low, high)
    slack = 1e-6 * max(abs(low), abs(high), 1)
    assert all(low - slack <= t <= high + slack for t in found)
    assert len(found) <= 12
    if len(found) > 2:
        assert np.ptp(np.diff(found)) <= slack


def test_words_are_escaped_and_the_picture_is_xml() -> None:
    drawn = Chart((0, 1), (0, 1), title='<x a="1">')
    drawn.x_axis("a < b", [0, 1], ["<i>", "&"])
    drawn.y_axis("y")
    drawn.band([0, 1], [0, 0], [1, 1], "c0")
    drawn.points([0.5], [0.5], "c1")
    root = ET.fromstring(str(drawn.svg()))
    words = [node.text for node in root.iter("text")]
    assert "<i>" in words
    assert root.get("aria-label") == '<x a="1">'


def test_confusion_draws_a_cell_for_every_count_and_no_other() -> None:
    matrix = [[3, 0, 1], [0, 4, 0], [0, 2, 0]]
    text = str(drawings.confusion(Confusion.of_matrix(matrix), ["a", "b", "<c>"]))
    assert re.findall(r"<title>(.*?)</title>", text) == [
        "3 a predicted as a", "1 a predicted as &lt;c&gt;", "4 b predicted as b",
        "2 &lt;c&gt; predicted as b",
    ]  # fmt: skip
    ET.fromstring(text)


def test_confusion_of_two_hundred_classes_stays_small() -> None:
    matrix = np.diag(np.full(200, 10))
    matrix[3, 7] = 2
    text = str(drawings.confusion(Confusion.of_matrix(matrix), [f"class {k}" for k in range(200)]))
    assert text.count("<rect") == 202
    assert len(text) < 60_000


@pytest.mark.parametrize("n_classes", [2, 7])
def test_curves_of_any_number_of_classes_are_xml(n_classes: int) -> None:
    random = np.random.default_rng(0)
    y = random.integers(0, n_classes, 60)
    proba = random.dirichlet(np.ones(n_classes), 60)
    scores = dict(enumerate(proba.T))
    for drawn in (
        drawings.roc(y, scores),
        drawings.precision_recall(y, scores),
        drawings.coverage(proba.argmax(1) == y, proba.max(1)),
    ):
        ET.fromstring(str(drawn))


def test_one_image_is_enough_for_every_curve() -> None:
    ET.fromstring(str(drawings.coverage(np.array([True]), np.array([0.7]))))
    ET.fromstring(str(drawings.sizes([[10, 20]], 224)))
    ET.fromstring(str(drawings.layer_curve([{"tap": "final", "accuracy": 1.0}], 1)))
