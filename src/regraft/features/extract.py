"""The pass over a table of images: what the store or parts know already, and the rest read once.

On a warm store no file is opened and no engine started.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from regraft.data.table import ImageTable, Rejected
from regraft.errors import DecodeError
from regraft.features.engine import EngineInfo
from regraft.features.engines import BuiltEngine
from regraft.features.extraction import Extraction, PassReport, Seen
from regraft.features.one_pass import Pass, Progress, Runner
from regraft.features.parts import NO_PARTS, Parts
from regraft.features.store import Store
from regraft.features.strips import Strip, recipe_for, stored_rows, strips_of
from regraft.images import pictures
from regraft.images.facts import FileFacts
from regraft.images.facts_table import FactsTable
from regraft.images.pictures import InMemory
from regraft.images.scale import rules_for
from regraft.listener import SILENT, Listener
from regraft.machine import arrays

# Rows that the store is asked about at once.
ROWS_ASKED = 16_384

BeforePass = Callable[[list[int]], None]


def run(
    table: ImageTable,
    built: BuiltEngine,
    store: Store,
    *,
    progress: Progress = lambda done, total: None,
    n_threads: int | None = None,
    runner: Runner | None = None,
    parts: Parts = NO_PARTS,
    before: BeforePass = lambda missing: None,
) -> Extraction:
    """Facts and features of every image of a table.

    Parameters
    ----------
    table : ImageTable of N0 rows
    built : BuiltEngine
    store : Store
        Asked first; keeps what is computed.
    progress : callable(done, total), optional
        Called from the caller's thread, at most once per image.
    n_threads : int, optional
        Default: one per core. Results do not depend on it.
    runner : Runner, optional
        Who reads and computes what nobody knows; this process's threads if not given.
    parts : Parts, optional
        Made before, elsewhere; where there are some, they are asked and the store is not.
    before : callable(missing), optional
        Hears of the rows that nobody knows, if there are any, before they are read.

    Returns
    -------
    Extraction

    Examples
    --------
    ::

        table = read_folder("photos")
        with Store.open() as store:
            extraction = run(table, engines.locate(catalog.resolve("default")), store)
        extraction.X.shape
    """
    seen, missing, report = see(
        table, built, store, progress=progress, n_threads=n_threads, runner=runner, parts=parts,
        before=before,
    )  # fmt: skip
    return _gather(table, seen, built.info, report, missing, has_parts=bool(parts))


def see(
    table: ImageTable,
    built: BuiltEngine,
    store: Store,
    *,
    progress: Progress = lambda done, total: None,
    n_threads: int | None = None,
    runner: Runner | None = None,
    parts: Parts = NO_PARTS,
    before: BeforePass = lambda missing: None,
) -> tuple[Seen, list[int], PassReport]:
    """What is known of each image of a table after the pass, and which rows had to be read."""
    strips, N = strips_of(built.info), len(table)
    for strip in strips:
        store.put_recipe(strip.recipe)
    seen = Seen(arrays.zeros((N, built.info.n_features), np.float32), FactsTable(N))
    missing = parts.fill(table, seen) if parts else _ask_of_all(store, table, strips, seen)
    work = Pass(table, built, store, strips, seen, progress, parts)
    if not missing:
        return seen, missing, PassReport()
    before(missing)
    if runner is None or parts.may_know(missing):
        return seen, missing, work.run(missing, n_threads)
    return seen, missing, work.run_by(runner, missing)


def missing_from_store(table: ImageTable, built: BuiltEngine) -> list[int]:
    """Rows that a pass would have to read, since the user's store does not know them.

    Only keys are looked at; the facts of a row without features are, which say whether it has none
    because its file cannot be used.
    """
    recipes = [strip.digest for strip in strips_of(built.info)]
    with Store.open(decoder=rules_for(built.info.preprocess.white)) as store:
        paths = ["" if isinstance(path, InMemory) else path for path in table.paths]
        digests = store.digests_of(paths)
        known = set.intersection(*(store.known(digests, recipe) for recipe in recipes))
        lacking = [row for row, digest in enumerate(digests) if digest not in known]
        facts = store.facts(digests[row] for row in lacking)
    return [row for row in lacking if not _is_rejected(facts.get(digests[row] or b""))]


def _is_rejected(fact: FileFacts | None) -> bool:
    return fact is not None and fact.rejected is not None


def timed(paths: Sequence[str], built: BuiltEngine) -> tuple[float, float] | None:
    """Core-milliseconds that reading a picture takes, and the network on it; None where none of
    these can be read.

    The first picture is not counted: whatever is started, is started by it.
    """
    read_s, run_s, n = 0.0, 0.0, 0
    running = [one.engine() for one in built.networks]
    wanted = [one.info.preprocess for one in built.networks]
    for path in paths:
        begun = time.perf_counter()
        try:
            shown = pictures.plain_for_each(path, wanted)
        except DecodeError:
            continue
        decoded = time.perf_counter()
        for engine, pixels in zip(running, shown, strict=True):
            engine.run(pixels[None])
        if n:
            read_s, run_s = read_s + decoded - begun, run_s + time.perf_counter() - decoded
        n += 1
    return (1000 * read_s / (n - 1), 1000 * run_s / (n - 1)) if n > 1 else None


def through_store(
    table: ImageTable,
    built: BuiltEngine,
    *,
    uses_store: bool = True,
    listener: Listener = SILENT,
    runner: Runner | None = None,
    parts: Parts = NO_PARTS,
    before: BeforePass = lambda missing: None,
) -> Extraction:
    """`run` with the user's store, opened for it; the listener hears what was wrong with it.

    Without `uses_store` nothing of the images is looked up or left on disk.
    """
    rules = rules_for(built.info.preprocess.white)
    with Store.open(decoder=rules) if uses_store else Store.nowhere() as store:
        progress = functools.partial(listener.progress, "images")
        extraction = run(
            table, built, store, progress=progress, runner=runner, parts=parts, before=before
        )
    for sentence in store.report():
        listener.say(sentence)
    return extraction


def _ask_of_all(store: Store, table: ImageTable, strips: list[Strip], seen: Seen) -> list[int]:
    """Take over what the store has of a table, some rows at a time; those that it lacks."""
    missing: list[int] = []
    for start in range(0, len(table), ROWS_ASKED):
        missing += _ask(store, table, slice(start, start + ROWS_ASKED), strips, seen)
    return missing


def _ask(
    store: Store, table: ImageTable, rows: slice, strips: list[Strip], seen: Seen
) -> list[int]:
    """Take over what the store has of some rows; those that have to be read are returned."""
    on_disk = ["" if isinstance(path, InMemory) else path for path in table.paths[rows]]
    digests = store.digests_of(on_disk)
    facts = store.facts(digests)
    found = np.atleast_1d(stored_rows(store, digests, strips, seen.X[rows]).all(axis=1))
    missing = []
    for row, (digest, has_features) in enumerate(zip(digests, found, strict=True), rows.start):
        fact = facts.get(digest) if digest else None
        if fact is None or (fact.rejected is None and not has_features):
            missing.append(row)
        else:
            seen.put(row, fact)
    return missing


def _gather(
    table: ImageTable,
    seen: Seen,
    info: EngineInfo,
    report: PassReport,
    missing: list[int],
    *,
    has_parts: bool = False,
) -> Extraction:
    """Only the readable rows; the others become `rejected`, each with its reason."""
    rejected = [
        Rejected(table.paths[row], fact.rejected or "", fact.mend, table.labels[row])
        for row, fact in sorted(seen.rejected.items())
    ]
    good = np.ones(len(table), bool)
    good[list(seen.rejected)] = False
    kept = table if good.all() else table.select(good)
    kept = replace(kept, rejected=(*table.rejected, *rejected))
    n_good_read = int(good[missing].sum())
    n_unread = int(good.sum()) - n_good_read
    return Extraction(
        table=kept,
        facts=seen.facts if good.all() else seen.facts.select(good),
        X=seen.X if good.all() else _rows_of(seen.X, good),
        info=info,
        recipe=recipe_for(info),
        computed=report.n_images,
        known=n_good_read - report.n_images,
        from_store=0 if has_parts else n_unread,
        report=report,
        from_parts=n_unread if has_parts else 0,
    )


def _rows_of(X: NDArray[np.float32], good: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The good rows; moved to the front in place if the matrix is a map, to stay out of memory."""
    if not isinstance(X, np.memmap):
        return X[good]
    rows = np.flatnonzero(good)
    for target, row in enumerate(rows):
        X[target] = X[row]
    return X[: len(rows)]
