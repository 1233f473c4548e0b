"""`regraft explain`: a line an image, then where the pictures are and how they were made."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape

from regraft.console.screen import hang, print_json, stdout
from regraft.console.wording import from_here, literal, whole_percent
from regraft.explain.explanations import MIDDLE
from regraft.wording import count, percent, printable


def show_explained(explained: Any, *, as_json: bool) -> None:
    """What was explained on stdout, what could not be read on stderr."""
    if as_json:
        for row in explained.rows():
            print_json(row)
        return
    screen = stdout()
    for image in explained.images:
        _image(screen, image)
    for bad in explained.rejected:
        line = f"regraft: {printable(bad.path)}: not read: {bad.reason}"
        print(line, file=sys.stderr, flush=True)
    if explained.images:
        pictures = count(len(explained.images), "picture")
        screen.print(f"{pictures} and maps.json in {literal(explained.folder)}", soft_wrap=True)
        hang(screen, f"{explained.method}:", escape(explained.why))
        if any(image["in_middle"] is not None for image in explained.images):
            hang(screen, "middle:", f"the inner {whole_percent(MIDDLE)} of each side")
    for note in explained.notes:
        hang(screen, "note:", escape(note))


def _image(screen: Console, image: Mapping[str, Any]) -> None:
    speaks = "" if image["explained"] == image["label"] else f"  for {image['explained']}:"
    middle = "nothing speaks for it"
    if image["in_middle"] is not None:
        middle = f"{whole_percent(image['in_middle'])} of the heat in the middle"
    screen.print(
        f"{literal(image['path'])}  [bold]{literal(image['label'])}[/] "
        f"{percent(image['probability'])}{literal(speaks)}  {middle}",
        soft_wrap=True,
    )
    for near in image["nearest"]:
        screen.print(
            f"  like {near['similarity']:.2f}  {literal(from_here(near['path']))}", soft_wrap=True
        )
