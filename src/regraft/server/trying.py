"""What the model of now says of a picture: the answer, the set, where it looked, what is near."""

from __future__ import annotations

import base64
import threading
from pathlib import Path
from typing import Any

import numpy as np

from regraft.data.table import ImageTable
from regraft.errors import UsageError
from regraft.explain.cam import MAPS
from regraft.features import extract, maps_of_graph
from regraft.features.engines import BuiltEngine
from regraft.images.pictures import InMemory
from regraft.images.reading import read_file
from regraft.model import saving
from regraft.probe.classifier import Classifier
from regraft.probe.doubts import EVERY, Levels
from regraft.server.heat import HeatMaps
from regraft.server.refusals import Refusal
from regraft.teaching import leaving, lists
from regraft.teaching.classroom import Classroom
from regraft.teaching.lesson import Taught
from regraft.teaching.names import OWN
from regraft.teaching.project import Picture

# Nearest labelled pictures that are shown, and classes of an answer.
N_NEAR, N_TOP = 6, 5
# Of sets: how often they hold the class.
COVERAGE = 0.9


class Trying:
    """The classroom's newest classifier, asked; what is dear is made once for each lesson."""

    def __init__(self, room: Classroom) -> None:
        self.room, self._lock = room, threading.Lock()
        self._of: Taught | None = None
        self._classifier: Classifier | None = None
        self._heat: HeatMaps | None = None

    def answer(self, data: bytes) -> dict[str, Any]:
        """All that is said of a picture; 422 where it cannot be read."""
        taught = self._taught()
        features = self._features(data)
        classifier = self._knowing(taught)
        proba, doubts = classifier.answers_of(features, EVERY)
        row, best = proba[0], np.argsort(-proba[0], kind="stable")
        png, method = self._maps(taught).png(data, int(best[0]))
        found = lists.nearest(features[0], self.room.project, self.room.sight, n=N_NEAR)
        typical = None if doubts.typical is None else float(doubts.typical[0])
        return {
            "label": classifier.classes[best[0]],
            "top": [[classifier.classes[k], round(float(row[k]), 4)] for k in best[:N_TOP]],
            "typical": typical,
            **_none_of_these(classifier, typical),
            **_set_of(classifier, features),
            "heatmap": {"png": base64.b64encode(png).decode(), "method": method},
            "near": [
                {"number": one.number, "label": one.label, "similarity": round(cosine, 3)}
                for one, cosine in found
            ],
        }

    def heat(self, one: Picture, label: str | None) -> tuple[bytes, str]:
        """Where it looks for a class, by default for that which it would name."""
        taught = self._taught()
        assert taught.classifier is not None
        classes = taught.classifier.classes
        if label in classes:
            code = classes.index(str(label))
        else:
            code = int(taught.proba[one.number].argmax()) if one.number in taught.proba else 0
        return self._maps(taught).png(read_file(self.room.project.path(one)), code)

    def near(self, one: Picture) -> list[dict[str, Any]]:
        """The labelled pictures that are most like one."""
        sight = self.room.sight
        if one not in sight:
            return []
        found = lists.nearest(
            sight.features([one])[0], self.room.project, sight, n=N_NEAR, but=one.number
        )
        return [
            {"number": other.number, "label": other.label, "similarity": round(cosine, 3)}
            for other, cosine in found
        ]

    def odd(self) -> dict[str, Any]:
        """Pictures like nothing that was learnt, or why none can be told yet."""
        taught = self.room.taught
        if taught.classifier is None:
            return {"pictures": []}
        try:
            found = lists.odd_ones(self._knowing(taught), self.room.project, self.room.sight)
        except UsageError as error:
            return {"pictures": [], "why_none": _too_few(error)}
        return {"pictures": [{"number": one, "typical": round(p, 4)} for one, p in found]}

    def keep(self) -> dict[str, Any]:
        """The model of now as a model's folder, as `regraft predict` and `evaluate` take it."""
        taught = self._taught()
        name = f"quick-{taught.version}"
        folder = self.room.project.folder / OWN / "runs" / name / "model"
        leaving.write_table(self.room.project)
        saving.save(self._knowing(taught), folder, card=card_of(taught, self.room.project.folder))
        return {"name": name, "model": str(folder)}

    def _taught(self) -> Taught:
        taught = self.room.taught
        if taught.classifier is None:
            raise UsageError("there is no model yet", cure=taught.missing)
        return taught

    def _knowing(self, taught: Taught) -> Classifier:
        with self._lock:
            self._forget_other(taught)
            if self._classifier is None:
                self._classifier = taught.knowing_doubt(self.room.sight)
            return self._classifier

    def _maps(self, taught: Taught) -> HeatMaps:
        with self._lock:
            self._forget_other(taught)
            if self._heat is None:
                assert taught.classifier is not None
                self._heat = HeatMaps(taught.classifier)
            return self._heat

    def _forget_other(self, taught: Taught) -> None:
        if self._of is not taught:
            self._of, self._classifier, self._heat = taught, None, None

    def _features(self, data: bytes) -> np.ndarray[Any, Any]:
        table = ImageTable.from_paths([InMemory(data, 0)])
        found = extract.through_store(table, self.room.sight.built, uses_store=False)
        if found.table.rejected:
            bad = found.table.rejected[0]
            raise Refusal(422, bad.reason, cure=bad.mend)
        return found.X


def _none_of_these(classifier: Classifier, typical: float | None) -> dict[str, Any]:
    """Whether it is like nothing that was learnt, or why that cannot be told yet."""
    if typical is None or classifier.unknown is None:
        return {"none_of_these": False}
    try:
        return {"none_of_these": typical <= lists.odd_level(classifier)}
    except UsageError as error:
        return {"none_of_these": False, "why_never_none": _too_few(error)}


def _too_few(error: UsageError) -> str:
    """In the page's words: pictures that it has, and that it needs."""
    n, wanted = error.n, error.wanted
    return f"that needs {wanted} pictures that it learns from, copies counted once; there are {n}"


def _set_of(classifier: Classifier, features: np.ndarray[Any, Any]) -> dict[str, Any]:
    """The classes that it may be, or why none can be promised yet."""
    try:
        proba, doubts = classifier.answers_of(features, Levels(coverage=COVERAGE))
    except UsageError as error:
        return {"set": None, "why_no_set": error.rule}
    if doubts.sets is None:
        return {"set": None, "why_no_set": ""}
    order = np.argsort(-proba[0], kind="stable")
    chosen = [classifier.classes[k] for k in order if doubts.sets[0][k]]
    return {"set": chosen, "coverage": COVERAGE}


def card_of(taught: Taught, folder: Path) -> dict[str, Any]:
    """What is kept beside the model."""
    score = taught.score
    found: dict[str, Any] = {"source": str(folder), "taught": {"version": taught.version}}
    if score is not None:
        found |= {"accuracy": score.accuracy.to_dict(), "n": score.n}
    return found


def prepare_maps(built: BuiltEngine) -> None:
    """The graphs that give heat maps, built once where they need no PyTorch."""
    for one in built.networks:
        size = one.info.preprocess.input_px
        example = np.random.default_rng(0).integers(0, 255, (2, *size, 3), np.uint8)
        maps_of_graph.find_or_build(one, MAPS, example=example)
