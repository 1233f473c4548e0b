"""A folder that an image is built from: the model, Regraft as a wheel, a Dockerfile, compose.yaml.

The image has no PyTorch: the graphs of the default backbones come with Regraft. It serves as an
unprivileged user; ``regraft serve`` does the rest.
"""

from __future__ import annotations

import os
import re
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import regraft
from regraft.backbones import topology
from regraft.errors import UsageError
from regraft.listener import SILENT, Doing, Listener
from regraft.model import export_folder, export_wheel
from regraft.model.exporting import Exported, require_free, whole
from regraft.model.saving import check_parts, save
from regraft.probe.classifier import Classifier
from regraft.wording import count

MODEL, WHEELS = "model", "wheels"
_FILES = {
    "Dockerfile": "Dockerfile",
    "compose.yaml": "compose.yaml",
    "README.md": "readme_docker.md",
}


def export(
    classifier: Classifier, out: str | os.PathLike[str], *, listener: Listener = SILENT
) -> Exported:
    """Write the folder; nothing is compared, since the image answers with Regraft itself.

    Raises
    ------
    UsageError
        The model's engine cannot be built without PyTorch.
    ArtefactError
        The folder holds something else, or cannot be written.
    """
    info, folder = check_parts(classifier), Path(os.path.realpath(out))
    require_free(folder)
    needing = [one for one in info.networks if topology.find(one.architecture) is None]
    if needing:
        raise UsageError(
            f"the engine of {needing[0].architecture} is built with PyTorch, which the image "
            "leaves out",
            cure="--to openvino or --to onnx, whose graphs need neither PyTorch nor Regraft; or "
            "train on a default backbone (default, lite1, lite2)",
        )
    listener.say(Doing("writing the model and Regraft itself as a wheel"))
    with whole(folder) as made:
        save(classifier, made / MODEL)
        (made / WHEELS).mkdir()
        export_wheel.write(made / WHEELS)
        for name, template in _FILES.items():
            text = Template(_template(template)).substitute(_words(classifier))
            (made / name).write_text(text, encoding="utf-8")
        facts = {"schema": 1, "made_by": f"regraft {regraft.__version__}", "target": "docker"}
        export_folder.write_facts(made, facts)
        files = export_folder.files_in(made)
    return Exported(folder, "docker", files, {}, "pictures over HTTP", ["labels, probabilities"])


def _words(classifier: Classifier) -> dict[str, Any]:
    return {
        "version": regraft.__version__,
        "classes": count(len(classifier.classes), "class", "classes"),
        "name": _name(classifier),
    }


def _name(classifier: Classifier) -> str:
    """What the model is called in addresses and images: its run's name, as far as these allow."""
    folder = Path(classifier.folder or MODEL)
    called = folder.parent.name if folder.name == MODEL else folder.name
    return re.sub(r"[^a-z0-9]+", "-", called.lower()).strip("-") or "classifier"


def _template(name: str) -> str:
    files = resources.files("regraft.model") / "templates" / f"{name}.txt"
    return files.read_text(encoding="utf-8")
