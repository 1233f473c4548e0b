"""Copies are known again in a pass by some bytes a row, not by Python objects."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from regraft.features.firsts import Firsts
from regraft.machine import arrays


def digests(n: int) -> list[bytes]:
    return [hashlib.sha256(str(i).encode()).digest() for i in range(n)]


def test_it_says_what_a_dict_says() -> None:
    known = digests(300)
    asked = np.random.default_rng(0).integers(0, 300, 2000)
    firsts, plain = Firsts(2000), dict[bytes, int]()
    for row, one in enumerate(asked.tolist()):
        assert firsts.of(known[one], row) == plain.setdefault(known[one], row)


def test_contents_that_begin_alike_are_told_apart() -> None:
    """All fall on one place, the last of the table, so that the search goes round its end."""
    alike = [b"\xff" * 8 + bytes([i]) * 24 for i in range(50)]
    firsts = Firsts(50)
    assert [firsts.of(one, row) for row, one in enumerate(alike)] == list(range(50))
    assert [firsts.of(one, 99) for one in alike] == list(range(50))


def test_a_row_costs_some_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    n, known = 20_000, digests(20_000)

    def bytes_a_row() -> float:
        tracemalloc.start()
        try:
            firsts = Firsts(n)
            for row, one in enumerate(known):
                firsts.of(one, row)
            return tracemalloc.get_traced_memory()[0] / n
        finally:
            tracemalloc.stop()

    assert bytes_a_row() < 60
    monkeypatch.setattr(arrays, "MAX_BYTES_IN_MEMORY", 2**10)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert bytes_a_row() < 2
