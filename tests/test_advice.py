"""What a run's numbers are taken to mean: trust, scenario, next step. Cases made by hand."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from regraft.choosing import next_step, scenario, trust

SCORE = {"value": 0.95, "low": 0.91, "high": 0.98, "level": 0.95}
METRICS: dict[str, Any] = {
    "method": "probe",
    "model": "runs/x/model",
    "data": {"source": "my photos", "rejected": 0},
    "evaluation": {
        "split": "val", "n": 153, "n_groups": None, "accuracy": SCORE,
        "ece": {"value": 0.02, "low": 0.01, "high": 0.04, "level": 0.95},
        "per_class": [{"label": "ants", "n": 70}, {"label": "bees", "n": 83}],
    },
    "leaks": {"images": 0, "evaluation_without": None},
    "baselines": {
        "majority class": {"value": 0.54, "low": 0.4, "high": 0.6, "level": 0.95},
        "nearest neighbour": {"value": 0.9, "low": 0.8, "high": 0.95, "level": 0.95},
    },
    "layers": [{"tap": "blocks.4", "accuracy": 0.7}, {"tap": "final", "accuracy": 0.95}],
    "chosen": {"candidates": [{"n": 245}]},
}  # fmt: skip


def changed(**parts: Any) -> dict[str, Any]:
    metrics = copy.deepcopy(METRICS)
    for path, value in parts.items():
        place = metrics
        *rooms, last = path.split("__")
        for room in rooms:
            place = place[room]
        place[last] = value
    return metrics


def states(metrics: dict[str, Any], findings: Any = ()) -> dict[str, str]:
    return {check.title: check.state for check in trust.checks(metrics, findings)}


def test_a_clean_run_is_trusted() -> None:
    found = trust.checks(METRICS, [])
    assert {check.state for check in found} == {"good"}
    assert trust.verdict(found)[0] == "good"


@pytest.mark.parametrize(
    ("parts", "title", "state"),
    [
        ({"evaluation__n": 12}, "Few images were scored", "care"),
        (
            {"evaluation__accuracy": {"value": 0.6, "low": 0.5, "high": 0.7, "level": 0.95}},
            "Not surely better than guessing", "bad",
        ),
        (
            {"baselines__nearest neighbour": {"value": 0.96, "low": 0.9, "high": 1, "level": 0.95}},
            "No better than the nearest neighbour", "care",
        ),
        ({"data__rejected": 3}, "3 files could not be read", "care"),
        (
            {"evaluation__ece": {"value": 0.2, "low": 0.1, "high": 0.3, "level": 0.95}},
            "Its probabilities are off", "care",
        ),
        (
            {"leaks": {"images": 4, "evaluation_without": {"accuracy": SCORE, "n": 149}}},
            "Some test images leaked", "care",
        ),
        (
            {"leaks": {"images": 60, "evaluation_without": {"accuracy": SCORE, "n": 93}}},
            "Some test images leaked", "bad",
        ),
        (
            {"evaluation__per_class": [{"label": "ants", "n": 2}, {"label": "bees", "n": 151}]},
            "1 class has fewer than 5 scored images", "care",
        ),
    ],
)  # fmt: skip
def test_each_doubt_is_said(parts: dict[str, Any], title: str, state: str) -> None:
    assert states(changed(**parts))[title] == state


def test_moved_frozen_layers_are_worse_than_everything() -> None:
    weights = {"frozen": 5, "trained": 3, "moved": 3, "is_frozen": False}
    metrics = changed(training={"weights": weights, "held_out": 20, "held_out_from": "train"})
    assert states(metrics)["Frozen layers moved"] == "bad"
    weights["is_frozen"] = True
    assert states(metrics)["Frozen stayed frozen"] == "good"


def test_an_error_in_the_data_comes_first_in_trust_and_in_steps() -> None:
    finding = {
        "kind": "leak", "severity": "error", "message": "all of val is in train",
        "mend": "take it out",
    }  # fmt: skip
    assert trust.checks(METRICS, [finding])[0].state == "bad"
    steps = next_step.steps(METRICS, [finding])
    assert "take it out" in steps[0].text
    assert steps[0].command == "regraft check 'my photos'"


def test_an_early_peak_asks_for_fine_tuning_and_a_late_one_does_not() -> None:
    early = changed(
        layers=[{"tap": "blocks.4", "accuracy": 0.9}, {"tap": "final", "accuracy": 0.6}]
    )
    commands = [step.command for step in next_step.steps(early, [])]
    assert "regraft train 'my photos' --method partial" in commands
    assert not any("partial" in step.command for step in next_step.steps(METRICS, []))


def test_doubtful_labels_are_named_only_where_they_are_many() -> None:
    def asked(n: int) -> bool:
        found = next_step.steps(METRICS, [], n_doubtful=n, n_taught=245)
        return any("labels that may be wrong" in step.text for step in found)

    assert asked(25)
    assert not asked(12)


@pytest.mark.parametrize(
    ("per_class", "last", "is_small", "is_alike"),
    [(30, 0.95, True, True), (500, 0.95, False, True), (30, 0.4, True, False),
     (500, 0.4, False, False)],
)  # fmt: skip
def test_the_four_scenarios(per_class: int, last: float, is_small: bool, is_alike: bool) -> None:
    curve = [{"tap": "blocks.4", "accuracy": 0.8}, {"tap": "final", "accuracy": last}]
    found = scenario.read(curve, 1000, [per_class] * 4)
    assert (found.is_small, found.is_alike) == (is_small, is_alike)
    assert str(per_class) in found.numbers
