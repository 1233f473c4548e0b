"""What to do next, by what a run found: at most a few steps, the most useful first."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regraft.choosing import layer_curve
from regraft.training.methods import METHODS

FEW_SCORED = 100
# From this share of the training images on, doubtful labels come before everything else. Of clean
# sets up to 5 % are listed (benchmarks/label_issues.py).
MANY_DOUBTS = 0.08


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
    *,
    n_doubtful: int = 0,
    n_taught: int = 0,
) -> list[Step]:
    """From metrics.json and findings.json; `n_doubtful` of `n_taught` labels look wrong."""
    data = shlex.quote(metrics["data"]["source"])
    model = shlex.quote(metrics["model"])
    found = []
    errors = [finding for finding in findings if finding["severity"] == "error"]
    if errors:
        found.append(Step(f"Mend the data first: {errors[0]['mend']}.", f"regraft check {data}"))
    if n_taught and n_doubtful >= max(3, MANY_DOUBTS * n_taught):
        found.append(Step(f"Look through the {n_doubtful} labels that may be wrong, listed below."))
    if metrics["leaks"]["images"] and not errors:
        found.append(Step("Take the copies out of one split.", f"regraft check {data}"))
    placeholders = [finding for finding in findings if finding["kind"] == "placeholder"]
    if placeholders:
        text = f"Remove what is no picture: {', '.join(placeholders[0]['paths'][:2])}."
        found.append(Step(text))
    if not METHODS[metrics["method"]].trains and _peaks_early(metrics):
        text = "These images are unlike the source: let the later layers learn on, and compare."
        found.append(Step(text, f"regraft train {data} --method partial"))
    if metrics["evaluation"]["accuracy"]["value"] < 1:
        found.append(
            Step("Look at the mistakes, below: is the bright part what you would look at?")
        )
    if metrics["evaluation"]["n"] < FEW_SCORED:
        found.append(Step("Label more images for the test: the interval is wide."))
    found.append(
        Step("Let it label new photographs, into a table.",
             f"regraft predict {model} new_photos/ --out labels.csv")
    )  # fmt: skip
    found.append(Step("See where it looks on a picture.", f"regraft explain {model} photo.jpg"))
    return found[:4]


def _peaks_early(metrics: Mapping[str, Any]) -> bool:
    curve, candidates = metrics["layers"], metrics["chosen"]["candidates"]
    return len(curve) > 1 and layer_curve.read(curve, candidates[0]["n"]).is_before_end
