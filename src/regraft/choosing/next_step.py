"""What to do next, by what a run found and how that weighs: a few steps, the most useful first."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regraft.choosing import layer_curve, mislabelled, recommendation
from regraft.choosing.trust_check import Check, guessed_of_left_out
from regraft.evaluation.metrics import is_even
from regraft.record.configuration import RunConfig
from regraft.training.methods import METHODS

MOST_STEPS = 4
# From this share of the training images on, doubtful labels are worth a look. Of clean sets where
# few are hard up to 5 % are listed (benchmarks/label_issues.py); where many are hard nearly all
# mistakes are, and the images that the model is surest of tell these from wrong labels.
MANY_DOUBTS = 0.08
# Checks that errors among the findings stand for.
OF_DATA = ("findings", "leaks")
# Checks that ask for nothing while a model is no better than guessing: mending them would not help.
OF_WHAT_IS_LEARNT = (
    "size", "missed-classes", "thin-classes", "nearest-neighbour", "calibration", "promises",
)  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One thing to do.

    Attributes
    ----------
    text : str
    command : str
        What to type; empty where there is nothing to type.
    """

    text: str
    command: str = ""


def steps(
    metrics: Mapping[str, Any],
    findings: Sequence[Mapping[str, Any]],
    checks: Sequence[Check],
    *,
    options: str = "",
) -> list[Step]:
    """From metrics.json, findings.json and the checks made of them.

    What speaks against the score is mended first, in the order of its weight. Labelling new
    photographs is the last step, and none at all while the score does not mean what it seems to.
    """
    model = shlex.quote(metrics["model"])
    states = {check.state for check in checks}
    found = list(_mending(metrics, findings, checks, options))
    if "bad" in states:
        again = "Then train again." if found else "Fix that, then train again."
        last = Step(f"{again} Do not let it label photographs until then.")
        return [*found[: MOST_STEPS - 1], last]
    predict = f"regraft predict {model} new_photos/ --out labels.csv"
    last = Step("Label new photographs with it; the answers go into a table.", predict)
    if "care" in states:
        begin = "Then let" if found else "Let"
        last = Step(
            f"{begin} it label new photographs of the same kind as the tested ones, and look "
            "through the least sure answers.",
            predict,
        )
        return [*found[: MOST_STEPS - 1], last]
    see = Step("See where it looks on a picture.", f"regraft explain {model} photo.jpg")
    return [*found[: MOST_STEPS - 1], last, see][:MOST_STEPS]


def _mending(
    metrics: Mapping[str, Any],
    findings: Sequence[Mapping[str, Any]],
    checks: Sequence[Check],
    options: str,
) -> Iterator[Step]:
    """What would make the model or its test better, for each check that weighs and beyond."""
    source = metrics["data"]["source"]
    data = shlex.quote(source)
    weighty = {check.kind: check for check in checks if check.state != "good"}
    errors = [finding for finding in findings if finding["severity"] == "error"]
    if errors:
        check = f"regraft check {data}{options}"
        yield Step(f"Fix the data first: {errors[0]['mend']}.", check)
    labels = list(_labels(metrics, weighty))
    comes_first = not mislabelled.agree(metrics)
    yield from labels if comes_first else ()
    for kind in weighty:
        if kind == "thin-classes" and "size" in weighty:
            continue  # the step against the other asks for their images too
        if kind in MENDS and _helps(kind, weighty, metrics) and not (errors and kind in OF_DATA):
            yield _step_against(
                "size of thin classes" if kind == "size" and "thin-classes" in weighty else kind,
                metrics, options,
            )  # fmt: skip
        if kind == "majority-class" and _is_uneven(metrics):
            yield _step_against("rarer", metrics, options)
    is_distrusted = any(check.state == "bad" for check in checks)
    yield from _beyond(metrics, findings, options, is_distrusted=is_distrusted)
    yield from () if comes_first else labels


def _labels(metrics: Mapping[str, Any], weighty: Mapping[str, Check]) -> Iterator[Step]:
    """Labels of train to look through, where there are many and the model could tell."""
    left_out = metrics.get("left_out")
    n_doubtful = left_out["doubtful_labels"] if left_out else 0
    if "labels" in weighty:
        yield Step(
            f"Look at the labels: the report lists {n_doubtful} of train that may be wrong, the "
            "most suspicious first. Correct wrong ones, those of the test images too; if the first "
            "are right, let the network learn what it does not see (--method partial)."
        )
        return
    are_many = left_out and n_doubtful >= max(3, MANY_DOUBTS * left_out["n"])
    if are_many and not _is_guessed(weighty):
        listed = f"{n_doubtful} labels of train that may be wrong; the report has them"
        yield Step(f"Look through the {listed}.")


def _is_guessed(weighty: Mapping[str, Check]) -> bool:
    """No better than guessing, on images enough to tell."""
    is_bad = "majority-class" in weighty and weighty["majority-class"].state == "bad"
    return is_bad and not _is_hardly_tested(weighty)


def _is_hardly_tested(weighty: Mapping[str, Check]) -> bool:
    """So few images were scored that nothing can be seen."""
    return "size" in weighty and weighty["size"].state == "bad"


