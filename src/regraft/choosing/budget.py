"""A budget of time, as people write it: 90, 90s, 2m, 1h30m."""

from __future__ import annotations

import math
import re

from regraft.errors import UsageError

UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600}
MOST_S = 30 * 24 * 3600
CURE = "--budget 90s, 2m or 1h30m"


def seconds_of(given: str | float, *, place: str = "--budget") -> float:
    """Seconds of a budget.

    Raises
    ------
    UsageError
        It is no time, zero, negative, or more than 30 days.

    Examples
    --------
    >>> seconds_of("90"), seconds_of("2m"), seconds_of("1h30m"), seconds_of("1.5 min")
    (90.0, 120.0, 5400.0, 90.0)
    >>> seconds_of("soon")
    Traceback (most recent call last):
        ...
    regraft.errors.UsageError: a budget must be a time such as 90s or 2m, got 'soon'
      where: --budget
      cure:  --budget 90s, 2m or 1h30m
    """
    text = str(given).strip().lower().replace(" ", "")
    parts = re.findall(r"(\d{1,9}(?:\.\d{1,6})?)(min|[smh])", text)
    if re.fullmatch(r"[-+]?\d{1,9}(?:\.\d{1,6})?", text):
        found = float(text)
    elif parts and "".join(number + unit for number, unit in parts) == text:
        found = sum(float(number) * UNITS[unit] for number, unit in parts)
    elif re.fullmatch(r"-.*\d[smh]?", text):
        found = -1.0
    else:
        raise UsageError(
            f"a budget must be a time such as 90s or 2m, got {given!r}", place=place, cure=CURE
        )
    if not 0 < found <= MOST_S or not math.isfinite(found):
        raise UsageError(
            f"a budget must be more than 0 s and at most 30 days, got {given!r}",
            place=place,
            cure=CURE,
        )
    return found
