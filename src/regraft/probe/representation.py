"""From the store's columns to what a head sees: which taps, and on which scale.

Each stage's mean and maximum are blocks of their own. A block's rows are brought to unit length
(what a stage says is a direction; its length is mostly contrast), centred, and scaled so that all
blocks weigh the same. `final` alone stays as it is, so that its head is linear in the network's
own final features and can be saved as the network's classifier.

`source` is a block of its own: the square roots of the probabilities that the network's original
classifier gives to its 1,000 source classes (Hellinger's scale, on which Euclidean distance
compares distributions). Where the data are like the source it says most of what there is to say.

Of several networks side by side every tap is called by its network, `lite2:blocks.5`, and each is
a block (or two) like those of a single network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from regraft.features.engine import Tap, network_of, stage_of
from regraft.probe.base import Floats, Tensors
from regraft.probe.source_classifier import FINAL, Sources, is_source


@dataclass(frozen=True)
class Block:
    """Columns ``start:stop`` of the feature matrix as one block, or the source classes."""

    tap: str
    start: int
    stop: int
    is_normalised: bool


@dataclass(frozen=True, eq=False)
class Representation:
    """Blocks with the centre and scale that train gave them.

    Attributes
    ----------
    taps : tuple of str
        As the user names them: stages, 'final', 'source'.
    blocks : tuple of Block
    centre : (D,) float64
    scale : (D,) float64
        One value per block, repeated over its columns.
    source : SourceClassifier, SourceClassifiers or None
        Needed if 'source' is among the taps.
    """

    taps: tuple[str, ...]
    blocks: tuple[Block, ...]
    centre: Floats
    scale: Floats
    source: Sources | None = field(default=None, repr=False)

    @classmethod
    def fit(
        cls,
        X: Floats,
        taps: tuple[str, ...],
        available: tuple[Tap, ...],
        *,
        source: Sources | None = None,
        sample_weight: Floats | None = None,
    ) -> Representation:
        """Centre and scale of the blocks of these taps over the rows of X.

        Parameters
        ----------
        X : (N, D0) float32
            Rows as the pass leaves them.
        taps : tuple of str
        available : tuple of Tap
            Where each tap's columns are.
        """
        blocks = blocks_of(taps, available, source)
        return cls.of_blocks(X, taps, blocks, source=source, sample_weight=sample_weight)

    @classmethod
    def of_blocks(
        cls,
        X: Floats,
        taps: tuple[str, ...],
        blocks: tuple[Block, ...],
        *,
        source: Sources | None = None,
        sample_weight: Floats | None = None,
    ) -> Representation:
        """As :meth:`fit`, for blocks that are known already."""
        raw = cls(taps, blocks, np.zeros(0), np.zeros(0), source)

        def chunks(block: Block) -> Iterator[Floats]:
            # A block of a million rows must not be held twice in memory.
            for start in range(0, len(X), CHUNK_ROWS):
                yield raw._block(X[start : start + CHUNK_ROWS], block)

        found = [_centre_and_scale(chunks(block), sample_weight) for block in blocks]
        centres, scales = zip(*found, strict=True)
        share = 1 / np.sqrt(len(blocks))
        return cls(taps, blocks, np.concatenate(centres), share * np.concatenate(scales), source)

    @classmethod
    def of_one(
        cls, X: Floats, block: Block, *, source: Sources | None, sample_weight: Floats
    ) -> tuple[Representation, Floats]:
        """By one block alone, and the rows of X as it sees them: few rows, made once for both."""
        raw = cls((block.tap,), (block,), np.zeros(0), np.zeros(0), source)
        rows = raw._block(X, block)
        centre, scale = _centre_and_scale(iter([rows]), sample_weight)
        fitted = replace(raw, centre=centre, scale=scale)
        rows = rows - fitted.centre.astype(np.float32)
        rows *= fitted.scale.astype(np.float32)
        return fitted, rows

    @property
    def columns(self) -> dict[Block, slice]:
        """Where each block lies among what a head sees."""
        ends = np.cumsum([self.width(block) for block in self.blocks]).tolist()
        return {
            block: slice(end - self.width(block), end)
            for block, end in zip(self.blocks, ends, strict=True)
        }

    def with_blocks_of(self, other: Representation) -> Representation:
        """The same with those blocks behind its own that another one has beside them.

        A pool has the blocks of its members, in their order; one head on the same taps need not
        have the same ones: 'final' alone stays as it is, among other taps it is normalised.
        """
        missing = [block for block in other.blocks if block not in self.blocks]
        places = [other.columns[block] for block in missing]
        return replace(
            self,
            blocks=(*self.blocks, *missing),
            centre=np.concatenate([self.centre, *(other.centre[place] for place in places)]),
            scale=np.concatenate([self.scale, *(other.scale[place] for place in places)]),
        )

    @property
    def is_linear(self) -> bool:
        """Whether a linear head on this is linear in the final features."""
        return self.taps == ("final",)

    def width(self, block: Block) -> int:
        """Columns of a block."""
        if is_source(block.tap):
            assert self.source is not None
            return len(self.source.of(block.tap).bias)
        return block.stop - block.start

    def unscaled(self, X: Floats) -> Floats:
        """``(N, D0)`` to ``(N, D)``, blocks normalised but neither centred nor scaled."""
        Z: Floats = np.empty((len(X), sum(map(self.width, self.blocks))), np.float32)
        start = 0
        for block in self.blocks:  # written in place: side by side they would be there twice
            stop = start + self.width(block)
            Z[:, start:stop] = self._block(X, block)
            start = stop
        return Z

    def __call__(self, X: Floats) -> Floats:
        """``(N, D0)`` to ``(N, D)``, centred and scaled, float32."""
        Z: Floats = self.unscaled(X)
        Z -= self.centre.astype(np.float32)
        Z *= self.scale.astype(np.float32)
        return Z

    def _block(self, X: Floats, block: Block) -> Floats:
        rows: Floats = np.asarray(X[:, block.start : block.stop], np.float32)
        if is_source(block.tap):
            assert self.source is not None
            return self.source.of(block.tap).root_probabilities(rows)
        if not block.is_normalised:
            return rows
        lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
        scaled: Floats = rows / np.maximum(lengths, 1e-12)[:, None].astype(np.float32)
        return scaled

    def to_config(self) -> dict[str, Any]:
        """The JSON part."""
        return {
            "taps": list(self.taps),
            "blocks": [[b.tap, b.start, b.stop, b.is_normalised] for b in self.blocks],
        }

    def to_tensors(self) -> Tensors:
        """The learnt part; the source classifier is the network's own and saved with it."""
        return {"centre": self.centre.astype(np.float64), "scale": self.scale.astype(np.float64)}

    @classmethod
    def from_saved(
        cls, config: dict[str, Any], tensors: Tensors, source: Sources | None
    ) -> Representation:
        """The inverse of :meth:`to_config` and :meth:`to_tensors`."""
        blocks = tuple(
            Block(str(t), int(a), int(b), bool(normalised))
            for t, a, b, normalised in config["blocks"]
        )
        return cls(
            tuple(map(str, config["taps"])), blocks, tensors["centre"], tensors["scale"], source
        )


