"""`regraft features`: the pass over one shard of the data, kept as a part for a later train."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from regraft.data.listings import KIND, Listings
from regraft.data.shards import shards_in
from regraft.data.table import ImageTable, Rejected
from regraft.errors import ArtefactError, TableError, UsageError
from regraft.features import engines, extract, part_file, side_by_side
from regraft.features.elsewhere import HERE, Elsewhere, listings_beside
from regraft.features.extraction import Seen
from regraft.features.part import SUFFIX, Part, stamp_of, stat_of
from regraft.features.parts import NO_PARTS, Parts, name_in
from regraft.features.recipe import Recipe
from regraft.features.shard import Shard
from regraft.features.store import Store
from regraft.features.strips import recipe_for
from regraft.images import pictures
from regraft.images.scale import MEASURED, rules_for, white_of
from regraft.listener import SILENT, Listener
from regraft.machine import blas, cache
from regraft.record.configuration import RunConfig
from regraft.workflows.preparation import read


@dataclass(frozen=True, eq=False)
class Made:
    """A part on disk.

    Attributes
    ----------
    part : Part
    path : Path
    config : RunConfig
    was_there : bool
        It was made earlier, of the same files.
    damaged : tuple of Rejected
        Its tar shards that are not whole.
    """

    part: Part
    path: Path
    config: RunConfig
    was_there: bool = False
    damaged: tuple[Rejected, ...] = ()

    @property
    def rejected(self) -> list[tuple[str, str]]:
        """Name and reason of what cannot be read: images, whole tar shards."""
        bad, names = self.part.rejected, list(self.part.names)
        images = [(names[at], bad[at].rejected or "") for at in sorted(bad)]
        return images + [(one.path, one.reason) for one in self.damaged]

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "schema": 1,
            "part": str(self.path),
            "shard": str(self.part.shard),
            "images": len(self.part.good),
            "rejected": [{"path": name, "reason": reason} for name, reason in self.rejected],
            "recipe": self.part.recipe.digest,
            "was_there": self.was_there,
        }


@blas.one_thread
def make_part(
    config: RunConfig,
    shard: Shard,
    out: str | os.PathLike[str],
    *,
    uses_store: bool = True,
    offline: bool = False,
    listener: Listener = SILENT,
    elsewhere: Elsewhere = HERE,
) -> Made:
    """The pass over one shard; one whose part is there already, of the same files, is not made.

    What could not be read then (a store that did not answer) is read now.

    Parameters
    ----------
    config : RunConfig
        Its data, columns, backbone and scale count.
    shard : Shard
    out : path
        Folder of the parts.
    uses_store : bool
        Otherwise the store is neither asked nor filled, as on a cluster's shared disk.

    Raises
    ------
    TableError
        Fewer images than shards.
    UsageError
        The scale is measured, which takes all images at once.
    """
    if config.scale == MEASURED:
        raise UsageError(
            "--scale auto-per-set holds all images together, and a shard sees its own only",
            cure="regraft check DATA says the largest value; then --scale NUMBER for all shards",
        )
    tars = shards_in(config.data)
    table, rows = _own_rows(config, shard, len(tars), Path(out), listener)
    damaged = tuple(bad for bad in table.rejected if bad.path in set(tars))
    if not rows:
        raise TableError(
            f"shard {shard} has no image: there are {len(table):,} in {config.data!r}",
            cure=f"--shard i/{min(len(table), shard.of)}, or fewer",
        )
    names = [name_in(table, path) for path in table.paths[rows.start : rows.stop]]
    mine = table.select(np.arange(rows.start, rows.stop))
    built = side_by_side.locate(
        replace(config.source, white=white_of(config.scale)),
        sample=pictures.sample(mine.paths),
        device=config.device,
        offline=offline,
        say=listener.say,
    )
    stamps = np.array([stamp_of(stat_of(path)) for path in mine.paths], np.int64)
    recipe = recipe_for(built.info)
    found = _made_before(Path(out), shard, recipe, names, mine, stamps)
    if found and not found[0].unread:
        return Made(*found, config, was_there=True, damaged=damaged)
    known = Parts([found[0]], Path(out), listener.say) if found else NO_PARTS
    made = _passed(mine, built, uses_store, listener, elsewhere, known)
    is_good = np.ones(len(mine), bool)
    is_good[list(made.rejected)] = False
    finished = Part(
        recipe, names, stamps, made.facts.select(is_good), made.X[is_good], made.rejected, shard
    )
    if found and finished.rejected.keys() == found[0].rejected.keys():
        return Made(*found, config, was_there=True, damaged=damaged)
    path = part_file.write(finished, Path(out))
    _forget_older(path, shard, recipe)
    return Made(finished, path, config, damaged=damaged)


def _own_rows(
    config: RunConfig, shard: Shard, n_tars: int, out: Path, listener: Listener
) -> tuple[ImageTable, range]:
    """The table, and its rows that are this shard's: whole tar shards where there are enough of
    them, of which only these are listed; else as many images as the others have."""
    progress = functools.partial(listener.progress, "shards")
    listings = Listings(listings_beside(out), cache.folder_of(KIND), progress=progress)
    if n_tars < shard.of:
        table = read(config, listings=listings)
        return table, shard.rows(len(table))
    tars = shard.rows(n_tars)
    table = read(config, listings=listings, only=slice(tars.start, tars.stop))
    return table, range(len(table))


def _passed(
    table: ImageTable,
    built: engines.BuiltEngine,
    uses_store: bool,
    listener: Listener,
    elsewhere: Elsewhere,
    known: Parts,
) -> Seen:
    rules = rules_for(built.info.preprocess.white)
    with Store.open(decoder=rules) if uses_store else Store.nowhere() as store:
        seen, _, _ = extract.see(
            table,
            built,
            store,
            progress=functools.partial(listener.progress, "images"),
            runner=elsewhere.runner_for(listener),
            parts=known,
        )
    for sentence in store.report():
        listener.say(sentence)
    return seen


def _made_before(
    folder: Path, shard: Shard, recipe: Recipe, names: list[str], mine: ImageTable, stamps: Any
) -> tuple[Part, Path] | None:
    """The part of these very files, by this recipe; a damaged one is made again."""
    for path in sorted(folder.glob(f"{shard.stem}-*{SUFFIX}")):
        try:
            found = part_file.read(path)
        except ArtefactError:
            path.unlink(missing_ok=True)
            continue
        is_same = found.recipe == recipe and found.names == names
        if is_same and np.array_equal(found.stamps, stamps) and not _is_racy(mine, stamps):
            return found, path
    return None


def _is_racy(table: ImageTable, stamps: Any) -> bool:
    """Whether a file here is so new that its stamp tells nothing; an address never has one."""
    pairs = zip(table.paths, stamps[:, 0], strict=True)
    return any(size < 0 and "://" not in path for path, size in pairs)


def _forget_older(path: Path, shard: Shard, recipe: Recipe) -> None:
    """Parts of this shard that were made of files that are others now, by the same recipe."""
    for other in path.parent.glob(f"{shard.stem}-*{SUFFIX}"):
        if other == path:
            continue
        try:
            is_older = part_file.read(other).recipe == recipe
        except ArtefactError:
            is_older = True
        if is_older:
            other.unlink(missing_ok=True)
