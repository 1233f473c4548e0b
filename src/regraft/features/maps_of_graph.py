"""The maps of a default backbone's stages, from the graph that pools them: no PyTorch is needed.

The engine's own graph, already filled and proven, ends with the mean and the maximum of each
stage's map, and the mean of the last one. Its maps are what stands before these. Pooled by hand,
they must give the engine's own features.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.backbones import topology
from regraft.features import subgraphs
from regraft.features.agreement import agreement
from regraft.features.engine import run_on_cores
from regraft.features.engines import BuiltEngine

# What pools a map in the graph, by the type of its operation.
_POOLS = {"ReduceMean", "AdaptiveAvgPool"}


def find_or_build(
    built: BuiltEngine, part: str, *, example: NDArray[np.uint8]
) -> subgraphs.Subgraph | None:
    """The maps of all stages as a part of a built engine, as `regraft.features.maps` gives them.

    Parameters
    ----------
    part : str
        The name under which it is kept.
    example : (n, H, W, 3) uint8
        Real pictures, on which the maps are compared with the engine's features.

    Returns
    -------
    Subgraph or None
        None if the network is none whose topology comes along, or its maps do not agree.
    """
    if topology.find(built.info.architecture) is None or built.device != "cpu":
        return None
    try:
        return subgraphs.find_or_make(built, part, partial(_make, built, example))
    except OSError:
        raise
    except Exception:  # whatever OpenVINO raises; PyTorch can still build them
        return None


def _make(built: BuiltEngine, example: NDArray[np.uint8], folder: Path) -> Mapping[str, Any]:
    from regraft.features.openvino_engine import GRAPH, OpenVINOEngine, openvino
    from regraft.features.openvino_runtime import graph_work

    names = [name for name, _ in built.info.widths]
    with graph_work:
        model = openvino.Core().read_model(built.folder / GRAPH)
        maps = dict(zip(names, _maps(model), strict=True))
        shapes = {name: [int(n) for n in one.get_shape()] for name, one in maps.items()}
        openvino.save_model(_by_position(model, maps.values()), folder / GRAPH, False)
    found = {name: [height, width, 0, n] for name, (_, n, height, width) in shapes.items()}
    # No blob is kept: it would not be found again once the folder has its name.
    runner = OpenVINOEngine(folder, replace(built.info), keeps_blob=False)
    _require_same(built, run_on_cores(runner, example, batch_size=1), found, example)
    return {"maps": found, "pooling": "mean"}


def _maps(model: Any) -> Iterator[Any]:
    """The outputs that the graph pools, stage by stage, then the last map."""
    (result,) = model.get_results()
    pooled = result.input_value(0).get_node()
    parts = [pooled.input_value(place) for place in range(pooled.get_input_size())]
    for part in [*parts[:-1:2], parts[-1]]:
        yield _pooled_by(part).input_value(0)


def _pooled_by(part: Any) -> Any:
    """The operation that pools, before those that only turn its result into a row."""
    operation = part.get_node()
    while operation.get_type_name() not in _POOLS:
        operation = operation.input_value(0).get_node()
    return operation


def _by_position(model: Any, maps: Any) -> Any:
    """A graph of the same pictures that gives the maps, each as (P, C), one after the other."""
    from openvino import Model
    from openvino import opset13 as ops

    rows = [
        ops.reshape(ops.transpose(one, np.array([0, 2, 3, 1])), np.array([1, -1]), False)
        for one in maps
    ]
    return Model([ops.concat(rows, 1)], model.get_parameters(), "maps")


def _require_same(
    built: BuiltEngine,
    rows: NDArray[np.float32],
    shapes: Mapping[str, list[int]],
    example: NDArray[np.uint8],
) -> None:
    """ValueError unless the maps, pooled by hand, are the engine's features."""
    info = built.info
    wanted = run_on_cores(built.engine(), example, batch_size=1)
    pooled, start = [], 0
    for name, (height, width, _, n_channels) in shapes.items():
        stop = start + height * width * n_channels
        one = rows[:, start:stop].reshape(len(rows), height * width, n_channels)
        pooled += [one.mean(1)] if name == "final" else [one.mean(1), one.max(1)]
        start = stop
    found = agreement(np.concatenate(pooled, axis=1), wanted, info.taps, info.precision)
    if problem := found.problem():
        raise ValueError(f"the maps are not those of the features: {problem}")
