"""Names that pictures and classes may have in a taught folder, on every system."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Container

from regraft.data.table import SPLIT_NAMES
from regraft.errors import UsageError

# Where the journal and the trash are, within the folder.
OWN = ".regraft"
TRASH = f"{OWN}/trash"
# In bytes: leaves room for a number and an ending on any disk.
MOST_BYTES = 120
# Not allowed in names on Windows, or with a meaning in a path.
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')
_RESERVED = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{name}{n}" for name in ("com", "lpt") for n in range(10)),
}


def class_name(text: str) -> str:
    """A class's name, trimmed and in one form of Unicode.

    Raises
    ------
    UsageError
        It could not be a folder on every system, or would be taken for a split.

    Examples
    --------
    >>> class_name("  red   ants ")
    'red ants'
    """
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not name:
        raise UsageError("a class needs a name", cure="type one")
    if found := _FORBIDDEN.search(name):
        raise UsageError(
            f"a class's name becomes a folder, which cannot have {found[0]!r} in it: {name!r}",
            cure=_FORBIDDEN.sub("-", name).strip(" .-") or "another name",
        )
    if name.startswith(".") or name.endswith("."):
        raise UsageError(f"a folder's name neither begins nor ends with a dot: {name!r}")
    for others, what in ((SPLIT_NAMES, "a split"), (_RESERVED, "a device")):
        if name.casefold() in others:
            raise UsageError(
                f"{name!r} would be taken for {what}, not for a class", cure=f"{name} pictures"
            )
    if len(name.encode()) > MOST_BYTES:
        raise UsageError(f"a class's name has at most {MOST_BYTES} bytes, got {len(name.encode())}")
    return name


def file_name(text: str, ending: str) -> str:
    """A picture's own name made safe, with the ending of what it is.

    Examples
    --------
    >>> file_name("../../évil<name>.JPG", ".jpg")
    'évil-name-.jpg'
    >>> file_name("", ".png")
    'picture.png'
    """
    base = re.split(r"[/\\]", unicodedata.normalize("NFC", text))[-1]
    stem = _FORBIDDEN.sub("-", os.path.splitext(base)[0]).strip(" .")
    stem = stem.encode()[:MOST_BYTES].decode(errors="ignore") or "picture"
    return f"{stem}{ending}" if stem.casefold() not in _RESERVED else f"{stem}-{ending}"


def free(name: str, taken: Container[str]) -> str:
    """The name, numbered where another has it; `taken` holds names as they are casefolded.

    Examples
    --------
    >>> free("Ant.jpg", {"ant.jpg", "ant-2.jpg"})
    'Ant-3.jpg'
    """
    stem, ending = os.path.splitext(name)
    found, number = name, 1
    while found.casefold() in taken:
        number += 1
        found = f"{stem}-{number}{ending}"
    return found
