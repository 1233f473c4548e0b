"""What a finished run writes down: metrics.json, predictions.csv, findings.json, run.json.

``metrics`` is the contract with other programs (docs/architecture.md); it only collects, every
number comes from the rooms.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from regraft.evaluation import Evaluation
from regraft.evaluation.baseline import Baseline
from regraft.evaluation.influence import standard_error, unit_codes
from regraft.evaluation.rates import estimate_accuracy
from regraft.features.engine import FINAL, EngineInfo, network_of, stage_of
from regraft.machine import atomic
from regraft.model import predictions_file
from regraft.model.place import LOG
from regraft.probe.choice import Candidate
from regraft.probe.classifier import Classifier, Learnt
from regraft.record import run_folder
from regraft.record.configuration import RunConfig
from regraft.record.identity import MadeFrom

if TYPE_CHECKING:
    from regraft.workflows.lesson import Lesson
    from regraft.workflows.preparation import Prepared


@dataclass(frozen=True, eq=False)
class Tested:
    """The score on the reported split, without leaked images too, and what stands beside it:
    naive ways to answer, training images that were left out (None if none were), and what its
    promises came to."""

    evaluation: Evaluation
    without_leaks: Evaluation | None
    n_leaked: int
    baselines: dict[str, Baseline]
    left_out: dict[str, Any] | None
    promises: dict[str, Any]


def metrics(
    config: RunConfig,
    folder: Path,
    prepared: Prepared,
    classifier: Classifier,
    tested: Tested,
    lesson: Lesson,
    seconds: dict[str, float],
) -> dict[str, Any]:
    """The contract of ARCHITECTURE: what ``--json`` prints and metrics.json keeps."""
    learnt = classifier.learnt
    assert learnt is not None
    extraction, info, table = prepared.extraction, prepared.built.info, prepared.table
    return {
        "schema": 1,
        "run": str(folder),
        "model": str(folder / "model"),
        "method": config.method,
        "backbone": {
            **_network(info),
            "name": prepared.built.source.name,
            "look": info.look,
            **({"networks": [_network(one) for one in info.parts]} if info.parts else {}),
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
            "counts": {str(split or "none"): n for split, n in table.counts().items()},
            "rejected": len(table.rejected),
            "skipped": len(table.skipped),
            "readings": [reading.words for reading in table.readings],
            "findings": len(prepared.findings),
            "median_side_px": extraction.facts.median_side_px,
        },
        "evaluation": tested.evaluation.to_dict(),
        "leaks": {
            "images": tested.n_leaked,
            "evaluation_without": tested.without_leaks.to_dict() if tested.without_leaks else None,
        },
        "left_out": tested.left_out,
        **tested.promises,
        "baselines": {name: baseline.to_dict() for name, baseline in tested.baselines.items()},
        "chosen": {
            "taps": list(classifier.representation.taps),
            "head": learnt.head or config.head,
            "strength": learnt.strength,
            "temperature": classifier.temperature,
            "temperature_fitted": len(learnt.oof_rows) > 0,
            "by": learnt.chosen_by,
            "measured": learnt.judged.to_dict(lesson.classes) if learnt.judged else None,
            "candidates": [candidate.to_dict() for candidate in learnt.candidates],
            "strength_curve": learnt.curve,
        },
        "layers": layer_curve(learnt),
        **({"training": dict(learnt.training)} if learnt.training is not None else {}),
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "features": {
            "computed": extraction.computed,
            "known": extraction.known,
            "from_store": extraction.from_store,
            **({"from_parts": extraction.from_parts} if extraction.from_parts else {}),
            "engine": f"{info.runtime} {info.precision}",
            "pass": extraction.report.to_dict(),
        },
    }


def _network(info: EngineInfo) -> dict[str, Any]:
    """What stands of a network; of several the digest is over all, the input the first one's."""
    return {**info.provenance, "input_px": list(info.preprocess.input_px)}


def layer_curve(learnt: Learnt) -> list[dict[str, Any]]:
    """Left-out accuracy of each stage alone and of the final features, from early to late.

    With its 95 % interval, and how far it is below the best one: both judged the same images, so
    the standard error is that of the paired difference.
    """
    # The first of a stage is its better head; all of them judged by the same images.
    ones = [found for found in learnt.candidates if len(found.taps) == 1]
    alone = {found.taps[0]: found for found in reversed(ones)}
    alone = {tap: alone[tap] for tap in dict.fromkeys(found.taps[0] for found in ones)}
    # Stages were compared in their order; the final features come last, network by network.
    in_order = sorted(alone, key=lambda tap: stage_of(tap) == FINAL)
    networks = dict.fromkeys(map(network_of, in_order))
    shown = [alone[tap] for one in networks for tap in in_order if network_of(tap) == one]
    return [_point(stage, max(shown, key=lambda found: found.accuracy)) for stage in shown]


def _point(stage: Candidate, best: Candidate) -> dict[str, Any]:
    found = estimate_accuracy(stage.is_right, groups=unit_codes(stage.units))
    below = best.is_right.astype(float) - stage.is_right
    return {
        "tap": stage.taps[0],
        "accuracy": stage.accuracy,
        "loss": stage.loss,
        "low": found.low,
        "high": found.high,
        "below_best": best.accuracy - stage.accuracy,
        "below_best_error": standard_error(below, stage.units),
    }


def write(
    folder: Path,
    config: RunConfig,
    made_from: MadeFrom,
    content: dict[str, Any],
    prepared: Prepared,
    lesson: Lesson,
    proba: NDArray[Any],
) -> None:
    """The files of a finished run but its model, into the folder that will be the run's."""
    atomic.write_json(folder / "metrics.json", content)
    table = prepared.table
    atomic.write_json(
        folder / "findings.json",
        {
            "rejected": [r._asdict() for r in table.as_shown(table.rejected)],
            "skipped": [s._asdict() for s in table.as_shown(table.skipped)],
            "findings": [finding.to_dict() for finding in prepared.findings],
        },
    )
    reported = lesson.roles.reports
    paths = [table.shown(path) for path in table.paths[reported]]
    groups = None if table.groups is None else list(table.groups[reported])
    predictions_file.write(
        folder / run_folder.PREDICTIONS, paths, proba, lesson.classes,
        labels=list(table.labels[reported]), groups=groups,
    )  # fmt: skip
    atomic.write_json(
        folder / run_folder.RUN_FILE,
        {
            "schema": 1,
            "config": config.to_dict(),
            "made_from": made_from.to_dict(),
            "environment": run_folder.environment(),
            "recipe": prepared.extraction.recipe.digest,
            "weights": prepared.built.info.weights_digest,
            "seconds": content["seconds"],
        },
    )
    (folder / LOG).touch()
