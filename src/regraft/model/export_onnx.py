"""A classifier as an ONNX file, traced by PyTorch; its names and geometry are kept in it too."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import torch

import regraft
from regraft.machine import quiet
from regraft.model.export_network import WholeNetwork
from regraft.model.export_outputs import PIXELS
from regraft.probe.classifier import Classifier

FILE = "model.onnx"
# Read by onnxruntime 1.13 (2022) and later, and by what browsers and phones have of it.
OPSET = 17


def write(
    module: WholeNetwork, folder: Path, size: tuple[int, int], *, takes_many: bool = True
) -> Path:
    """Write ``model.onnx``.

    Parameters
    ----------
    module : WholeNetwork
    folder : Path
    size : (height, width)
        Of the pictures.
    takes_many : bool
        Any number of pictures at once, not one.

    Raises
    ------
    Exception
        Whatever PyTorch raises on an operation that ONNX lacks.
    """
    n = 2 if takes_many else 1
    example = torch.zeros(n, *size, 3, dtype=torch.uint8)
    named = {name: {0: "N"} for name in (PIXELS, *module.outputs)} if takes_many else None
    path = folder / FILE
    with torch.no_grad(), quiet.no_warnings():  # of branches on shapes, and of the older exporter
        torch.onnx.export(
            module,
            (example,),
            str(path),
            dynamo=False,  # 1.3 s; by way of torch.export it takes 9
            input_names=[PIXELS],
            output_names=list(module.outputs),
            dynamic_axes=named,
            opset_version=OPSET,
        )
    return path


def describe(path: Path, classifier: Classifier) -> None:
    """Write the names into the file's own metadata, where viewers and runtimes show them."""
    model = onnx.load(path, load_external_data=False)
    facts = {"names": json.dumps(classifier.classes), "made_by": f"regraft {regraft.__version__}"}
    onnx.helper.set_model_props(model, facts)
    onnx.save(model, path)
