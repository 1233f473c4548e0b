"""A classifier as OpenVINO's IR: the engines' own graphs, with representation and head added.

No PyTorch is needed: the graph of the network is there, and what follows is a dozen operations.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.backbones.catalog import FLIP
from regraft.errors import UsageError
from regraft.features.engines import BuiltEngine
from regraft.features.openvino_runtime import graph_work, import_openvino
from regraft.model.export_inputs import Input, inputs_of, seen_by
from regraft.model.export_layers import LEAST_LENGTH, layers_of
from regraft.model.export_outputs import outputs_of
from regraft.probe.classifier import Classifier
from regraft.probe.distance import LEAST
from regraft.probe.representation import Block, Representation
from regraft.probe.source_classifier import is_source
from regraft.probe.unknown import Unknown

FILE = "model.xml"


def write(
    classifier: Classifier, built: BuiltEngine, folder: Path, *, takes_many: bool = True
) -> Path:
    """Write ``model.xml`` and ``model.bin``, in full precision, with the names in them.

    Raises
    ------
    UsageError
        PyTorch runs this network here, since OpenVINO does not.
    """
    _require_graphs(built)
    openvino, inputs = import_openvino(), inputs_of(built.info)
    with graph_work:
        shown = [_shown(one) for one in inputs]
        parts = [
            part
            for one, place in zip(built.networks, seen_by(built.info), strict=True)
            for part in _seen(one, shown[place])
        ]
        results = []
        answer = _answer(_ops().concat(parts, 1).output(0), classifier)
        for name, output in zip(outputs_of(classifier), answer, strict=True):
            output.get_tensor().set_names({name})
            results.append(_ops().result(output))
        model = openvino.Model(results, shown, "regraft")
        if takes_many:
            _free(model)
        model.set_rt_info(json.dumps(classifier.classes), ["model_info", "labels"])
        return _saved(model, folder)


def _require_graphs(built: BuiltEngine) -> None:
    for info in built.info.networks:
        if not info.runtime.startswith("openvino"):
            raise UsageError(
                f"OpenVINO does not run {info.architecture} here, so there is no graph of it: "
                + "; ".join(info.notes),
                cure="--to onnx, or --to torch",
            )


def _shown(one: Input) -> Any:
    """The parameter of an input, one picture, under its name."""
    parameter = _ops().parameter([1, *one.size, 3], np.uint8, name=one.name)
    parameter.output(0).get_tensor().set_names({one.name})
    return parameter


def _seen(built: BuiltEngine, shown: Any) -> list[Any]:
    """What one network's engine joins as its columns; with the look 'flip' the mean of a picture's
    and its mirror image's."""
    seen = _pooled(built, shown)
    if built.info.look != FLIP:
        return seen
    ops = _ops()
    mirrored = _pooled(built, _mirrored(shown))
    return [
        ops.multiply(ops.add(a, b), np.float32(0.5)).output(0)
        for a, b in zip(seen, mirrored, strict=True)
    ]


def _mirrored(shown: Any) -> Any:
    """With left and right exchanged: columns from the last to the first."""
    last, before_first, back, columns = (
        np.array([number], np.int64) for number in (-1, np.iinfo(np.int32).min, -1, 2)
    )
    return _ops().slice(shown, last, before_first, back, columns)


def _pooled(built: BuiltEngine, shown: Any) -> list[Any]:
    """The parts of the columns of an engine's graph, which now takes what is shown."""
    read = import_openvino().Core().read_model(str(built.folder / "graph.xml"))
    read.input(0).replace(shown.output(0))
    columns = read.get_results()[0].input_value(0)
    node = columns.get_node()
    return list(node.input_values()) if node.get_type_name() == "Concat" else [columns]


def _free(model: Any) -> None:
    """Any number of pictures: where a shape says that there is one, it says "as many as came"."""
    openvino, ops = import_openvino(), _ops()
    for node in model.get_ops():
        if node.get_type_name() != "Reshape" or not _is_for_one(node):
            continue
        came, shape = node.input_value(0), node.input_value(1).get_node().get_data()
        freed = ops.reshape(came, np.array([0, *shape[1:]], np.int64), special_zero=True)
        node.output(0).replace(freed.output(0))
    model.reshape({shown: openvino.PartialShape([-1, *shown.shape[1:]]) for shown in model.inputs})


