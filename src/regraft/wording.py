"""How shares, counts and names are written for people, the same wherever they are read."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Sequence


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


def agree(n: int, text: str) -> str:
    """A text in the number of its subject, where it says ``[one|several]``.

    Only of texts of our own: a name from outside may have such brackets itself.

    Examples
    --------
    >>> agree(1, "[it is|they are] left out"), agree(2, "[it is|they are] left out")
    ('it is left out', 'they are left out')
    """
    return re.sub(r"\[([^|\]]*)\|([^\]]*)\]", r"\1" if n == 1 else r"\2", text)


def none_can(n: int, noun: str, what: str) -> str:
    """That something cannot be done with any of them.

    Examples
    --------
    >>> none_can(3, "image", "be read"), none_can(1, "image", "be read")
    ('none of the 3 images can be read', 'the only image cannot be read')
    """
    return f"the only {noun} cannot {what}" if n == 1 else f"none of the {n:,} {noun}s can {what}"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence.

    Examples
    --------
    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


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


def within(path: str, source: str) -> str:
    """A path as it is called within the data that it belongs to: a folder, a file's folder.

    Examples
    --------
    >>> within("/data/photos/ants/1.jpg", "/data/photos/"), within("b/1.jpg", "photos")
    ('ants/1.jpg', 'b/1.jpg')
    >>> within("leaves/1.jpg", "leaves/list.csv")
    '1.jpg'
    """
    for place in (source.rstrip("/\\"), os.path.dirname(source)):
        if place and path.startswith((f"{place}/", f"{place}{os.sep}")):
            return path[len(place) + 1 :]
    return path


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


def duration_range(low: float, high: float) -> str:
    """Two times in the unit that suits the longer one.

    Examples
    --------
    >>> duration_range(2.94, 6.1), duration_range(38.2, 72), duration_range(96, 228)
    ('2.9–6.1 s', '38–72 s', '1.6–3.8 min')
    >>> duration_range(600, 1500), duration_range(3000, 9000)
    ('10–25 min', '0.8–2.5 h')
    """
    unit, size = next(
        (name, size) for name, size in (("h", 3600.0), ("min", 60.0), ("s", 1.0))
        if high >= (1.5 if size > 1 else 0) * size
    )  # fmt: skip
    digits = 0 if high / size >= 10 else 1
    return f"{low / size:.{digits}f}–{high / size:.{digits}f} {unit}"


def duration(seconds: float) -> str:
    """A time for people, as exactly as it is of use.

    Examples
    --------
    >>> duration(0.84), duration(37.2), duration(125), duration(7500)
    ('0.8 s', '37 s', '2 min 5 s', '2 h 5 min')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"
