"""Whether a result is to be trusted: what was looked at, and what was found.

Each check has a state: 'good', 'care' (the number holds, but read it with this in mind) or 'bad'
(the number does not mean what it seems to).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from regraft.choosing import kept, measured
from regraft.wording import percent

State = Literal["good", "care", "bad"]
FEW_SCORED, WIDE = 30, 0.15
# An expected calibration error whose interval is above this is worth a word.
WORST_ECE = 0.05


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    state : {'good', 'care', 'bad'}
    title : str
        In a few words, as it turned out.
    text : str
        The numbers.
    """

    state: State
    title: str
    text: str


def checks(metrics: Mapping[str, Any], findings: Sequence[Mapping[str, Any]]) -> list[Check]:
    """What speaks for and against the score of a run.

    Parameters
    ----------
    metrics : dict
        As in metrics.json.
    findings : sequence of dict
        As in findings.json.
    """
    found = [
        _leaks(metrics),
        *_serious(findings),
        _enough(metrics["evaluation"]),
        _beats_guessing(metrics),
        _chosen_apart(metrics),
        *_frozen(metrics),
        _calibrated(metrics["evaluation"]),
        *_rejected(metrics["data"]),
        *_thin_classes(metrics["evaluation"]),
    ]
    return sorted(found, key=lambda check: ("bad", "care", "good").index(check.state))


def verdict(found: Sequence[Check]) -> tuple[State, str]:
    """The whole in one sentence.

    Examples
    --------
    >>> verdict([Check("good", "no leaks", "")])
    ('good', 'No problem found in 1 check.')
    """
    states = [check.state for check in found]
    if "bad" in states:
        return "bad", "Not yet: the score does not mean what it seems to."
    n = states.count("care")
    if n:
        points = "one point" if n == 1 else f"{n} points"
        return "care", f"Yes, with {points} to keep in mind."
    checked = "1 check" if len(found) == 1 else f"{len(found)} checks"
    return "good", f"No problem found in {checked}."


def _leaks(metrics: Mapping[str, Any]) -> Check:
    leaks, evaluation = metrics["leaks"], metrics["evaluation"]
    n, of, split = leaks["images"], evaluation["n"], evaluation["split"]
    if not n:
        return Check(
            "good",
            "No copies between the splits",
            f"None of the {of} {split} images is a copy, or nearly one, of an image in another "
            "split. What the network itself learnt on, before, could not be compared.",
        )
    without = leaks["evaluation_without"]
    words = f"{n} of the {of} {split} images have a copy in another split"
    if without is None:
        return Check("bad", "The test is made of training images", words + ": all of them.")
    value = without["accuracy"]
    return Check(
        "care" if n <= 0.1 * of else "bad",
        "Some test images leaked",
        f"{words}. Without them {percent(value['value'])} of {without['n']} are right "
        f"({percent(value['low'])} to {percent(value['high'])}).",
    )


def _serious(findings: Sequence[Mapping[str, Any]]) -> list[Check]:
    return [
        Check("bad", finding["kind"].replace("-", " ").capitalize(), finding["message"])
        for finding in findings
        if finding["severity"] == "error"
    ]


def _enough(evaluation: Mapping[str, Any]) -> Check:
    accuracy, n = evaluation["accuracy"], evaluation["n"]
    width = accuracy["high"] - accuracy["low"]
    text = f"{n:,} images were scored; the interval is {100 * width:.1f} points wide." + (
        f" It counts {evaluation['n_groups']} groups." if evaluation["n_groups"] else ""
    )
    if n < FEW_SCORED or width > WIDE:
        return Check("care", "Few images were scored", text + " More would tell more.")
    return Check("good", f"The score is known to {100 * width / 2:.0f} points or so", text)


def _beats_guessing(metrics: Mapping[str, Any]) -> Check:
    accuracy = metrics["evaluation"]["accuracy"]
    known = {k: v for k, v in metrics["baselines"].items() if v["value"] is not None}
    best = max(known, key=lambda name: float(known[name]["value"]), default=None)
    if best is None:
        return Check("care", "Nothing to compare with", "No baseline could be computed.")
    said = ", ".join(f"{name} {percent(v['value'])}" for name, v in known.items())
    majority = known.get("majority class")
    if majority is not None and accuracy["low"] <= majority["value"]:
        return Check("bad", "Not surely better than guessing", f"Beside it: {said}.")
    if accuracy["value"] <= known[best]["value"]:
        return Check("care", f"No better than the {best}", f"Beside it: {said}.")
    if accuracy["low"] <= known[best]["value"]:
        words = f"Beside it: {said}. The second lies within the interval of the score."
        return Check("good", "Better than guessing", words)
    return Check("good", "Better than simple answers", f"Beside it: {said}.")


def _chosen_apart(metrics: Mapping[str, Any]) -> Check:
    split = metrics["evaluation"]["split"]
    training = metrics.get("training")
    by = "by cross-validation inside train"
    if words := measured.caveat(metrics["chosen"]):
        title = "Settings rest on all images that could be left out"
        if not measured.is_measured(metrics["chosen"]):
            title = "Nothing could be measured for the settings"
        return Check("care", title, words[:1].upper() + words[1:] + ".")
    if training is not None and training.get("held_out"):
        by = f"by {training['held_out']} images held out of {training['held_out_from']}"
    return Check(
        "good",
        "Scored on images that chose nothing",
        f"Every setting was chosen {by}; the {split} images chose nothing.",
    )


def _frozen(metrics: Mapping[str, Any]) -> list[Check]:
    training = metrics.get("training")
    if training is None or not training["weights"]["frozen"] or kept.keeps_probe(metrics):
        return []
    weights = training["weights"]
    if not weights["is_frozen"]:
        return [Check("bad", "Frozen layers moved", "Some tensors that were frozen have changed.")]
    moved = f"{weights['moved']} of the {weights['trained']} that should learn moved"
    return [
        Check(
            "good",
            "Frozen stayed frozen",
            f"{weights['frozen']} tensors were compared bit by bit after training and are what "
            f"they were; {moved}.",
        )
    ]


def _calibrated(evaluation: Mapping[str, Any]) -> Check:
    ece = evaluation["ece"]
    text = (
        f"How sure it is and how often it is right differ by {100 * ece['value']:.1f} points on "
        f"average (interval {100 * ece['low']:.1f} to {100 * ece['high']:.1f})."
    )
    if ece["low"] > WORST_ECE:
        return Check("care", "Its probabilities are off", text)
    if ece["high"] > WORST_ECE:
        return Check("good", "Its probabilities are about right", text)
    return Check("good", "Its probabilities mean what they say", text)


def _rejected(data: Mapping[str, Any]) -> list[Check]:
    n = data["rejected"]
    if not n:
        return []
    files = "1 file" if n == 1 else f"{n:,} files"
    return [Check("care", f"{files} could not be read", "They are listed below; nothing replaces "
                  "them.")]  # fmt: skip


def _thin_classes(evaluation: Mapping[str, Any]) -> list[Check]:
    thin = [row["label"] for row in evaluation["per_class"] if row["n"] < 5]
    if not thin:
        return []
    few = "1 class has" if len(thin) == 1 else f"{len(thin)} classes have"
    return [
        Check(
            "care",
            f"{few} fewer than 5 scored images",
            f"{', '.join(thin[:4])}{'…' if len(thin) > 4 else ''}: their rows say little.",
        )
    ]
