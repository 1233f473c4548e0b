"""A linear head's score, divided over the positions of the maps that it is pooled from.

A mean is a sum over positions already. A maximum belongs to the position that has it. What is
subtracted from the pooled numbers (the centre of train) is subtracted position by position, so a
place speaks for a class where it does so more than train's average. Only the bias has no place.

Zhou et al. (2016), CVPR, "Learning deep features for discriminative localization" is the case of
one mean; here it is every block that :class:`~regraft.probe.representation.Representation` knows.

Array letters: N images, P positions (or tokens), C channels, F final features, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.explain.base import Heat, against_others, spread_of
from regraft.features.engine import FINAL, stage_of
from regraft.probe.base import Codes, Floats
from regraft.probe.linear_head import LinearHead
from regraft.probe.representation import Representation, final_beside
from regraft.probe.source_classifier import SourceClassifier, is_source

# The common grid is that of the finest map, but has at most so many rows and columns.
MOST_CELLS = 28
# A map finer than this is smoothed, or maxima stand as dots on it that no eye can read: by a bell
# whose standard deviation is this share of the picture's side.
FINE, BELL = 7, 1 / 16
# Points on the line from nothing to the final features; 24 leave less than 1e-4 of the score.
N_NODES = 24


@dataclass(frozen=True, eq=False)
class PositionMap:
    """One map of several pictures.

    Attributes
    ----------
    values : (N, P, C) float32
        Tokens without a place first, then the grid row by row.
    grid : (height, width)
    mirror : (N, P, C) float32, optional
        Of the mirror images, turned back: every position is the same place of the picture. The
        features are then the mean of both.
    """

    values: NDArray[np.float32]
    grid: tuple[int, int]
    mirror: NDArray[np.float32] | None = None

    @property
    def views(self) -> tuple[NDArray[np.float32], ...]:
        """Everything that is averaged; mostly the one."""
        return (self.values,) if self.mirror is None else (self.values, self.mirror)

    def rows(self, *, pooling: str) -> Floats:
        """``(N, C)``, pooled as in the pass."""
        pooled: Floats = _mean([getattr(values, pooling)(axis=1) for values in self.views])
        return pooled


def decompose(
    maps: Mapping[str, PositionMap],
    representation: Representation,
    head: LinearHead,
    y: Codes,
    *,
    final_pooling: str | Mapping[str, str],
) -> Heat:
    """The evidence for a class, place by place.

    Parameters
    ----------
    maps : mapping
        Of every stage that the head sees; 'final' is the map that the network itself pools.
    y : (N,) codes
        The class asked about; evidence is its score less the mean of the others.
    final_pooling : {'mean', 'max'}, or mapping
        What makes the final features of the map 'final'; of several networks side by side by the
        name of each one's, 'lite2:final'.

    Returns
    -------
    Heat
        ``maps.sum((1, 2)) + constant`` is the evidence: to float precision, but for the part of
        the source classes (within 1e-4 of it).
    """
    weights = against_others(head.weight, y).astype(np.float64) * representation.scale
    placed: dict[str, Floats] = {}
    exact, all_of_it = np.zeros(len(y)), np.zeros(len(y))
    start = 0
    for (source, pooling), block in zip(
        _kinds(representation, final_pooling), representation.blocks, strict=True
    ):
        width = len(source.bias) if source else block.stop - block.start
        columns = slice(start, start + width)
        start += width
        name = final_beside(block.tap) if source else block.tap
        v, centre = weights[:, columns], representation.centre[columns]
        if source is not None:
            part = _through_source(maps[name], v, centre, source, pooling)
        else:
            part = _pooled(maps[name], v, centre, pooling, is_normalised=block.is_normalised)
        placed[name] = placed.get(name, 0) + part
        size = np.abs(part.sum(1))
        all_of_it += size
        exact += 0 if source else size

    cells = {name: part[:, -_n_cells(maps[name]) :] for name, part in placed.items()}
    without_place = sum(part.sum(1) - cells[name].sum(1) for name, part in placed.items())
    shape = _common_grid([maps[name].grid for name in placed])
    heat, as_it_is = np.zeros((len(y), *shape)), np.zeros((len(y), *shape))
    for name, part in cells.items():
        on_grid = onto_grid(part.reshape(len(y), *maps[name].grid), shape)
        as_it_is += on_grid
        heat += smoothed(on_grid) if max(maps[name].grid) > FINE else on_grid
    return Heat(
        maps=np.asarray(heat, np.float32),
        constant=against_others(head.bias.astype(np.float64), y) + without_place,
        exact=exact / np.maximum(all_of_it, 1e-30),
        spread=spread_of(as_it_is),
    )


def _kinds(
    representation: Representation, final_pooling: str | Mapping[str, str]
) -> list[tuple[SourceClassifier | None, str]]:
    """For each block the source classifier it goes through, if it does, and how it is pooled."""
    found: list[tuple[SourceClassifier | None, str]] = []
    seen: set[str] = set()
    for block in representation.blocks:
        if is_source(block.tap):
            assert representation.source is not None
            source = representation.source.of(block.tap)
            found.append((source, _pooling_of(final_beside(block.tap), final_pooling)))
        elif stage_of(block.tap) == FINAL:
            found.append((None, _pooling_of(block.tap, final_pooling)))
        else:  # a stage's mean stands before its maximum
            found.append((None, "max" if block.tap in seen else "mean"))
            seen.add(block.tap)
    return found


def _pooling_of(final: str, pooling: str | Mapping[str, str]) -> str:
    return pooling if isinstance(pooling, str) else pooling[final]


def _mean(views: Sequence[Any]) -> Any:
    """Of one view it is that one, to the last bit."""
    return views[0] if len(views) == 1 else sum(views) / len(views)


def _pooled(
    stage: PositionMap, v: Floats, centre: Floats, pooling: str, *, is_normalised: bool
) -> Floats:
    """``(N, P)``: what ``v · (row / |row| - centre)`` gets from each position."""
    rows = stage.rows(pooling=pooling).astype(np.float64)
    length = np.ones(len(rows))
    if is_normalised:
        length = np.maximum(np.sqrt(np.einsum("nc,nc->n", rows, rows)), 1e-12)
    if pooling == "mean":
        weights = v.astype(np.float32)[:, :, None]
        each = _mean([(values @ weights)[:, :, 0].astype(np.float64) for values in stage.views])
        P = stage.values.shape[1]
        return np.asarray((each / length[:, None] - (v @ centre)[:, None]) / P)
    return np.asarray(
        _mean(
            [
                _at_maximum(values, v * (values.max(axis=1) / length[:, None] - centre))
                for values in stage.views
            ]
        )
    )


def _at_maximum(values: NDArray[np.float32], parts: Floats) -> Floats:
    """``(N, P)`` from ``(N, C)``: each channel's part at the position that has its maximum."""
    N, P, _ = values.shape
    places = values.argmax(axis=1) + P * np.arange(N)[:, None]
    summed = np.bincount(places.ravel(), weights=np.ravel(parts), minlength=N * P)
    return np.asarray(summed, np.float64).reshape(N, P)


