"""The accuracy of left-out images and the test's difference from it, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regraft.wording import count, percent


def left_out_in_words(left_out: Mapping[str, Any]) -> str:
    """The accuracy of left-out images, and how they came to be left out.

    Examples
    --------
    >>> accuracy = {"value": 0.96, "low": 0.93, "high": 0.98, "level": 0.95}
    >>> facts = {"n": 245, "by": "cross-validation", "accuracy": accuracy, "at_test_mix": None}
    >>> left_out_in_words(facts)
    '96.0 % of 245 training images in cross-validation (93.0 % to 98.0 %)'
    """
    value, mix = left_out["accuracy"], left_out["at_test_mix"]
    asked = f"{count(left_out['n'], 'image')} held out while it learnt"
    if left_out["by"] == "cross-validation":
        asked = f"{count(left_out['n'], 'training image')} in cross-validation"
    low, high = percent(value["low"]), percent(value["high"])
    words = f"{percent(value['value'])} of {asked} ({low} to {high}"
    if mix is None:
        return words + ")"
    return f"{words}; {percent(mix['value'])} when weighted to the mix of classes in the test)"


def points(difference: Mapping[str, Any]) -> str:
    """A difference of two accuracies with its interval.

    Examples
    --------
    >>> points({"value": -0.302, "low": -0.409, "high": -0.194})
    '-30.2 points (-40.9 to -19.4)'
    """
    shares = (100 * difference[name] for name in ("value", "low", "high"))
    value, low, high = ("0.0" if abs(share) < 0.05 else f"{share:+.1f}" for share in shares)
    return f"{value} points ({low} to {high})"
