"""A classifier as an ONNX file, traced by PyTorch; its names and geometry are kept in it too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch

import regraft
from regraft.machine import quiet
from regraft.model.export_inputs import Input
from regraft.model.export_network import WholeNetwork, examples_of
from regraft.probe.classifier import Classifier

FILE = "model.onnx"
# Read by onnxruntime 1.13 (2022) and later, and by what browsers and phones have of it.
OPSET = 17


def write(
    module: WholeNetwork, folder: Path, inputs: Sequence[Input], *, takes_many: bool = True
) -> Path:
    """Write ``model.onnx``.

    Parameters
    ----------
    module : WholeNetwork
    folder : Path
    inputs : sequence of Input
    takes_many : bool
        Any number of pictures at once, not one.

    Raises
    ------
    Exception
        Whatever PyTorch raises on an operation that ONNX lacks.
    """
    names = [one.name for one in inputs]
    free = {name: {0: "N"} for name in (*names, *module.outputs)} if takes_many else None
    path = folder / FILE
    with torch.no_grad(), quiet.no_warnings():  # of branches on shapes, and of the older exporter
        torch.onnx.export(
            module,
            examples_of(inputs, takes_many=takes_many),
            str(path),
            dynamo=False,  # 1.3 s; by way of torch.export it takes 9
            input_names=names,
            output_names=list(module.outputs),
            dynamic_axes=free,
            opset_version=OPSET,
        )
    return path


def describe(path: Path, classifier: Classifier) -> None:
    """Write the names into the file's own metadata, where viewers and runtimes show them."""
    model = onnx.load(path, load_external_data=False)
    facts = {"names": json.dumps(classifier.classes), "made_by": f"regraft {regraft.__version__}"}
    onnx.helper.set_model_props(model, facts)
    onnx.save(model, path)