def _through_source(
    stage: PositionMap, v: Floats, centre: Floats, source: SourceClassifier, pooling: str
) -> Floats:
    """``(N, P)``: the part of the source classes, which sums to ``v · (roots - centre)``.

    The roots of the probabilities are no linear function of the final features, so a gradient
    takes its place: the mean of those on the straight line from no features at all to these
    (integrated gradients). The gradient at the end of the line alone is nearly nothing where the
    network is sure of a source class, and would leave out just the pictures that are clearest.

    References
    ----------
    Sundararajan, Taly, Yan (2017), ICML, "Axiomatic attribution for deep networks".
    """
    final = stage.rows(pooling=pooling).astype(np.float32)
    slope = mean_slope(source, final, v)
    nothing = source.root_probabilities(np.zeros((1, final.shape[1]), np.float32))[0]
    rest = (v @ (nothing.astype(np.float64) - centre)) / stage.values.shape[1]
    none = np.zeros(final.shape[1])
    return np.asarray(_pooled(stage, slope, none, pooling, is_normalised=False) + rest[:, None])


def mean_slope(source: SourceClassifier, final: Floats, v: Floats) -> Floats:
    """``(N, F)`` mean gradient of ``v · roots`` between no features and these.

    Parameters
    ----------
    final : (N, F) float32
    v : (N, C) float64
        Weights of the roots of the C source classes' probabilities.
    """
    nodes, shares = np.polynomial.legendre.leggauss(N_NODES)
    reach = final @ source.weight.T
    by_logit = np.zeros_like(reach, dtype=np.float64)
    for node, share in zip((nodes + 1) / 2, shares / 2, strict=True):
        logits = node * reach + source.bias
        logits -= logits.max(axis=1, keepdims=True)
        p = np.exp(logits, dtype=np.float64)
        p /= p.sum(axis=1, keepdims=True)
        weighted = v * np.sqrt(p)
        by_logit += share * (weighted - p * weighted.sum(axis=1, keepdims=True)) / 2
    slope: Floats = by_logit @ source.weight.astype(np.float64)
    return slope


