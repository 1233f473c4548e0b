"""A saved model, loaded: everything is checked, nothing is run, nothing but tensors is read.

Array letters: N images, D0 features as the pass leaves them, D represented features, K classes.
"""

from __future__ import annotations

import importlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.artefact import config as configs
from regraft.artefact.tensor_file import TensorFile, TensorFileError
from regraft.backbones import catalog
from regraft.errors import ArtefactError
from regraft.evaluation import softmax
from regraft.features.engines import EngineInfo
from regraft.methods.base import Floats, Head, Tensors
from regraft.methods.representation import (
    SOURCE,
    Representation,
    SourceClassifier,
    blocks_of,
)

# Where the class of each kind of head is; imported when a model has one.
HEADS = {
    "linear": ("regraft.methods.linear_head", "LinearHead"),
    "knn": ("regraft.methods.neighbours", "NeighbourHead"),
    "mlp": ("regraft.methods.mlp_head", "MLPHead"),
}


@dataclass(frozen=True, eq=False)
class Artefact:
    """A classifier as it was saved; its network is built or found by `engines.locate`.

    Attributes
    ----------
    folder : Path
    classes : tuple of K str
        In the order of the columns of :meth:`predict_proba`.
    representation : Representation
    head : Head
    temperature : float
    info : EngineInfo
        The backbone as it was in training: weights digest, preprocessing, taps.
    method : str
    config : dict
        The whole of config.json.

    Examples
    --------
    ::

        model = load("runs/photos-probe-1a2b3c/model")
        built = engines.locate(model.source)
    """

    folder: Path
    classes: tuple[str, ...]
    representation: Representation
    head: Head
    temperature: float
    info: EngineInfo
    method: str
    config: dict[str, Any] = field(repr=False)

    def predict_proba(self, X: Floats) -> NDArray[np.float64]:
        """``(N, D0)`` float32 rows, as the pass leaves them, to ``(N, K)`` probabilities."""
        if X.ndim != 2 or X.shape[1] != self.info.n_features:
            raise ValueError(
                f"expected rows of {self.info.n_features} features, got an array of {X.shape}"
            )
        scores = self.head.scores(self.representation(X))
        return softmax(scores.astype(np.float64), temperature=self.temperature)

    @property
    def source(self) -> catalog.Source:
        """The backbone: found built by its digest, or built from this model's own tensors."""
        return catalog.Source(
            name=self.info.name,
            kind="artefact",
            architecture=self.info.architecture,
            identity=f"digest:{self.info.weights_digest}",
            weights_digest=self.info.weights_digest,
            path=self.folder.absolute(),
            licence=self.info.licence,
            origin=self.info.origin,
            changed=_changed(self.info.variant),
        )


def _changed(variant: str) -> dict[str, Any]:
    """The inverse of `Source.variant`; what is no JSON object finds no engine, and builds its own
    from the config beside it."""
    try:
        found = json.loads(variant) if variant else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def load(folder: str | os.PathLike[str]) -> Artefact:
    """The model that `save` wrote into a folder.

    Raises
    ------
    ArtefactError
        A file is missing, damaged, changed, foreign or newer, or the parts do not fit together.
    """
    folder = Path(folder)
    config = configs.read(folder)
    # The headers first: of a file that was cut off they say so; its digest only says "changed".
    network, learnt = (_open(folder / name) for name in (configs.NETWORK, configs.LEARNT))
    for path in (network.path, learnt.path):
        _check_digest(path, config.files[path.name])
    try:
        tensors = _learnt_tensors(learnt)
        source = _source_classifier(config, network, learnt)
        representation = _representation(config, tensors, source)
        head = _head(config.head_kind, tensors)
        check_fit(config.classes, representation, head, config.info)
        if config.opens_with_timm:
            _check_replaced(config, network)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise ArtefactError(
            f"the parts of the model do not fit together: {what}",
            place=str(folder),
            cure=configs.ANEW,
        ) from error
    return Artefact(
        folder,
        config.classes,
        representation,
        head,
        config.temperature,
        config.info,
        config.method,
        config.raw,
    )


def check_fit(
    classes: tuple[str, ...], representation: Representation, head: Head, info: EngineInfo
) -> None:
    """Whether these parts make one classifier; ValueError says which do not, with both sizes."""
    known = {SOURCE, *(tap.name for tap in info.taps)}
    if unknown := set(representation.taps) - known:
        raise ValueError(f"the representation sees {min(unknown)!r}; stages are {sorted(known)}")
    if representation.blocks != blocks_of(representation.taps, info.taps, representation.source):
        raise ValueError("the representation's blocks are not those of the backbone's stages")
    n_features = sum(_width(representation, block) for block in representation.blocks)
    for name in ("centre", "scale"):
        shape = getattr(representation, name).shape
        if shape != (n_features,):
            raise ValueError(f"representation.{name} is {shape}, expected {(n_features,)}")

    # Asked first where a head says it: of a damaged number of classes it would make an array.
    n_scores = getattr(head, "n_classes", len(classes))
    if n_scores == len(classes):
        n_scores = head.scores(np.zeros((1, n_features), np.float32)).shape[-1]
    if n_scores != len(classes):
        raise ValueError(f"the head gives {n_scores} scores for {len(classes)} classes")


