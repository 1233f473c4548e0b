"""What a check of a score is: one thing that was looked at, with its weight in the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["good", "care", "bad"]
# As in metrics.json.
Facts = Mapping[str, Any]
STATES: tuple[State, ...] = ("bad", "care", "good")


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
    kind : str
        What was looked at, the same in every release: 'leaks', 'left-out', ...
    is_told : bool
        It weighs nothing, and is named all the same: the findings speak of it too.
    """

    state: State
    title: str
    text: str
    kind: str = ""
    is_told: bool = False


def guessed(metrics: Facts) -> float:
    """The accuracy of always answering the commonest class of train; 0 where it is not known."""
    majority = metrics["baselines"].get("majority class")
    return 0.0 if majority is None else float(majority["value"] or 0.0)


def guessed_of_left_out(metrics: Facts) -> float:
    """The same of the left-out training images, whose classes may be mixed otherwise than the
    test's; that of the test where an older Regraft did not count them."""
    counted = ((metrics.get("left_out") or {}).get("per_class") or {}).get("n")
    if not counted or not sum(counted):
        return guessed(metrics)
    return float(max(counted) / sum(counted))
