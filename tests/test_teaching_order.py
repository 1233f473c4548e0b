"""What is asked next: unlike each other first, then what is in doubt; never twins."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from regraft.teaching.order import rows_to_ask

Rows = NDArray[np.float32]


def around(*centres: Rows, n: int = 20, spread: float = 0.15, seed: int = 0) -> Rows:
    """Directions, n about each centre."""
    rng = np.random.default_rng(seed)
    X = np.concatenate([c + spread * rng.standard_normal((n, len(c))) for c in centres])
    Z: Rows = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
    return Z


def axes(n: int, dim: int = 8) -> list[Rows]:
    return list(np.eye(dim, dtype=np.float32)[:n])


def test_the_first_are_one_of_each_crowd() -> None:
    Z = around(*axes(5))
    assert {row // 20 for row in rows_to_ask(Z, Z[:0], None, 5)} == set(range(5))


def test_what_is_known_is_not_asked_again() -> None:
    Z = around(*axes(3))
    known = around(*axes(2), n=3, seed=1)
    assert rows_to_ask(Z, known, None, 1)[0] >= 40


def test_doubt_decides_between_crowds_that_are_alike() -> None:
    Z = around(*axes(4))
    known = around(*axes(4), n=2, spread=0.5, seed=1)
    doubt = np.zeros(80)
    doubt[40:60] = 1
    assert all(40 <= row < 60 for row in rows_to_ask(Z, known, doubt, 3))


def test_twins_never_come_together() -> None:
    once = around(*axes(4), n=10)
    rows = rows_to_ask(np.concatenate([once] * 3), once[:0], None, 20)
    assert len({row % 40 for row in rows}) == 20


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 30), st.integers(1, 10), st.integers(0, 25), st.integers(0, 99))
def test_each_comes_once_and_the_same_each_time(n: int, m: int, asked: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    Z, known = (around(rng.standard_normal(6), n=k, seed=seed) for k in (n, m))
    doubt = rng.random(n)
    rows = rows_to_ask(Z, known, doubt, asked)
    assert len(rows) == len(set(rows)) == min(n, asked)
    assert rows == rows_to_ask(Z, known, doubt, asked)
