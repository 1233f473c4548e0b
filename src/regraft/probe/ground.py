"""Images on which candidates are compared: the blocks of their features, and inner products.

Blocks are standardised once, and the inner products of a set of taps are the mean of its blocks'.
So every set costs one decomposition, and no block is multiplied twice.

N images, D columns of a set of taps.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from regraft.probe.base import Codes, Floats
from regraft.probe.judging import rows_that_judge
from regraft.probe.network import Network
from regraft.probe.out_of_fold import merged_folds
from regraft.probe.representation import Block, Representation, blocks_of
from regraft.probe.ridge import RidgeSystem

# Of more classes, those that the compared images do not show are left out of the comparison.
MOST_WITH_ABSENT = 1_000


@dataclass(frozen=True, eq=False)
class Ground:
    """Some images of train, standardised block by block.

    Attributes
    ----------
    y, units, weight : (N,)
        Rows of one unit are left out together.
    n_classes : int
    network : Network
    alone : dict
        The representation by each block alone, as these rows standardise it.
    parts, grams : dict
        Of each block the rows, ``(N, d)``, and their inner products, ``(N, N)``.
    few_strengths : bool
        Whether about as many as heads will be asked for.
    """

    y: Codes
    units: Codes
    weight: Floats
    n_classes: int
    network: Network
    alone: dict[Block, Representation] = field(repr=False)
    parts: dict[Block, Floats] = field(repr=False)
    grams: dict[Block, Floats] = field(repr=False)
    few_strengths: bool = False

    @classmethod
    def of(
        cls,
        X: Floats,
        y: Codes,
        units: Codes,
        weight: Floats,
        *,
        n_classes: int,
        network: Network,
        sets: Iterable[tuple[str, ...]],
        threads: Executor,
        few_strengths: bool = False,
    ) -> Ground:
        """For these sets of taps, a block a thread."""
        blocks = dict.fromkeys(
            block for taps in sets for block in blocks_of(taps, network.taps, network.source)
        )

        def standardised(block: Block) -> tuple[Representation, Floats, Floats]:
            alone, part = Representation.of_one(
                X, block, source=network.source, sample_weight=weight
            )
            return alone, part, part @ part.T

        made = zip(*threads.map(standardised, blocks), strict=True)
        alone, parts, grams = (dict(zip(blocks, found, strict=True)) for found in made)
        return cls(y, units, weight, n_classes, network, alone, parts, grams, few_strengths)

    @cached_property
    def judges(self) -> NDArray[np.intp]:
        """Rows that judge."""
        return rows_that_judge(self.y, self.units)

    @property
    def judged_y(self) -> Codes:
        """Their classes."""
        return self.y[self.judges]

    @cached_property
    def folds(self) -> Codes:
        """Five of them, units whole, by which temperatures and weights are tried."""
        units = self.units[self.judges]
        if len(np.unique(units)) < 2:
            return np.zeros(len(units), np.intp)
        return merged_folds(units, self.judged_y)

    @property
    def judging_weight(self) -> Floats:
        """Their weights."""
        return self.weight[self.judges]

    def blocks(self, taps: tuple[str, ...]) -> tuple[Block, ...]:
        """Of these taps."""
        return blocks_of(taps, self.network.taps, self.network.source)

    def system(self, taps: tuple[str, ...]) -> RidgeSystem:
        """Decomposed, by the smaller of the two matrices of inner products."""
        blocks = self.blocks(taps)
        share = np.float32(1 / np.sqrt(len(blocks)))
        n_features = sum(self.parts[block].shape[1] for block in blocks)
        rows = gram = None
        if n_features < len(self.y):
            rows = self.represented(blocks)
        else:
            gram = functools.reduce(np.add, [self.grams[block] for block in blocks]) * share**2

        def transposed(coefficients: Floats) -> Floats:
            small = coefficients.astype(np.float32)
            return share * np.concatenate([self.parts[block].T @ small for block in blocks])

        return RidgeSystem.of_centred(
            rows, gram, transposed, self.y, n_features=n_features, n_classes=self.n_classes,
            folds=self.units, sample_weight=self.weight, few_strengths=self.few_strengths,
        )  # fmt: skip

    def representation(self, taps: tuple[str, ...], blocks: tuple[Block, ...]) -> Representation:
        """By these blocks, on their common scale."""
        share = 1 / np.sqrt(len(blocks))
        return Representation(
            taps, blocks,
            np.concatenate([self.alone[block].centre for block in blocks]),
            np.concatenate([share * self.alone[block].scale for block in blocks]),
            self.network.source,
        )  # fmt: skip

    def represented(self, blocks: tuple[Block, ...]) -> Floats:
        """``(N, D)`` the rows as that representation gives them."""
        share = np.float32(1 / np.sqrt(len(blocks)))
        return share * np.concatenate([self.parts[block] for block in blocks], axis=1)


def shown_classes(y: Codes, rows: NDArray[np.intp], n_classes: int) -> tuple[Codes, int]:
    """Codes of some rows, and how many classes there are: of thousands only those that the rows
    show, as each other one would cost a column of every matrix and tell the candidates nothing."""
    if len(rows) == len(y) or n_classes <= MOST_WITH_ABSENT:
        return y[rows], n_classes
    shown, codes = np.unique(y[rows], return_inverse=True)
    return codes, len(shown)
