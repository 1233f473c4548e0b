"""What a model's settings rest on, in words: whether anything could be measured for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def caveat(chosen: Mapping[str, Any]) -> str:
    """What was not measured, of ``metrics["chosen"]``; empty if all was.

    Examples
    --------
    >>> caveat({"measured": {"words": "nothing was measured: ..."}, "temperature_fitted": False})
    'nothing was measured: ..., and its probabilities are not calibrated'
    """
    words = str((chosen.get("measured") or {}).get("words", ""))
    if is_calibrated(chosen):
        return words
    uncalibrated = "its probabilities are not calibrated"
    return f"{words}, and {uncalibrated}" if words else uncalibrated


def is_measured(chosen: Mapping[str, Any]) -> bool:
    """Whether train could judge the settings; runs that do not say were measured."""
    return bool((chosen.get("measured") or {}).get("is_measured", True))


def is_calibrated(chosen: Mapping[str, Any]) -> bool:
    """Whether the temperature was fitted to left-out scores."""
    return bool(chosen.get("temperature_fitted", True))
