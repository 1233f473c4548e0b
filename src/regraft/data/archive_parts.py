"""Archives in place of a folder of images: what to type, and those that are parts of one download.

Google Drive packs a folder as ``photos-20240101T000000Z-001.zip``, ``-002.zip``: each whole by
itself, with some of the files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from regraft.data.source_forms import ARCHIVE_SUFFIXES
from regraft.data.table import Reading, quoted

_NUMBERED = re.compile(
    r"(?P<name>.*?)(?P<joint>[\W_]*(?:part)?[\W_]*)(?P<number>\d+)", re.IGNORECASE
)


def other_parts(archive: str) -> list[Reading]:
    """That archives beside this one read like other parts of it, if some do.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for n in (1, 2):
    ...         open(f"{folder}/photos-00{n}.zip", "w").close()
    ...     [told] = other_parts(f"{folder}/photos-001.zip")
    >>> told.words.replace(folder + "/", "")
    "'photos-002.zip' beside it reads like another part of the same archive, and is not read"
    """
    folder, name = os.path.split(archive)
    try:
        names = sorted(os.listdir(folder or "."))
    except OSError:
        return []
    others = [one for one in names if one != name and _part_of(one) == _part_of(name) != ""]
    if not others:
        return []
    reads = "reads" if len(others) == 1 else "read"
    parts = "another part" if len(others) == 1 else "other parts"
    is_are = "is" if len(others) == 1 else "are"
    words = (
        f"{quoted(others, at_most=3)} beside it {reads} like {parts} of the same archive, and "
        f"{is_are} not read"
    )
    every = [os.path.join(folder, one) for one in sorted([name, *others])]
    return [Reading("archive-part", words, f"if so: {_together(every)}")]


def cure_of_packed(packed: Sequence[str]) -> str:
    """What to do with archives where images were looked for; '' of none.

    Examples
    --------
    >>> cure_of_packed(["d/photos.zip"])
    "give the archive itself: 'd/photos.zip'"
    >>> cure_of_packed(["d/cats.zip", "d/dogs.zip"])
    "unpack each archive into a folder of its name: python -m zipfile -e 'd/cats.zip' 'd/cats'"
    """
    if not packed:
        return ""
    first = packed[0]
    if len(packed) == 1 and not _of_samples(first):
        return f"give the archive itself: {first!r}"
    if len({_part_of(os.path.basename(path)) for path in packed} - {""}) == 1:
        return _together(packed)
    into = first[: -len(_suffix(first))].removesuffix("-samples")
    command = "python -m zipfile -e" if first.lower().endswith(".zip") else "unpack"
    return f"unpack each archive into a folder of its name: {command} {first!r} {into!r}"


def is_packed(path: str) -> bool:
    """Whether a file is an archive, by its name."""
    return bool(_suffix(path))


def _together(parts: Sequence[str]) -> str:
    """All parts into one folder."""
    first = parts[0]
    match = _NUMBERED.fullmatch(first[: -len(_suffix(first))])
    into = match["name"] if match and match["name"] else "photos"
    if not first.lower().endswith(".zip"):
        return f"unpack all of them into one folder, and give that: {quoted(parts, at_most=3)}"
    lines = "; ".join(f"python -m zipfile -e {part!r} {into!r}" for part in parts[:3])
    more = "; and so on" if len(parts) > 3 else ""
    return f"unpack all of them into one folder, and give that: {lines}{more}"


def _of_samples(path: str) -> bool:
    """Whether an archive holds the samples of one class, as Teachable Machine exports them."""
    return path.lower().endswith("-samples.zip")


def _part_of(name: str) -> str:
    """What an archive seems to be a numbered part of; '' if its name says no number."""
    suffix = _suffix(name)
    match = _NUMBERED.fullmatch(name[: -len(suffix)]) if suffix else None
    return f"{match['name']} {suffix}".lower() if match else ""


def _suffix(path: str) -> str:
    return next((end for end in ARCHIVE_SUFFIXES if path.lower().endswith(end)), "")
