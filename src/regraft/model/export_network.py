"""A whole classifier as one PyTorch module: pixels in, probabilities and features out.

Array letters: N images, K classes, D features as the head sees them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from regraft.backbones import network
from regraft.backbones.catalog import FLIP
from regraft.backbones.taps import Normalised, StageTaps
from regraft.errors import ArtefactError
from regraft.features.engine import EngineInfo, network_of, stage_of
from regraft.features.engines import BuiltEngine
from regraft.model.export_inputs import Input, seen_by
from regraft.model.export_layers import LEAST_LENGTH, blocks_in_order, layers_of
from regraft.model.export_outputs import outputs_of
from regraft.probe.classifier import Classifier
from regraft.probe.distance import LEAST
from regraft.probe.representation import Block, final_beside
from regraft.probe.source_classifier import FINAL, SOURCE, SourceClassifier, is_source


class OneNetwork(nn.Module):  # type: ignore[misc]
    """``(N, H, W, 3)`` uint8 to the pooled stages that a head sees of one network, by tap.

    Stages that the head does not see are not computed. With the look 'flip' they are those of a
    picture and of its mirror image, averaged.
    """

    def __init__(
        self, loaded: network.LoadedNetwork, taps: Sequence[str], *, prefix: str, look: str
    ) -> None:
        super().__init__()
        names = {name: stage_of(name) for name in dict.fromkeys(taps) if not is_source(name)}
        self.network, self.look = loaded.network, look
        self.stages = {name: stage for name, stage in names.items() if stage != FINAL}
        self.final = prefix + FINAL
        self.sees_final = self.final in names or prefix + SOURCE in taps
        self.normalised = Normalised(mean=loaded.config["mean"], std=loaded.config["std"])
        self.taps = StageTaps(loaded.network, set(self.stages.values()))

    def forward(self, pixels: torch.Tensor) -> dict[str, Any]:
        seen = self.pooled(pixels)
        if self.look != FLIP:
            return seen
        mirrored = self.pooled(pixels.flip(2))
        return {
            name: tuple((a + b) * 0.5 for a, b in zip(parts, mirrored[name], strict=True))
            for name, parts in seen.items()
        }

    def pooled(self, pixels: torch.Tensor) -> dict[str, Any]:
        """Mean and maximum of each stage, and the final features."""
        last = self.network.forward_features(self.normalised(pixels))
        pooled = {name: tuple(self.taps.take(stage)) for name, stage in self.stages.items()}
        if self.sees_final:
            final = self.network.forward_head(last, pre_logits=True).flatten(1).float()
            pooled[self.final] = (final,)
        return pooled


class WholeNetwork(nn.Module):  # type: ignore[misc]
    """``(N, H, W, 3)`` uint8 to ``(N, K)`` probabilities, ``(N, D)`` features, ``(N,)`` oddness.

    Normalisation, stages, pooling, representation, head and temperature are all in it. Of several
    networks side by side each takes the input that it sees.
    """

    def __init__(
        self, classifier: Classifier, networks: Sequence[OneNetwork], seen: Sequence[int]
    ) -> None:
        super().__init__()
        self.networks, self.seen = nn.ModuleList(networks), tuple(seen)
        self.answer = Answer(classifier)
        self.outputs = outputs_of(classifier)

    def forward(self, *shown: torch.Tensor) -> tuple[torch.Tensor, ...]:
        pooled: dict[str, Any] = {}
        for one, place in zip(self.networks, self.seen, strict=True):
            pooled |= one(shown[place])
        found: tuple[torch.Tensor, ...] = self.answer(pooled)
        return found


class Answer(nn.Module):  # type: ignore[misc]
    """Pooled stages to probabilities and to what the head sees of them."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        representation = classifier.representation
        self.blocks = blocks_in_order(representation)
        self.sources = [tap for tap in representation.taps if is_source(tap)]
        source = representation.source
        self.source = nn.ModuleList(_linear(source.of(tap)) for tap in self.sources if source)
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
        if is_source(block.tap):
            layer = self.source[self.sources.index(block.tap)]
            return torch.sqrt(torch.softmax(layer(pooled[final_beside(block.tap)][0]), dim=1))
        rows: torch.Tensor = pooled[block.tap][part]
        return _directions(rows) if block.is_normalised else rows


def whole(classifier: Classifier, built: BuiltEngine) -> WholeNetwork:
    """The module of a classifier, with the tensors of its built engine.

    Raises
    ------
    ArtefactError
        They are not the network that the classifier was taught on.
    """
    taught = classifier.info.networks if classifier.info else ()
    networks = [
        _one(part, info, classifier.representation.taps, is_alone=len(taught) == 1)
        for part, info in zip(built.networks, taught, strict=True)
    ]
    module = WholeNetwork(classifier, networks, seen_by(built.info))
    module.eval()
    return module


def _one(
    built: BuiltEngine, taught: EngineInfo, taps: Sequence[str], *, is_alone: bool
) -> OneNetwork:
    info = built.info
    loaded = network.rebuild(built.weights_path, info.architecture, info.config)
    _require_same(loaded.weights_digest, taught)
    prefix = "" if is_alone else f"{taught.name}:"
    own = [tap for tap in taps if is_alone or network_of(tap) == taught.name]
    return OneNetwork(loaded, own, prefix=prefix, look=info.look)


def examples_of(inputs: Sequence[Input], *, takes_many: bool) -> tuple[torch.Tensor, ...]:
    """Pictures to trace a module with."""
    n = 2 if takes_many else 1
    return tuple(torch.zeros(n, *one.size, 3, dtype=torch.uint8) for one in inputs)


def _require_same(found: str, info: EngineInfo) -> None:
    wanted = info.weights_digest
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
