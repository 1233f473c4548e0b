"""A saved model, loaded: everything is checked, nothing is run, nothing but tensors is read.

Array letters: N images, D0 features as the pass leaves them, D represented features, K classes.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from regraft.backbones import catalog, tensor_file
from regraft.backbones.side_by_side import joined
from regraft.backbones.tensor_file import Stored, TensorFileError
from regraft.data.table import quoted
from regraft.errors import ArtefactError
from regraft.features.engine import FINAL, EngineInfo, stage_of
from regraft.model import config_file
from regraft.model.place import (
    MODEL,
    command_that_goes_on,
    is_unfinished,
    model_in,
    near_models,
    others_there,
    run_with,
    state_of,
)
from regraft.probe.base import Head, Tensors
from regraft.probe.classifier import Classifier
from regraft.probe.representation import Block, Representation, blocks_of, final_beside
from regraft.probe.source_classifier import (
    SOURCE,
    SourceClassifier,
    SourceClassifiers,
    Sources,
    classifier_in,
    classifier_of,
    is_source,
)
from regraft.probe.unknown import Unknown

# Where the class of each kind of head is; imported when a model has one.
HEADS = {
    "linear": ("regraft.probe.linear_head", "LinearHead"),
    "knn": ("regraft.probe.neighbours", "NeighbourHead"),
    "mlp": ("regraft.probe.mlp_head", "MLPHead"),
}


def _changed(variant: str) -> dict[str, Any]:
    """The inverse of `Source.variant`; what is no JSON object finds no engine, and builds its own
    from the config beside it."""
    try:
        found = json.loads(variant) if variant else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def load(folder: str | os.PathLike[str]) -> Classifier:
    """The model that `save` wrote into a folder; its engine is found when the first picture comes.

    Parameters
    ----------
    folder : path
        The model's, or that of the run which it belongs to.

    Raises
    ------
    ArtefactError
        A file is missing, damaged, changed, foreign or newer, or the parts do not fit together.

    Examples
    --------
    >>> model = load("model")
    >>> model.classes, model.method, model.test_score.value >= 0
    (('discs', 'stripes'), 'probe', True)
    """
    folder = model_in(_path(folder))
    for begun in (folder, folder.parent) if folder.name == MODEL else (folder,):
        if is_unfinished(begun) and not os.path.isfile(folder / config_file.CONFIG):
            raise ArtefactError(
                f"{str(begun)!r} {state_of(begun)}; it has no model yet",
                cure=command_that_goes_on(begun),
            )
    _refuse_slip(folder)
    config = config_file.read(folder)
    # The headers first: of a file that was cut off they say so; its digest only says "changed".
    network, learnt = (_open(folder / name) for name in (config_file.NETWORK, config_file.LEARNT))
    for name in (config_file.NETWORK, config_file.LEARNT):
        _check_digest(folder / name, config.files[name])
    try:
        tensors = _learnt_tensors(learnt)
        source = _source_classifier(config, network, learnt)
        representation = _representation(config, tensors, source)
        head = _head(config.head_kind, tensors)
        check_fit(config.classes, representation, head, config.info)
        unknown = _unknown(config, tensors, len(representation.centre))
        if config.opens_with_timm:
            _check_replaced(config, network)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise ArtefactError(
            f"the parts of the model do not fit together: {what}",
            place=str(folder),
            cure=config_file.ANEW,
        ) from error
    return Classifier(
        config.classes,
        representation,
        head,
        config.temperature,
        info=config.info,
        source=_source(folder, config.info),
        method=config.method,
        card=config.card,
        folder=str(folder),
        label_type=config.label_type,
        unknown=unknown,
    )


def opened(model: Any) -> Classifier:
    """A classifier, given as what it is, as what holds one, or as the folder that it lies in."""
    return load(model) if isinstance(model, (str, os.PathLike)) else in_memory(model)


def in_memory(model: Any) -> Classifier:
    """A classifier, given as what it is or as the fitted `ImageClassifier` that holds one."""
    held = getattr(model, "classifier_", model)
    if isinstance(held, Classifier):
        return held
    raise TypeError(
        "expected a Classifier or a fitted ImageClassifier, or where a model is read the path of "
        f"its folder; got {type(model).__name__}"
    )


def _path(folder: Any) -> Path:
    if isinstance(folder, (str, os.PathLike)):
        return Path(folder)
    raise TypeError(f"a model is loaded by the path of its folder, got {type(folder).__name__}")


def _refuse_slip(folder: Path) -> None:
    """A name that all but is that of a model."""
    try:
        is_there = os.path.lexists(folder)
    except ValueError:  # a NUL in the name; said as such when it is read
        return
    if not is_there and (near := near_models(folder)):
        raise ArtefactError(
            f"there is no folder {str(folder)!r}", cure=f"did you mean {quoted(near)}?", near=near
        )
    parts = (config_file.CONFIG, config_file.NETWORK, config_file.LEARNT)
    is_one = any(os.path.isfile(folder / name) for name in parts)
    if not is_one and (
        cure := run_with(folder, f"{MODEL}/{config_file.CONFIG}") or others_there(folder)
    ):
        rule = "is no model" if is_there else "does not exist"
        raise ArtefactError(f"{str(folder)!r} {rule}", cure=cure)


def _source(folder: Path, info: EngineInfo) -> catalog.Source:
    """The backbone: found built by its digest, or built from this model's own tensors."""
    if info.parts:
        parts = [
            replace(_source(folder, part), prefix=config_file.prefix_of(number))
            for number, part in enumerate(info.parts)
        ]
        return replace(joined(parts), white=info.preprocess.white, look=info.look)
    return catalog.Source(
        name=info.name,
        kind="artefact",
        architecture=info.architecture,
        identity=f"digest:{info.weights_digest}",
        weights_digest=info.weights_digest,
        path=folder.absolute(),
        licence=info.licence,
        origin=info.origin,
        changed=_changed(info.variant),
        white=info.preprocess.white,
        look=info.look,
    )


