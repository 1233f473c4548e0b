"""What lies beside an exported model: names, facts, ``preprocess.py``, golden images, a README."""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import runpy
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import regraft
from regraft.backbones.catalog import PLAIN
from regraft.backbones.catalog import file_digest as digest_of_file
from regraft.features.engine import EngineInfo
from regraft.model import export_preprocess
from regraft.model.export_inputs import Input, inputs_of, seen_by, stacked
from regraft.model.export_outputs import MEANINGS, levels_of, outputs_of
from regraft.model.export_runtimes import Outputs, Runner
from regraft.probe.classifier import Classifier

__all__ = ["digest_of_file"]

LABELS, MODEL = "labels.json", "model.json"
PREPROCESS = export_preprocess.NAME
GOLDEN = "golden"
# In the folder of the golden images.
SEEN, ANSWERS = "features.npy", "answers.json"
N_GOLDEN = 8


def write_words(folder: Path, classifier: Classifier, info: EngineInfo) -> None:
    """Write ``labels.json`` and ``preprocess.py``, of several geometries one for each."""
    (folder / LABELS).write_text(_json(list(classifier.classes)), encoding="utf-8")
    for one in inputs_of(info):
        (folder / one.script).write_text(export_preprocess.text(one.preprocess), encoding="utf-8")


def facts_of(
    classifier: Classifier, info: EngineInfo, *, target: str, takes_many: bool
) -> dict[str, Any]:
    """What ``model.json`` says of a model, but for its files and how it was compared."""
    n = "N" if takes_many else 1
    inputs = [_input_of(one, n) for one in inputs_of(info)]
    card = classifier.card
    shapes = {
        "probabilities": [n, len(classifier.classes)],
        "features": [n, len(classifier.representation.centre)],
        "oddness": [n],
    }
    return {
        "schema": 1,
        "made_by": f"regraft {regraft.__version__}",
        "target": target,
        "precision": "fp32",
        # The first, and all of them: networks of several geometries have one for each.
        "input": inputs[0],
        "inputs": inputs,
        "outputs": [
            {"name": name, "type": "float32", "shape": shapes[name], "is": MEANINGS[name]}
            for name in outputs_of(classifier)
        ],
        # From a share of false alarms to the oddness above which it is none of these.
        "none_of_these": levels_of(classifier.unknown) if classifier.unknown else None,
        "geometry": info.preprocess.to_dict(),
        "model": {
            "digest": identity_of(classifier),
            "method": classifier.method,
            "classes": len(classifier.classes),
            "label_type": classifier.label_type.kind,
            "taps": list(classifier.representation.taps),
            "head": classifier.head.kind,
            "temperature": float(classifier.temperature),
            "look": info.look,
        },
        "score": {"accuracy": card.get("accuracy"), "images": card.get("n")},
        "tested_with": card.get("tested_with"),
        "backbone": info.provenance,
        "networks": [
            _network_of(one, inputs[place]["name"])
            for one, place in zip(info.networks, seen_by(info), strict=True)
        ],
        "versions": {"regraft": regraft.__version__, "python": platform.python_version()},
    }


def _input_of(one: Input, n: str | int) -> dict[str, Any]:
    return {
        "name": one.name,
        "type": "uint8",
        "shape": [n, *one.size, 3],
        "colours": "RGB, 0 to 255; the graph normalises",
        "made_by": one.script,
        "golden": f"{GOLDEN}/{one.tensors}",
    }


def _network_of(info: EngineInfo, input_name: str) -> dict[str, Any]:
    """One of several networks, or the only one, and which input it sees."""
    return {**info.provenance, "sees": input_name, "geometry": info.preprocess.to_dict()}


def write_facts(folder: Path, facts: Mapping[str, Any], **more: Any) -> None:
    """Write ``model.json``, with the digests of the files that are there."""
    names = [name for name in files_in(folder) if name != MODEL]
    files = {name: digest_of_file(folder / name) for name in names}
    (folder / MODEL).write_text(_json({**facts, **more, "files": files}), encoding="utf-8")


def files_in(folder: Path) -> list[str]:
    """Paths of all files below a folder, from there."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def identity_of(classifier: Classifier) -> str:
    """A digest of all that decides a classifier's answers, in hex."""
    total = hashlib.sha256()
    assert classifier.info is not None
    info = classifier.info
    shown = [json.dumps(one.preprocess.to_dict(), sort_keys=True) for one in info.networks]
    look = [] if info.look == PLAIN else [info.look]
    for text in (
        *classifier.classes, info.weights_digest, *shown, *look,
        repr(float(classifier.temperature)), json.dumps(classifier.representation.to_config()),
    ):  # fmt: skip
        total.update(text.encode("utf-8", "surrogateescape") + b"\0")
    for part in (classifier.head, classifier.representation):
        for name, values in sorted(part.to_tensors().items()):
            total.update(f"{name}{values.shape}{values.dtype}".encode())
            total.update(np.ascontiguousarray(values).tobytes())
    return total.hexdigest()


def preprocess_in(folder: Path, name: str = PREPROCESS) -> Callable[[Any], NDArray[np.uint8]]:
    """The function of the folder's own ``preprocess.py``, or of another script of the kind."""
    function: Callable[[Any], NDArray[np.uint8]]
    function = runpy.run_path(str(folder / name))["preprocess"]
    return function


def write_golden(
    folder: Path, images: Any, runner: Runner, classes: tuple[str, ...], inputs: Sequence[Input]
) -> None:
    """Copy some images; beside them their tensors and what the exported model says of these.

    Parameters
    ----------
    images : RealPictures
    runner : Runner
        The exported file at work.
    inputs : sequence of Input
    """
    golden = folder / GOLDEN
    scripts = [preprocess_in(folder, one.script) for one in inputs]
    golden.mkdir()
    rows: list[dict[str, Any]] = []
    shown = []
    for path, name in zip(images.paths, images.names, strict=True):
        with contextlib.suppress(ValueError):  # a kind that preprocess.py does not read
            shown.append([preprocess(path) for preprocess in scripts])
            rows.append({"file": f"{len(rows)}{Path(path).suffix.lower()}", "was": Path(name).name})
            shutil.copyfile(path, golden / rows[-1]["file"])
    if rows:
        tensors = stacked(shown)
        outputs = runner(*tensors)
        _add_answers(rows, outputs, classes)
        for one, pixels in zip(inputs, tensors, strict=True):
            np.save(golden / one.tensors, pixels)
        np.save(golden / SEEN, outputs.features)
    (golden / ANSWERS).write_text(_json(rows), encoding="utf-8")


def _add_answers(rows: list[dict[str, Any]], outputs: Outputs, classes: tuple[str, ...]) -> None:
    for place, row in enumerate(rows):
        row["label"] = classes[int(outputs.probabilities[place].argmax())]
        row["probabilities"] = [float(f"{v:.7g}") for v in outputs.probabilities[place]]


def _json(content: Any) -> str:
    try:
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:  # a class named by a folder whose name is no UTF-8
        text = json.dumps(content, indent=1, allow_nan=False)
    return text + "\n"
