"""A finished run as pages tell it: read back from its folder, in words and in numbers.

Nothing is computed here that another room computes.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from regraft.choosing import (
    each_network,
    kept,
    layer_curve,
    measured,
    recommendation,
    scenario,
    verdict,
)
from regraft.errors import UsageError
from regraft.evaluation.confusion import Confusion
from regraft.evaluation.metrics import reliability_of
from regraft.model import place, predictions_file
from regraft.record.run_folder import PREDICTIONS, RUN_FILE
from regraft.report import methods_paragraph
from regraft.report.evidence import Evidence
from regraft.report.pictures import data_uri
from regraft.report.said import Said, classes_with_curves
from regraft.training.methods import METHODS

MOST_PAIRS_CALLED = 12
# Classes in a table; of more, the weakest.
MOST_LISTED = 1_000
# Commands that make a run.
OURS = (["train"], ["auto"])


class FinishedRun:
    """A finished run, read back from its folder, as the page tells it.

    Raises
    ------
    UsageError
        The folder holds no finished run, or no evidence.
    """

    def __init__(self, folder: Path) -> None:
        require_finished(folder)
        self.folder = folder
        self.metrics: dict[str, Any] = _json(folder / "metrics.json")
        self.record: dict[str, Any] = _json(folder / RUN_FILE)
        listed = _json(folder / "findings.json")
        self.rejected: list[dict[str, Any]] = listed["rejected"]
        self.findings: list[dict[str, Any]] = listed["findings"]
        found = Evidence.load(folder)
        if found is None:
            raise UsageError(
                f"run {folder.name!r} has nothing to draw pictures from",
                place=str(folder),
                cure="regraft report gathers it again from the data",
            )
        self.evidence = found
        self.content = found.content

    @cached_property
    def groups(self) -> list[str] | None:
        """What each reported image belongs to; None where the data have no groups."""
        found = predictions_file.groups_in(self.folder / PREDICTIONS)
        return found if found is not None and len(found) == len(self.evidence.y) else None

    # -- in words ----------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """What the run was on."""
        return Path(os.path.abspath(self.metrics["data"]["source"])).name

    @property
    def question(self) -> str:
        """What the model answers: 'ants or bees?'"""
        classes = self.metrics["data"]["classes"]
        if len(classes) > 4:
            return f"Which of {len(classes)} classes?"
        return f"{', '.join(classes[:-1])} or {classes[-1]}?"

    @property
    def date(self) -> str:
        """On which the run was finished; empty if it does not say."""
        return str(self.environment.get("date", ""))[:10]

    @property
    def split_in_words(self) -> str:
        """Of the reported split."""
        split = str(self.evaluation["split"])
        return {"val": "validation"}.get(split, split)

    @property
    def taps_in_words(self) -> str:
        """What the head sees."""
        named = {"final": "the network's last features",
                 "source": "its probabilities of the classes that it first learnt"}  # fmt: skip

        def of_one(taps: list[str]) -> str:
            return ", ".join(named.get(tap, f"stage {tap}") for tap in taps)

        look = each_network.look_in_words(self.metrics["backbone"])
        return each_network.in_words(self.metrics["chosen"]["taps"], of_one) + look

    @property
    def other_way(self) -> str:
        """Commands that train in another way and compare."""
        is_probe = not METHODS[self.metrics["method"]].trains
        other = "partial" if is_probe else "probe"
        data = shlex.quote(self.metrics["data"]["source"])
        return (
            f"regraft train {data} --method {other} --run other\n"
            f"regraft report {shlex.quote(str(self.folder))} {shlex.quote('runs/other')}"
        )

    @property
    def method(self) -> str:
        """In words."""
        return kept.network_in_words(self.metrics)

    @property
    def method_name(self) -> str:
        """As it is typed, and whether the probe was kept."""
        return kept.method_in_words(self.metrics)

    @property
    def evaluation(self) -> dict[str, Any]:
        """Of the reported split."""
        found: dict[str, Any] = self.metrics["evaluation"]
        return found

    @property
    def training(self) -> dict[str, Any] | None:
        """What metrics.json says of it, for methods that learn by gradients."""
        found = self.metrics.get("training")
        return found if found and found["epochs"] else None

    @property
    def search(self) -> dict[str, Any] | None:
        """Of `regraft auto`: what was tried, and what was taken by what."""
        found: dict[str, Any] | None = self.metrics.get("auto")
        return found

    @property
    def n_wrong(self) -> int:
        """Mistakes on the reported split."""
        return int((~self.is_right).sum())

    @cached_property
    def verdict(self) -> dict[str, Any]:
        """Whether to trust it, and what to do next, as metrics.json has it; of a run of an earlier
        version, by what that measured."""
        kept: dict[str, Any] | None = self.metrics.get("verdict")
        return kept or verdict.verdict(self.metrics, self.findings).to_dict()

    @property
    def left_out(self) -> dict[str, Any] | None:
        """What training images say that were left out; None if none were."""
        found: dict[str, Any] | None = self.metrics.get("left_out")
        return found

    @property
    def reading(self) -> layer_curve.Reading | None:
        """Of the layer curve, where there is one."""
        points = self.metrics["layers"]
        return layer_curve.read(points, self.n_of_curve) if len(points) > 1 else None

    @property
    def n_of_curve(self) -> int:
        """Images that the curve was measured on."""
        candidates = self.metrics["chosen"]["candidates"]
        return int(candidates[0]["n"]) if candidates else 0

    @property
    def caveat(self) -> str:
        """What could not be measured for its settings."""
        return measured.caveat(self.metrics["chosen"])

    @property
    def temperature_in_words(self) -> str:
        """Where the temperature is from."""
        if measured.is_calibrated(self.metrics["chosen"]):
            return "was fitted to left-out training images"
        return "is a usual one, since no images could be left out to fit it"

    @property
    def scenario(self) -> scenario.Scenario | None:
        """Of the tutorials' four."""
        if len(self.metrics["layers"]) < 2:
            return None
        counts = [of_split.get("train", 0) for of_split in self.content["counts"].values()]
        gain = recommendation.gain_of_stages(self.metrics["chosen"]["candidates"])
        return scenario.read(self.metrics["layers"], self.n_of_curve, counts, gain_of_stages=gain)

    @cached_property
    def paragraph(self) -> tuple[str, list[str]]:
        """For a paper."""
        return methods_paragraph.paragraph(self.metrics, self.environment)

    @property
    def environment(self) -> dict[str, Any]:
        """Versions and machine."""
        found: dict[str, Any] = self.record["environment"]
        return found

    @property
    def commands(self) -> list[str]:
        """That make this run again."""
        typed = self.environment.get("command") or []
        own = [shlex.join(["regraft", *map(str, typed)])] if typed[:1] in OURS else []
        return [*own, f"regraft train --config {shlex.quote(str(self.folder / RUN_FILE))}"]

    @property
    def input_px(self) -> int:
        """The shorter side of what the network sees."""
        config = _json(self.folder / "model" / "config.json")
        return int(min(config["pretrained_cfg"]["input_size"][1:]))

    # -- for pictures ------------------------------------------------------------------------

    def picture(self, number: int | None) -> str:
        """The data of a picture, empty if there is none."""
        if number is None:
            return ""
        return data_uri(self.evidence.album.jpegs[number])

    @cached_property
    def before_temperature(self) -> list[dict[str, Any]]:
        """The reliability table as it was before the temperature."""
        said = self.said
        table = reliability_of(said.called_before == self.evidence.y, said.sureness_before)
        return [
            {"low": low, "high": high, "n": int(n), "confidence": c, "accuracy": a}
            for low, high, n, c, a in zip(
                table.edges[:-1], table.edges[1:], table.n, table.confidence, table.accuracy,
                strict=True,
            )
        ]  # fmt: skip

    @property
    def called(self) -> list[dict[str, Any]]:
        """The most frequent confusions."""
        names = [row["label"] for row in self.evaluation["per_class"]]
        found = self.confusion.mistakes()[:MOST_PAIRS_CALLED]
        return [
            {"n": n, "of": int(self.confusion.true[i]), "label": names[i], "called": names[j]}
            for n, i, j in found
        ]

    @cached_property
    def confusion(self) -> Confusion:
        """What was taken for what."""
        return Confusion.from_dict(self.evaluation)

    @cached_property
    def listed(self) -> list[int]:
        """Codes of the classes that tables have, in order: all, or of very many the weakest."""
        scores = [row["f1"]["value"] for row in self.evaluation["per_class"]]
        order = sorted(range(len(scores)), key=lambda k: (scores[k] is None, scores[k] or 0))
        return sorted(order[:MOST_LISTED])

    @property
    def listed_words(self) -> str:
        """Where these are not all."""
        n = len(self.evaluation["per_class"])
        if len(self.listed) == n:
            return ""
        return f"The weakest {MOST_LISTED:,} of {n:,} classes, by F1; metrics.json has all."

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Images of each class in each split, of the classes that tables have."""
        found: dict[str, dict[str, int]] = self.content["counts"]
        if len(found) <= MOST_LISTED:
            return found
        shown = {self.content["classes"][code] for code in self.listed}
        return {label: n for label, n in found.items() if label in shown}

    @cached_property
    def said(self) -> Said:
        """What was said of each scored image."""
        if self.evidence.said is not None:
            return self.evidence.said
        return Said.of(
            self.evidence.proba, temperature=float(self.metrics["chosen"]["temperature"]),
            codes=classes_with_curves(self.evaluation),
        )  # fmt: skip

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """Whether each scored image is, (R,)."""
        return np.asarray(self.said.called == self.evidence.y)

    @property
    def map_data(self) -> Markup:
        """What hovering shows, as JSON that no browser takes for markup."""
        points = [
            [p["path"], self.content["classes"][p["code"]], p["split"] or "",
             "" if p["called"] in (-1, p["code"]) else self.content["classes"][p["called"]]]
            for p in self.content["map"]["points"]
        ]  # fmt: skip
        text = json.dumps(points).replace("<", "\\u003c").replace(">", "\\u003e")
        return Markup(text.replace("&", "\\u0026"))

    @property
    def splits(self) -> Sequence[str]:
        """In their order."""
        return list(self.metrics["data"]["splits"])

    @property
    def most_in_class(self) -> int:
        """Images of the largest class, over all splits."""
        return max((sum(n.values()) for n in self.content["counts"].values()), default=1)

    @property
    def size_in_mb(self) -> float:
        """Of the model."""
        model = self.folder / "model"
        files = [f for f in model.glob("*") if f.is_file()] if model.is_dir() else []
        return sum(f.stat().st_size for f in files) / 1e6


def require_finished(folder: Path) -> None:
    """UsageError where a folder holds no finished run."""
    if not (folder / RUN_FILE).is_file():
        what = "is no finished run" if os.path.lexists(folder) else "does not exist"
        such_as = "give a folder that `regraft train` made, such as runs/photos-probe-1a2b3c4d"
        own = place.run_with(folder, RUN_FILE)
        cure = own or place.others_there(folder, RUN_FILE) or such_as
        if place.is_unfinished(folder):
            what, cure = place.state_of(folder), place.command_that_goes_on(folder)
        raise UsageError(f"{str(folder)!r} {what}", cure=cure)


def _json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"cannot read {path.name!r} of the run: {error}",
            place=str(path),
            cure="train it again",
        ) from error
    return found
