"""`cam`: the score of a linear head, divided exactly over the places it is pooled from.

The maps come from a graph of their own, built once: of a default backbone without torch, of all
others with it; from then on nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from regraft.errors import UsageError
from regraft.explain.base import Heat
from regraft.explain.decomposition import PositionMap, decompose
from regraft.features import engine, maps_of_graph, subgraphs
from regraft.machine import extras
from regraft.probe.base import Codes
from regraft.probe.classifier import Classifier
from regraft.probe.linear_head import LinearHead
from regraft.probe.representation import Representation
from regraft.probe.source_classifier import SOURCE

# The part of a network that gives its maps; counted up when the meaning of a row changes.
MAPS = "maps 1"
# Pictures whose maps are held at once: all stages of the default backbone take 1.7 MB each.
CHUNK = 32
# Rows of a map from which on its stage is an early one.
EARLY = 14


class ClassActivation:
    """Class activation maps (see :mod:`regraft.explain.decomposition`).

    Parameters
    ----------
    classifier : Classifier
    example : (n, H, W, 3) uint8
        A few pictures, on which a graph that is built now is compared with PyTorch.
    say : callable(text)
        Hears one line before anything that takes seconds, and what must be known.

    Raises
    ------
    UsageError
        The head is not linear, or sees final features that are not pooled from a map.
    """

    name = "cam"

    def __init__(
        self,
        classifier: Classifier,
        *,
        example: NDArray[np.uint8],
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        head, built = classifier.head, classifier.built()
        if not isinstance(head, LinearHead):
            raise UsageError(
                f"the head is of the kind {head.kind!r}, so its score is no sum over positions",
                cure="--method auto",
            )
        self.head, self.representation = head, classifier.representation
        found = subgraphs.find(built, MAPS)
        if found is None:
            say(f"building the graph of the maps of {built.info.name}, once (some seconds)")
            found = maps_of_graph.find_or_build(built, MAPS, example=example)
        if found is None:
            with extras.needed_for(
                f"the graph of the maps of {built.info.name}", otherwise="--method occlusion"
            ):
                from regraft.features import maps

            found = maps.find_or_build(built, MAPS, example=example)
            if found.note:
                say(found.note)
        if not found.facts["pooling"] and _sees_final(self.representation):
            raise UsageError(
                f"the final features of {built.info.architecture} are neither mean nor maximum of "
                "its last map",
                cure="--method gradcam",
            )
        self.part = found
        self.why = "the score is a sum over positions"
        if SOURCE in self.representation.taps:
            self.why += "; the part through the source classes is placed by integrated gradients"
        if self._sees_early_alone():
            self.why += (
                f"; the head sees early stages alone ({', '.join(self.representation.taps)}), so "
                "bright places are edges and colours, not things"
            )

    def explain(self, pixels: NDArray[np.uint8], y: Codes) -> Heat:
        """``(N, H, W, 3)`` uint8 and ``(N,)`` codes to the evidence, place by place."""
        chunks = [
            decompose(
                self._maps(pixels[start : start + CHUNK]),
                self.representation,
                self.head,
                y[start : start + CHUNK],
                final_pooling=self.part.facts["pooling"],
            )
            for start in range(0, len(pixels), CHUNK)
        ]
        return Heat(
            maps=np.concatenate([heat.maps for heat in chunks]),
            constant=np.concatenate(
                [heat.constant for heat in chunks if heat.constant is not None]
            ),
            exact=np.concatenate([heat.exact for heat in chunks if heat.exact is not None]),
            spread=np.concatenate([heat.spread for heat in chunks if heat.spread is not None]),
        )

    def _sees_early_alone(self) -> bool:
        """Whether every map that the head sees is finer than the last ones of most networks."""
        if _sees_final(self.representation):
            return False
        grids = {name: shape[:2] for name, shape in self.part.facts["maps"].items()}
        return all(max(grids[tap]) > EARLY for tap in self.representation.taps if tap in grids)

    def _maps(self, pixels: NDArray[np.uint8]) -> dict[str, PositionMap]:
        rows = engine.run_on_cores(self.part.runner, pixels, batch_size=self.part.batch_size)
        found, start = {}, 0
        for name, shape in self.part.facts["maps"].items():
            height, width, n_prefix, n_channels = shape
            n_positions = n_prefix + height * width
            stop = start + n_positions * n_channels
            values = rows[:, start:stop].reshape(len(rows), n_positions, n_channels)
            found[name] = PositionMap(values, (height, width))
            start = stop
        return found


def _sees_final(representation: Representation) -> bool:
    """'source' stands on 'final'."""
    return not {"final", SOURCE}.isdisjoint(representation.taps)
