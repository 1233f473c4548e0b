"""Findings about what files hold beside a plain picture: values of more than 8 bits, and faults."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from regraft.checks.finding import Finding
from regraft.checks.picture_problems import PictureCase
from regraft.data.table import first_few
from regraft.images.scale import MEASURED, name_of, white_above
from regraft.wording import count


def little_range(case: PictureCase) -> Iterator[Finding]:
    """Pictures of 16 bits that hold values of 12, 10 or 8, and are almost black for that."""
    rows = case.uses_little
    if not rows.any():
        return
    peak, white = (case.column(name)[rows].max() for name in ("peak", "white"))
    fitting = white_above(peak)
    yield Finding(
        "little-range",
        "warning",
        f"{count(int(rows.sum()), 'image')} of 16 bits hold values up to {peak:,.0f} of "
        f"{white:,.0f}: {_part(fitting / white)} of the range",
        "to the network they are almost black",
        f"--scale {name_of(fitting)} in every command on these data: {fitting:,} is white then "
        f"(or --scale {MEASURED}); the model keeps it",
        case.paths(rows),
    )


def _part(share: float) -> str:
    n_times = round(1 / share)
    return {4: "a quarter", 16: "a sixteenth"}.get(n_times, f"1/{n_times}")


def own_range(case: PictureCase) -> Iterator[Finding]:
    """Pictures of 32 bits that are stretched each by its own smallest and largest value."""
    rows = np.isin(case.column("mode"), ("I", "F")) & (case.column("peak") != 0)
    rows &= case.column("white") == 0
    if not rows.any():
        return
    peak = case.column("peak")[rows].max()
    yield Finding(
        "own-range",
        "note",
        f"{count(int(rows.sum()), 'image')} of whole or decimal numbers up to {peak:,.0f}, each "
        "of which is stretched from its own smallest to its own largest value",
        "the same value is another grey in each: what is brighter than what is lost",
        f"--scale {MEASURED}, or --scale with the value that is white in all of them",
        case.paths(rows),
    )


def faults(case: PictureCase) -> Iterator[Finding]:
    """Files that are read although something is wrong with them: every row is there."""
    notes = case.column("note")
    rows = notes != ""
    if not rows.any():
        return
    paths = case.paths(rows)
    each = (f"{path!r} {note}" for path, note in zip(paths, notes[rows].tolist(), strict=True))
    yield Finding(
        "faulty-file",
        "note",
        f"{count(len(paths), 'file')} with a fault that costs no row: {first_few(each, at_most=3)}",
        "it is read, every row of it; but it was not written or copied as it should be",
        "look at it; if it shows something wrong, copy it again from where it comes from",
        paths,
    )


FILE_CHECKS = (little_range, own_range, faults)
