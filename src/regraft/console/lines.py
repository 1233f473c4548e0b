"""How wide the lines of a stream may be, and words laid into them."""

from __future__ import annotations

import os
import re
import sys
from typing import TextIO

# What is meant to be copied and run: it stays on one line, however long.
_COMMANDS = ("regraft ", "pip ", "python ")
# Narrower than that, words are rather left to the terminal.
_LEAST = 20
# Before what stands below a name.
BELOW = "    "
# A number with its unit and what ends the sentence, or whatever stands between blanks.
_WORD = re.compile(r"\S*\d (?:%|px|ms|s|min|h|[KMG]iB|MB|points?)(?!\w)\S*|\S+")


def width_of(stream: TextIO) -> int | None:
    """Columns of a terminal, or what COLUMNS says; None for a file or a pipe without it."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said):
        return int(said)
    try:
        return os.get_terminal_size(stream.fileno()).columns if stream.isatty() else None
    except (OSError, ValueError):  # no file at all, as in a notebook
        return None


def say_plain(text: str, *, lead: str = "") -> None:
    """Text on stderr at once, in lines that fit."""
    print(wrapped(text, width_of(sys.stderr), lead=lead), file=sys.stderr, flush=True)


def wrapped(text: str, width: int | None, *, lead: str = "") -> str:
    """Text after a lead, its further lines below its first word; commands stay whole.

    Examples
    --------
    >>> print(wrapped("a rule that was broken in 95 % of it", 30, lead="Error: "))
    Error: a rule that was broken
           in 95 % of it
    >>> print(wrapped("regraft train photos/ --seed 3", 24, lead="cure: "))
    cure: regraft train photos/ --seed 3
    """
    found = []
    for line in text.split("\n"):
        room = None if width is None else max(_LEAST, width - len(lead))
        places = [0, *([] if room is None or line.startswith(_COMMANDS) else breaks(line, room))]
        ends = [*places[1:], len(line)]
        found += [line[start:end].rstrip() for start, end in zip(places, ends, strict=True)]
    return "\n".join((" " * len(lead) if n else lead) + line for n, line in enumerate(found))


def beside(name: str, text: str, width: int | None, *, pad: int = 0) -> str:
    """A name and what is said of it: on one line, or below it where that is too long.

    Examples
    --------
    >>> beside("1.jpg", "cat 95 %", 30)
    '1.jpg  cat 95 %'
    >>> print(beside("a/long/name/of/a/photo.jpg", "cat 95 %  dog 5 %", 30))
    a/long/name/of/a/photo.jpg
        cat 95 %  dog 5 %
    """
    line = f"{name:{pad}}  {text}"
    if width is None or len(line) <= width:
        return line
    return f"{name}\n{wrapped(text, width, lead=BELOW)}"


def breaks(text: str, width: int) -> list[int]:
    """Where the lines after the first begin; a number stays with its unit.

    Examples
    --------
    >>> breaks("a line of 95 % and more", 14)
    [15]
    >>> text = "it takes (5.2 s). And 224 px"
    >>> [text[start:] for start in breaks(text, 14)]
    ['(5.2 s). And 224 px', '224 px']
    """
    found, start, end = [], 0, 0
    for word in _WORD.finditer(text):
        if word.end() - start > width and end > start:
            found.append(word.start())
            start = word.start()
        end = word.end()
    return found
