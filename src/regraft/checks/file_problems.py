"""Findings about what files hold beside a plain picture: values of more than 8 bits, and faults."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from regraft.checks.finding import Finding
from regraft.checks.picture_problems import PictureCase
from regraft.data.table import first_few, quoted
from regraft.images.scale import MEASURED, name_of, white_above
from regraft.wording import agree, count


def little_range(case: PictureCase) -> Iterator[Finding]:
    """Pictures of 16 bits that hold values of 12, 10 or 8, and are almost black for that."""
    rows = case.uses_little
    if not rows.any():
        return
    peak, white = (case.column(name)[rows].max() for name in ("peak", "white"))
    n, fitting = int(rows.sum()), white_above(peak)
    yield Finding(
        "little-range",
        "warning",
        f"{count(n, 'image of 16 bits holds', 'images of 16 bits hold')} values up to "
        f"{peak:,.0f} of {white:,.0f}: {_part(fitting / white)} of the range",
        agree(n, "to the network [it is|they are] almost black"),
        f"--scale {name_of(fitting)} in every command on these data: {fitting:,} is white then "
        f"(or --scale {MEASURED}); the model keeps it",
        case.paths(rows),
    )


def _part(share: float) -> str:
    n_times = round(1 / share)
    return {4: "a quarter", 16: "a sixteenth"}.get(n_times, f"1/{n_times}")


def own_range(case: PictureCase) -> Iterator[Finding]:
    """Pictures of 32 bits that are stretched each by its own smallest and largest value."""
    modes = case.column("mode")
    rows = ((modes == "I") | (modes == "F")) & (case.column("peak") != 0)
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


def several_frames(case: PictureCase) -> Iterator[Finding]:
    """Pages, channels or a film in one file, of which only the first is learnt.

    A JPEG's further pictures are previews and maps of depth, as phones write them.
    """
    formats = case.column("format")
    is_film = np.logical_or.reduce([formats == one for one in ("TIFF", "GIF", "WEBP", "PNG")])
    rows = is_film & (case.column("n_frames") > 1)
    if rows.any():
        n, most = int(rows.sum()), int(case.column("n_frames")[rows].max())
        yield Finding(
            "several-frames",
            "note",
            f"{count(n, 'file')} of several pictures (pages, channels, a film), of up to {most:,}: "
            + quoted(case.names(rows), at_most=3),
            agree(n, "only the first of [it|each] is read, and the others are not"),
            "if others matter, write each to a file of its own, and name what belongs together in "
            "a group column; or combine channels to one RGB image",
            case.paths(rows),
        )


def faults(case: PictureCase) -> Iterator[Finding]:
    """Files that are read although something is wrong with them: every row is there."""
    notes = case.column("note")
    rows = np.asarray(notes != "")
    if not rows.any():
        return
    paths = case.paths(rows)
    each = (f"{path!r} {note}" for path, note in zip(paths, notes[rows].tolist(), strict=True))
    yield Finding(
        "faulty-file",
        "note",
        f"{count(len(paths), 'file')} with a fault that costs no row: {first_few(each, at_most=3)}",
        agree(
            len(paths),
            "[it is|they are] read, every row of [it|them]; but [it was|they were] not written or "
            "copied as [it|they] should be",
        ),
        agree(
            len(paths),
            "look at [it; if it shows|them; if one shows] something wrong, copy it again from "
            "where it comes from",
        ),
        paths,
    )


FILE_CHECKS = (little_range, own_range, several_frames, faults)
