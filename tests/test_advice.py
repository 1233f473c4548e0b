"""What a run's numbers are taken to mean: trust, scenario, next step. Cases made by hand."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from regraft.choosing import mislabelled, scenario
from regraft.choosing.verdict import Verdict, verdict

SCORE = {"value": 0.95, "low": 0.91, "high": 0.98, "level": 0.95}


def estimate(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high, "level": 0.95}


def class_row(label: str, n: int, *recall: float) -> dict[str, Any]:
    return {"label": label, "n": n, "recall": estimate(*(recall or (0.95, 0.88, 0.98)))}


def naive(value: float, *gain: float) -> dict[str, Any]:
    """A baseline, and by how much the model is better."""
    return {
        **estimate(value, value - 0.05, value + 0.05),
        "paired": {"difference": estimate(*gain)},
    }


METRICS: dict[str, Any] = {
    "method": "probe",
    "model": "runs/x/model",
    "data": {"source": "my photos", "rejected": 0, "images": 398},
    "evaluation": {
        "split": "val", "n": 153, "n_groups": None, "accuracy": SCORE,
        "balanced_accuracy": SCORE,
        "ece": estimate(0.02, 0.0, 0.04),
        "per_class": [class_row("ants", 70), class_row("bees", 83)],
    },
    "left_out": {
        "n": 245, "by": "cross-validation", "accuracy": estimate(0.96, 0.93, 0.98),
        "at_test_mix": None, "difference": estimate(-0.01, -0.06, 0.03), "doubtful_labels": 2,
    },
    "leaks": {"images": 0, "evaluation_without": None},
    "baselines": {
        "majority class": naive(0.54, 0.41, 0.33, 0.48),
        "nearest neighbour": naive(0.9, 0.05, 0.01, 0.1),
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


def weights(metrics: dict[str, Any], findings: Any = ()) -> dict[str, str]:
    judged = verdict(metrics, findings).to_dict()
    return {reason["title"]: reason["weight"] for reason in judged["reasons"]}


def test_one_mistake_on_the_surest_of_few_images_says_nothing_of_the_labels() -> None:
    for n, mistakes, answer in ((2, 1, "good"), (4, 1, "good"), (4, 2, "care")):
        share = estimate(mistakes / n, 0.05, 0.9)
        metrics = changed(left_out__label_noise={"n": n, "disagree": share})
        assert [check.state for check in mislabelled.labels(metrics)] == [answer], (n, mistakes)


def test_labels_are_not_doubted_by_a_model_that_only_knows_how_frequent_the_classes_are() -> None:
    """Of train 62 % are of one class, of the test 48 %: to be right on 62 % is to know nothing."""
    noise = {"n": 24, "disagree": estimate(0.375, 0.21, 0.57)}
    parts = {
        "left_out__label_noise": noise, "left_out__accuracy": estimate(0.62, 0.52, 0.71),
        "baselines__majority class": naive(0.48, 0.0, -0.2, 0.2),
    }  # fmt: skip
    assert not list(mislabelled.labels(changed(**parts, left_out__per_class={"n": [37, 60]})))
    even = changed(**parts, left_out__per_class={"n": [48, 49]})
    assert [check.state for check in mislabelled.labels(even)] == ["bad"]


def test_whether_classes_can_be_told_apart_is_asked_only_where_it_is_in_doubt() -> None:
    def is_asked(metrics: dict[str, Any]) -> bool:
        steps = verdict(metrics, []).steps
        return any("tell the classes apart" in step.text for step in steps)

    guessed = {"baselines__majority class": naive(0.95, 0.0, -0.2, 0.2)}
    unknown = changed(**guessed, left_out__accuracy=estimate(0.5, 0.4, 0.6))
    assert is_asked(unknown)
    known = changed(**guessed, left_out__per_class={"n": [120, 125]})
    assert not is_asked(known)
    few = copy.deepcopy(unknown)
    few["evaluation"]["accuracy"] = estimate(1.0, 0.2, 1.0)
    few["evaluation"]["n"] = 1
    assert not is_asked(few)
    assert any("Label more images for the test" in step.text for step in verdict(few, []).steps)


def commands(judged: Verdict) -> list[str]:
    return [step.command for step in judged.steps]


def test_a_sound_run_is_trusted_and_says_what_to_type() -> None:
    judged = verdict(METRICS, [])
    assert judged.answer == "yes"
    assert set(weights(METRICS).values()) == {"none"}
    assert "regraft predict runs/x/model new_photos/ --out labels.csv" in commands(judged)
    assert judged.sentence == f"Yes: {len(judged.checks)} checks found nothing against it."


DOUBTS = [
    (
        {"left_out__label_noise": {"n": 61, "disagree": estimate(0.08, 0.04, 0.18)}},
        "Some labels seem to be wrong", "care",
    ),
    (
        {"left_out__label_noise": {"n": 61, "disagree": estimate(0.25, 0.16, 0.37)}},
        "Many labels seem to be wrong", "no",
    ),
    (  # of three images a class, it may be the model that is wrong
        {"left_out__label_noise": {"n": 118, "disagree": estimate(0.297, 0.22, 0.38)},
         "data__counts": {"train": {f"k{i}": 3 for i in range(150)}}},
        "Some labels may be wrong", "care",
    ),
    (
        {"evaluation__accuracy": estimate(0.8, 0.7, 0.88)},
        "The score is known only to about 9 points", "care",
    ),
    ({"evaluation__n": 12}, "Few images were scored", "care"),
    (
        {"evaluation__accuracy": estimate(0.8, 0.5, 0.95)},
        "Too few images were scored to say anything", "no",
    ),
    (
        {"left_out__difference": estimate(-0.3, -0.41, -0.19)},
        "Worse on the val images than in cross-validation", "no",
    ),
    (
        {"left_out__difference": estimate(-0.08, -0.14, -0.02)},
        "Worse on the val images than in cross-validation", "care",
    ),
    (
        {"left_out__difference": estimate(0.08, 0.02, 0.14)},
        "The val images are easier than those of train", "care",
    ),
    (
        {"left_out__difference": estimate(-0.02, -0.03, -0.01)},
        "Tested about as it was cross-validated", "none",
    ),
    (
        {"left_out__accuracy": estimate(0.5, 0.44, 0.53)},
        "Cross-validation is no better than guessing", "care",
    ),
    (
        {
            "baselines__majority class": naive(0.9, 0.01, -0.02, 0.04),
            "evaluation__balanced_accuracy": estimate(0.52, 0.44, 0.6),
        },
        "Not clearly better than guessing", "no",
    ),
    (
        {
            "baselines__majority class": naive(0.94, 0.01, -0.02, 0.04),
            "evaluation__balanced_accuracy": estimate(0.8, 0.7, 0.87),
        },
        "Accuracy is no better than always answering one class", "care",
    ),
    (  # none is frequent: seven groups are few
        {
            "baselines__majority class": naive(0.286, 0.6, -0.07, 0.88),
            "evaluation__accuracy": estimate(0.886, 0.74, 0.98),
            "evaluation__balanced_accuracy": estimate(0.867, 0.58, 0.97),
            "evaluation__n_groups": 7,
        },
        "Accuracy is not surely better than always answering one class", "care",
    ),
    (
        {
            "evaluation__accuracy": estimate(0.8, 0.74, 0.86),
            "baselines__nearest neighbour": naive(0.81, -0.01, -0.05, 0.03),
        },
        "No better than 1-nearest neighbour", "care",
    ),
    (
        {"baselines__nearest neighbour": naive(0.95, 0.0, -0.03, 0.03)},
        "As good as 1-nearest neighbour", "none",
    ),
    (
        {"baselines__nearest neighbour": naive(0.99, -0.04, -0.08, -0.01)},
        "Worse than 1-nearest neighbour", "care",
    ),
    ({"data__rejected": 30}, "30 files could not be read", "care"),
    ({"data__rejected": 1}, "1 file could not be read", "none"),
    (
        {"evaluation__ece": estimate(0.23, 0.15, 0.3)},
        "Its probabilities are off by 23.0 points", "care",
    ),
    (
        {"evaluation__ece": estimate(0.03, 0.01, 0.05)},
        "Its probabilities are off, but only by 3.0 points", "none",
    ),
    (
        {"evaluation__ece": estimate(0.03, 0.0, 0.08)},
        "No error of its probabilities can be seen", "none",
    ),
    (
        {"leaks": {"images": 4, "evaluation_without": {"accuracy": SCORE, "n": 149}}},
        "4 of 153 val images leaked, which hardly matters", "none",
    ),
    (
        {"leaks": {
            "images": 4,
            "evaluation_without": {"accuracy": estimate(0.94, 0.89, 0.97), "n": 149},
        }},
        "4 of 153 val images leaked", "care",
    ),
    (
        {"leaks": {"images": 20, "evaluation_without": {"accuracy": SCORE, "n": 133}}},
        "20 of 153 val images leaked", "care",
    ),
    (
        {"leaks": {"images": 60, "evaluation_without": {"accuracy": SCORE, "n": 93}}},
        "60 of 153 val images leaked", "no",
    ),
    (
        {"leaks": {"images": 153, "evaluation_without": None}},
        "The test is made of training images", "no",
    ),
    (
        {"evaluation__per_class": [class_row("ants", 19), class_row("bees", 134)]},
        "Recall is uncertain for 1 of 2 classes", "care",
    ),
    (
        {"evaluation__per_class": [class_row("ants", 40, 0.6, 0.44, 0.75), class_row("bees", 113)]},
        "Recall is uncertain for 1 of 2 classes", "care",
    ),
    (
        {"evaluation__per_class": [class_row("ants", 70, 0.22, 0.14, 0.33), class_row("bees", 83)]},
        "1 of 2 classes is mostly missed", "care",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("parts", "title", "weight"), DOUBTS)
def test_each_doubt_is_said_and_weighed(parts: dict[str, Any], title: str, weight: str) -> None:
    metrics = changed(**parts)
    assert weights(metrics)[title] == weight
    judged = verdict(metrics, [])
    assert judged.answer == {"none": "yes", "care": "with care", "no": "no"}[weight]


@pytest.mark.parametrize(("parts", "title", "weight"), DOUBTS)
def test_what_to_do_next_follows_from_the_verdict(
    parts: dict[str, Any], title: str, weight: str
) -> None:
    judged = verdict(changed(**parts), [])
    predicts = [command.startswith("regraft predict") for command in commands(judged)]
    assert len(predicts) <= 4
    if weight == "no":
        assert not any(predicts)
        assert "Do not let it label" in judged.steps[-1].text
    elif weight == "care":
        assert predicts[-1]
        assert len(predicts) > 1
    else:
        assert any(predicts)


def test_a_run_of_an_earlier_version_is_judged_by_what_it_measured() -> None:
    metrics = changed()
    del metrics["left_out"]
    for baseline in metrics["baselines"].values():
        del baseline["paired"]
    assert verdict(metrics, []).answer == "yes"


def test_moved_frozen_layers_are_worse_than_everything() -> None:
    frozen = {"frozen": 5, "trained": 3, "moved": 3, "is_frozen": False}
    metrics = changed(training={"weights": frozen, "held_out": 20, "held_out_from": "train"})
    assert weights(metrics)["Frozen layers moved"] == "no"
    frozen["is_frozen"] = True
    assert weights(metrics)["Frozen stayed frozen"] == "none"


def test_an_error_in_the_data_comes_first_in_trust_and_in_steps() -> None:
    finding = {
        "kind": "leak", "severity": "error", "message": "all of val is in train",
        "mend": "take it out",
    }  # fmt: skip
    judged = verdict(METRICS, [finding], options=" --label-column kind")
    assert judged.answer == "no"
    assert judged.checks[0].text == "All of val is in train"
    assert "take it out" in judged.steps[0].text
    assert judged.steps[0].command == "regraft check 'my photos' --label-column kind"


def test_what_tells_the_class_without_the_motif_is_weighed() -> None:
    finding = {
        "kind": "format-tells-class", "severity": "warning", "message": "the format tells",
        "mend": "convert",
    }  # fmt: skip
    assert verdict(METRICS, [finding]).answer == "with care"
    assert verdict(METRICS, [finding | {"kind": "imbalance"}]).answer == "yes"


def test_an_early_peak_asks_for_fine_tuning_and_a_late_one_does_not() -> None:
    early = changed(
        layers=[{"tap": "blocks.4", "accuracy": 0.9}, {"tap": "final", "accuracy": 0.6}]
    )
    assert "regraft train 'my photos' --method partial" in commands(verdict(early, []))
    assert not any("partial" in command for command in commands(verdict(METRICS, [])))


def test_doubtful_labels_are_named_only_where_they_are_many() -> None:
    def asked(n: int) -> bool:
        found = verdict(changed(left_out__doubtful_labels=n), []).steps
        return any("labels of train that may be wrong" in step.text for step in found)

    assert asked(25)
    assert not asked(12)


def test_labels_are_looked_through_first_only_where_the_surest_images_speak_against_them() -> None:
    """Of hard classes nearly every mistake is on the list, with not one label wrong."""
    metrics = changed(
        layers=[{"tap": "blocks.4", "accuracy": 0.9}, {"tap": "final", "accuracy": 0.6}],
        left_out__doubtful_labels=48,
        evaluation__per_class=[class_row("ants", 19), class_row("bees", 134)],
    )

    def texts(share: float) -> list[str]:
        noise = {"n": 65, "disagree": estimate(share, 0.002, 0.1)}
        metrics["left_out"]["label_noise"] = noise
        return [step.text for step in verdict(metrics, []).steps]

    hard, wrong = texts(0.015), texts(0.06)
    assert hard[0].startswith("Label more test images of the classes")
    assert "let the later layers learn on" in hard[1]
    assert wrong[0].startswith("Look through the 48 labels")


def test_a_short_test_with_thin_classes_is_one_step() -> None:
    metrics = changed(
        evaluation__accuracy=estimate(0.78, 0.6, 0.85),
        evaluation__per_class=[class_row("ants", 19), class_row("bees", 134)],
        layers=[{"tap": "blocks.4", "accuracy": 0.9}, {"tap": "final", "accuracy": 0.6}],
    )
    steps = [step.text for step in verdict(metrics, []).steps]
    assert sum("Label more" in text for text in steps) == 1
    assert "first of the classes whose recall is uncertain" in steps[0]
    assert any("let the later layers learn on" in text for text in steps)


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


def test_stages_that_are_better_together_make_the_data_unlike_too() -> None:
    """As the rule that chooses settings and ways reads them, so that both say the same."""
    curve = [{"tap": "blocks.4", "accuracy": 0.84}, {"tap": "final", "accuracy": 0.80}]
    assert scenario.read(curve, 120, [60, 60]).is_alike
    found = scenario.read(curve, 120, [60, 60], gain_of_stages=0.075)
    assert not found.is_alike
    assert "7.5 points" in found.numbers
