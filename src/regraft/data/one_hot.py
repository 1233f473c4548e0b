"""Tables with one column per class, 1 where an image is of it: the label is that column's name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from regraft.data.table import NoLabels, Reading, first_few, quoted

_ON, _OFF = ("1", "1.0", "true"), ("0", "0.0", "false", "", "-1")  # -1: attributes, as CelebA's


@dataclass
class OneHot:
    """Columns of zeros and ones, as long as every row bears that out.

    Attributes
    ----------
    names : list of str
        Of the classes.
    places : list of int
        Of their columns.
    labels : list of str or None
        Of the rows seen so far; None where not exactly one column is on.
    others : list of int
        Numbers of those rows, as the user counts.
    is_so : bool
        False once a cell is neither 0 nor 1.

    Examples
    --------
    >>> hot = OneHot(["cat", "dog"], [1, 2])
    >>> hot.add(2, ["a.jpg", "0", "1"])
    >>> hot.labels, hot.is_so
    (['dog'], True)
    """

    names: list[str]
    places: list[int]
    labels: list[str | None] = field(default_factory=list)
    others: list[int] = field(default_factory=list)
    is_so: bool = True

    @classmethod
    def maybe(cls, names: Sequence[str], places: Sequence[int], first: Sequence[str]) -> OneHot:
        """Of the columns without a role, if the first row looks like it."""
        hot = cls([names[place] for place in places], list(places))
        hot.is_so = len(places) > 1 and hot._on(first) is not None
        return hot

    def add(self, number: int, row: Sequence[str]) -> None:
        """The next row of the table."""
        on = self._on(row)
        if on is None:
            self.is_so = False
            return
        self.labels.append(self.names[on[0]] if len(on) == 1 else None)
        if len(on) != 1:
            self.others.append(number)

    def why_no_labels(self) -> NoLabels:
        """Of rows where several columns are on, or none: what that means, what to do."""
        few = first_few(map(str, self.others))
        return NoLabels(
            f"{quoted(self.names)} look like one column per class, but in "
            f"{'row' if len(self.others) == 1 else 'rows'} {few} not exactly one of them is 1; "
            "Regraft gives an image one class",
            "leave out those rows or give them one class; or take one column, as yes and no: "
            f"--label-column {self.names[0]}",
        )

    def reading(self, source: str) -> Reading:
        """What was understood."""
        words = f"{source}: {quoted(self.names)} are read as one column per class, 1 where it is it"
        return Reading("columns", words, "--label-column NAME if another column has the labels")

    def _on(self, row: Sequence[str]) -> list[int] | None:
        """Which classes are on; None if a cell is neither 0 nor 1."""
        cells = [row[place].strip().lower() if place < len(row) else "?" for place in self.places]
        if any(cell not in _ON and cell not in _OFF for cell in cells):
            return None
        return [i for i, cell in enumerate(cells) if cell in _ON]
