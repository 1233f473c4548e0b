"""What lies beside an exported model: names, facts, ``preprocess.py``, golden images, a README."""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import runpy
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import regraft
from regraft.backbones.catalog import file_digest as digest_of_file
from regraft.features.engine import EngineInfo
from regraft.model import export_preprocess
from regraft.model.export_outputs import MEANINGS, PIXELS, levels_of, outputs_of
from regraft.model.export_runtimes import Outputs, Runner
from regraft.probe.classifier import Classifier

__all__ = ["digest_of_file"]

LABELS, MODEL = "labels.json", "model.json"
PREPROCESS = export_preprocess.NAME
GOLDEN = "golden"
# In the folder of the golden images.
TENSORS, SEEN, ANSWERS = "tensors.npy", "features.npy", "answers.json"
N_GOLDEN = 8


def write_words(folder: Path, classifier: Classifier, info: EngineInfo) -> None:
    """Write ``labels.json`` and ``preprocess.py``."""
    (folder / LABELS).write_text(_json(list(classifier.classes)), encoding="utf-8")
    text = export_preprocess.text(info.preprocess)
    (folder / PREPROCESS).write_text(text, encoding="utf-8")


def facts_of(
    classifier: Classifier, info: EngineInfo, *, target: str, takes_many: bool
) -> dict[str, Any]:
    """What ``model.json`` says of a model, but for its files and how it was compared."""
    height, width = info.preprocess.input_px
    n = "N" if takes_many else 1
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
        "input": {
            "name": PIXELS,
            "type": "uint8",
            "shape": [n, height, width, 3],
            "colours": "RGB, 0 to 255; the graph normalises",
        },
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
        },
        "score": {"accuracy": card.get("accuracy"), "images": card.get("n")},
        "tested_with": card.get("tested_with"),
        "backbone": {
            "name": info.name,
            "architecture": info.architecture,
            "digest": info.weights_digest,
            "licence": info.licence,
            "origin": info.origin,
        },
        "versions": {"regraft": regraft.__version__, "python": platform.python_version()},
    }


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
    geometry = json.dumps(classifier.info.preprocess.to_dict(), sort_keys=True)
    for text in (
        *classifier.classes, classifier.info.weights_digest, geometry,
        repr(float(classifier.temperature)), json.dumps(classifier.representation.to_config()),
    ):  # fmt: skip
        total.update(text.encode("utf-8", "surrogateescape") + b"\0")
    for part in (classifier.head, classifier.representation):
        for name, values in sorted(part.to_tensors().items()):
            total.update(f"{name}{values.shape}{values.dtype}".encode())
            total.update(np.ascontiguousarray(values).tobytes())
    return total.hexdigest()


def preprocess_in(folder: Path) -> Callable[[Any], NDArray[np.uint8]]:
    """The function of the folder's own ``preprocess.py``."""
    function: Callable[[Any], NDArray[np.uint8]]
    function = runpy.run_path(str(folder / PREPROCESS))["preprocess"]
    return function


def write_golden(folder: Path, images: Any, runner: Runner, classes: tuple[str, ...]) -> None:
    """Copy some images; beside them their tensors and what the exported model says of these.

    Parameters
    ----------
    images : RealPictures
    runner : Runner
        The exported file at work.
    """
    golden, preprocess = folder / GOLDEN, preprocess_in(folder)
    golden.mkdir()
    rows: list[dict[str, Any]] = []
    tensors = []
    for path, name in zip(images.paths, images.names, strict=True):
        with contextlib.suppress(ValueError):  # a kind that preprocess.py does not read
            tensors.append(preprocess(path))
            rows.append({"file": f"{len(rows)}{Path(path).suffix.lower()}", "was": Path(name).name})
            shutil.copyfile(path, golden / rows[-1]["file"])
    if rows:
        outputs = runner(np.stack(tensors))
        _add_answers(rows, outputs, classes)
        np.save(golden / TENSORS, np.stack(tensors))
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
