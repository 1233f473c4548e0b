"""A network and its head as one PyTorch module, whose scores have a gradient.

The same numbers as the pass, `Representation` and head give, so a probe can go on learning from
where it stands, and what was learnt goes back into the same parts.

Array letters: N images, D represented features, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from regraft.backbones.taps import StageTaps
from regraft.features.engine import Tap
from regraft.machine import chance
from regraft.probe.base import Head
from regraft.probe.linear_head import LinearHead
from regraft.probe.mlp_head import MLPHead
from regraft.probe.representation import Representation
from regraft.probe.source_classifier import SOURCE


class Represented(nn.Module):  # type: ignore[misc]
    """`Representation` on tensors: ``(N, D0)`` as the pass gives them to ``(N, D)``."""

    def __init__(self, representation: Representation) -> None:
        super().__init__()
        self.blocks = representation.blocks
        self.register_buffer("centre", _float32(representation.centre))
        self.register_buffer("scale", _float32(representation.scale))
        if representation.source is not None:
            source = representation.source.of(SOURCE)
            self.register_buffer("source_weight", _float32(source.weight))
            self.register_buffer("source_bias", _float32(source.bias))

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        parts = []
        for block in self.blocks:
            rows = X[:, block.start : block.stop]
            if block.tap == SOURCE:
                logits = nn.functional.linear(rows, self.source_weight, self.source_bias)
                rows = torch.exp(torch.log_softmax(logits, dim=1) / 2)
            elif block.is_normalised:
                rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
            parts.append(rows)
        return (torch.cat(parts, dim=1) - self.centre) * self.scale


class TunableClassifier(nn.Module):  # type: ignore[misc]
    """Body, representation and head; ``(N, 3, H, W)`` or activations at a cut to ``(N, K)``.

    Parameters
    ----------
    body : nn.Module or None
        A timm network, or the rest of one after a cut; None if the inputs are features.
    stages : sequence of str
        Stages of the body whose pooled activations the head may see, in their order.
    taps : sequence of Tap
        Columns of all taps; those before the cut come in as ``earlier``.
    representation : Representation
    head : nn.Module
        ``(N, D)`` to ``(N, K)``.
    """

    def __init__(
        self,
        body: nn.Module | None,
        stages: Sequence[str],
        taps: Sequence[Tap],
        representation: Representation,
        head: nn.Module,
    ) -> None:
        super().__init__()
        self.body, self.head = body, head
        self.represented = Represented(representation)
        self._columns = tuple(taps)
        heard = set(stages) & set(representation.taps)
        self._taps = StageTaps(body, heard) if body is not None else None

    def forward(self, x: torch.Tensor, earlier: torch.Tensor | None = None) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.represented(self.features(x, earlier)))
        return scores

    def features(self, x: torch.Tensor, earlier: torch.Tensor | None = None) -> torch.Tensor:
        """``(N, D0)``, the columns of the pass; those that the head does not see are zeros."""
        if self.body is None or self._taps is None:
            return x
        maps = self.body.forward_features(x)
        final = self.body.forward_head(maps, pre_logits=True).flatten(1).float()
        parts, n_earlier = [], 0 if earlier is None else earlier.shape[1]
        if earlier is not None:
            parts.append(earlier)
        for tap in self._columns:
            if tap.stop <= n_earlier:
                continue
            if tap.name == "final":
                parts.append(final)
            elif tap.name in self._taps:
                parts += self._taps.take(tap.name)
            else:
                parts.append(final.new_zeros(len(final), tap.stop - tap.start))
        return torch.cat(parts, dim=1)


def head_module(head: LinearHead, temperature: float) -> nn.Linear:
    """The probe's head, its temperature folded in: the scores are logits."""
    n_classes, n_features = head.weight.shape
    # Without first weights: they would be drawn from the process's generator.
    linear = nn.utils.skip_init(nn.Linear, n_features, n_classes)
    with torch.no_grad():
        linear.weight.copy_(_float32(head.weight / temperature))
        linear.bias.copy_(_float32(head.bias / temperature))
    return linear


def random_head(
    n_features: int, n_classes: int, hidden: Sequence[int], dropout: float, *, seed: int
) -> nn.Module:
    """A new head as the tutorials make it: Linear, or [Linear, ReLU, Dropout]... Linear."""
    with chance.drawn_from(seed):
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Linear(n_features, width), nn.ReLU(), nn.Dropout(dropout)]
            n_features = width
        last = nn.Linear(n_features, n_classes)
    return nn.Sequential(*layers, last) if layers else last


def as_head(module: nn.Module) -> Head:
    """The numpy head of a trained module, for the artefact."""
    linears = [m for m in module.modules() if isinstance(m, nn.Linear)]
    pairs = [(_array(m.weight), _array(m.bias)) for m in linears]
    return LinearHead(*pairs[0]) if len(pairs) == 1 else MLPHead(pairs)


def _float32(values: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(values, np.float32))


def _array(tensor: torch.Tensor) -> Any:
    return tensor.detach().cpu().float().numpy().copy()
