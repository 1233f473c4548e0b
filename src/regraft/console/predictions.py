"""What a model says of images: on the screen, as JSON lines, or in a CSV file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from regraft.checks.left_out import findings_of
from regraft.console.json_line import print_json
from regraft.console.lines import beside, say_plain, width_of
from regraft.errors import UsageError
from regraft.model import predictions_file
from regraft.model.predicting import Predictions
from regraft.model.tested_promises import cautions
from regraft.wording import agree, count, percent, printable

# What is shown where nobody says how many; less than that is then not worth a place.
TOP, LEAST = 3, 0.001


def show_predictions(
    found: Predictions, *, out: str | None, as_json: bool, top: int | None
) -> None:
    """To a CSV file if one is named, and to stdout; all of `top` classes, if it is given."""
    if out is not None:
        _write_csv(found, out)
    if as_json:
        for row in found.rows(top or TOP):
            print_json(row)
    elif out is None:
        _print_lines(found, top)
    if not as_json and out is not None:
        print(f"{_outcome(found)}: {out}")
    _show_counts(found)
    for finding in findings_of(found.skipped):
        say_plain(f"regraft: left out: {printable(finding.message)}")
    if found.rejected:
        n_all = len(found.paths) + len(found.rejected)
        print(f"{len(found.rejected)} of {n_all} could not be read", file=sys.stderr)


def _print_lines(found: Predictions, top: int | None) -> None:
    least = LEAST if top is None else 0.0
    width = min(48, max([len(printable(p)) for p in found.paths], default=0))
    for row in found.rows(top or TOP):
        if "error" in row:
            continue
        others = "  ".join(
            f"{printable(name)} {percent(p)}" for name, p in row["top"][1:] if p >= least
        )
        best = f"{printable(row['top'][0][0])} {percent(row['probability'])}"
        if row.get("none_of_these"):
            best, others = _none_of(found, row["typical"]), ""
        said = "   ".join(part for part in (best, others, *_beside(row, found)) if part)
        print(beside(printable(row["path"]), said, width_of(sys.stdout), pad=width))
    for bad in found.rejected:
        say_plain(f"{printable(bad.path)}: not read: {printable(bad.reason)}")


def _outcome(found: Predictions) -> str:
    """How many images got a label; 'rejected' are those of --reject, and no others."""
    n_none = 0 if found.doubts.is_none is None else int(found.doubts.is_none.sum())
    none = f", {n_none:,} of none of these classes" if found.doubts.is_none is not None else ""
    labelled = count(len(found.paths) - n_none, "image")
    return f"{labelled} labelled{none}, {len(found.rejected):,} could not be read"


def _none_of(found: Predictions, typical: float) -> str:
    return (
        f"none of these {count(len(found.classes), 'class', 'classes')} "
        f"(less like them than {percent(1 - typical)} of their own images)"
    )


def _beside(row: dict[str, Any], found: Predictions) -> Iterator[str]:
    """The set, and whether the answer may stand alone."""
    if "set" in row and not row.get("none_of_these"):
        names = ", ".join(map(printable, row["set"])) or "none is probable enough"
        yield f"{percent(found.levels.coverage)}: {names}"
    if "alone" in row:
        yield "stands alone" if row["alone"] else "for a person"


def _show_counts(found: Predictions) -> None:
    """How many were turned away, and how many are for a person."""
    n, doubts = len(found.paths), found.doubts
    if doubts.is_none is not None and found.levels.reject is not None:
        n_none = int(doubts.is_none.sum())
        say_plain(
            f"{n_none:,} of {count(n, 'image')} {agree(n_none, '[is|are]')} none of these "
            f"{count(len(found.classes), 'class', 'classes')}; of images of these, about "
            f"{percent(found.levels.reject)} would be called so too"
        )
    if doubts.is_alone is not None and found.levels.precision is not None:
        say_plain(
            f"{int(doubts.is_alone.sum())} of {count(n, 'answer')} may stand alone (at least "
            f"{percent(found.levels.precision)} of such are right); the others are for a person"
        )
    for caution in cautions(found.missed):
        say_plain(caution)


def _write_csv(found: Predictions, out: str) -> None:
    try:
        predictions_file.write(
            out, found.paths, found.proba, found.classes, rejected=found.rejected,
            doubts=found.doubts,
        )  # fmt: skip
    except OSError as error:
        raise UsageError(f"cannot write {out!r}: {error.strerror}", cure="--out FILE") from error
