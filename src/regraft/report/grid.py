"""A grid of pictures with names: a row for each image, a column for each way of seeing it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.report import lettering
from regraft.report.figures import HELD_OUT, QUIET
from regraft.wording import shortened

# Inches. A cell is drawn at DPI with about as many pixels as networks usually see (224).
CELL, GAP, LABEL = 1.5, 0.12, 1.5
TOP, UNDER, BOTTOM = 0.62, 0.2, 0.18
MARGIN = 0.08
DPI = 150
# The thinner side of an extremely long picture, as part of the longer one, so that it is seen.
THINNEST = 0.02
# Characters that fit beside a row, and lines of them.
WIDTH, LINES = 16, 3
# Characters of the caption in an inch.
CAPTION_WIDTH = 13


@dataclass(frozen=True, eq=False)
class Row:
    """One image.

    Attributes
    ----------
    title, subtitle : str
        Beside it; any characters.
    pictures : sequence of uint8 arrays of shape (H, W, 3)
        One for each column, of any shape.
    note : str
        Under the first.
    frame : (top, left, bottom, right), or None
        A part of the first picture that is outlined, as shares of its height and width.
    """

    title: str
    subtitle: str
    pictures: Sequence[NDArray[np.uint8]]
    note: str = ""
    frame: tuple[float, float, float, float] | None = None


def draw(
    columns: Sequence[tuple[str, str]],
    rows: Sequence[Row],
    file: str | os.PathLike[str],
    *,
    caption: str = "",
) -> None:
    """The grid as a picture.

    Parameters
    ----------
    columns : sequence of (title, subtitle)
    rows : sequence of Row
        At least one.
    file : path
        PNG, SVG or PDF by its ending.
    caption : str
        Under the grid.

    Examples
    --------
    ::

        rows = [Row("ants", "train", [photo, view])]
        draw([("original", ""), ("light", "view 1")], rows, "grid.png")
    """
    from matplotlib.figure import Figure

    texts = [text for row in rows for text in (row.title, row.subtitle)]
    fonts = lettering.families([*texts, caption])
    width = LABEL + len(columns) * (CELL + GAP)
    under = UNDER if any(row.note for row in rows) else GAP
    lines = _wrapped(lettering.legible(caption, fonts), round(CAPTION_WIDTH * (width - LABEL)), 4)
    bottom = BOTTOM + 0.16 * len(lines)
    height = TOP + len(rows) * (CELL + under) + bottom
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")

    def write(x: float, y: float, text: str, **how: Any) -> None:
        """In inches from the left and the top; smaller where the page is not wide enough."""
        shown = figure.text(
            x / width, 1 - y / height, text, fontfamily=fonts, parse_math=False, **how
        )
        excess = shown.get_window_extent().width / figure.dpi / (x - MARGIN)
        if how["ha"] == "right" and excess > 1:
            shown.set_fontsize(float(shown.get_fontsize()) / excess)

    for j, (title, subtitle) in enumerate(columns):
        centre = LABEL + j * (CELL + GAP) + CELL / 2
        write(centre, TOP - 0.26, title, ha="center", va="bottom", fontsize=10)
        write(centre, TOP - 0.07, subtitle, ha="center", va="bottom", fontsize=8, color=QUIET)
    for i, row in enumerate(rows):
        top = TOP + i * (CELL + under)
        names = _wrapped(lettering.legible(row.title, fonts), WIDTH, LINES)
        above = CELL / 2 - 0.09 * len(names)
        write(LABEL - 0.14, top + above, "\n".join(names), ha="right", va="center", fontsize=9,
              linespacing=1.15)  # fmt: skip
        write(LABEL - 0.14, top + CELL / 2 + 0.16, lettering.legible(row.subtitle, fonts),
              ha="right", va="center", fontsize=8, color=QUIET)  # fmt: skip
        for j, picture in enumerate(row.pictures):
            left = LABEL + j * (CELL + GAP)
            box = (left / width, 1 - (top + CELL) / height, CELL / width, CELL / height)
            _picture(figure.add_axes(box), picture, row.frame if j == 0 else None)
        below = CELL * (1 + _proportions(row.pictures[0])[0]) / 2 + 0.09
        write(LABEL + CELL / 2, top + below, row.note, ha="center", va="center", fontsize=7.5,
              color=QUIET)  # fmt: skip
    first = TOP + len(rows) * (CELL + under) + 0.1
    write(LABEL, first, "\n".join(lines), ha="left", va="top", fontsize=8, color=QUIET,
          linespacing=1.3)  # fmt: skip
    figure.savefig(file)


def _picture(
    axes: Any, pixels: NDArray[np.uint8], frame: tuple[float, float, float, float] | None
) -> None:
    """In the middle of its cell, in its own proportions."""
    from matplotlib.patches import Rectangle

    tall, wide = _proportions(pixels)
    left, top = (1 - wide) / 2, (1 - tall) / 2
    axes.imshow(pixels, extent=(left, left + wide, top + tall, top), aspect="auto")
    axes.add_patch(
        Rectangle((left, top), wide, tall, fill=False, edgecolor="#bbbbbb", linewidth=0.5)
    )
    if frame is not None:
        y0, x0, y1, x1 = frame
        corner, size = (left + wide * x0, top + tall * y0), (wide * (x1 - x0), tall * (y1 - y0))
        for colour, thickness in (("white", 2.4), (HELD_OUT, 1.2)):
            axes.add_patch(
                Rectangle(corner, *size, fill=False, edgecolor=colour, linewidth=thickness)
            )
    axes.set_xlim(-0.005, 1.005)
    axes.set_ylim(1.005, -0.005)
    axes.set_axis_off()


def _proportions(pixels: NDArray[np.uint8]) -> tuple[float, float]:
    """Height and width of a picture in a cell of 1 by 1."""
    height, width = pixels.shape[:2]
    longer = max(height, width)
    return max(THINNEST, height / longer), max(THINNEST, width / longer)


def _wrapped(text: str, width: int, n_lines: int) -> list[str]:
    """At most so many lines, broken after spaces and what stands for them in names of folders.

    >>> _wrapped("no_overtaking_by-lorries at night", 15, 3)
    ['no_overtaking_', 'by-lorries at', 'night']
    >>> _wrapped("Llanfairpwllgwyngyllgogerychwyrndrobwll", 15, 2)
    ['Llanfairpwllgwy', 'ngyllgogerychw…']
    """
    lines = [""]
    for word in re.findall(r"[^\s_./-]*[\s_./-]|[^\s_./-]+", text):
        if len(lines[-1] + word.rstrip()) > width and lines[-1]:
            lines.append("")
        lines[-1] += word
        while len(lines[-1].rstrip()) > width:
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    if len(lines) > n_lines:
        lines[n_lines - 1 :] = [shortened("".join(lines[n_lines - 1 :]), width)]
    return [line.strip() for line in lines]
