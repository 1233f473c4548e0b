"""With many classes nothing may hold the probabilities of all images a second time."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from regraft.evaluation.evaluate import evaluate
from regraft.evaluation.label_issues import find_label_issues
from regraft.evaluation.label_noise import label_noise
from regraft.workflows import testing

N, K = 20_000, 2_000


@pytest.fixture(scope="module")
def answers() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, K, N)
    proba = rng.random((N, K), dtype=np.float32)
    proba[np.arange(N), y] += K / 2
    proba /= proba.sum(axis=1, keepdims=True)
    return y, proba


def peak_of(call: Callable[[], Any]) -> int:
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("asked", [label_noise, find_label_issues])
def test_what_is_asked_of_left_out_images_copies_no_rows(
    asked: Callable[..., Any], answers: tuple[np.ndarray, np.ndarray]
) -> None:
    y, proba = answers
    assert peak_of(lambda: asked(proba, y)) < proba.nbytes / 16


def test_a_score_of_all_rows_is_given_them_uncopied(
    monkeypatch: pytest.MonkeyPatch, answers: tuple[np.ndarray, np.ndarray]
) -> None:
    y, proba = answers
    seen: list[np.ndarray] = []
    monkeypatch.setattr(testing, "evaluate", lambda y, proba, **_: seen.append(proba))
    prepared: Any = SimpleNamespace(table=SimpleNamespace(groups=None))
    roles = SimpleNamespace(reports=np.ones(N, bool), reported="val")
    lesson: Any = SimpleNamespace(roles=roles, y=y, classes=[])
    assert peak_of(
        lambda: testing._score(prepared, lesson, proba, np.ones(N, bool), 0)
    ) < proba.nbytes / 16  # fmt: skip
    testing._score(prepared, lesson, proba, np.arange(N) < 10, 0)
    assert seen[0] is proba
    np.testing.assert_array_equal(seen[1], proba[:10])


def test_evaluating_reads_the_rows_in_blocks(answers: tuple[np.ndarray, np.ndarray]) -> None:
    y, proba = answers
    classes = [str(k) for k in range(K)]
    assert peak_of(lambda: evaluate(y, proba, classes=classes, split="val")) < proba.nbytes / 2
