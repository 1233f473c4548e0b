"""How whole shares, intervals and names are written on a terminal."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from rich.markup import escape

from regraft.wording import printable, shortened


def whole_percent(share: float) -> str:
    """Without digits, where they would say nothing.

    Examples
    --------
    >>> whole_percent(0.95)
    '95 %'
    """
    return f"{100 * share:.0f} %"


def interval(estimate: Mapping[str, Any], *, short: bool = False) -> str:
    """From where to where, in percent; of an estimate as metrics.json has it.

    Examples
    --------
    >>> estimate = {"value": 0.95, "low": 0.908, "high": 0.977, "level": 0.95}
    >>> interval(estimate), interval(estimate, short=True)
    ('90.8 to 97.7 %', '91–98 %')
    """
    if estimate["value"] is None or estimate["low"] is None:
        return "–"
    low, high = 100 * estimate["low"], 100 * estimate["high"]
    return f"{low:.0f}–{high:.0f} %" if short else f"{low:.1f} to {high:.1f} %"


def from_here(path: str) -> str:
    """A path as it is from the working directory, where that is shorter.

    Examples
    --------
    >>> from_here(os.path.abspath("photos/ants/1.jpg")), from_here("/x")
    ('photos/ants/1.jpg', '/x')
    """
    try:
        return min(path, os.path.relpath(path), key=len)
    except (OSError, ValueError):  # on another drive of Windows
        return path


def literal(text: str, width: int | None = None) -> str:
    """Text as it is or, if it is wider than `width`, its beginning: on one line, and no markup.

    Examples
    --------
    >>> literal("[red]\\n"), literal("Ruddy Turnstone", 8)
    ('\\\\[red]\\\\n', 'Ruddy T…')
    """
    plain = printable(text)
    return escape(plain if width is None else shortened(plain, width))
