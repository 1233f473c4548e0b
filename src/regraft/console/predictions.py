"""What a model says of images: on the screen, as JSON lines, or in a CSV file."""

from __future__ import annotations

import json
import sys

from regraft.checks.table_problems import findings_of
from regraft.console.lines import width_of, wrapped
from regraft.errors import UsageError
from regraft.model import predictions_file
from regraft.model.predicting import Predictions
from regraft.wording import count, percent, printable

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
            print(json.dumps(row))
    elif out is None:
        _print_lines(found, top)
    if not as_json and out is not None:
        print(f"{count(len(found.paths), 'image')} labelled, {len(found.rejected)} rejected: {out}")
    for finding in findings_of(found.skipped):
        print(f"regraft: left out: {printable(finding.message)}", file=sys.stderr)
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
        best = f"{printable(row['label'])} {percent(row['probability'])}"
        print(f"{printable(row['path']):{width}}  {best}   {others}".rstrip())
    for bad in found.rejected:
        said = f"{printable(bad.path)}: not read: {printable(bad.reason)}"
        print(wrapped(said, width_of(sys.stderr)), file=sys.stderr)


def _write_csv(found: Predictions, out: str) -> None:
    try:
        predictions_file.write(
            out, found.paths, found.proba, found.classes, rejected=found.rejected
        )
    except OSError as error:
        raise UsageError(f"cannot write {out!r}: {error.strerror}", cure="--out FILE") from error
