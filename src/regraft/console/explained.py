"""`regraft explain`: a line an image, then where the pictures are and how they were made."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from regraft.checks.left_out import findings_of
from regraft.console.lines import beside, say_plain, width_of
from regraft.console.screen import hang, print_json, stdout
from regraft.console.wording import from_here, literal, whole_percent
from regraft.explain.explanations import EVEN_IN_MIDDLE, LITTLE, MIDDLE
from regraft.wording import count, percent, printable

# Of more pictures each gets one line; their nearest training images are in maps.json.
MOST_WITH_NEAREST = 12


def show_explained(explained: Any, *, as_json: bool) -> None:
    """What was explained on stdout, what could not be read on stderr."""
    if as_json:
        for row in explained.rows():
            print_json(row)
        _left_out(explained)
        return
    screen = stdout()
    is_short = len(explained.images) > MOST_WITH_NEAREST
    for image in explained.images:
        _image(screen, image, names_nearest=not is_short)
    for bad in explained.rejected:
        say_plain(f"regraft: {printable(bad.path)}: not read: {printable(bad.reason)}")
    _left_out(explained)
    if explained.images:
        pictures = count(len(explained.images), "picture")
        screen.print(f"{pictures} and maps.json in {literal(explained.folder)}", soft_wrap=True)
        if is_short and any(image["nearest"] for image in explained.images):
            hang(screen, "like:", "maps.json names the nearest training images of each picture")
        hang(screen, f"{explained.method}:", escape(explained.why))
        if any(image["in_middle"] is not None for image in explained.images):
            even = whole_percent(EVEN_IN_MIDDLE)
            hang(screen, "middle:", f"the inner {whole_percent(MIDDLE)} of each side; an even map, "
                 f"which tells nothing, has {even} of its heat there")  # fmt: skip
    for note in explained.notes:
        hang(screen, "note:", escape(note))


def _left_out(explained: Any) -> None:
    """What is no picture, on stderr."""
    for finding in findings_of(explained.skipped):
        say_plain(f"regraft: left out: {printable(finding.message)}")


def _image(screen: Console, image: Mapping[str, Any], *, names_nearest: bool) -> None:
    speaks = "" if image["explained"] == image["label"] else f"  for {image['explained']}:"
    middle = "nothing speaks for it"
    if image["in_middle"] is not None:
        share, even = whole_percent(image["in_middle"]), whole_percent(EVEN_IN_MIDDLE)
        middle = f"{share} of the heat in the middle (an even map: {even})"
    if image["says_little"]:
        middle = LITTLE
    said = f"{printable(image['label'])} {percent(image['probability'])}{speaks}  {middle}"
    line = beside(printable(image["path"]), said, width_of(sys.stdout))
    screen.print(Text(line), soft_wrap=True)
    for near in image["nearest"] if names_nearest else ():
        like = f"  like {near['similarity']:.2f}"
        line = beside(like, printable(from_here(near["path"])), width_of(sys.stdout))
        screen.print(Text(line), soft_wrap=True)
