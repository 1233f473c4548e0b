"""Names in pictures: whatever a folder is called, its name is drawn, or spelt by its code points.

matplotlib brings fonts for Latin, Greek and Cyrillic. For other scripts a font of this machine is
taken if there is one; what no font can draw is written as an escape, never as an empty box.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

from regraft.wording import printable

OWN_FONT = "DejaVu Sans"
# Fonts that draw boxes for everything, or pictures in colour, which cannot be scaled.
NO_LETTERS = ("last resort", "lastresort", "emoji")


def families(texts: Iterable[str]) -> list[str]:
    """Names of fonts that together draw as many of the characters as fonts here can."""
    wanted = {ord(c) for text in texts for c in printable(text)}
    found, missing = [OWN_FONT], wanted - _characters(_file_of(OWN_FONT))
    for name, file in _fonts() if missing else ():
        if drawn := missing & _characters(file):
            found.append(name)
            missing -= drawn
        if not missing:
            break
    return found


def legible(text: str, fonts: Sequence[str]) -> str:
    """The text with what none of these fonts can draw as escapes.

    Examples
    --------
    >>> legible("Größe 蜂", ["DejaVu Sans"])
    'Größe \\\\u8702'
    """
    drawn = frozenset[int]().union(*(_characters(_file_of(name)) for name in fonts))
    letters = (
        c if ord(c) in drawn else c.encode("unicode_escape").decode() for c in printable(text)
    )
    return "".join(letters)


def _fonts() -> list[tuple[str, str]]:
    """Name and file of every usable font here, upright and of normal weight."""
    from matplotlib.font_manager import fontManager

    upright = {
        entry.name: entry.fname
        for entry in fontManager.ttflist
        if entry.style == "normal" and entry.weight in (400, "normal", "regular", "book")
    }
    return [
        (n, f) for n, f in sorted(upright.items()) if not any(w in n.lower() for w in NO_LETTERS)
    ]


def _file_of(name: str) -> str:
    from matplotlib.font_manager import findfont

    return str(findfont(name))


@functools.cache
def _characters(file: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(file).get_charmap())
    except (OSError, RuntimeError):  # a font file that cannot be read draws nothing
        return frozenset()