def _is_for_one(reshape: Any) -> bool:
    came, shape = reshape.input_value(0), reshape.input_value(1).get_node()
    if shape.get_type_name() != "Constant" or came.get_partial_shape().rank.is_dynamic:
        return False
    return bool(shape.get_data()[0] == 1) and str(came.get_partial_shape()[0]) == "1"


def of_onnx(path: Path, folder: Path, classifier: Classifier) -> Path:
    """Write an ONNX file of the same classifier as ``model.xml`` and ``model.bin``."""
    openvino = import_openvino()
    with graph_work:
        model = openvino.Core().read_model(str(path))
        model.set_rt_info(json.dumps(classifier.classes), ["model_info", "labels"])
        return _saved(model, folder)


def _saved(model: Any, folder: Path) -> Path:
    """In full precision; files of the same name that are at work are replaced, not written over.

    OpenVINO maps weights into memory: a file that became shorter under it ends the process.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as aside:
        import_openvino().save_model(model, Path(aside) / FILE, compress_to_fp16=False)
        for file in sorted(Path(aside).iterdir()):
            file.replace(folder / file.name)
    return folder / FILE


def _ops() -> Any:
    import_openvino()
    from openvino import opset13

    return opset13


def _answer(columns: Any, classifier: Classifier) -> list[Any]:
    """Probabilities and features of the engine's columns."""
    ops, representation = _ops(), classifier.representation
    parts = [_block(columns, block, representation) for block in representation.blocks]
    together = ops.concat(parts, 1) if len(parts) > 1 else parts[0]
    centred = ops.subtract(together, _row(representation.centre))
    features = ops.multiply(centred, _row(representation.scale))
    scores = features
    for place, (weight, bias) in enumerate(layers_of(classifier.head)):
        scores = _affine(ops.relu(scores) if place else scores, weight, bias)
    softened = ops.divide(scores, np.float32(classifier.temperature))
    found = [ops.softmax(softened, 1), features]
    if classifier.unknown is not None:
        found.append(_oddness(features, scores, classifier.unknown))
    return [node.output(0) for node in found]


def _oddness(features: Any, scores: Any, unknown: Unknown) -> Any:
    """As `Unknown.oddness`."""
    ops, axis = _ops(), np.array([1])
    directions = np.asarray(unknown.distance.directions, np.float32)
    within = ops.matmul(features, directions, False, True)
    square = ops.subtract(
        ops.reduce_sum(ops.multiply(features, features), axis),
        ops.reduce_sum(ops.multiply(within, within), axis),
    )
    log = ops.log(ops.maximum(square, np.float32(LEAST)))
    by_distance, by_score = (np.float32(weight) for weight in unknown.weights)
    top = ops.reduce_max(scores, axis)
    return ops.subtract(ops.multiply(log, by_distance), ops.multiply(top, by_score))


def _block(columns: Any, block: Block, representation: Representation) -> Any:
    ops = _ops()
    rows = _columns(columns, block.start, block.stop)
    if is_source(block.tap):
        assert representation.source is not None
        source = representation.source.of(block.tap)
        return ops.sqrt(ops.softmax(_affine(rows, source.weight, source.bias), 1))
    return _directions(rows) if block.is_normalised else rows


def _columns(columns: Any, start: int, stop: int) -> Any:
    """What the engine joins as these columns; cut out, where it joins nothing just there."""
    ops, node, at = _ops(), columns.get_node(), 0
    for part in node.input_values() if node.get_type_name() == "Concat" else []:
        width = part.get_partial_shape()[1].get_length()
        if (at, at + width) == (start, stop):
            return part
        at += width
    one = np.array([1], np.int64)
    return ops.slice(columns, np.array([start]), np.array([stop]), one, one)


def _directions(rows: Any) -> Any:
    """Rows of unit length; divided by their largest number first, so that no square overflows."""
    ops, least, axis = _ops(), np.float32(LEAST_LENGTH), np.array([1])
    largest = ops.reduce_max(ops.absolute(rows), axis, keep_dims=True)
    rows = ops.divide(rows, ops.maximum(largest, least))
    length = ops.sqrt(ops.reduce_sum(ops.multiply(rows, rows), axis, keep_dims=True))
    return ops.divide(rows, ops.maximum(length, least))


def _affine(rows: Any, weight: NDArray[Any], bias: NDArray[Any]) -> Any:
    ops = _ops()
    product = ops.matmul(rows, np.asarray(weight, np.float32), False, True)
    return ops.add(product, _row(bias))


def _row(values: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)[None]
