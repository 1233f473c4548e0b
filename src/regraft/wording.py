"""How shares, counts and names are written for people, the same wherever they are read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def percent(share: float | None) -> str:
    """With one digit; what is not all is never rounded to 100 %.

    Examples
    --------
    >>> percent(0.9567), percent(0.9999), percent(1), percent(None)
    ('95.7 %', '99.9 %', '100 %', '–')
    """
    if share is None:
        return "–"
    return "100 %" if share >= 1 - 1e-9 else f"{100 * min(share, 0.999):.1f} %"


def count(n: int, noun: str, plural: str = "") -> str:
    """A number with its noun.

    Examples
    --------
    >>> count(1, "image"), count(1200, "class", "classes")
    ('1 image', '1,200 classes')
    """
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def printable(text: str) -> str:
    """Text on one line, whatever bytes a name holds.

    Examples
    --------
    >>> printable("two\\nlines"), printable("caf\\udce9")
    ('two\\\\nlines', 'caf\\\\udce9')
    """
    plain = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in plain)


def shortened(text: str, width: int) -> str:
    """The text, or its beginning and an ellipsis.

    Examples
    --------
    >>> shortened("Ruddy Turnstone", 8), shortened("Dunlin", 8)
    ('Ruddy T…', 'Dunlin')
    """
    return text if len(text) <= width else text[: width - 1] + "…"


def near_names(name: str, known: Iterable[str], *, n: int = 3, cutoff: float = 0.6) -> list[str]:
    """Up to `n` of the known names that were probably meant, ignoring case; none of no name.

    `cutoff` is how alike they must be: 1 is equal (:func:`difflib.get_close_matches`).

    Examples
    --------
    >>> near_names("Ants", ["bees", "ants", "ant"])
    ['ants', 'ant']
    """
    by_folded: dict[str, list[str]] = {}
    for candidate in filter(str.strip, known if name.strip() else ()):
        by_folded.setdefault(candidate.casefold(), []).append(candidate)
    close = difflib.get_close_matches(name.casefold(), by_folded, n=n, cutoff=cutoff)
    return [candidate for folded in close for candidate in by_folded[folded]][:n]
