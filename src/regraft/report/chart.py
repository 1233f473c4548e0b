"""A chart as SVG text: axes, lines, bands and points, in colours that the page's style decides.

A page draws a dozen of them in milliseconds where matplotlib takes a second, they follow light and
dark, and their text stays text. Colours are classes of CSS (`c0`, `c1`, `quiet`), so that one style
holds for all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup, escape

from regraft import wording

WIDTH, HEIGHT = 420.0, 280.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 16.0, 12.0, 44.0
MINUS = "\N{MINUS SIGN}"


def percent(value: float) -> str:
    """A share as a tick or a label; what is not all is never rounded to 100 %.

    Examples
    --------
    >>> percent(0.5), percent(0.955), percent(0.9999), percent(1)
    ('50 %', '95.5 %', '99.9 %', '100 %')
    """
    return wording.percent(value).replace(".0 %", " %")


def plain(value: float) -> str:
    """A number with no more digits than it needs.

    Examples
    --------
    >>> plain(0.30000000000000004), plain(1200), plain(-2.5)
    ('0.3', '1,200', '−2.5')
    """
    text = f"{abs(value):,.6g}" if abs(value) < 1e6 else f"{abs(value):.3g}"
    return (MINUS if value < 0 else "") + text


def ticks(low: float, high: float, n: int = 5) -> list[float]:
    """Round numbers from `low` to `high`, about `n` of them.

    Examples
    --------
    >>> ticks(0, 1)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> ticks(3, 17)
    [4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0]
    """
    if not high > low:
        return [low]
    rough = (high - low) / n
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * 0.7)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


class Chart:
    """One picture with two axes.

    Parameters
    ----------
    x, y : (low, high)
        What the axes reach over.
    title : str
        What the picture shows, for those who hear it.
    log_x : bool
        The axis of x in powers of ten.

    Examples
    --------
    >>> chart = Chart((0, 1), (0, 1), title="a diagonal")
    >>> chart.line([0, 1], [0, 1], "c0")
    >>> str(chart.svg()).count("<polyline")
    1
    """

    def __init__(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        title: str,
        height: float = HEIGHT,
        bottom: float = BOTTOM,
        left: float = LEFT,
        log_x: bool = False,
    ) -> None:
        self.x, self.y, self.title, self.log_x = x, y, title, log_x
        self.height, self.bottom, self.left = height, bottom, left
        self._parts: list[Markup] = []

    def place_x(self, value: float) -> float:
        """Of a value, in the units of the picture."""
        low, high = self.x
        if self.log_x:
            value, low, high = (math.log10(max(v, 1e-300)) for v in (value, low, high))
        share = (value - low) / (high - low) if high > low else 0.5
        return self.left + share * (WIDTH - self.left - RIGHT)

    def place_y(self, value: float) -> float:
        """Of a value, in the units of the picture; upwards."""
        low, high = self.y
        share = (value - low) / (high - low) if high > low else 0.5
        return self.height - self.bottom - share * (self.height - self.bottom - TOP)

    def x_axis(
        self,
        label: str,
        at: Sequence[float] | None = None,
        words: Callable[[float], str] | Sequence[str] = plain,
        *,
        slanted: bool = False,
    ) -> None:
        """Ticks with their words, and what is measured."""
        at = ticks(*self.x) if at is None else at
        base = self.height - self.bottom
        for i, value in enumerate(at):
            word = words(value) if callable(words) else words[i]
            place = self.place_x(value)
            if slanted:
                self._text(place + 4, base + 12, word, "end", turn=-35)
            else:
                self._text(place, base + 15, word, "middle")
        self._text(
            (self.left + WIDTH - RIGHT) / 2, self.height - 6, label, "middle", css="axis-label"
        )

    def y_axis(
        self,
        label: str,
        at: Sequence[float] | None = None,
        words: Callable[[float], str] | Sequence[str] = plain,
    ) -> None:
        """Ticks with their words and lines across, and what is measured."""
        at = ticks(*self.y) if at is None else at
        for i, value in enumerate(at):
            place = self.place_y(value)
            self._line(self.left, place, WIDTH - RIGHT, place, "grid")
            word = words(value) if callable(words) else words[i]
            self._text(self.left - 6, place + 4, word, "end")
        middle = (TOP + self.height - self.bottom) / 2
        self._text(12, middle, label, "middle", turn=-90, css="axis-label")

    def line(self, x: Sequence[float], y: Sequence[float], css: str) -> None:
        """Through the points, in their order."""
        self._parts.append(
            Markup('<polyline class="line {}" points="{}"/>').format(css, self._points(x, y))
        )

    def band(
        self, x: Sequence[float], low: Sequence[float], high: Sequence[float], css: str
    ) -> None:
        """The area between two lines."""
        around = self._points([*x, *reversed(x)], [*high, *reversed(low)])
        self._parts.append(Markup('<polygon class="band {}" points="{}"/>').format(css, around))

    def points(
        self, x: Sequence[float], y: Sequence[float], css: str, *, radius: float = 3.0
    ) -> None:
        """A dot each."""
        dots = [
            Markup('<circle cx="{:.1f}" cy="{:.1f}" r="{}"/>').format(
                self.place_x(a), self.place_y(b), plain(radius)
            )
            for a, b in zip(x, y, strict=True)
        ]
        self._parts.append(Markup('<g class="dots {}">{}</g>').format(css, Markup("").join(dots)))

    def bar(self, x: tuple[float, float], y: tuple[float, float], css: str) -> None:
        """A filled box between two values of each axis."""
        left, right = sorted(map(self.place_x, x))
        top, bottom = sorted(map(self.place_y, y))
        self._parts.append(
            Markup(
                '<rect class="bar {}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
            ).format(css, left, top, max(0.0, right - left), max(0.0, bottom - top))
        )

    def rule(self, *, x: float | None = None, y: float | None = None, css: str = "quiet") -> None:
        """A dashed line across the picture at one value."""
        if x is not None:
            place = self.place_x(x)
            self._line(place, TOP, place, self.height - self.bottom, f"dashed {css}")
        if y is not None:
            place = self.place_y(y)
            self._line(self.left, place, WIDTH - RIGHT, place, f"dashed {css}")

    def diagonal(self) -> None:
        """Where both axes say the same."""
        (x_low, x_high), (y_low, y_high) = self.x, self.y
        low, high = max(x_low, y_low), min(x_high, y_high)
        left, right = self.place_x(low), self.place_x(high)
        self._line(left, self.place_y(low), right, self.place_y(high), "dashed quiet")

    def text(self, x: float, y: float, words: str, *, anchor: str = "start", css: str = "") -> None:
        """Words at a point of the axes."""
        self._text(self.place_x(x), self.place_y(y), words, anchor, css=css)

    def svg(self) -> Markup:
        """The whole picture."""
        return Markup(
            '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
        ).format(plain(WIDTH), plain(self.height), self.title, Markup("").join(self._parts))

    def _points(self, x: Sequence[float], y: Sequence[float]) -> str:
        return " ".join(
            f"{self.place_x(a):.1f},{self.place_y(b):.1f}" for a, b in zip(x, y, strict=True)
        )

    def _line(self, x1: float, y1: float, x2: float, y2: float, css: str) -> None:
        self._parts.append(
            Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(
                css, x1, y1, x2, y2
            )
        )

    def _text(
        self, x: float, y: float, words: str, anchor: str, *, turn: int = 0, css: str = ""
    ) -> None:
        turned = Markup(' transform="rotate({} {:.1f} {:.1f})"').format(turn, x, y) if turn else ""
        self._parts.append(
            Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}"{}>{}</text>').format(
                css, x, y, anchor, turned, escape(words)
            )
        )
