"""Which columns of the features each network fills, and by which recipe they are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regraft.backbones.catalog import FLIP
from regraft.features.engine import POOLING, EngineInfo
from regraft.features.recipe import Recipe
from regraft.features.store import Store
from regraft.images import DECODER_VERSION
from regraft.images.resize import resizer


def recipe_for(info: EngineInfo) -> Recipe:
    """Every ingredient of the features that this engine gives.

    Of several networks side by side it tells their rows apart from others; each network's part of
    them is kept by a recipe of its own (:func:`strips_of`).
    """
    shown = [one.preprocess.to_dict() for one in info.networks]
    return Recipe(
        weights_digest=info.weights_digest,
        taps=tuple(name for name, _ in info.widths),
        pooling=POOLING,
        preprocess={"side by side": shown} if info.parts else shown[0],
        precision=info.precision,
        engine=info.runtime,
        decoder=f"{DECODER_VERSION} {resizer()}",
        view="centre and its mirror image" if info.look == FLIP else "centre",
    )


@dataclass(frozen=True)
class Strip:
    """The columns that one network fills, and the digest of the recipe by which they are kept."""

    recipe: Recipe
    digest: str
    columns: slice

    @property
    def width(self) -> int:
        """How many columns."""
        return int(self.columns.stop - self.columns.start)


def strips_of(info: EngineInfo) -> list[Strip]:
    """The matrix of features by networks; mostly there is one, which fills all of it."""
    found, start = [], 0
    for one in info.networks:
        recipe, stop = recipe_for(one), start + one.n_features
        found.append(Strip(recipe, recipe.digest, slice(start, stop)))
        start = stop
    return found


def stored_rows(
    store: Store, digests: Sequence[bytes | None], strips: Sequence[Strip], X: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Fill the rows of X that are stored, strip by strip; which were found, ``(N, strips)``."""
    return np.stack(
        [
            store.features(digests, strip.digest, strip.width, out=X[:, strip.columns])[0]
            for strip in strips
        ],
        axis=1,
    )
