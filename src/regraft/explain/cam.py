"""`cam`: the score of a linear head, divided exactly over the places it is pooled from.

The maps come from a graph of their own, built once: of a default backbone without torch, of all
others with it; from then on nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from regraft.backbones.catalog import FLIP
from regraft.errors import UsageError
from regraft.explain.base import Heat, Shown, by_network, rows_of
from regraft.explain.decomposition import PositionMap, decompose
from regraft.features import engine, maps_of_graph, subgraphs
from regraft.features.engine import FINAL, stage_of
from regraft.features.engines import BuiltEngine
from regraft.features.mirrored import mirrored
from regraft.features.subgraphs import Subgraph
from regraft.listener import Doing
from regraft.machine import extras
from regraft.probe.base import Codes
from regraft.probe.classifier import Classifier
from regraft.probe.linear_head import LinearHead
from regraft.probe.representation import Representation
from regraft.probe.source_classifier import SOURCE, is_source

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
        example: Shown,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        head, built = classifier.head, classifier.built()
        if not isinstance(head, LinearHead):
            raise UsageError(
                f"the head is of the kind {head.kind!r}, so its score is no sum over positions",
                cure="--method auto",
            )
        self.head, self.representation = head, classifier.representation
        self.looks = [one.info.look for one in built.networks]
        self.prefixes = [f"{one.info.name}:" if built.info.parts else "" for one in built.networks]
        self.parts = [
            self._maps_of(one, prefix, few, say)
            for one, prefix, few in zip(
                built.networks, self.prefixes, by_network(example), strict=True
            )
        ]
        self.why = "the score is a sum over places in the picture; the map shows what each adds"
        if built.info.parts:
            self.why += f"; the maps of {len(built.info.parts)} networks are added"
        if any(map(is_source, self.representation.taps)):
            self.why += "; the part through the source classes is placed by integrated gradients"
        if self._sees_early_alone():
            self.why += (
                f"; the head sees early stages alone ({', '.join(self.representation.taps)}), so "
                "bright places are edges and colours, not things"
            )

    def explain(self, shown: Shown, y: Codes) -> Heat:
        """``(N, H, W, 3)`` uint8 and ``(N,)`` codes to the evidence, place by place."""
        pooling = {
            f"{prefix}{FINAL}": part.facts["pooling"]
            for prefix, part in zip(self.prefixes, self.parts, strict=True)
        }
        chunks = [
            decompose(
                self._maps(rows_of(shown, slice(start, start + CHUNK))),
                self.representation,
                self.head,
                y[start : start + CHUNK],
                final_pooling=pooling,
            )
            for start in range(0, len(y), CHUNK)
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
        grids = {
            f"{prefix}{name}": shape[:2]
            for prefix, part in zip(self.prefixes, self.parts, strict=True)
            for name, shape in part.facts["maps"].items()
        }
        return all(max(grids[tap]) > EARLY for tap in self.representation.taps if tap in grids)

    def _maps_of(
        self,
        built: BuiltEngine,
        prefix: str,
        example: NDArray[np.uint8],
        say: Callable[[str], None],
    ) -> Subgraph:
        """The graph of one network's maps, found or built."""
        found = subgraphs.find(built, MAPS)
        if found is None:
            say(Doing(f"preparing the heat maps of {built.info.name}, once (some seconds)"))
            found = maps_of_graph.find_or_build(built, MAPS, example=example)
        if found is None:
            with extras.needed_for(
                f"the graph of the maps of {built.info.name}", otherwise="--method occlusion"
            ):
                from regraft.features import maps

            found = maps.find_or_build(built, MAPS, example=example)
            if found.note:
                say(found.note)
        if not found.facts["pooling"] and _sees_final(self.representation, prefix):
            raise UsageError(
                f"the final features of {built.info.architecture} are neither mean nor maximum of "
                "its last map",
                cure="--method gradcam",
            )
        return found

    def _maps(self, shown: list[NDArray[np.uint8]]) -> dict[str, PositionMap]:
        """Of every stage of every network, by the names of their taps."""
        return {
            f"{prefix}{name}": stage
            for part, prefix, look, pixels in zip(
                self.parts, self.prefixes, self.looks, shown, strict=True
            )
            for name, stage in _maps_in(part, pixels, is_mirrored=look == FLIP).items()
        }


def _maps_in(
    part: Subgraph, pixels: NDArray[np.uint8], *, is_mirrored: bool
) -> dict[str, PositionMap]:
    """What one network's graph gives of ``(N, H, W, 3)`` pictures, and of their mirror images."""
    rows = engine.run_on_cores(part.runner, pixels, batch_size=part.batch_size)
    others = None
    if is_mirrored:
        others = engine.run_on_cores(part.runner, mirrored(pixels), batch_size=part.batch_size)
    found, start = {}, 0
    for name, (height, width, n_prefix, n_channels) in part.facts["maps"].items():
        n_positions = n_prefix + height * width
        columns, start = (
            slice(start, start + n_positions * n_channels),
            (start + n_positions * n_channels),
        )
        shape = (len(pixels), n_positions, n_channels)
        mirror = None if others is None else others[:, columns].reshape(shape)
        if mirror is not None:
            mirror = _turned_back(mirror, (height, width), n_prefix)
        found[name] = PositionMap(rows[:, columns].reshape(shape), (height, width), mirror)
    return found


def _turned_back(
    values: NDArray[np.float32], grid: tuple[int, int], n_prefix: int
) -> NDArray[np.float32]:
    """``(N, P, C)`` of mirror images with every position where it is in the picture itself."""
    N, _, C = values.shape
    cells = values[:, n_prefix:].reshape(N, *grid, C)[:, :, ::-1]
    return np.concatenate([values[:, :n_prefix], cells.reshape(N, -1, C)], axis=1)


def _sees_final(representation: Representation, prefix: str | None = None) -> bool:
    """Whether the head sees the final features, of one network if it is named; 'source' stands on
    'final'."""
    return any(
        stage_of(tap) in (FINAL, SOURCE) and prefix in (None, tap.removesuffix(stage_of(tap)))
        for tap in representation.taps
    )