def check_fit(
    classes: tuple[str, ...], representation: Representation, head: Head, info: EngineInfo
) -> None:
    """Whether these parts make one classifier; ValueError says which do not, with both sizes."""
    known = {tap.name for tap in info.taps}
    unknown = {tap for tap in representation.taps if not is_source(tap)} - known
    unknown |= {t for t in representation.taps if is_source(t) and final_beside(t) not in known}
    if unknown:
        raise ValueError(f"the representation sees {min(unknown)!r}; stages are {sorted(known)}")
    known_blocks = blocks_of(representation.taps, info.taps, representation.source)
    if not _are_of(representation.blocks, known_blocks):
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


def _are_of(blocks: tuple[Block, ...], known: tuple[Block, ...]) -> bool:
    """Whether they are these, in any order; a pool of heads may see the final features twice, as
    they are and as directions."""
    either = {
        replace(b, is_normalised=not b.is_normalised) for b in known if stage_of(b.tap) == FINAL
    }
    places = {(b.tap, b.start) for b in blocks}
    return (
        len(set(blocks)) == len(blocks)
        and set(blocks) <= set(known) | either
        and places == {(b.tap, b.start) for b in known}
    )


def head_of(kind: str) -> Any:
    """The class of a kind of head; ArtefactError if there is no such kind."""
    if kind not in HEADS:
        raise ArtefactError(
            f"no head is of the kind {kind[:60]!r}; known are {', '.join(HEADS)}",
            cure="pip install --upgrade regraft, if a newer one saved this model",
        )
    module, name = HEADS[kind]
    return getattr(importlib.import_module(module), name)


def _open(path: Path) -> Mapping[str, Stored]:
    try:
        return tensor_file.read(path)
    except FileNotFoundError as error:
        raise ArtefactError(
            f"{path.name} is missing", place=str(path.parent), cure=config_file.ANEW
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise ArtefactError(f"{path.name} cannot be read: {reason}", place=str(path)) from error
    except TensorFileError as error:
        raise ArtefactError(
            f"{path.name} is damaged: {error}", place=str(path), cure=config_file.ANEW
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
            cure=config_file.ANEW,
            found=found,
            wanted=wanted,
        )


def _learnt_tensors(file: Mapping[str, Stored]) -> Tensors:
    tensors = {n: t.to_array() for n, t in file.items() if not n.startswith("network.")}
    for name, values in tensors.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError(f"tensor {name!r} holds numbers that are not finite")
    return tensors


def _source_classifier(
    config: config_file.Config, network: Mapping[str, Stored], learnt: Mapping[str, Stored]
) -> Sources | None:
    """The original network's last layer, where the representation needs it; of several networks
    those of each that it needs."""
    wanted, parts = [*filter(is_source, config.representation["taps"])], config.info.parts
    if not wanted:
        return None
    if not parts:
        file, prefix = (learnt, "network.") if config.opens_with_timm else (network, "")
        return _last_layer(config.info, file, prefix)
    prefixes = {part.name: config_file.prefix_of(number) for number, part in enumerate(parts)}
    return SourceClassifiers(
        {
            f"{part.name}:{SOURCE}": _last_layer(part, network, prefixes[part.name])
            for part in parts
            if f"{part.name}:{SOURCE}" in wanted
        }
    )


def _last_layer(info: EngineInfo, file: Mapping[str, Stored], prefix: str) -> SourceClassifier:
    name = info.config.get("classifier")
    if problem := classifier_in(file, name, info.widths[-1][1], prefix):
        raise ValueError(problem)
    return classifier_of(file, str(name), prefix)


def _check_replaced(config: config_file.Config, network: Mapping[str, Stored]) -> None:
    name, wanted = config.info.config.get("classifier"), (len(config.classes), _n_final(config))
    found = network.get(f"{name}.weight")
    if found is None or found.shape != wanted:
        raise ValueError(
            f"{config_file.NETWORK}: the classifier {name!r} is {found and found.shape}, "
            f"expected {wanted}"
        )


def _n_final(config: config_file.Config) -> int:
    return config.info.widths[-1][1]


def _representation(
    config: config_file.Config, tensors: Tensors, source: Sources | None
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


def _unknown(config: config_file.Config, tensors: Tensors, n_features: int) -> Unknown | None:
    if config.unknown is None:
        return None
    prefix = "unknown."
    own = {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}
    return Unknown.from_saved(config.unknown, own, n_features, len(config.classes))


def _width(representation: Representation, block: Any) -> int:
    if not is_source(block.tap):
        return int(block.stop - block.start)
    assert representation.source is not None  # blocks_of has refused it otherwise
    return len(representation.source.of(block.tap).bias)
