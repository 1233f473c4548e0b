"""Images of one unit (a group, near copies) count as one wherever a tie is judged.

In each test, ten photographs of each of a few plants say the same; counted singly they would be
sure of what a few plants say by chance.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from regraft.choosing import standing
from regraft.choosing.arm import TRIED, Arm, Judged
from regraft.choosing.way import Way
from regraft.data.splits import Roles
from regraft.evaluation.influence import standard_error
from regraft.probe.choice import Candidate, Entry, compare
from regraft.record import results
from regraft.training import candidates, views
from regraft.training.rows import divided
from regraft.training.settings import TrainingSettings
from regraft.workflows import advising
from regraft.workflows.lesson import Lesson

PLANTS = np.repeat(np.arange(6), 10)
# By plant, worse at four of six: a mean of 0.1 with a standard error of 0.13.
WORSE = np.array([0.5, 0.3, 0.2, 0.2, -0.3, -0.3])


def entry(name: str, losses: Any, units: Any) -> Entry:
    found = Candidate((name,), "lda", float(losses.mean()), 0.5, 0.5, 1.0, len(losses), units=units)
    return Entry((name,), "lda", (), losses, found)


def test_a_standard_error_is_that_of_the_units() -> None:
    assert standard_error(WORSE[PLANTS], PLANTS * 3 + 5) == pytest.approx(standard_error(WORSE))
    assert standard_error(WORSE[PLANTS]) < standard_error(WORSE) / 3
    assert standard_error(WORSE, np.zeros(6, int)) == standard_error(WORSE[:1]) == np.inf


def test_taps_that_are_worse_at_a_few_plants_tie() -> None:
    base = np.full(60, 1.0)

    def is_tie(units: Any) -> bool:
        entries = [entry("plain", base + WORSE[PLANTS], units), entry("rich", base, units)]
        return compare(entries, np.ones(60))[0].is_tie

    assert is_tie(PLANTS)
    assert not is_tie(None)


def test_a_state_that_is_worse_at_a_few_plants_ties() -> None:
    none = np.zeros((60, 2))

    def state(alpha: float, loss: Any) -> candidates.Candidate:
        return candidates.Candidate("best epoch", alpha, loss, 0.0, 0.0, 1.0, none, none)

    found = [state(0.5, 1 + WORSE[PLANTS]), state(1.0, np.ones(60))]
    assert candidates.preferred(found, units=PLANTS).alpha == 0.5
    assert candidates.preferred(found).alpha == 1.0


def test_the_end_of_the_way_knows_the_units(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def preferred(found: Any, default: float, units: Any) -> Any:
        asked.extend(units.tolist())
        return found[0]

    one = SimpleNamespace(name="best epoch", alpha=1.0, temperature=1.0)
    monkeypatch.setattr(candidates, "preferred", preferred)
    monkeypatch.setattr(candidates, "_candidates", lambda *_: ([one], {}))
    monkeypatch.setattr(candidates, "_probe_as_it_was", lambda *_: [])
    rows = SimpleNamespace(units=np.array([4, 4, 9, 9]), choose=np.array([2, 3]))
    start = SimpleNamespace(head=None)
    plan: Any = SimpleNamespace(rows=rows, start=start, settings=SimpleNamespace(interpolate=True))
    trainer: Any = SimpleNamespace(choose=None, history=SimpleNamespace(best={}))
    candidates.end_of_the_way(plan, trainer, {}, None)
    assert asked == [9, 9]


def test_images_that_choose_keep_their_units() -> None:
    y, learn, choose = np.array([0, 1, 0, 1, 0, 1]), np.arange(3), np.arange(3, 6)
    task: Any = SimpleNamespace(
        y=y, learn=learn, choose=choose, units=np.array([0, 1, 1]), settings=TrainingSettings(),
        units_of_choose=np.array([1, 0, 1]), seed=0,
    )  # fmt: skip
    assert divided(task).units.tolist() == [0, 1, 1, 3, 2, 3]
    roles = Roles(
        np.arange(8) < 3, (np.arange(8) >= 3) & (np.arange(8) < 6), np.arange(8) > 5, "test"
    )
    lesson = Lesson(roles, np.zeros(8, int), ["a"], np.array([0, 1, 1]), np.array([1, 0, 1]))
    found = lesson.unit_of_each
    assert found[1] == found[2]
    assert found[3] == found[5]
    assert len(set(found.tolist())) == 6
    assert len(set(replace(lesson, units_of_choose=None).unit_of_each.tolist())) == 7


def test_views_that_a_few_plants_cannot_bear_are_still_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Mirrored, one of four plants is no longer named rightly: that may be chance."""
    n, plants = 40, np.repeat(np.arange(4), 10)
    monkeypatch.setattr(
        views.pictures, "plain", lambda path, preprocess: np.full((2, 2, 3), int(path))
    )

    class Engine:
        def run(self, pictures: Any) -> Any:
            return pictures[:, 0, 0, :1].astype(float)

    class Probe:
        def __init__(self) -> None:
            self.asked = 0

        def proba_of(self, X: Any) -> Any:
            self.asked += 1
            wrong = (X[:, 0] < 10) & (self.asked == 2)  # the second question is of mirrored ones
            return np.stack([~wrong, wrong], axis=1)

    def augmentation(units: Any) -> str:
        built: Any = SimpleNamespace(info=SimpleNamespace(preprocess=None), engine=Engine)
        table = type(
            "Table", (), {"paths": [str(i) for i in range(n)], "__len__": lambda self: n}
        )()
        X = np.arange(n, dtype=np.float32)[:, None]
        probe: Any = Probe()
        return views.measured_augmentation(table, np.zeros(n, int), X, built, probe, units)

    assert augmentation(plants) == "orientation-free"
    assert augmentation(np.arange(n)) == "upright"
    assert augmentation(np.zeros(n, int)) == "light"  # one plant tells nothing


