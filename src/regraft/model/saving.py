"""Saving a model: the network's bytes are copied, never decoded, and everything appears at once.

Array letters: D features, F final features, K classes, C source classes.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import regraft
from regraft.backbones.catalog import PLAIN
from regraft.backbones.tensor_file import Stored, digest_of, write
from regraft.errors import ArtefactError
from regraft.features.engine import EngineInfo
from regraft.features.engines import BuiltEngine
from regraft.machine import atomic
from regraft.model import config_file
from regraft.model.loading import check_fit, head_of, in_memory
from regraft.probe.classifier import Classifier
from regraft.probe.linear_head import LinearHead
from regraft.probe.source_classifier import (
    classifier_in,
    damaged_network,
    open_network,
)

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


# Where timm looks for the architecture, of a model whose head it cannot express: it finds no such
# model and says so, instead of opening the network with the classes that it once learnt. (It would
# take what follows a full stop for a tag.)
NOT_FOR_TIMM = "none that timm could open (regraft predict, or regraft load() in Python, does)"


def save(
    classifier: Classifier,
    folder: str | os.PathLike[str],
    *,
    card: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model into a folder: all of it or nothing.

    A linear head on the final features replaces the network's own classifier, centring, scale and
    temperature folded in, so that timm opens the folder as a classifier of these classes. A model
    with any other head names no architecture where timm looks for it, and timm refuses it.

    Parameters
    ----------
    classifier : Classifier or fitted ImageClassifier
        Of a network, not of features alone.
    folder : path
        New or empty, or a model, which is then replaced.
    card : mapping, optional
        For JSON: what is kept beside the model, by default what the classifier has of it.

    Raises
    ------
    ArtefactError
        The folder holds something else than a model, or cannot be written.
    WeightsError
        The network's tensors are damaged, or are not those that the features came from.
    ValueError
        The parts do not fit together.

    Examples
    --------
    >>> from regraft.model import load
    >>> save(load("model"), "copy").name
    'copy'
    """
    classifier = in_memory(classifier)
    target = Path(os.path.realpath(folder))
    info = check_parts(classifier)
    _refuse_foreign(target)
    network = _networks_of(classifier.built(), info)
    name = info.config.get("classifier")
    reason = _why_not_timm(network, classifier, info)
    raw = _config(classifier, info, reason)
    raw["regraft"]["extra"] = dict(classifier.card if card is None else card)

    learnt = {f"head.{n}": Stored.from_array(v) for n, v in classifier.head.to_tensors().items()}
    for n, v in classifier.representation.to_tensors().items():
        learnt[f"representation.{n}"] = Stored.from_array(v)
    if classifier.unknown is not None:
        raw["regraft"]["unknown"] = classifier.unknown.to_config()
        for n, v in classifier.unknown.to_tensors().items():
            learnt[f"unknown.{n}"] = Stored.from_array(v)
    if not reason:
        for part, folded in _folded(classifier).items():
            learnt[f"network.{name}.{part}"] = network[f"{name}.{part}"]
            network[f"{name}.{part}"] = folded
    with whole(target) as made:
        files = raw["regraft"]["files"]
        files[config_file.NETWORK] = write(made / config_file.NETWORK, network)
        files[config_file.LEARNT] = write(made / config_file.LEARNT, learnt)
        (made / config_file.CONFIG).write_bytes(config_file.to_text(raw).encode())
    return target


