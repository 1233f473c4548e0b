"""What speaks for and against a score: one check for each way in which it may mislead.

A check's state is its weight in the verdict: 'good' (nothing against it), 'care' (the score holds,
but read it with this in mind) or 'bad' (it does not mean what it seems to). The limits stand here;
what follows from them, in :mod:`regraft.choosing.verdict`. Facts are as in metrics.json; those that
a run of an earlier version does not have are left unchecked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from regraft.choosing import class_recall, kept, measured, mislabelled, promised
from regraft.choosing.difference import left_out_in_words, points
from regraft.choosing.trust_check import STATES, Check, Facts, State, guessed_of_left_out
from regraft.wording import count, percent

# Scored images ('care'), and the width of the interval of their accuracy ('care' and 'bad').
FEW_SCORED, WIDE, VERY_WIDE = 30, 0.15, 0.40
# How much lower (or higher) than left-out training images a test may surely be: 'care' and 'bad'.
APART, FAR_APART = 0.03, 0.10
# Share of test images that have a copy in train: 'care' and 'bad'; what they add to the score.
LEAKED, MOSTLY_LEAKED, FLATTERED = 0.10, 0.20, 0.005
# An expected calibration error that is surely above 0 weighs from here on.
MISCALIBRATED = 0.05
# Up to here a tie with the nearest neighbour weighs; above, there is little left to be better in.
NEARLY_ALL = 0.9
# How often a class is there, as a multiple of guessing, that makes answering it a good guess.
FREQUENT = 1.5
# Share of the files that could not be read.
REJECTED = 0.02
# Findings that say how a score may come about without the motif.
SHORTCUTS = ("groups-across-splits", "format-tells-class", "mode-tells-class", "size-tells-class")
TITLES = {
    "groups-across-splits": "Groups are in several splits",
    "format-tells-class": "The file format gives the class away",
    "mode-tells-class": "The colour mode gives the class away",
    "size-tells-class": "The image size gives the class away",
    "duplicates-across-splits": "Leakage between the splits",
}


def checks(metrics: Facts, findings: Sequence[Facts]) -> list[Check]:
    """Everything that was looked at, what weighs most first.

    Parameters
    ----------
    metrics : dict
        As in metrics.json.
    findings : sequence of dict
        As in findings.json.
    """
    found = [
        replace(check, kind=kind) for kind, look in CHECKS.items() for check in look(metrics)
    ] + [replace(check, kind="findings") for check in _serious(metrics, findings)]
    return sorted(found, key=lambda check: STATES.index(check.state))


def _left_out(metrics: Facts) -> Iterator[Check]:
    """The test beside training images that were left out."""
    left_out, tested = metrics.get("left_out"), metrics["evaluation"]
    if left_out is None:
        return
    gap, split = left_out["difference"], tested["split"]
    is_crossed = left_out["by"] == "cross-validation"
    how = "cross-validated" if is_crossed else "held out"
    apart = "in cross-validation" if is_crossed else "on held-out images"
    compared = left_out["at_test_mix"] or left_out["accuracy"]
    text = (
        f"{percent(tested['accuracy']['value'])} against {percent(compared['value'])} {how}: a "
        f"difference of {points(gap)}"
    )
    if _is_no_better_than_guessing(left_out, metrics):
        return
    if gap["high"] < 0 and gap["value"] <= -APART:
        state: State = "bad" if gap["high"] < -FAR_APART else "care"
        yield Check(
            state,
            f"Worse on the {split} images than {apart}",
            f"{text}, beyond chance. Possible causes: another camera, source or season; "
            "harder images; many pictures of the same things in train. New photographs may do "
            "worse still.",
        )
    elif gap["low"] > 0 and gap["value"] >= APART:
        yield Check(
            "care",
            f"The {split} images are easier than those of train",
            f"{text}, beyond chance: copies that were not found, wrong labels in train, "
            "or easier images. New photographs may do worse.",
        )
    else:
        size = "within chance" if gap["low"] <= 0 <= gap["high"] else "but little"
        title = "Tested about as it was cross-validated"
        if gap["high"] - gap["low"] > 2 * FAR_APART:  # so little was scored that it tells little
            title = "No difference from cross-validation can be seen"
        yield Check("good", title, f"{text}, {size}.")


def _cross_validated(metrics: Facts) -> Iterator[Check]:
    """Whether left-out images were recognised at all."""
    left_out = metrics.get("left_out")
    if left_out is not None and _is_no_better_than_guessing(left_out, metrics):
        words = left_out_in_words(left_out)
        yield Check(
            "care",
            "Cross-validation is no better than guessing",
            f"Right are {words}: nothing was found in train that tells its classes apart.",
        )


def _is_no_better_than_guessing(left_out: Facts, metrics: Facts) -> bool:
    return bool(left_out["accuracy"]["high"] <= guessed_of_left_out(metrics))


def _leaks(metrics: Facts) -> Iterator[Check]:
    leaks, evaluation = metrics["leaks"], metrics["evaluation"]
    n, of, split = leaks["images"], evaluation["n"], evaluation["split"]
    if not n:
        yield Check(
            "good",
            "No copies between the splits",
            f"None of the {of:,} {split} images is a copy, or nearly one, of an image in another "
            "split. Overlap with the images that the network was pretrained on was not checked.",
        )
        return
    without = leaks["evaluation_without"]
    words = f"{n:,} of the {of:,} {split} images {_has(n)} a copy in another split"
    if without is None:
        yield Check("bad", "The test is made of training images", words + ": all of them.")
        return
    value = without["accuracy"]
    flattered = evaluation["accuracy"]["value"] - value["value"]
    weighs = n > LEAKED * of or flattered > FLATTERED + 1e-9
    state: State = "bad" if n > MOSTLY_LEAKED * of else "care" if weighs else "good"
    yield Check(
        state,
        f"{n:,} of {of:,} {split} images leaked" + ("" if weighs else ", which hardly matters"),
        f"{words}. Without {'it' if n == 1 else 'them'} {percent(value['value'])} of "
        f"{without['n']:,} are right ({percent(value['low'])} to {percent(value['high'])}).",
        is_told=not weighs,
    )


def _enough(metrics: Facts) -> Iterator[Check]:
    evaluation = metrics["evaluation"]
    accuracy, n = evaluation["accuracy"], evaluation["n"]
    width = accuracy["high"] - accuracy["low"]
    verb = "was" if n == 1 else "were"
    text = f"{count(n, 'image')} {verb} scored; the interval is {100 * width:.1f} points wide." + (
        f" It counts {count(evaluation['n_groups'], 'group')}." if evaluation["n_groups"] else ""
    )
    if width > VERY_WIDE:
        yield Check("bad", "Too few images were scored to say anything", text)
    elif n < FEW_SCORED or width > WIDE:
        about = f"The score is known only to about {_in_points(width / 2)}"
        title = "Few images were scored" if n < FEW_SCORED else about
        yield Check("care", title, text + " Test more images to narrow it.")
    else:
        yield Check("good", f"The score is known to about {_in_points(width / 2)}", text)


def _in_points(share: float) -> str:
    return count(max(1, round(100 * share)), "point")


def _beats_guessing(metrics: Facts) -> Iterator[Check]:
    """Better than always answering one class? Where classes are uneven, each class counts."""
    majority = metrics["baselines"].get("majority class")
    if majority is None or majority["value"] is None:
        return
    evaluation = metrics["evaluation"]
    accuracy, balanced = evaluation["accuracy"], evaluation["balanced_accuracy"]
    chance = 1 / max(1, sum(row["n"] > 0 for row in evaluation["per_class"]))
    text = f"Always answering the commonest class of train gives {percent(majority['value'])}"
    if _surely_better(accuracy, majority):
        yield Check("good", "Better than guessing", text + ".")
    elif balanced["low"] > chance:
        if majority["value"] > min(0.5, FREQUENT * chance):
            how, why = "no", "as one class is so frequent"
        else:
            groups, n = evaluation["n_groups"], evaluation["n"]
            few = count(groups, "group") if groups else count(n, "image")
            how, why = "not surely", f"and {few} cannot tell the two apart"
        yield Check(
            "care",
            f"Accuracy is {how} better than always answering one class",
            f"{text}, {why}. With every class counted alike "
            f"{percent(balanced['value'])} are right ({percent(balanced['low'])} to "
            f"{percent(balanced['high'])}), where guessing gives {percent(chance)}.",
        )
    else:
        yield Check("bad", "Not clearly better than guessing", text + ".")


def _surely_better(accuracy: Facts, baseline: Facts) -> bool:
    paired = baseline.get("paired")
    if paired is None:
        return bool(accuracy["low"] > baseline["value"])
    return bool(paired["difference"]["low"] > 0)


def _beats_nearest(metrics: Facts) -> Iterator[Check]:
    """Better than copying the most similar training image?"""
    nearest = metrics["baselines"].get("nearest neighbour")
    if nearest is None or nearest["value"] is None:
        return
    accuracy, paired = metrics["evaluation"]["accuracy"], nearest.get("paired")
    gain = paired["difference"] if paired else {
        "value": accuracy["value"] - nearest["value"],
        "low": accuracy["low"] - nearest["value"],
        "high": accuracy["high"] - nearest["value"],
    }  # fmt: skip
    text = (
        f"Copying the label of the nearest training image gives {percent(nearest['value'])}; on "
        f"the same images the model differs by {points(gain)}."
    )
    if gain["high"] < 0:
        yield Check("care", "Worse than 1-nearest neighbour", text)
    elif gain["value"] <= 0 and accuracy["value"] < NEARLY_ALL:
        yield Check("care", "No better than 1-nearest neighbour", text)
    elif gain["low"] <= 0:
        words = " That is a tie: the network's features alone tell these classes apart as well."
        yield Check("good", "As good as 1-nearest neighbour", text + words)
    else:
        yield Check("good", "Better than 1-nearest neighbour", text)


def _chosen_apart(metrics: Facts) -> Iterator[Check]:
    split, training = metrics["evaluation"]["split"], metrics.get("training")
    by = "by cross-validation inside train"
    if words := measured.caveat(metrics["chosen"]):
        title = "Settings rest on all images that could be left out"
        if not measured.is_measured(metrics["chosen"]):
            title = "Nothing could be measured for the settings"
        yield Check("care", title, words[:1].upper() + words[1:] + ".")
        return
    if training is not None and training.get("held_out"):
        by = f"by {count(training['held_out'], 'image')} held out of {training['held_out_from']}"
    yield Check(
        "good",
        "Scored on images that chose nothing",
        f"Every setting was chosen {by}; the {split} images chose nothing.",
    )


def _frozen(metrics: Facts) -> Iterator[Check]:
    training = metrics.get("training")
    if training is None or not training["weights"]["frozen"] or kept.keeps_probe(metrics):
        return
    weights = training["weights"]
    if not weights["is_frozen"]:
        yield Check("bad", "Frozen layers moved", "Some tensors that were frozen have changed.")
        return
    moved = f"{weights['moved']} of the {weights['trained']} that should learn moved"
    yield Check(
        "good",
        "Frozen stayed frozen",
        f"{count(weights['frozen'], 'tensor was', 'tensors were')} compared bit by bit after "
        f"training and did not change; {moved}.",
    )


def _calibrated(metrics: Facts) -> Iterator[Check]:
    ece = metrics["evaluation"]["ece"]
    off = f"{100 * ece['value']:.1f} points"
    text = (
        f"How sure it is and how often it is right differ by {off} on average "
        f"({100 * ece['low']:.1f} to {100 * ece['high']:.1f}){_too_sure(metrics['evaluation'])}."
    )
    if ece["low"] > 0 and ece["value"] >= MISCALIBRATED:
        yield Check("care", f"Its probabilities are off by {off}", text)
    elif ece["low"] > 0:
        yield Check("good", f"Its probabilities are off, but only by {off}", text)
    elif ece["high"] > MISCALIBRATED:
        words = f" So many images cannot tell this from none, nor from {100 * ece['high']:.0f}."
        yield Check("good", "No error of its probabilities can be seen", text + words)
    else:
        yield Check("good", "Its probabilities mean what they say", text)


def _too_sure(evaluation: Facts) -> str:
    """Whether it is mostly too sure or mostly not sure enough, where one of them prevails."""
    filled = [one for one in evaluation.get("reliability", ()) if one["n"]]
    excess = sum(one["n"] * (one["confidence"] - one["accuracy"]) for one in filled)
    if not filled or 2 * abs(excess) < evaluation["ece"]["value"] * evaluation["n"]:
        return ""
    return ": mostly too sure" if excess > 0 else ": mostly less sure than it could be"


def _promises(metrics: Facts) -> Iterator[Check]:
    missed = list(promised.missed(metrics))
    if missed:
        title = "Its doubts miss a target" if len(missed) == 1 else "Its doubts miss their targets"
        text = "; ".join(missed) + ", beyond chance."
        yield Check("care", title, text[:1].upper() + text[1:])
    elif promised.shown_sets(metrics) is not None:
        yield Check(
            "good",
            "Its doubts keep their targets",
            'Neither prediction sets nor false alarms of "none of these" miss what was asked '
            f"beyond chance.{_let_pass(metrics)}",
        )


def _let_pass(metrics: Facts) -> str:
    """How many pictures of something else get one of the classes all the same."""
    unknown = metrics.get("unknown")
    if not unknown or not unknown.get("leave_class_out_auroc"):
        return ""
    return (
        f" Of pictures of a class that it does not know, {percent(unknown['caught'])} are rejected "
        "as none of these; the others are called by one of its classes."
    )


def _rejected(metrics: Facts) -> Iterator[Check]:
    data = metrics["data"]
    n = data["rejected"]
    if n:
        state: State = "care" if n > REJECTED * (n + data["images"]) else "good"
        text = "It is" if n == 1 else "They are"
        yield Check(
            state,
            f"{count(n, 'file')} could not be read",
            f"{text} left out of {n + data['images']:,} and listed below; nothing replaces "
            f"{'it' if n == 1 else 'them'}.",
        )


def _has(n: int) -> str:
    return "has" if n == 1 else "have"


def _serious(metrics: Facts, findings: Sequence[Facts]) -> Iterator[Check]:
    """Errors, and what gives the class away without the motif. Copies in the test have a check of
    their own, with their effect."""
    n_leaked = metrics["leaks"]["images"]
    for finding in findings:
        if finding["kind"] == "duplicates-across-splits" and n_leaked:
            continue
        is_error = finding["severity"] == "error"
        if is_error or finding["kind"] in SHORTCUTS:
            kind, message = finding["kind"], finding["message"]
            title = TITLES.get(kind) or kind.replace("-", " ").capitalize()
            is_bad = is_error or _gives_all_away(finding, metrics)
            yield Check("bad" if is_bad else "care", title, message[:1].upper() + message[1:])


def _gives_all_away(finding: Facts, metrics: Facts) -> bool:
    """Whether the format alone tells every class: it never shows in a photograph what it is of."""
    n_told = len(finding.get("paths", ()))
    return bool(finding["kind"] == "format-tells-class" and n_told >= metrics["data"]["images"])


CHECKS: Mapping[str, Callable[[Facts], Iterator[Check]]] = {
    "left-out": _left_out,
    "cross-validation": _cross_validated,
    "labels": mislabelled.labels,
    "leaks": _leaks,
    "size": _enough,
    "majority-class": _beats_guessing,
    "missed-classes": class_recall.missed,
    "thin-classes": class_recall.thin,
    "nearest-neighbour": _beats_nearest,
    "calibration": _calibrated,
    "promises": _promises,
    "rejected": _rejected,
    "chosen": _chosen_apart,
    "frozen": _frozen,
}
