"""Building the engine of a default backbone without PyTorch: its topology, filled with its weights.

The weights come from their package or from a saved model. The released ones are held against what
PyTorch said of the same made-up pictures (`regraft.backbones.topology`), in full precision and in
the engine's own. Weights that learnt on have no such answers: for them stands that the same
topology is right with the released ones, and their own precision is held against full precision.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.backbones import catalog, side_by_side, tensor_file, torch_file
from regraft.backbones.tensor_file import Stored, TensorFileError, digest_of
from regraft.backbones.topology import Topology, find
from regraft.errors import WeightsError
from regraft.features import graph_check
from regraft.features.agreement import made_up_pictures
from regraft.features.engine import EngineInfo
from regraft.features.graph_check import OnlyInFullPrecisionError
from regraft.features.openvino_engine import GRAPH, openvino
from regraft.features.openvino_runtime import graph_work
from regraft.images.geometry import Preprocess
from regraft.machine import extras
from regraft.machine.package_version import version_of
from regraft.machine.processor import precision

_RELEASED = {pinned.weights_digest for pinned in catalog.PINNED.values()}


def topology_of(source: catalog.Source, device: str) -> Topology | None:
    """The topology that an engine of this backbone can be made of here, or None.

    What learnt on is built with PyTorch where that is installed, which can then vouch for it.
    """
    if device != "cpu" or source.kind not in ("pinned", "artefact"):
        return None
    is_released = source.weights_digest in _RELEASED
    return find(source.architecture) if is_released or not extras.has("torch") else None


def build_into(folder: Path, source: catalog.Source, topology: Topology) -> EngineInfo:
    """Write graph and tensors of a backbone into `folder`; what it became is returned.

    Raises
    ------
    WeightsError
        The weights' file is damaged, or not that of this network.
    Exception
        Whatever OpenVINO raises, or a disagreement with PyTorch.
    """
    tensors, config = _tensors_and_config(source, topology)
    tensor_file.write(folder / "weights.safetensors", tensors)
    info = _described(source, topology, config)
    _write_graph(folder, topology, tensors, info)
    try:
        return replace(info, check=_checked(folder, topology, tensors, info))
    except OnlyInFullPrecisionError as error:
        note = f"{info.architecture} runs in fp32, slower than in bf16 ({error})"
        return replace(info, precision="fp32", check=error.check, notes=(note,))


def _tensors_and_config(
    source: catalog.Source, topology: Topology
) -> tuple[dict[str, Stored], dict[str, Any]]:
    """The network's tensors under timm's names, proven by their digest; and timm's config of it."""
    if source.kind == "pinned":
        path = catalog.proven_weights_file(source.name)
        given, config = _read(torch_file.read, path), dict(topology.config)
    else:
        assert source.path is not None
        path = source.path
        given, config = _of_model(path, source.prefix)
    tensors = topology.under_timms_names(given, place=str(path))
    found = digest_of(tensors)
    if found != source.weights_digest:  # it would be kept as the engine of the named weights
        raise WeightsError(
            f"the network's digest is {found[:16]}…, expected {source.weights_digest[:16]}…",
            place=str(path),
            cure="train and save the model again" if source.kind == "artefact" else "",
        )
    return tensors, config


def _of_model(folder: Path, prefix: str) -> tuple[dict[str, Stored], dict[str, Any]]:
    """The network inside a saved model, one of several by its prefix: the learnt classifier gives
    way to its own."""
    known = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    ours = side_by_side.network_in(known, prefix)
    config = {**ours["pretrained_cfg"], "num_classes": ours["backbone"]["num_classes"]}
    network = side_by_side.under(prefix, _read(tensor_file.read, folder / "model.safetensors"))
    learnt = _read(tensor_file.read, folder / "regraft.safetensors")
    return {**network, **side_by_side.under("network.", learnt)}, config


def _read(read: Any, path: Path) -> Mapping[str, Stored]:
    try:
        found: Mapping[str, Stored] = read(path)
    except (OSError, TensorFileError) as error:
        raise WeightsError(
            f"weights file {path.name!r} cannot be read as tensors: {error}", place=str(path)
        ) from error
    return found


def _described(source: catalog.Source, topology: Topology, config: Mapping[str, Any]) -> EngineInfo:
    changed = catalog.changed_by(config, source.changed) if source.changed else dict(config)
    return EngineInfo(
        name=source.name,
        architecture=topology.architecture,
        weights_digest=source.weights_digest,
        licence=source.licence,
        origin=source.origin,
        preprocess=Preprocess.from_timm(changed),
        widths=topology.widths,
        runtime=f"openvino {version_of('openvino')}",
        precision=precision(),
        config=changed,
        variant=source.variant,
    )


def _write_graph(
    folder: Path, topology: Topology, tensors: Mapping[str, Stored], info: EngineInfo
) -> None:
    """The topology with these weights, for pictures of this size and normalisation."""
    preprocess = info.preprocess
    constants = topology.filled(tensors, mean=preprocess.mean, std=preprocess.std)
    with graph_work:
        model = openvino.Core().read_model(topology.xml, openvino.Tensor(constants))
        model.reshape([1, *preprocess.input_px, 3])
        openvino.save_model(model, folder / GRAPH, compress_to_fp16=False)


def _checked(
    folder: Path, topology: Topology, tensors: Mapping[str, Stored], info: EngineInfo
) -> dict[str, Any]:
    """How far the graph is from PyTorch; that of another size is, as it was released."""
    if not info.variant:
        return _agreeing(folder, topology, info)
    released = replace(info, preprocess=Preprocess.from_timm(topology.config))
    with tempfile.TemporaryDirectory(prefix="regraft-") as made:
        _write_graph(Path(made), topology, tensors, released)
        return _agreeing(Path(made), topology, released)


def _agreeing(folder: Path, topology: Topology, info: EngineInfo) -> dict[str, Any]:
    pixels: NDArray[np.uint8] = made_up_pictures(*info.preprocess.input_px)
    if info.weights_digest in _RELEASED:
        wanted = topology.features
        return graph_check.check_graph(folder, info, info.taps, pixels, wanted)
    if info.precision == "fp32":
        return {}
    wanted = graph_check.features_in("fp32", folder, info, pixels)
    return {
        info.precision: graph_check.in_own_precision(folder, info, info.taps, pixels, wanted, {})
    }