def check_parts(classifier: Classifier) -> EngineInfo:
    """What is known of the classifier's network; ValueError if its parts make no model."""
    classes, temperature, info = classifier.classes, classifier.temperature, classifier.info
    head, representation = classifier.head, classifier.representation
    if info is None:
        raise ValueError("a classifier of features alone has no network that could be saved")
    if len(classes) < 2 or len(set(classes)) < len(classes) or not all(classes):
        raise ValueError(f"classes must be two or more different names, got {classes[:5]}")
    if not (np.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature must be finite and above 0, got {temperature}")
    head_of(head.kind)
    check_fit(classes, representation, head, info)
    unknown = {} if classifier.unknown is None else classifier.unknown.to_tensors()
    tensors = {**head.to_tensors(), **representation.to_tensors(), **unknown}
    for name, values in tensors.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError(f"tensor {name!r} holds numbers that are not finite")
    return info


def _why_not_timm(network: Mapping[str, Stored], classifier: Classifier, info: EngineInfo) -> str:
    """Why the network's own classifier cannot be the learnt one; '' if it can."""
    head, representation = classifier.head, classifier.representation
    if info.parts:
        return f"the head stands on {len(info.parts)} networks side by side, {info.name}"
    if info.look != PLAIN:
        return f"the head sees pictures and their mirror images, averaged (look {info.look!r})"
    if not isinstance(head, LinearHead):
        return f"the head is of the kind {head.kind!r}, not linear"
    if not representation.is_linear:
        return f"the head sees {', '.join(representation.taps)}, not the final features alone"
    return classifier_in(network, info.config.get("classifier"), info.widths[-1][1])


def _folded(classifier: Classifier) -> dict[str, Stored]:
    """Centring, scale and temperature folded into weight ``(K, F)`` and bias ``(K,)``."""
    head, representation = classifier.head, classifier.representation
    assert isinstance(head, LinearHead)
    weight = head.weight.astype(np.float64) * representation.scale / classifier.temperature
    bias = head.bias.astype(np.float64) / classifier.temperature - weight @ representation.centre
    return {
        "weight": Stored.from_array(weight.astype(np.float32)),
        "bias": Stored.from_array(bias.astype(np.float32)),
    }


def _config(classifier: Classifier, info: EngineInfo, reason: str) -> dict[str, Any]:
    classes = classifier.classes
    n_source = int(info.config.get("num_classes") or 0)
    pretrained = _pretrained(info.networks[0])
    n_classes = n_source if reason else len(classes)
    labels = {} if reason else {"label_names": list(classes)}
    return {
        "architecture": f"{NOT_FOR_TIMM}: {reason}".replace(".", " ")
        if reason
        else info.architecture,
        "num_classes": n_classes,
        "num_features": sum(one.widths[-1][1] for one in info.networks),
        **labels,
        "pretrained_cfg": {**pretrained, "num_classes": n_classes},
        "regraft": {
            "format": config_file.FORMAT if info.parts or info.look != PLAIN else 1,
            "classes": list(classes),
            "labels": {
                "type": classifier.label_type.kind,
                "dtype": classifier.label_type.dtype,
            },
            "method": classifier.method,
            "head": {"kind": classifier.head.kind},
            "representation": classifier.representation.to_config(),
            "temperature": float(classifier.temperature),
            **_network_in_config(info),
            **_several_in_config(info),
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


def _network_in_config(info: EngineInfo) -> dict[str, Any]:
    look = {} if info.look == PLAIN else {"look": info.look}
    return {
        "widths": [list(pair) for pair in info.widths],
        "preprocess": info.preprocess.to_dict(),
        "backbone": {
            "name": info.name,
            "architecture": info.architecture,
            "digest": info.weights_digest,
            "licence": info.licence,
            "origin": info.origin,
            "num_classes": int(info.config.get("num_classes") or 0),
            "variant": info.variant,
            **look,
        },
        "engine": {"runtime": info.runtime, "precision": info.precision},
    }


def _several_in_config(info: EngineInfo) -> dict[str, Any]:
    """Each of several networks by itself, in the order of their tensors' prefixes."""
    if not info.parts:
        return {}
    return {
        "networks": [
            {**_network_in_config(part), "pretrained_cfg": _pretrained(part)} for part in info.parts
        ]
    }


def _pretrained(info: EngineInfo) -> dict[str, Any]:
    return {k: v for k, v in info.config.items() if k not in _NOT_OURS}


def _networks_of(built: BuiltEngine, info: EngineInfo) -> dict[str, Stored]:
    """The tensors of a network by timm's names; of several each with the network's prefix."""
    found: dict[str, Stored] = {}
    for number, (one, known) in enumerate(zip(built.networks, info.networks, strict=True)):
        network = open_network(one.weights_path)
        _check_network(network, known, one.weights_path)
        prefix = config_file.prefix_of(number) if info.parts else ""
        found |= {f"{prefix}{name}": tensor for name, tensor in network.items()}
    return found


def _check_network(network: Mapping[str, Stored], info: EngineInfo, path: Path) -> None:
    found = digest_of(network)
    if found != info.weights_digest:
        raise damaged_network(
            path, f"digest of its tensors {found}, expected {info.weights_digest}"
        )


def _refuse_foreign(target: Path) -> None:
    """Only a model, an empty folder or nothing may stand where the model goes."""
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise ArtefactError("there is a file where the model's folder should go", place=str(target))
    names = set(os.listdir(target))
    strange = sorted(names - {config_file.CONFIG, config_file.NETWORK, config_file.LEARNT})
    if strange or (names and config_file.CONFIG not in names):
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
        return b'"regraft"' in (target / config_file.CONFIG).read_bytes()
    except OSError:
        return False


@contextmanager
def whole(
    target: Path,
    *,
    what: str = "model",
    cure: str = "make room, or give a folder that can be written",
) -> Iterator[Path]:
    """A folder that takes the target's name when whole.

    Raises
    ------
    ArtefactError
        It cannot be written; `what` names it.
    """
    try:
        with atomic.folder(target) as made:
            yield made
    except OSError as error:
        raise ArtefactError(
            f"the {what} cannot be written: {error.strerror or error}",
            place=str(target),
            cure=cure,
        ) from error
