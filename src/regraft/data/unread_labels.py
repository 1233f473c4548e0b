"""Files beside images that may hold their labels in a form that is not read: each is named."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable

from regraft.data.boxes import head_of
from regraft.data.image_files import has_image_name
from regraft.data.labelling_programs import program_of
from regraft.data.table import NoLabels, quoted
from regraft.data.unread_columns import says_division

# Forms in which people keep labels, whatever is in them.
_MAY_LABEL = (".mat", ".xlsx", ".xls", ".ods", ".json", ".xml", ".npy", ".npz", ".pkl")
_TEXTS = (".txt", ".csv", ".tsv", ".lst", ".dat")
_CSV = "write them into a CSV with the columns path,label, and give that"
# Lines of a text that are looked at, and the share that must name an image.
_LINES, _MOST = 30, 0.5


def why_labels_unread(
    others: Iterable[str],
    images: Iterable[str],
    why: NoLabels | None,
    *,
    shown: Callable[[str], str] = str,
) -> NoLabels | None:
    """With the files that may hold the labels, if there are any.

    Parameters
    ----------
    others : iterable of str
        Paths of files that are no images.
    images : iterable of str
    why : NoLabels or None
        What is known beside that.
    shown : callable
        From a path to what the user knows it by.

    Examples
    --------
    >>> why_labels_unread(["imagelabels.mat"], ["1.jpg"], None).reason
    "'imagelabels.mat' may hold the labels, and is not read"
    """
    files, stems = sorted(others), {_stem(path) for path in images}
    if beside := _texts_of_images(files, stems, shown):
        return _together(why, beside)
    found = [path for path in files if path.lower().endswith(_MAY_LABEL)]
    if not found and (other := _of_another_ending(files, images, shown)):
        return _together(why, other)
    found = found or [path for path in files if _names_images(path, stems)]
    if not found:
        return why
    is_are = "is" if len(found) == 1 else "are"
    said = f"{quoted(map(shown, found), at_most=3)} may hold the labels, and {is_are} not read"
    program = next(filter(None, map(program_of, found)), None)
    if program is not None:
        return _together(why, NoLabels(f"{said}: an export of {program[0]}", program[1]))
    return _together(why, NoLabels(said, _CSV))


def _texts_of_images(
    files: list[str], stems: set[str], shown: Callable[[str], str]
) -> NoLabels | None:
    """'1.txt' beside '1.jpg', which says 'cat'."""
    texts = [path for path in files if path.lower().endswith(".txt") and _stem(path) in stems]
    if 2 * len(texts) <= len(stems):
        return None
    content = " ".join(head_of(texts[0]).split())
    return NoLabels(
        f"each image has a text of its name, such as {shown(texts[0])!r} ({content[:40]!r}), which "
        "is not read",
        f"if these are the labels, {_CSV}",
    )


def _of_another_ending(
    files: list[str], images: Iterable[str], shown: Callable[[str], str]
) -> NoLabels | None:
    """A table of '1.png' where there is '1.jpg'."""
    there = {_stem(path): os.path.basename(path) for path in images}
    for path in files:
        if not path.lower().endswith((".csv", ".tsv", ".txt")):
            continue
        words = re.split(r"[\s,;|]+", head_of(path))
        named = [os.path.basename(word) for word in words if has_image_name(word)]
        wrong = [name for name in named if there.get(_stem(name), name) != name]
        if wrong and 2 * len(wrong) > len(named):
            return NoLabels(
                f"{shown(path)!r} lists {wrong[0]!r}, and there is {there[_stem(wrong[0])]!r}",
                f"write the endings in {shown(path)!r} as the files have them, or leave them out",
            )
    return None


def _names_images(path: str, stems: set[str]) -> bool:
    """Whether most lines of a text have the name of an image, with its extension or without."""
    if not path.lower().endswith(_TEXTS) or says_division(path):
        return False
    lines = [line for line in head_of(path).splitlines()[:_LINES] if line.strip()]
    named = sum(any(_stem(word) in stems for word in re.split(r"[\s,;|]+", line)) for line in lines)
    return named > _MOST * len(lines)


def _together(why: NoLabels | None, more: NoLabels) -> NoLabels:
    if why is None:
        return more
    return NoLabels(f"{why.reason}; {more.reason}", f"{why.cure}; {more.cure}")


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]
