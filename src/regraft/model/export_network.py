"""A whole classifier as one PyTorch module: pixels in, probabilities and features out.

Array letters: N images, K classes, D features as the head sees them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from regraft.backbones import network
from regraft.backbones.taps import Normalised, StageTaps
from regraft.errors import ArtefactError
from regraft.features.engine import EngineInfo
from regraft.features.engines import BuiltEngine
from regraft.model.export_layers import LEAST_LENGTH, blocks_in_order, layers_of
from regraft.model.export_outputs import outputs_of
from regraft.probe.classifier import Classifier
from regraft.probe.distance import LEAST
from regraft.probe.representation import Block
from regraft.probe.source_classifier import FINAL, SOURCE, SourceClassifier


class WholeNetwork(nn.Module):  # type: ignore[misc]
    """``(N, H, W, 3)`` uint8 to ``(N, K)`` probabilities, ``(N, D)`` features, ``(N,)`` oddness.

    Normalisation, stages, pooling, representation, head and temperature are all in it; stages that
    the head does not see are not computed.
    """

    def __init__(self, classifier: Classifier, loaded: network.LoadedNetwork) -> None:
        super().__init__()
        representation = classifier.representation
        self.network = loaded.network
        self.names = [name for name in dict.fromkeys(representation.taps) if name != SOURCE]
        stages = set(self.names) - {FINAL}
        self.normalised = Normalised(mean=loaded.config["mean"], std=loaded.config["std"])
        self.taps = StageTaps(loaded.network, stages)
        self.stages = [name for name in self.names if name in stages]
        self.sees_final = bool({FINAL, SOURCE} & set(representation.taps))
        self.answer = Answer(classifier)
        self.outputs = outputs_of(classifier)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        last = self.network.forward_features(self.normalised(pixels))
        pooled = {name: tuple(self.taps.take(name)) for name in self.stages}
        if self.sees_final:
            final = self.network.forward_head(last, pre_logits=True).flatten(1).float()
            pooled[FINAL] = (final,)
        found: tuple[torch.Tensor, ...] = self.answer(pooled)
        return found


class Answer(nn.Module):  # type: ignore[misc]
    """Pooled stages to probabilities and to what the head sees of them."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        representation = classifier.representation
        self.blocks = blocks_in_order(representation)
        source = representation.source
        self.source = _linear(source.of(SOURCE)) if source else None
        self.register_buffer("centre", _float(representation.centre))
        self.register_buffer("scale", _float(representation.scale))
        self.layers = nn.ModuleList(_affine(w, b) for w, b in layers_of(classifier.head))
        self.temperature = float(classifier.temperature)
        unknown = classifier.unknown
        self.register_buffer("directions", unknown and _float(unknown.distance.directions))
        self.by_distance, self.by_score = map(float, unknown.weights if unknown else (0, 0))

    def forward(self, pooled: dict[str, Any]) -> tuple[torch.Tensor, ...]:
        parts = [self._block(pooled, block, part) for block, part in self.blocks]
        features = (torch.cat(parts, dim=1) - self.centre) * self.scale
        scores = features
        for place, layer in enumerate(self.layers):
            scores = layer(torch.relu(scores) if place else scores)
        probabilities = torch.softmax(scores / self.temperature, dim=1)
        if self.directions is None:
            return probabilities, features
        return probabilities, features, self._oddness(features, scores)

    def _oddness(self, features: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """As `Unknown.oddness`."""
        within = features @ self.directions.T
        square = features.square().sum(dim=1) - within.square().sum(dim=1)
        log = square.clamp(min=LEAST).log()
        return self.by_distance * log - self.by_score * scores.amax(dim=1)

    def _block(self, pooled: dict[str, Any], block: Block, part: int) -> torch.Tensor:
        if block.tap == SOURCE:
            assert self.source is not None
            return torch.sqrt(torch.softmax(self.source(pooled[FINAL][0]), dim=1))
        rows: torch.Tensor = pooled[block.tap][part]
        return _directions(rows) if block.is_normalised else rows


def whole(classifier: Classifier, built: BuiltEngine) -> WholeNetwork:
    """The module of a classifier, with the tensors of its built engine.

    Raises
    ------
    ArtefactError
        They are not the network that the classifier was taught on.
    """
    info = built.info
    loaded = network.rebuild(built.weights_path, info.architecture, info.config)
    _require_same(loaded.weights_digest, classifier.info)
    module = WholeNetwork(classifier, loaded)
    module.eval()
    return module


def _require_same(found: str, info: EngineInfo | None) -> None:
    wanted = info.weights_digest if info else ""
    if found != wanted:
        raise ArtefactError(
            f"the network has the digest {found[:16]}, the model was taught on {wanted[:16]}",
            cure="regraft cache clear --engines   (the engine is then built again)",
        )


def _directions(rows: torch.Tensor) -> torch.Tensor:
    """Rows of unit length; divided by their largest number first, so that no square overflows."""
    rows = rows / rows.abs().amax(dim=1, keepdim=True).clamp(min=LEAST_LENGTH)
    return rows / rows.square().sum(dim=1, keepdim=True).sqrt().clamp(min=LEAST_LENGTH)


def _linear(source: SourceClassifier) -> nn.Linear:
    return _affine(source.weight, source.bias)


def _affine(weight: NDArray[Any], bias: NDArray[Any]) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data, layer.bias.data = _float(weight), _float(bias)
    return layer.requires_grad_(False)


def _float(values: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.array(values, np.float32))
