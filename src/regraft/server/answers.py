"""One picture in, `predict`'s JSON object out: the same function writes both."""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from regraft.data.table import Rejected
from regraft.model import tested_promises
from regraft.model.predicting import Predictions
from regraft.probe.answers import Answers
from regraft.probe.doubts import Levels
from regraft.server.models import Served
from regraft.server.upload import SMALLER, Upload

TOP = 3


@dataclass(frozen=True)
class Wanted:
    """What an answer shall hold.

    Attributes
    ----------
    top : int
        Classes, the most probable first.
    heatmap : bool
        Where the model looked, as a PNG in base64.
    levels : Levels
        Of sets, "none of these", and of what may stand alone.
    """

    top: int = TOP
    heatmap: bool = False
    levels: Levels = field(default_factory=Levels)


def answer(served: Served, upload: Upload, wanted: Wanted) -> dict[str, Any]:
    """The object that `regraft predict --json` prints for this picture, under the name it came by.

    ``{"path", "label", "probability", "top"}``, or ``{"path", "error", "mend"}`` where it cannot
    be read; what `levels` ask for and `heatmap` are added where they are wanted.
    """
    if upload.problem:
        return refused(served, upload.name, upload.problem, SMALLER)
    found = served.classifier.answer(upload.data, **asdict(wanted.levels))
    row = row_of(served, upload.name, found, wanted)
    if wanted.heatmap and "error" not in row:
        row["heatmap"] = heatmap(served, upload.data, int(found.proba[0].argmax()))
    return row


def cautions(served: Served, wanted: Wanted) -> dict[str, list[str]]:
    """``{"cautions"}``: what is not to be counted on of what was asked for, as the model's own test
    found; nothing where all of it was kept."""
    missed = tested_promises.missed(served.classifier.card, wanted.levels)
    return {"cautions": list(tested_promises.cautions(missed, mark=""))} if missed else {}


def row_of(served: Served, name: str, found: Answers, wanted: Wanted) -> dict[str, Any]:
    """The row of the one picture that was answered."""
    if found.rejected:
        return refused(served, name, found.rejected[0].reason, found.rejected[0].mend)
    classes, levels = served.classifier.classes, wanted.levels
    predicted = Predictions([name], classes, found.proba, (), doubts=found.doubts, levels=levels)
    return next(predicted.rows(wanted.top))


def refused(served: Served, name: str, reason: str, mend: str) -> dict[str, Any]:
    """The row of a picture that is not read."""
    bad = Rejected(name, reason, mend)
    classes = served.classifier.classes
    return next(Predictions([], classes, np.zeros((0, len(classes))), (bad,)).rows())


def heatmap(served: Served, data: bytes, code: int) -> dict[str, str]:
    """Where the model looked for a class: ``{"label", "method", "png"}``, the PNG in base64."""
    png, method = served.heat.png(data, code)
    label = served.classifier.classes[code]
    return {"label": label, "method": method, "png": base64.b64encode(png).decode()}


def inferred(served: Served, upload: Upload) -> tuple[str, Any, str]:
    """Label, probabilities ``(K,)`` and error of one picture, as tensors hold them."""
    if upload.problem:
        return no_inference(served, upload.problem)
    found = served.classifier.answer(upload.data)
    if found.rejected:
        return no_inference(served, found.rejected[0].reason)
    return served.classifier.classes[int(found.proba[0].argmax())], found.proba[0], ""


def no_inference(served: Served, reason: str) -> tuple[str, Any, str]:
    """What stands in the place of a picture that is not read: no label, zeros, the reason."""
    return "", np.zeros(len(served.classifier.classes)), reason
