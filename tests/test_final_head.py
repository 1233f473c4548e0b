"""What a training adds to the probe of all of train, where the two see their features in other
columns: a pool has the blocks of its members, one head those of its taps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from regraft import load
from regraft.features.engine import Tap
from regraft.probe import choice
from regraft.probe.linear_head import LinearHead
from regraft.probe.representation import Block, Representation, blocks_of
from regraft.record.configuration import RunConfig
from regraft.training.final_head import _on_base_of_all
from regraft.workflows import experiment

TAPS = (Tap("blocks.1", 0, 4), Tap("blocks.2", 4, 10), Tap("final", 10, 13))
SETS = {
    "the same": [("blocks.1", "blocks.2", "final")],
    "another order": [("blocks.2",), ("blocks.1", "blocks.2")],
    "one more": [("final",), ("blocks.1", "final")],
    "others": [("final",), ("blocks.1",)],
}


def blocks_of_pool(sets: list[tuple[str, ...]]) -> tuple[Block, ...]:
    return tuple(dict.fromkeys(block for taps in sets for block in blocks_of(taps, TAPS, None)))


@pytest.mark.parametrize("sets", SETS.values(), ids=SETS)
@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_the_sum_of_heads_is_the_sum_of_what_they_say(
    sets: list[tuple[str, ...]], alpha: float
) -> None:
    random = np.random.default_rng(0)
    X = random.standard_normal((30, 13)).astype(np.float32)
    taps = tuple(tap.name for tap in TAPS if any(tap.name in one for one in sets))
    whole = Representation.of_blocks(X, taps, blocks_of_pool(sets))
    seen = Representation.fit(X[:20], taps, TAPS)

    def head(representation: Representation) -> LinearHead:
        weight = random.standard_normal((5, len(representation.centre))).astype(np.float32)
        return LinearHead(weight, random.standard_normal(5).astype(np.float32))

    base, tuned, first = head(whole), head(seen), head(seen)
    result = whole.with_blocks_of(seen)
    probe = SimpleNamespace(head=base, representation=whole, temperature=2.0)
    start = SimpleNamespace(
        probe=probe, head=SimpleNamespace(representation=seen), representation=result
    )
    state = {
        "head.weight": torch.from_numpy(first.weight), "head.bias": torch.from_numpy(first.bias)
    }  # fmt: skip
    plan: Any = SimpleNamespace(start=start)
    found = _on_base_of_all(plan, state, tuned, alpha)
    moved = tuned.scores(seen(X)) - first.scores(seen(X))
    expected = base.scores(whole(X)) / 2 + alpha * moved
    np.testing.assert_allclose(found.scores(result(X)), expected, atol=2e-5)


@pytest.mark.slow  # PyTorch, and a tiny network learns
@pytest.mark.parametrize("method", ["head", "partial", "full"])
@pytest.mark.parametrize("sets", [SETS["one more"], SETS["others"]], ids=["more", "others"])
def test_learning_on_from_a_pool(
    room: Path, monkeypatch: pytest.MonkeyPatch, method: str, sets: list[tuple[str, ...]]
) -> None:
    """A pool's columns are not those of its taps: this ended in an error or, where there are as
    many, in a model that mixed them up."""
    compare = choice.compare

    def pools_first(entries: list[Any], weight: Any) -> list[Any]:
        found = compare(entries, weight)
        has_pool = any(one.head == choice.POOL for one in found)
        return [_tie(one, one.head == choice.POOL) for one in found] if has_pool else found

    monkeypatch.setattr(choice, "candidate_taps", lambda taps, has_source: sets)
    monkeypatch.setattr(choice, "fit_weights", lambda stack, y: np.ones(len(stack)))
    monkeypatch.setattr(choice, "compare", pools_first)
    training = {"epochs": 2, "batch_size": 8, "select_fraction": 0.25, "interpolate": False}
    config = RunConfig("photos", method=method, backbone="random:test_efficientnet",
                       training=training)  # fmt: skip
    found = experiment.run(config, name=f"{method}-{len(sets[1])}")
    assert found.metrics["training"]["chosen"]["alpha"] > 0
    assert found.classifier.learnt is not None
    assert found.classifier.learnt.head == choice.POOL
    paths = [str(path) for path in found.prepared.table.paths]
    saved = load(found.folder / "model").predict(paths)
    assert len(saved) == len(paths)


def _tie(one: Any, is_tie: bool) -> Any:
    from dataclasses import replace

    return replace(one, worse_by=0.0 if is_tie else 1.0, standard_error=0.0)


@pytest.fixture
def room(tmp_path: Path, make_photos: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    make_photos(tmp_path / "photos", splits={"train": 16, "val": 5})
    monkeypatch.chdir(tmp_path)
    return tmp_path