def head_of(kind: str) -> Any:
    """The class of a kind of head; ArtefactError if there is no such kind."""
    if kind not in HEADS:
        raise ArtefactError(
            f"no head is of the kind {kind[:60]!r}; known are {', '.join(HEADS)}",
            cure="pip install --upgrade regraft, if a newer one saved this model",
        )
    module, name = HEADS[kind]
    return getattr(importlib.import_module(module), name)


def classifier_in(file: TensorFile, name: object, n_final: int, prefix: str = "") -> str:
    """Why the layer `name` is not a linear map of the final features to classes; '' if it is."""
    if not isinstance(name, str) or not name:
        return "the network has no classifier, or more than one"
    weight, bias = (file.entries.get(f"{prefix}{name}.{part}") for part in ("weight", "bias"))
    if weight is None or bias is None:
        return f"the network's {name!r} has no weight or no bias"
    if len(weight.shape) != 2 or bias.shape != weight.shape[:1] or not weight.shape[0]:
        return f"the network's {name!r} is no linear layer: weight {weight.shape}"
    if weight.shape[1] != n_final:
        return (
            f"the network's {name!r} takes {weight.shape[1]} features, the last stage has {n_final}"
        )
    if not {weight.kind, bias.kind} <= {"F32", "F16", "BF16"}:
        return f"the network's {name!r} is of kind {weight.kind}"
    room = name.rpartition(".")[0]
    if room and f"{prefix}{room}.bn.running_mean" in file.entries:
        return f"the network normalises its final features before {name!r}"
    return ""


def classifier_of(file: TensorFile, name: str, prefix: str = "") -> SourceClassifier:
    """The layer `name` as float32; ValueError if it is not finite."""
    weight, bias = (
        np.asarray(file.array(f"{prefix}{name}.{part}"), np.float32) for part in ("weight", "bias")
    )
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise ValueError(f"the network's {name!r} holds numbers that are not finite")
    return SourceClassifier(weight, bias)


def _open(path: Path) -> TensorFile:
    try:
        return TensorFile.open(path)
    except FileNotFoundError as error:
        raise ArtefactError(
            f"{path.name} is missing", place=str(path.parent), cure=configs.ANEW
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise ArtefactError(f"{path.name} cannot be read: {reason}", place=str(path)) from error
    except TensorFileError as error:
        raise ArtefactError(
            f"{path.name} is damaged: {error}", place=str(path), cure=configs.ANEW
        ) from error


def _check_digest(path: Path, wanted: str) -> None:
    try:
        found = catalog.file_digest(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ArtefactError(f"{path.name} cannot be read: {reason}", place=str(path)) from error
    if found != wanted:
        raise ArtefactError(
            f"{path.name} was changed: its sha256 is {found}, saved was {wanted}",
            place=str(path),
            cure=configs.ANEW,
            found=found,
            wanted=wanted,
        )


def _learnt_tensors(file: TensorFile) -> Tensors:
    tensors = {name: file.array(name) for name in file.entries if not name.startswith("network.")}
    for name, values in tensors.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError(f"tensor {name!r} holds numbers that are not finite")
    return tensors


def _source_classifier(
    config: configs.Config, network: TensorFile, learnt: TensorFile
) -> SourceClassifier | None:
    """The original network's last layer, where the representation needs it."""
    name = config.info.config.get("classifier")
    file, prefix = (learnt, "network.") if config.opens_with_timm else (network, "")
    if SOURCE not in config.representation["taps"]:
        return None
    if problem := classifier_in(file, name, _n_final(config), prefix):
        raise ValueError(problem)
    return classifier_of(file, str(name), prefix)


def _check_replaced(config: configs.Config, network: TensorFile) -> None:
    name, wanted = config.info.config.get("classifier"), (len(config.classes), _n_final(config))
    entry = network.entries.get(f"{name}.weight")
    if entry is None or entry.shape != wanted:
        raise ValueError(
            f"{configs.NETWORK}: the classifier {name!r} is {entry and entry.shape}, "
            f"expected {wanted}"
        )


def _n_final(config: configs.Config) -> int:
    return config.info.widths[-1][1]


def _representation(
    config: configs.Config, tensors: Tensors, source: SourceClassifier | None
) -> Representation:
    learnt = {name: tensors[f"representation.{name}"] for name in ("centre", "scale")}
    for name, values in learnt.items():
        if values.dtype != np.float64:
            raise ValueError(f"representation.{name} is {values.dtype}, expected float64")
    return Representation.from_saved(config.representation, learnt, source)


def _head(kind: str, tensors: Tensors) -> Head:
    prefix = "head."
    own = {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}
    head: Head = head_of(kind).from_tensors(own)
    return head


def _width(representation: Representation, block: Any) -> int:
    if block.tap != SOURCE:
        return int(block.stop - block.start)
    assert representation.source is not None  # blocks_of has refused it otherwise
    return len(representation.source.bias)
