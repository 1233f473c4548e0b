"""What is promised, as people write it: 95%, 0.95; and how many images a promise needs.

A level is set by what it costs (a share of one's own images), never by a threshold.
"""

from __future__ import annotations

import math
from typing import Any

from regraft.errors import UsageError
from regraft.wording import count

# How sure `--precision` is that so many are right.
CONFIDENCE = 0.95
# A level that was written in decimals is no exact number: 1 - 0.9999 is 0.0000999...
_DIGITS = 6


def level_of(given: Any, name: str) -> float:
    """A share between 0 and 1, from a number or a text with or without a percent sign.

    Parameters
    ----------
    given : float or str
        0.95, '0.95', '95%' or '95 %'.
    name : str
        What it is called where it was given: ``--coverage``.

    Raises
    ------
    UsageError
        No number, or outside (0, 1).

    Examples
    --------
    >>> level_of("95%", "--coverage"), level_of(0.02, "reject"), level_of("2 %", "--reject")
    (0.95, 0.02, 0.02)
    >>> level_of("95", "--coverage")
    Traceback (most recent call last):
    regraft.errors.UsageError: --coverage must lie between 0 and 1 (0 % and 100 %), got 95
      cure:  --coverage 95%, or --coverage 0.95
    """
    text = str(given).strip()
    number = text.removesuffix("%").strip()
    try:
        value = math.nan if isinstance(given, bool) else float(number)
    except ValueError:
        value = math.nan
    share = value / 100 if text.endswith("%") else value
    if 0 < share < 1:
        return share
    usual = f"{number}%" if 2 <= value < 100 else {"reject": "2%"}.get(name.strip("-"), "95%")
    if math.isnan(value):
        rule = f"{name} is a share such as {usual}, got {given!r}"
    else:
        rule = f"{name} must lie between 0 and 1 (0 % and 100 %), got {text}"
    raise UsageError(rule, cure=f"{name} {usual}, or {name} {_plain(usual)}")


def fewest_for(share_outside: float) -> int:
    """So many left-out images can promise that at most this share falls outside.

    Examples
    --------
    >>> fewest_for(0.05), fewest_for(0.02), fewest_for(0.5)
    (19, 49, 1)
    """
    return max(1, math.ceil(round(1 / share_outside - 1, _DIGITS)))


def fewest_all_right(precision: float) -> int:
    """So many answers, all right, show that at least this share is, at 95 % confidence.

    Examples
    --------
    >>> fewest_all_right(0.99), fewest_all_right(0.95)
    (299, 59)
    """
    return math.ceil(round(math.log(1 - CONFIDENCE) / math.log(precision), _DIGITS))


def too_few(name: str, level: float, n: int, wanted: int, *, each: str = "") -> UsageError:
    """The refusal of a level that so many images cannot support; `each` ends "that did not teach".

    Examples
    --------
    >>> print(too_few("--reject", 0.02, 30, 49))
    --reject 2 % needs at least 49 images that did not teach, and this model has 30
      cure:  --reject 4%; or more images: regraft calibrate MODEL DATA
    """
    return UsageError(
        f"{name} {100 * level:.6g} % needs at least {count(wanted, 'image')} that did not teach"
        f"{each}, and this model has {n:,}",
        cure=f"{_supported(name, n)}more images: regraft calibrate MODEL DATA",
        level=level,
        n=n,
        wanted=wanted,
    )


def _supported(name: str, n: int) -> str:
    """The option with the strictest whole percentage that so many images support; '' if none."""

    def fewest(percent: int) -> int:
        if name == "--precision":
            return fewest_all_right(percent / 100)
        return fewest_for(percent / 100 if name == "--reject" else 1 - percent / 100)

    strictest_first = range(1, 100) if name == "--reject" else range(99, 0, -1)
    levels = (level for level in strictest_first if fewest(level) <= n)
    return next((f"{name} {level}%; or " for level in levels), "")


def _plain(usual: str) -> str:
    return f"{float(usual.removesuffix('%')) / 100:.6g}"
