"""`gradcam`: the gradient of a class's score at the last map that still has places, times the map.

For networks that do not pool by mean or maximum (class tokens, codes of fully connected layers,
normalisation after pooling) and for heads with hidden layers. Only there is PyTorch needed.

Array letters: N images, P positions (or tokens), C channels, K classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from regraft.backbones import network
from regraft.backbones.network import TappedNetwork
from regraft.errors import UsageError
from regraft.explain.base import Heat, Shown, against_others, by_network, spread_of
from regraft.explain.decomposition import FINE, smoothed
from regraft.features.maps import grid_of
from regraft.machine import quiet
from regraft.probe.base import Codes
from regraft.probe.classifier import Classifier
from regraft.probe.linear_head import LinearHead
from regraft.probe.mlp_head import MLPHead
from regraft.probe.source_classifier import SOURCE
from regraft.training.tunable import Represented

BATCH = 16
LAST = "the last map"


class GradientMaps:
    """Gradient times activation, place by place, for the evidence of one class.

    The map is the last one whose gradient is not zero nearly everywhere: behind it the score is
    read from one token, say. Where a network takes the mean of it, all places have the same
    gradient and this is Grad-CAM (Selvaraju et al., 2017); elsewhere the mean gradient, which
    Grad-CAM takes, would show places that the score does not depend on (Draelos, Carin, 2020).

    Raises
    ------
    UsageError
        The head has no gradient, or the network's tokens stand on no grid.

    References
    ----------
    Selvaraju et al. (2017), ICCV, "Grad-CAM". Draelos, Carin (2020), arXiv:2011.08891,
    "Use HiResCAM instead of Grad-CAM".
    """

    name = "gradcam"

    def __init__(self, classifier: Classifier, *, example: NDArray[np.uint8]) -> None:
        head, built = classifier.head, classifier.built()
        info = built.info
        if not isinstance(head, LinearHead | MLPHead):
            raise UsageError(
                f"the head is of the kind {head.kind!r}, which has no gradient",
                cure="--method occlusion",
            )
        loaded = network.rebuild(built.weights_path, info.architecture, info.config)
        stages = [name for name, _ in info.widths[:-1]]
        config = loaded.config
        self.tapped = TappedNetwork(loaded.network, stages, mean=config["mean"], std=config["std"])
        self.tapped.eval().to(built.device)
        self.represented = Represented(classifier.representation).to(built.device)
        layers = [(head.weight, head.bias)] if isinstance(head, LinearHead) else head.layers
        self.layers = [tuple(_tensor(part, built.device) for part in layer) for layer in layers]
        self.device, self.size = built.device, info.preprocess.input_px
        seen = set(classifier.representation.taps)
        self.place = self._last_with_places(seen, stages, example)
        self.why = f"gradient times activation at {self.place}"

    def explain(self, shown: Shown, y: Codes) -> Heat:
        """``(N, H, W, 3)`` uint8 and ``(N,)`` codes to gradient times activation."""
        (pixels,) = by_network(shown)
        starts = range(0, len(pixels), BATCH)
        parts = [self._batch(pixels[i : i + BATCH], y[i : i + BATCH]) for i in starts]
        maps = np.concatenate(parts)
        if max(maps.shape[1:]) <= FINE:
            return Heat(maps)
        return Heat(smoothed(maps).astype(np.float32), spread=spread_of(maps))

    def _batch(self, pixels: NDArray[np.uint8], y: Codes) -> NDArray[np.float32]:
        maps, gradient = self._gradient(self.place, pixels, y)
        heat = self.tapped.taps.by_position(maps * gradient).sum(dim=2)
        height, width, n_prefix = grid_of(self.tapped.network, maps, self.size)
        found: NDArray[np.float32] = heat[:, n_prefix:].reshape(-1, height, width).cpu().numpy()
        return found

    def _last_with_places(
        self, seen: set[str], stages: list[str], example: NDArray[np.uint8]
    ) -> str:
        """Found by trying, from the last map that the head sees backwards."""
        is_final = bool(seen & {"final", SOURCE})
        deepest = len(stages) if is_final else max(i for i, s in enumerate(stages) if s in seen) + 1
        candidates = [*([LAST] if is_final else []), *stages[:deepest][::-1]]
        y = np.zeros(len(example), np.intp)
        for place in candidates:
            maps, gradient = self._gradient(place, example, y)
            grid_of(self.tapped.network, maps, self.size)
            strength = self.tapped.taps.by_position(gradient).abs().sum(dim=(0, 2))
            if float((strength > 0).float().mean()) > 0.5:
                return place
        raise UsageError(
            "the score has no gradient at any map of the network", cure="--method occlusion"
        )

    def _gradient(
        self, place: str, pixels: NDArray[np.uint8], y: Codes
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The map at a place, and the gradient of the evidence for these classes there."""
        kept: list[torch.Tensor] = []

        def start_here(output: torch.Tensor) -> torch.Tensor:
            kept.append(output.detach().requires_grad_())
            return kept[-1].clone()  # what comes next may write into it

        with torch.enable_grad(), quiet.no_warnings():
            # PyTorch warns of read-only arrays; these are only read.
            x = self.tapped.normalised(torch.from_numpy(pixels).to(self.device))
            scores = self._scores(x, place, start_here)
            code = torch.from_numpy(np.asarray(y, np.int64)).to(self.device)
            evidence = against_others(scores.T, code).diagonal().sum()
            (gradient,) = torch.autograd.grad(evidence, kept[-1])
        return kept[-1].detach(), gradient

    def _scores(self, x: torch.Tensor, place: str, start_here: Any) -> torch.Tensor:
        timm_network = self.tapped.network
        if place == LAST:
            maps = start_here(timm_network.forward_features(x))
        else:
            # Before the taps hear it, so that they hear what the gradient starts from.
            hook = timm_network.get_submodule(place).register_forward_hook(
                lambda module, args, output: start_here(output), prepend=True
            )
            try:
                maps = timm_network.forward_features(x)
            finally:
                hook.remove()
        Z = self.represented(self.tapped.pooled(maps))
        *hidden, last = self.layers
        for layer in hidden:
            Z = nn.functional.relu(nn.functional.linear(Z, *layer))
        scores: torch.Tensor = nn.functional.linear(Z, *last)
        return scores


def _tensor(values: Any, device: str) -> torch.Tensor:
    return torch.from_numpy(np.array(values, np.float32)).to(device)
