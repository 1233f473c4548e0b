"""What a model's own test found of its promises: said wherever it promises the same again.

The card of a model has, for each option and each level that was tested, what was missed in words,
or nothing; models of an older Regraft have what was missed at one level alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from regraft.probe.doubts import Levels

# How cards call it, and how they called it before levels were judged one by one.
KEY, OLDER = "tested_promises", "missed_promises"


def missed(card: Mapping[str, Any], levels: Levels) -> dict[str, str]:
    """By option, what came of the levels asked for; a level that was not tested is judged by the
    nearest that was.

    Examples
    --------
    >>> card = {"tested_promises": {"coverage": {"0.8": "", "0.95": "80 %", "0.99": ""}}}
    >>> missed(card, Levels(coverage=0.95)), missed(card, Levels(coverage=0.99))
    ({'coverage': '80 %'}, {})
    >>> missed(card, Levels(coverage=0.94)), missed(card, Levels(reject=0.02))
    ({'coverage': '80 %'}, {})
    """
    found = {}
    for option, tested in _tested(card).items():
        asked = getattr(levels, option, None)
        if asked is not None and (came_to := _at(tested, asked)):
            found[option] = came_to
    return found


def missed_at_any(card: Mapping[str, Any]) -> dict[str, list[str]]:
    """By option, what was missed at whatever level.

    Examples
    --------
    >>> missed_at_any({"tested_promises": {"reject": {"0.02": "9 %", "0.05": ""}, "precision": {}}})
    {'reject': ['9 %']}
    """
    found = {option: [w for w in tested.values() if w] for option, tested in _tested(card).items()}
    return {option: words for option, words in found.items() if words}


def cautions(came_to: Mapping[str, str], *, mark: str = "--") -> Iterator[str]:
    """Of each promise that was missed, that it is not to be counted on, and what to do.

    Parameters
    ----------
    mark : str
        What stands before an option where it is given.
    """
    for option, words in came_to.items():
        yield (
            f"do not count on {mark}{option}: when this model was tested, {words}; if these images "
            "are like the tested ones, regraft calibrate MODEL DATA on labelled ones"
        )


def _tested(card: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    if KEY in card:
        return dict(card[KEY])
    return {option: {"0.5": words} for option, words in (card.get(OLDER) or {}).items()}


def _at(tested: Mapping[str, str], asked: float) -> str:
    """Nearest by the share that goes wrong: from 99 % to 97 % it is further than to 99.9 %."""

    def distance(level: str) -> float:
        return abs(_logit(float(level)) - _logit(asked))

    return tested[min(tested, key=distance)] if tested else ""


def _logit(share: float) -> float:
    return math.log(share / (1 - share))
