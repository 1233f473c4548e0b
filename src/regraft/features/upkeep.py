"""Looking after the cache: what is in it, pruning, and proof that it tells the truth."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from regraft.backbones import catalog
from regraft.data.table import ImageTable
from regraft.errors import UsageError
from regraft.features import engine, engines, extract, pixels
from regraft.features.store import Store
from regraft.features.stored_recipes import StoredRecipe
from regraft.features.strips import recipe_for
from regraft.images import DECODER_VERSION
from regraft.machine import cache

# Largest allowed difference of a feature computed again, relative to its vector's largest number.
TOLERANCE = {"fp32": 1e-4, "bf16": 2e-2}


@dataclass(frozen=True)
class Contents:
    """Engines and recipes in the cache, and how many there are of everything."""

    engines: list[tuple[Path, engine.EngineInfo]]
    recipes: list[Any]
    counts: dict[str, int]


@dataclass(frozen=True)
class Verified:
    """What `cache verify` found.

    Attributes
    ----------
    problems : list of str
        Rows that were damaged (and removed), or numbers that came out differently.
    n_compared : int
        Features that were computed again.
    n_gone : int
        Sampled features whose image is not on disk any more, or whose engine is not built here.
    worst : float
        Largest relative difference.
    n_stored : int
        Rows of features in the store.
    """

    problems: list[str]
    n_compared: int
    n_gone: int
    worst: float
    n_stored: int = 0

    @property
    def is_good(self) -> bool:
        """Nothing was found."""
        return not self.problems


def contents() -> Contents:
    """What the cache holds."""
    with Store.open(decoder=DECODER_VERSION) as store:
        counts = {**store.counts(), "sets of decoded images": len(pixels.list_kept())}
        return Contents(engines.list_built(), store.recipes(), counts)


def prune(limit: str | None) -> int:
    """Drop the least recently used features down to a size; bytes freed."""
    n_bytes = cache.size_limit(limit)
    with Store.open(decoder=DECODER_VERSION) as store:
        return store.prune(n_bytes)


def verify(n: int, *, seed: int = 0) -> Verified:
    """Check every row's checksum, and compute `n` stored features again."""
    if n < 0:
        raise UsageError(f"--sample must be 0 or more, got {n}")
    with Store.open(decoder=DECODER_VERSION) as store:
        problems = store.integrity_check()
        samples = store.sample(n, seed)
        recipes = store.recipes()
        n_stored = sum(stored.n_rows for stored in recipes)
    by_recipe = {
        recipe_for(shown).digest: engines.BuiltEngine(folder, shown, _no_source(shown))
        for folder, info in engines.list_built()
        for shown in _with_each_white(info, recipes)
    }
    compared, gone, worst = 0, 0, 0.0
    for built, group in _grouped(samples, by_recipe):
        if built is None:
            gone += len(group)
            continue
        for sample in group:
            again = _again(built, sample.paths, sample.digest)
            if again is None:
                gone += 1
                continue
            compared += 1
            difference = float(np.abs(again - sample.vector).max() / np.abs(again).max())
            worst = max(worst, difference)
            if difference > TOLERANCE[built.info.precision]:
                problems.append(
                    f"{sample.paths[0]}: stored and fresh features differ by {difference:.2g}"
                )
    return Verified(problems, compared, gone, worst, n_stored)


def _with_each_white(
    info: engine.EngineInfo, recipes: list[StoredRecipe]
) -> Iterator[engine.EngineInfo]:
    """An engine for pictures of every scale, and every look, by which features are stored."""
    preprocesses = [stored.recipe.get("preprocess") for stored in recipes if stored.recipe]
    whites = {known.get("white", 0) for known in preprocesses if isinstance(known, dict)}
    for white, look in itertools.product({0, *whites}, catalog.LOOKS):
        yield replace(info, preprocess=replace(info.preprocess, white=white), look=look)


def _grouped(samples: list[Any], by_recipe: dict[str, engines.BuiltEngine]) -> list[Any]:
    recipes = dict.fromkeys(sample.recipe_digest for sample in samples)
    return [(by_recipe.get(r), [s for s in samples if s.recipe_digest == r]) for r in recipes]


def _again(built: engines.BuiltEngine, paths: list[str], digest: bytes) -> Any:
    """Features of one image, computed without the store; None if the image is gone or changed."""
    for path in paths:
        if not os.path.exists(path):
            continue
        with Store.nowhere() as nothing:
            done = extract.run(ImageTable.from_paths([path]), built, nothing, n_threads=1)
        if len(done.table) and done.facts[0].digest == digest:
            return done.X[0]
    return None


def _no_source(info: engine.EngineInfo) -> Any:
    return catalog.Source(info.name, "built", info.architecture, f"digest:{info.weights_digest}")