def _helps(kind: str, weighty: Mapping[str, Check], metrics: Mapping[str, Any]) -> bool:
    """Whether mending this would help, by what else weighs: where classes are told apart in train,
    and not in a test of another kind or of very few images, nobody need look at whether they can
    be."""
    if kind == "majority-class":
        left_out = metrics.get("left_out")
        is_known = left_out and left_out["accuracy"]["low"] > guessed_of_left_out(metrics)
        return not is_known and "left-out" not in weighty and not _is_hardly_tested(weighty)
    return kind not in OF_WHAT_IS_LEARNT or not _is_guessed(weighty)


def _is_uneven(metrics: Mapping[str, Any]) -> bool:
    return not is_even([row["n"] for row in metrics["evaluation"]["per_class"]])


def _step_against(kind: str, metrics: Mapping[str, Any], options: str) -> Step:
    text, command = MENDS[kind]
    data, model = shlex.quote(metrics["data"]["source"]), shlex.quote(metrics["model"])
    of_data = options if "{data}" in command else ""
    return Step(text, command.format(data=data, model=model) + of_data)


# What to do about a check that weighs, and what to type.
MENDS = {
    "left-out": (
        "Find out how the test images differ from the training images (camera, source, season, "
        "how they were cut out or saved). If new photographs will be like the test images, add "
        "labelled ones of that kind to train; keep pictures of the same thing in one group.",
        "",
    ),
    "leaks": ("Take the copies out of one split.", "regraft check {data}"),
    "findings": (
        "Save the images of all classes in one way (format, colour mode, size; one source), keep "
        "each group in one split, and train again: if the score falls, it came from the files.",
        "regraft check {data}",
    ),
    "majority-class": (
        "Check whether the labels are right and whether a person can tell the classes apart.",
        "",
    ),
    "rarer": (
        "Add images of the rarer classes, or give those that there are more weight.",
        "regraft train {data} --class-weight balanced",
    ),
    "size": ("Label more images for the test: its interval is wide.", ""),
    "size of thin classes": (
        "Label more images for the test, first of the classes whose recall is uncertain: its "
        "interval is wide.",
        "",
    ),
    "missed-classes": ("Look at the mistakes of the classes that are mostly missed.", ""),
    "thin-classes": ("Label more test images of the classes whose recall is uncertain.", ""),
    "nearest-neighbour": (
        "Compare with the plain way, which is as good here.",
        "regraft train {data} --head knn",
    ),
    "calibration": (
        "Take its probabilities for an order, not for shares: 80 % sure is not 80 % right.",
        "",
    ),
    "promises": (
        "Before --coverage or --reject is relied on, calibrate it on labelled images of the kind "
        "that it will meet.",
        "regraft calibrate {model} labelled_photos/",
    ),
    "rejected": ("See why files could not be read.", "regraft check {data}"),
}


def _beyond(
    metrics: Mapping[str, Any],
    findings: Sequence[Mapping[str, Any]],
    options: str,
    *,
    is_distrusted: bool,
) -> Iterator[Step]:
    """What may make the model better; another way only where its score could be compared."""
    placeholders = [finding for finding in findings if finding["kind"] == "placeholder"]
    if placeholders:
        yield Step(f"Remove what is no picture: {', '.join(placeholders[0]['paths'][:2])}.")
    if not is_distrusted:
        yield from _other_way(metrics, metrics["data"]["source"], options)
    if metrics["evaluation"]["accuracy"]["value"] < 1:
        yield Step(
            "Look at the mistakes, in the report: is the highlighted part where you would look?"
        )


def _other_way(metrics: Mapping[str, Any], source: str, options: str) -> Iterator[Step]:
    """The way that `regraft advise` would recommend, unless it is this one."""
    if "auto" in metrics or METHODS[metrics["method"]].trains:
        return
    found = recommendation.of_metrics(metrics, RunConfig(source))
    if found is None:
        if _peaks_early(metrics):
            text = "These images are unlike the source: let the later layers learn on, and compare."
            command = f"regraft train {shlex.quote(source)} --method partial{options}"
            yield Step(text, command)
        return
    offer, own = found.offer, metrics["backbone"]["name"]
    if (offer.way.method, offer.way.backbone) == (metrics["method"], own):
        return
    if offer.expected.is_worth_it(offer.expected.log_loss + offer.expected.gain):
        text = f"Another network or method may do better: {offer.way.name} ({offer.bill.time})."
        yield Step(text, offer.way.command(source, _without_backbone(options)))


def _without_backbone(options: str) -> str:
    """What the data need, without the network that this run had."""
    words = shlex.split(options)
    if "--backbone" not in words:
        return options
    place = words.index("--backbone")
    return "".join(f" {shlex.quote(word)}" for word in words[:place] + words[place + 2 :])


def _peaks_early(metrics: Mapping[str, Any]) -> bool:
    curve, candidates = metrics["layers"], metrics["chosen"]["candidates"]
    if metrics.get("backbone", {}).get("networks"):  # what learns on is one network
        return False
    return len(curve) > 1 and layer_curve.read(curve, candidates[0]["n"]).is_before_end
