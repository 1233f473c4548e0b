"""The network's own last layer, as a source of features: what its source classes say of a picture.

Array letters: N images, F final features, C source classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regraft.backbones import tensor_file
from regraft.backbones.tensor_file import Stored, TensorFileError
from regraft.errors import WeightsError
from regraft.features import engine
from regraft.features.engines import BuiltEngine
from regraft.probe.base import Floats

# Names of taps: the source classes, and the final features.
SOURCE, FINAL = "source", engine.FINAL
# A source classifier of fewer classes says too little of a picture to be a tap.
MIN_SOURCE_CLASSES = 10


@dataclass(frozen=True, eq=False)
class SourceClassifier:
    """The network's own last layer: ``(C, F)`` weights and ``(C,)`` bias over C source classes."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    @property
    def taps(self) -> tuple[str, ...]:
        """The names of the taps that it gives."""
        return (SOURCE,)

    def of(self, tap: str) -> SourceClassifier:
        """The one that a tap goes through."""
        return self

    def root_probabilities(self, final: Floats) -> Floats:
        """``(N, F)`` final features to ``(N, C)`` square roots of the source classes' shares."""
        logits = final @ self.weight.T + self.bias
        logits -= logits.max(axis=1, keepdims=True)
        shares: Floats = np.exp(logits / 2, out=logits)  # the square root, before the division
        shares /= np.sqrt(np.einsum("nc,nc->n", shares, shares))[:, None]
        return shares


@dataclass(frozen=True, eq=False)
class SourceClassifiers:
    """Those of several networks side by side, by the names of their taps ('lite2:source')."""

    by_tap: Mapping[str, SourceClassifier]

    @property
    def taps(self) -> tuple[str, ...]:
        """The names of the taps that they give."""
        return tuple(self.by_tap)

    def of(self, tap: str) -> SourceClassifier:
        """The one that a tap goes through."""
        return self.by_tap[tap]


# What a representation needs to see source classes: of one network, or of several.
Sources = SourceClassifier | SourceClassifiers


def is_source(tap: str) -> bool:
    """Whether a tap is the source classes of some network."""
    return engine.stage_of(tap) == SOURCE


def source_classifiers(built: BuiltEngine) -> Sources | None:
    """Those of a built engine, be it of one network or of several; None if there is none."""
    if not built.info.parts:
        return source_classifier(built)
    found = {f"{one.info.name}:{SOURCE}": source_classifier(one) for one in built.networks}
    by_tap = {tap: classifier for tap, classifier in found.items() if classifier is not None}
    return SourceClassifiers(by_tap) if by_tap else None


def source_classifier(built: BuiltEngine) -> SourceClassifier | None:
    """That of a built engine's network; None if it has none of at least ten classes."""
    name = built.info.config.get("classifier")
    if not isinstance(name, str) or built.source.kind == "random":
        return None
    found = read_classifier(built.weights_path, name, built.info.widths[-1][1])
    return found if found is not None and len(found.bias) >= MIN_SOURCE_CLASSES else None


def read_classifier(weights_path: Path, name: str, n_final: int) -> SourceClassifier | None:
    """The network's layer `name` if it maps the ``n_final`` final features to source classes.

    Raises
    ------
    WeightsError
        The file is damaged.
    """
    network = open_network(weights_path)
    if classifier_in(network, name, n_final):
        return None
    try:
        return classifier_of(network, name)
    except ValueError as error:
        raise damaged_network(weights_path, error) from error


def classifier_in(
    network: Mapping[str, Stored], name: object, n_final: int, prefix: str = ""
) -> str:
    """Why the layer `name` is not a linear map of the final features to classes; '' if it is."""
    if not isinstance(name, str) or not name:
        return "the network has no classifier, or more than one"
    weight, bias = (network.get(f"{prefix}{name}.{part}") for part in ("weight", "bias"))
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
    parent = name.rpartition(".")[0]
    if parent and f"{prefix}{parent}.bn.running_mean" in network:
        return f"the network normalises its final features before {name!r}"
    return ""


def classifier_of(network: Mapping[str, Stored], name: str, prefix: str = "") -> SourceClassifier:
    """The layer `name` as float32; ValueError if it is not finite."""
    weight, bias = (
        network[f"{prefix}{name}.{part}"].to_array().astype(np.float32)
        for part in ("weight", "bias")
    )
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise ValueError(f"the network's {name!r} holds numbers that are not finite")
    return SourceClassifier(weight, bias)


def damaged_network(path: Path, reason: object) -> WeightsError:
    """The refusal of a built engine's tensors."""
    return WeightsError(
        f"the network's tensors cannot be used: {reason}",
        place=str(path),
        cure="regraft cache clear --engines   (the engine is then built again)",
    )


def open_network(path: Path) -> dict[str, Stored]:
    """The tensors of a built engine's network; WeightsError if the file is damaged."""
    try:
        return tensor_file.read(path)
    except (OSError, TensorFileError) as error:
        raise damaged_network(path, error) from error
