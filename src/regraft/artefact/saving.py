"""Saving a model: the network's bytes are copied, never decoded, and everything appears at once.

Array letters: D features, F final features, K classes, C source classes.
"""

from __future__ import annotations

import os
import platform
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import regraft
from regraft.artefact import config as configs
from regraft.artefact.loading import check_fit, classifier_in, classifier_of, head_of
from regraft.artefact.tensor_file import (
    Stored,
    TensorFile,
    TensorFileError,
    digest_of,
    write,
)
from regraft.errors import ArtefactError, WeightsError
from regraft.features.engines import EngineInfo
from regraft.methods.base import Head
from regraft.methods.linear_head import LinearHead
from regraft.methods.representation import Representation, SourceClassifier

# What timm's config says of where its weights came from, or of the classes they were trained
# for; neither is true of the saved model.
_NOT_OURS = {
    "url",
    "file",
    "state_dict",
    "hf_hub_id",
    "hf_hub_filename",
    "source",
    "custom_load",
    "label_offset",
    "label_names",
    "label_descriptions",
}


def save(
    folder: str | os.PathLike[str],
    *,
    classes: tuple[str, ...],
    representation: Representation,
    head: Head,
    temperature: float,
    info: EngineInfo,
    weights_path: Path,
    method: str,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model into a folder: all of it or nothing.

    A linear head on the final features replaces the network's own classifier, centring, scale and
    temperature folded in, so that timm opens the folder as a classifier of these classes.

    Parameters
    ----------
    folder : path
        New or empty, or a model, which is then replaced.
    classes : tuple of K str
        In the order of the head's scores.
    weights_path : Path
        The network's tensors (`BuiltEngine.weights_path`).
    extra : mapping, optional
        For JSON; kept under ``regraft.extra`` and never read.

    Raises
    ------
    ArtefactError
        The folder holds something else than a model, or cannot be written.
    WeightsError
        The network's tensors are damaged, or are not those that the features came from.
    ValueError
        The parts do not fit together.
    """
    target = Path(os.path.realpath(folder))
    _check_parts(classes, representation, head, temperature, info)
    _refuse_foreign(target)
    file = _open_network(weights_path)
    name = info.config.get("classifier")
    reason = _why_not_timm(file, representation, head, info)
    raw = _config(classes, representation, head, temperature, info, method, reason)
    raw["regraft"]["extra"] = dict(extra or {})

    learnt = {f"head.{n}": Stored.from_array(v) for n, v in head.to_tensors().items()}
    for n, v in representation.to_tensors().items():
        learnt[f"representation.{n}"] = Stored.from_array(v)
    with _written(target) as room, file.mapped() as network:
        _check_network(network, info, weights_path)
        if not reason:
            assert isinstance(head, LinearHead)
            for part, folded in _folded(representation, head, temperature).items():
                learnt[f"network.{name}.{part}"] = network[f"{name}.{part}"]
                network[f"{name}.{part}"] = folded
        files = raw["regraft"]["files"]
        files[configs.NETWORK] = write(room / configs.NETWORK, network)
        files[configs.LEARNT] = write(room / configs.LEARNT, learnt)
        (room / configs.CONFIG).write_bytes(configs.to_text(raw).encode())
    return target


def read_classifier(weights_path: Path, name: str, n_final: int) -> SourceClassifier | None:
    """The network's layer `name` if it maps the ``n_final`` final features to source classes.

    Raises
    ------
    WeightsError
        The file is damaged.
    """
    file = _open_network(weights_path)
    if classifier_in(file, name, n_final):
        return None
    try:
        return classifier_of(file, name)
    except ValueError as error:
        raise _damaged(weights_path, error) from error


def _check_parts(
    classes: tuple[str, ...],
    representation: Representation,
    head: Head,
    temperature: float,
    info: EngineInfo,
) -> None:
    if len(classes) < 2 or len(set(classes)) < len(classes) or not all(classes):
        raise ValueError(f"classes must be two or more different names, got {classes[:5]}")
    if not (np.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature must be finite and above 0, got {temperature}")
    head_of(head.kind)
    check_fit(classes, representation, head, info)
    tensors = {**head.to_tensors(), **representation.to_tensors()}
    for name, values in tensors.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError(f"tensor {name!r} holds numbers that are not finite")


def _why_not_timm(
    file: TensorFile, representation: Representation, head: Head, info: EngineInfo
) -> str:
    """Why the network's own classifier cannot be the learnt one; '' if it can."""
    if not isinstance(head, LinearHead):
        return f"the head is of the kind {head.kind!r}, not linear"
    if not representation.is_linear:
        return f"the head sees {', '.join(representation.taps)}, not the final features alone"
    return classifier_in(file, info.config.get("classifier"), info.widths[-1][1])


def _folded(
    representation: Representation, head: LinearHead, temperature: float
) -> dict[str, Stored]:
    """Centring, scale and temperature folded into weight ``(K, F)`` and bias ``(K,)``."""
    weight = head.weight.astype(np.float64) * representation.scale / temperature
    bias = head.bias.astype(np.float64) / temperature - weight @ representation.centre
    return {
        "weight": Stored.from_array(weight.astype(np.float32)),
        "bias": Stored.from_array(bias.astype(np.float32)),
    }


def _config(
    classes: tuple[str, ...],
    representation: Representation,
    head: Head,
    temperature: float,
    info: EngineInfo,
    method: str,
    reason: str,
) -> dict[str, Any]:
    n_source = int(info.config.get("num_classes") or 0)
    pretrained = {k: v for k, v in info.config.items() if k not in _NOT_OURS}
    n_classes = n_source if reason else len(classes)
    labels = {} if reason else {"label_names": list(classes)}
    return {
        "architecture": info.architecture,
        "num_classes": n_classes,
        "num_features": info.widths[-1][1],
        **labels,
        "pretrained_cfg": {**pretrained, "num_classes": n_classes},
        "regraft": {
            "format": configs.FORMAT,
            "classes": list(classes),
            "method": method,
            "head": {"kind": head.kind},
            "representation": representation.to_config(),
            "temperature": float(temperature),
            "widths": [list(pair) for pair in info.widths],
            "preprocess": info.preprocess.to_dict(),
            "backbone": {
                "name": info.name,
                "digest": info.weights_digest,
                "licence": info.licence,
                "origin": info.origin,
                "num_classes": n_source,
                "variant": info.variant,
            },
            "engine": {"runtime": info.runtime, "precision": info.precision},
            "timm": not reason,
            "timm_reason": reason,
            "files": {},
            "versions": {
                "regraft": regraft.__version__,
                "python": platform.python_version(),
                "numpy": np.__version__,
            },
        },
    }


def _open_network(path: Path) -> TensorFile:
    try:
        return TensorFile.open(path)
    except (OSError, TensorFileError) as error:
        raise _damaged(path, error) from error


def _check_network(network: Mapping[str, Stored], info: EngineInfo, path: Path) -> None:
    found = digest_of(network)
    if found != info.weights_digest:
        raise _damaged(path, f"digest of its tensors {found}, expected {info.weights_digest}")


def _damaged(path: Path, reason: object) -> WeightsError:
    return WeightsError(
        f"the network's tensors cannot be used: {reason}",
        place=str(path),
        cure="regraft cache clear --engines   (the engine is then built again)",
    )


def _refuse_foreign(target: Path) -> None:
    """Only a model, an empty folder or nothing may stand where the model goes."""
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise ArtefactError("there is a file where the model's folder should go", place=str(target))
    names = set(os.listdir(target))
    strange = sorted(names - {configs.CONFIG, configs.NETWORK, configs.LEARNT})
    if strange or (names and configs.CONFIG not in names):
        found = ", ".join(map(repr, (strange or sorted(names))[:3]))
        raise ArtefactError(
            f"the folder holds what is not part of a model: {found}",
            place=str(target),
            cure="give a new folder, or empty this one",
        )
    if names and not _is_ours(target):
        raise ArtefactError(
            "the folder holds a model that Regraft did not save",
            place=str(target),
            cure="give a new folder, or empty this one",
        )


def _is_ours(target: Path) -> bool:
    try:
        return b'"regraft"' in (target / configs.CONFIG).read_bytes()
    except OSError:
        return False


@contextmanager
def _written(target: Path) -> Iterator[Path]:
    """A room beside the target that takes its name when whole.

    No system call swaps two folders everywhere, so a model that is there already steps aside
    first and goes when the new one stands. Killed between, both are whole, under hidden names.
    """
    tail = secrets.token_hex(4)
    room = target.parent / f".regraft-saving-{tail}"
    aside = target.parent / f".regraft-replaced-{tail}"
    try:
        room.mkdir(parents=True)
        yield room
        if target.exists():
            os.rename(target, aside)
        os.rename(room, target)
    except OSError as error:
        raise ArtefactError(
            f"the model cannot be written: {error.strerror or error}",
            place=str(target),
            cure="make room, or give a folder that can be written",
        ) from error
    finally:
        if aside.exists() and not target.exists():
            os.rename(aside, target)
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(room, ignore_errors=True)