def test_a_point_of_the_layer_curve_is_as_sure_as_its_plants() -> None:
    right = np.array([True, True, True, True, False, True])

    def point(is_right: Any, units: Any) -> dict[str, Any]:
        n = len(is_right)
        best = Candidate(
            ("b",), "lda", 0.1, 1.0, 1.0, 1.0, n, is_right=is_right | True, units=units
        )
        own = Candidate(("a",), "lda", 0.1, float(is_right.mean()), 0.8, 1.0, n, is_right=is_right,
                        units=units)  # fmt: skip
        return results._point(own, best)

    few, many = point(right, None), point(right[PLANTS], PLANTS)
    assert many["below_best_error"] == pytest.approx(few["below_best_error"])
    alone = point(right[PLANTS], None)
    assert many["high"] - many["low"] > 2 * (alone["high"] - alone["low"])


def test_a_draw_of_the_bootstrap_takes_whole_units() -> None:
    """Twelve plants, luck the same in all ten images of one: the winner is flattered by it."""
    rng, plants = np.random.default_rng(0), np.repeat(np.arange(12), 10)
    rows = np.arange(120)

    def arm(number: int, units: Any) -> Arm:
        loss = rng.exponential(0.5, 12)[plants]
        judged = Judged(rows, loss, loss < 0.5, units)
        return Arm(Way(backbone=f"n{number}"), state=TRIED, judged=judged)

    def optimism(units: Any) -> float:
        nonlocal rng
        rng = np.random.default_rng(0)
        found = standing.optimism([arm(number, units) for number in range(20)])
        assert found is not None
        return float(found["log_loss"] - found["log_loss_of_winner"])

    assert optimism(plants) > optimism(None) + 0.05
    assert standing.optimism([arm(i, np.repeat(np.arange(6), 20)) for i in range(3)]) is None


def test_advice_is_no_surer_than_the_plants() -> None:
    assert not advising._is_surely_less(np.ones(60), 1.0 + WORSE[PLANTS], PLANTS)
    assert advising._is_surely_less(np.ones(60), 1.0 + WORSE[PLANTS], None)