def blocks_of(
    taps: tuple[str, ...], available: tuple[Tap, ...], source: Sources | None
) -> tuple[Block, ...]:
    """The blocks of these taps: two per stage (mean, maximum), one for 'final' and 'source'."""
    by_name = {tap.name: tap for tap in available}
    blocks: list[Block] = []
    for name in taps:
        if is_source(name):
            if source is None or name not in source.taps:
                raise ValueError("this backbone has no source classes")
            final = by_name[final_beside(name)]
            blocks.append(Block(name, final.start, final.stop, False))
        elif stage_of(name) == FINAL:
            final = by_name[name]
            blocks.append(Block(name, final.start, final.stop, len(taps) > 1))
        else:
            tap = by_name[name]
            middle = (tap.start + tap.stop) // 2
            blocks += [Block(name, tap.start, middle, True), Block(name, middle, tap.stop, True)]
    return tuple(blocks)


def final_beside(tap: str) -> str:
    """The final features of the network that a tap belongs to.

    Examples
    --------
    >>> final_beside("lite2:source"), final_beside("source")
    ('lite2:final', 'final')
    """
    network = network_of(tap)
    return f"{network}:{FINAL}" if network else FINAL


def _centre_and_scale(
    chunks: Iterator[Floats], sample_weight: Floats | None
) -> tuple[Floats, Floats]:
    """Of a block's rows: their mean, and one over the root of their mean square distance from it,
    repeated over the columns; 0 for rows that are all the same."""
    mean, mean_square = _moments(chunks, sample_weight)
    spread = max(mean_square - float(mean @ mean), 0.0)
    return mean, np.full(len(mean), 1 / np.sqrt(spread) if spread > 1e-12 else 0.0)


def _moments(chunks: Iterator[Floats], sample_weight: Floats | None) -> tuple[Floats, float]:
    """Weighted mean of a block's rows, and of their squared lengths, in one pass over chunks."""
    start, total, square = 0, 0.0, 0.0
    first: Floats | None = None
    for rows in chunks:
        weight = np.ones(len(rows))
        if sample_weight is not None:
            weight = np.asarray(sample_weight[start : start + len(rows)], np.float64)
        start += len(rows)
        total += float(weight.sum())
        square += float(weight @ np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
        summed = weight @ rows.astype(np.float64)
        first = summed if first is None else first + summed
    assert first is not None
    return first / total, square / total


CHUNK_ROWS = 8192