def onto_grid(maps: Floats, shape: tuple[int, int]) -> Floats:
    """``(N, h, w)`` on another grid: bilinear to a finer one, by area to a coarser; sums stay.

    Examples
    --------
    >>> onto_grid(np.ones((1, 2, 2)), (4, 4))[0, 0]
    array([0.25, 0.25, 0.25, 0.25])
    """
    rows, columns = (_spread(n, m) for n, m in zip(maps.shape[1:], shape, strict=True))
    spread: Floats = rows @ maps @ columns.T
    return spread


def smoothed(maps: Floats) -> Floats:
    """``(N, h, w)`` with every place spread over its neighbours; sums stay.

    Examples
    --------
    >>> dot = smoothed(np.eye(1, 784, 405).reshape(1, 28, 28))
    >>> print(f"{dot.sum():.3f} in all, {dot.max():.3f} at most")
    1.000 in all, 0.052 at most
    """
    rows, columns = (_bell(n) for n in maps.shape[1:])
    spread: Floats = rows @ maps @ columns.T
    return spread


def _bell(n: int) -> Floats:
    """``(n, n)``: how much of each cell goes to each other one; every column sums to 1."""
    cell = np.arange(n)
    shares = np.exp(-((cell[:, None] - cell) ** 2) / (2 * (BELL * n) ** 2))
    return np.asarray(shares / shares.sum(axis=0))


def _spread(n: int, m: int) -> Floats:
    """``(m, n)``: how much of each of n cells goes to each of m; every column sums to 1."""
    if m <= n:
        edges = np.arange(m + 1) * n / m
        low, high = edges[:-1, None], edges[1:, None]
        cell = np.arange(n)
        shares = np.minimum(high, cell + 1) - np.maximum(low, cell)
    else:
        centre = np.clip((np.arange(m)[:, None] + 0.5) * n / m - 0.5, 0, n - 1)
        shares = 1 - np.abs(centre - np.arange(n))
    shares = np.maximum(shares, 0)
    return np.asarray(shares / shares.sum(axis=0))


def _common_grid(grids: list[tuple[int, int]]) -> tuple[int, int]:
    height, width = (max(sides) for sides in zip(*grids, strict=True))
    return min(height, MOST_CELLS), min(width, MOST_CELLS)


def _n_cells(stage: PositionMap) -> int:
    return stage.grid[0] * stage.grid[1]
