"""What was chosen, solved on all of train: a representation, and one linear head on it.

A pool's heads may see different taps. Their blocks stand side by side in one representation, and
each head's weights are added at its own columns, on its own scale.

N images, D columns, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regraft.machine import blas
from regraft.machine.processor import available_cores
from regraft.probe import closed_form, ridge
from regraft.probe.base import Codes, Floats
from regraft.probe.choice import Choice, Member
from regraft.probe.closed_form import NEAR, STRIDES
from regraft.probe.linear_head import LinearHead
from regraft.probe.network import Network
from regraft.probe.out_of_fold import ChosenHead, curve_point, log_losses
from regraft.probe.pool import fit_weights
from regraft.probe.representation import Block, Representation, blocks_of
from regraft.probe.ridge import RidgeSystem

# Up to this many rows one core is faster than several that wait for each other.
SMALL_ROWS = 512


@dataclass(frozen=True, eq=False)
class Train:
    """All rows that teach.

    Attributes
    ----------
    X : (N, D0) float32
        May be memory-mapped.
    y, units, weight : (N,)
    """

    X: Floats
    y: Codes
    units: Codes
    weight: Floats
    n_classes: int
    network: Network
    seed: int

    def representation(self, taps: tuple[str, ...], blocks: Sequence[Block]) -> Representation:
        """Its centre and scale over all rows."""
        return Representation.of_blocks(
            self.X, taps, tuple(blocks), source=self.network.source, sample_weight=self.weight
        )

    def blocks(self, taps: tuple[str, ...]) -> tuple[Block, ...]:
        """Of these taps."""
        return blocks_of(taps, self.network.taps, self.network.source)

    def system(self, represent: Representation, *, few_strengths: bool = False) -> RidgeSystem:
        """Solved for all strengths, or for few of them; the rows are read in chunks."""
        # What fits in one chunk is represented once, not anew for each of the three readings.
        whole = [represent(self.X)] if len(self.X) <= ridge.CHUNK_ROWS else None

        def chunks() -> Iterator[Floats]:
            return iter(whole or map(represent, ridge.rows_in_chunks(self.X)))

        return RidgeSystem.build(
            chunks, self.y, n_classes=self.n_classes, folds=self.units,
            sample_weight=self.weight, seed=self.seed, few_strengths=few_strengths,
        )  # fmt: skip


def fit_closed_form(
    train: Train, taps: tuple[str, ...], kind: str, *, near: float | None = None
) -> tuple[Representation, ChosenHead]:
    """One head on given taps; its strength is looked for from `near` on."""
    represent = train.representation(taps, train.blocks(taps))
    with blas.threads(1 if len(train.y) <= SMALL_ROWS else available_cores()):
        system = train.system(represent, few_strengths=near is not None)
        strides = STRIDES if near is None else NEAR
        return represent, closed_form.finish(system, kind, near=near, strides=strides)


def fit_chosen(train: Train, choice: Choice) -> tuple[Representation, ChosenHead]:
    """The chosen head, or the pool; what chose on all of train is solved already."""
    if len(choice.members) <= 1 and choice.ground is None:
        near = _near(train, choice.members[0]) if choice.members else None
        return fit_closed_form(train, choice.taps, choice.head, near=near)
    blocks = tuple(dict.fromkeys(b for m in choice.members for b in train.blocks(m.taps)))
    if choice.ground is not None:
        represent = choice.ground.representation(choice.taps, blocks)
        members, rows = choice.members, choice.ground.judges
        with blas.threads(1):
            return represent, _one(train, members, represent, rows)
    represent = train.representation(choice.taps, blocks)
    with blas.threads(available_cores()):
        members, rows = _again(train, choice.members)
    return represent, _one(train, members, represent, rows)


def _again(train: Train, members: Sequence[Member]) -> tuple[tuple[Member, ...], NDArray[np.intp]]:
    """The same heads on all rows, each at the strength that suits it now."""
    found: list[Member] = []
    for taps in dict.fromkeys(member.taps for member in members):
        represent = train.representation(taps, train.blocks(taps))
        system = train.system(represent, few_strengths=True)
        found += [
            Member(
                taps,
                len(train.y),
                *closed_form.solve(
                    system, member.solved.kind, near=_near(train, member), strides=NEAR
                ),
            )
            for member in members
            if member.taps == taps
        ]
    return tuple(found), system.judged_rows


def _near(train: Train, member: Member) -> float:
    """Where the strength of a head that is known on fewer images is looked for on all."""
    return member.solved.strength * len(train.y) / member.n_images


def _one(
    train: Train, members: Sequence[Member], represent: Representation, rows: NDArray[np.intp]
) -> ChosenHead:
    """Their sum."""
    y = train.y[rows]
    stack = np.stack([member.solved.scores for member in members])
    if len(members) == 1:
        solved = members[0].solved
        return ChosenHead(solved.head(), solved.strength, members[0].curve, rows, stack[0])
    weights = fit_weights(stack, y)
    scores = np.tensordot(weights, stack, 1).astype(np.float32)
    columns = dict(_columns(represent))
    weight = np.zeros((train.n_classes, len(represent.centre)))
    bias = np.zeros(train.n_classes)
    for member, share in zip(members, weights, strict=True):
        if share == 0:
            continue
        head, blocks, start = member.solved.head(), train.blocks(member.taps), 0
        scale = share * np.sqrt(len(represent.blocks) / len(blocks))
        for block in blocks:
            place = columns[block]
            n = place.stop - place.start
            weight[:, place] += scale * head.weight[:, start : start + n]
            start += n
        bias += share * head.bias
    point = curve_point(0.0, log_losses(scores, y), scores, y, train.weight[rows])
    whole = LinearHead(weight.astype(np.float32), bias.astype(np.float32))
    return ChosenHead(whole, None, [point], rows, scores)


def _columns(represent: Representation) -> Iterator[tuple[Block, slice]]:
    """Where each block lies."""
    start = 0
    for block in represent.blocks:
        stop = start + represent.width(block)
        yield block, slice(start, stop)
        start = stop
