"""What a finished run writes down: metrics.json, predictions.csv, findings.json, run.json.

``metrics`` is the contract with other programs (docs/architecture.md); it only collects, every
number comes from the rooms.
"""

from __future__ import annotations

import base64
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regraft import runs
from regraft.evaluation import Estimate, Evaluation
from regraft.methods.fine_tuning import FineTuning
from regraft.methods.probe import Probe
from regraft.runs import RunConfig

if TYPE_CHECKING:
    from regraft.preparation import Lesson, Prepared

# Above this many classes predictions.csv names the five most probable instead of all.
MAX_CLASS_COLUMNS = 50


@dataclass(frozen=True, eq=False)
class Tested:
    """The score on the reported split, without leaked images too, and what stands beside it."""

    evaluation: Evaluation
    without_leaks: Evaluation | None
    n_leaked: int
    baselines: dict[str, Estimate]


def metrics(
    config: RunConfig,
    folder: Path,
    prepared: Prepared,
    probe: Probe | FineTuning,
    tested: Tested,
    lesson: Lesson,
    seconds: dict[str, float],
) -> dict[str, Any]:
    """The contract of ARCHITECTURE: what ``--json`` prints and metrics.json keeps."""
    extraction, info, table = prepared.extraction, prepared.built.info, prepared.table
    return {
        "schema": 1,
        "run": str(folder),
        "model": str(folder / "model"),
        "method": config.method,
        "backbone": {
            "name": prepared.built.source.name,
            "architecture": info.architecture,
            "digest": info.weights_digest,
            "licence": info.licence,
            "origin": info.origin,
        },
        "data": {
            "source": config.data,
            "images": len(table),
            "classes": lesson.classes,
            "splits": {
                name: int((table.splits == name).sum())
                for name in ("train", "val", "test")
                if (table.splits == name).any()
            },
            "splits_assigned": prepared.assigned,
            "rejected": len(table.rejected),
            "skipped": len(table.skipped),
            "findings": len(prepared.findings),
        },
        "evaluation": tested.evaluation.to_dict(),
        "leaks": {
            "images": tested.n_leaked,
            "evaluation_without": tested.without_leaks.to_dict() if tested.without_leaks else None,
        },
        "baselines": {name: estimate.to_dict() for name, estimate in tested.baselines.items()},
        "chosen": {
            "taps": list(probe.representation_.taps),
            "head": config.head,
            "strength": probe.strength_,
            "temperature": probe.temperature_,
            "by": probe.chosen_by_,
            "candidates": [candidate.to_dict() for candidate in probe.candidates_],
            "strength_curve": probe.curve_,
        },
        "layers": layer_curve(probe),
        **({"training": probe.training_} if isinstance(probe, FineTuning) else {}),
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "features": {
            "computed": extraction.computed,
            "from_store": extraction.from_store,
            "engine": f"{info.runtime} {info.precision}",
            "pass": extraction.report.to_dict(),
        },
    }


# Enough of a digest to tell a picture: two of a million images agree by chance once in 10^7.
DIGEST_BYTES = 8


def digests_in_text(digests: Sequence[bytes]) -> str:
    """Content digests, shortened, as base64: what a model has learnt from.

    Examples
    --------
    >>> digests_from_text(digests_in_text([b"12345678901234567890"]))
    {b'12345678'}
    """
    return base64.b64encode(b"".join(d[:DIGEST_BYTES] for d in digests)).decode()


def digests_from_text(text: object) -> set[bytes]:
    """The inverse, as a set; empty for anything else."""
    try:
        data = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except ValueError:
        return set()
    return {data[i : i + DIGEST_BYTES] for i in range(0, len(data), DIGEST_BYTES)}


def layer_curve(probe: Probe | FineTuning) -> list[dict[str, Any]]:
    """Left-out accuracy of each stage alone and of the final features, from early to late."""
    alone = {c.taps[0]: c for c in probe.candidates_ if len(c.taps) == 1}
    ordered = [tap.name for tap in probe.available if tap.name in alone]
    return [
        {"tap": name, "accuracy": alone[name].accuracy, "loss": alone[name].loss}
        for name in ordered
    ]


def write(
    room: Path,
    config: RunConfig,
    content: dict[str, Any],
    prepared: Prepared,
    lesson: Lesson,
    proba: NDArray[Any],
) -> None:
    """The files of a finished run but its model, into the folder that will be the run's."""
    runs.write_json(room / "metrics.json", content)
    table = prepared.table
    runs.write_json(
        room / "findings.json",
        {
            "rejected": [r._asdict() for r in table.rejected],
            "skipped": [s._asdict() for s in table.skipped],
            "findings": [finding.to_dict() for finding in prepared.findings],
        },
    )
    reported = lesson.roles.reports
    paths = [table.shown(path) for path in table.paths[reported]]
    labels = list(table.labels[reported])
    write_predictions(room / runs.PREDICTIONS, paths, proba, lesson.classes, labels=labels)
    runs.write_json(
        room / runs.RUN_FILE,
        {
            "schema": 1,
            "config": config.to_dict(),
            "environment": runs.environment(),
            "recipe": prepared.extraction.recipe.digest,
            "weights": prepared.built.info.weights_digest,
            "seconds": content["seconds"],
        },
    )
    (room / runs.LOG).touch()


def write_predictions(
    file: Path,
    paths: list[str],
    proba: NDArray[Any],
    classes: list[str],
    *,
    labels: list[Any] | None = None,
    rejected: Any = (),
) -> None:
    """A CSV with a row per image: the label, its probability, and all classes (or the first five).

    Rejected files are rows too, with their reason in the column ``error``.
    """
    shows_all = len(classes) <= MAX_CLASS_COLUMNS
    with open(file, "w", newline="", encoding="utf-8", errors="backslashreplace") as stream:
        writer = csv.writer(stream)
        known = ["label"] if labels is not None else []
        extra = [f"p({c})" for c in classes] if shows_all else ["top_5"]
        writer.writerow(["path", *known, "predicted", "probability", *extra, "error"])
        for row, path in enumerate(paths):
            p = proba[row]
            best = int(p.argmax())
            values = [f"{v:.5f}" for v in p] if shows_all else [_top_words(p, classes)]
            given = [labels[row]] if labels is not None else []
            writer.writerow([path, *given, classes[best], f"{p[best]:.5f}", *values, ""])
        for bad in rejected:
            blanks = [""] * (len(known) + 2 + len(extra))
            writer.writerow([bad.path, *blanks, bad.reason])


def _top_words(p: NDArray[Any], classes: list[str]) -> str:
    order = np.argsort(-p, kind="stable")[:5]
    return " ".join(f"{classes[i]}={p[i]:.5f}" for i in order)
