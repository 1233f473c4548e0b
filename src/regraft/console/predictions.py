"""What a model says of images: on the screen, as JSON lines, or in a CSV file."""

from __future__ import annotations

import csv
import json
import sys

from regraft.errors import UsageError
from regraft.model.predicting import Predictions
from regraft.wording import percent, printable


def show_predictions(found: Predictions, *, out: str | None, as_json: bool, top: int) -> None:
    """To a CSV file if one is named, and to stdout."""
    if out is not None:
        _write_csv(found, out, top)
    if as_json:
        for row in found.rows(top):
            print(json.dumps(row))
    elif out is None:
        _print_lines(found, top)
    if not as_json and out is not None:
        images = "image" if len(found.paths) == 1 else "images"
        print(f"{len(found.paths)} {images} labelled, {len(found.rejected)} rejected: {out}")
    if found.rejected:
        n_all = len(found.paths) + len(found.rejected)
        print(f"{len(found.rejected)} of {n_all} could not be read", file=sys.stderr)


def _print_lines(found: Predictions, top: int) -> None:
    width = min(48, max([len(printable(p)) for p in found.paths], default=0))
    for row in found.rows(top):
        if "error" in row:
            continue
        others = "  ".join(
            f"{printable(name)} {percent(p)}" for name, p in row["top"][1:] if p >= 0.001
        )
        best = f"{printable(row['label'])} {percent(row['probability'])}"
        print(f"{printable(row['path']):{width}}  {best}   {others}".rstrip())
    for bad in found.rejected:
        print(f"{printable(bad.path)}: not read: {bad.reason}", file=sys.stderr)


def _write_csv(found: Predictions, out: str, top: int) -> None:
    try:
        stream = open(out, "w", newline="", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
    except OSError as error:
        raise UsageError(f"cannot write {out!r}: {error.strerror}", cure="--out FILE") from error
    with stream:
        writer = csv.writer(stream)
        ranks = [name for i in range(2, top + 1) for name in (f"label_{i}", f"probability_{i}")]
        writer.writerow(["path", "label", "probability", *ranks, "error"])
        for row in found.rows(top):
            if "error" in row:
                writer.writerow([row["path"], "", "", *[""] * len(ranks), row["error"]])
                continue
            others = [value for pair in row["top"][1:] for value in pair]
            padding = [""] * (len(ranks) - len(others))
            writer.writerow([row["path"], row["label"], row["probability"], *others, *padding, ""])
