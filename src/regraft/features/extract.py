"""The one pass over the images: read, hash, decode, facts and the network's taps, overlapped.

As many threads as cores each take the next few images through all steps. Decoding and inference
release Python's lock, so every core is busy with one or the other until the last image, and no
queue has to be balanced. What the store knows already is not done again: on a warm store no file
is opened and no engine started.
"""

from __future__ import annotations

import functools
import os
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from regraft.backbones.catalog import FLIP
from regraft.data.stored import Ahead, is_far
from regraft.data.table import ImageTable, Rejected
from regraft.errors import DecodeError
from regraft.features.engine import POOLING, EngineInfo
from regraft.features.engines import BuiltEngine
from regraft.features.part import Part, stamp_of, stat_of
from regraft.features.parts import NO_PARTS, Parts
from regraft.features.recipe import Recipe
from regraft.features.store import Store
from regraft.images import DECODER_VERSION, pictures
from regraft.images.facts import FileFacts, facts_of, rejected_facts
from regraft.images.facts_table import FactsTable
from regraft.images.pictures import Content, InMemory, content_of, decoded_for, wanted_by
from regraft.images.resize import resizer
from regraft.images.scale import rules_for
from regraft.listener import SILENT, Listener
from regraft.machine import arrays
from regraft.machine.processor import available_cores

# Rows that the store is asked about at once.
ROWS_ASKED = 16_384
# Images that a thread takes at once at most, unless the engine's batches are larger.
IMAGES_AT_ONCE = 8
# Rows that wait for the store: few enough that a kill loses little, enough for one transaction.
ROWS_PER_WRITE = 512

Progress = Callable[[int, int], None]
BeforePass = Callable[[list[int]], None]


@dataclass(frozen=True)
class PassReport:
    """How fast the pass was, and how fast it could have been.

    Attributes
    ----------
    n_images : int
        Images that were decoded and run through the network.
    seconds : float
        Wall time of the pass.
    decode_ms, model_ms : float
        Core-milliseconds per image: reading, hashing, decoding, resizing and facts; the network.
    n_cores : int
    """

    n_images: int = 0
    seconds: float = 0.0
    decode_ms: float = 0.0
    model_ms: float = 0.0
    n_cores: int = 1

    @property
    def images_per_second(self) -> float:
        """What was reached."""
        return self.n_images / self.seconds if self.seconds else 0.0

    @property
    def limit(self) -> float:
        """Images per second if every core did nothing else than these two things."""
        cost_ms = self.decode_ms + self.model_ms
        return 1000 * self.n_cores / cost_ms if cost_ms else 0.0

    @property
    def share_of_limit(self) -> float:
        """1.0: no core waited."""
        return self.images_per_second / self.limit if self.limit else 0.0

    def to_dict(self) -> dict[str, float]:
        """For metrics.json."""
        return {
            "images": self.n_images,
            "seconds": round(self.seconds, 4),
            "images_per_second": round(self.images_per_second, 1),
            "decode_core_ms": round(self.decode_ms, 3),
            "model_core_ms": round(self.model_ms, 3),
            "limit_images_per_second": round(self.limit, 1),
            "share_of_limit": round(self.share_of_limit, 3),
        }


@dataclass(frozen=True, eq=False)
class Extraction:
    """What the pass left: the readable images, their facts and features, and what was rejected.

    Attributes
    ----------
    table : ImageTable
        The N readable rows, in the order of the table that was given; its ``rejected`` holds
        every file that cannot be used, with its reason.
    facts : FactsTable of N rows
    X : float32 array of shape (N, D)
        Memory-mapped if large.
    info : EngineInfo
    recipe : Recipe
    computed, known, from_store : int
        Images that went through the network; that were read but need not, because their content
        was known (copies, files under a new name); and that were not even read.
    report : PassReport
    from_parts : int
        Images that were not read because a part has their features.
    """

    table: ImageTable
    facts: FactsTable
    X: NDArray[np.float32]
    info: EngineInfo
    recipe: Recipe
    computed: int
    known: int
    from_store: int
    report: PassReport
    from_parts: int = 0

    @property
    def digests(self) -> list[bytes]:
        """Content digest of each readable image."""
        return self.facts.digests


class Runner(Protocol):
    """Who does the pass instead of this process's threads: processes, a cluster."""

    def parts(self, paths: Sequence[str], built: BuiltEngine) -> Iterator[tuple[range, Part]]:
        """What the pass makes of these images, some at a time, in any order.

        Each part comes with its places among `paths`, and every path is in one part. An iterator
        that is closed before its end stops who works for it.
        """
        ...


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
    work = _Pass(table, built, store, strips, seen, progress, parts)
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


@dataclass(frozen=True, eq=False)
class Seen:
    """What is known of each of the N images so far.

    Attributes
    ----------
    X : (N, D) float32
    facts : FactsTable of N rows
        Of the good ones.
    rejected : dict
        From the row of a file that cannot be used to its facts, which say why.
    """

    X: NDArray[np.float32]
    facts: FactsTable
    rejected: dict[int, FileFacts] = field(default_factory=dict)

    def put(self, row: int, fact: FileFacts) -> None:
        """Facts of a good file, or of a rejected one."""
        if fact.rejected is None:
            self.facts[row] = fact
        else:
            self.rejected[row] = fact


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


@dataclass
class _Done:
    """One image after the pass: its row, and either facts or why its path cannot be read.

    By the number of a network: what it is to be shown, what it said, and what was stored of it.
    """

    row: int
    facts: FileFacts | None = None
    stat: os.stat_result | None = None
    refused: DecodeError | None = None
    copy_of: int | None = None
    pixels: dict[int, NDArray[np.uint8]] = field(default_factory=dict)
    features: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    stored: dict[int, NDArray[np.float32]] = field(default_factory=dict)


class _Pass:
    """The threads of one pass, and the collector that the caller's thread runs."""

    def __init__(
        self,
        table: ImageTable,
        built: BuiltEngine,
        store: Store,
        strips: list[Strip],
        seen: Seen,
        progress: Progress,
        parts: Parts = NO_PARTS,
    ) -> None:
        self.paths, self.built, self.store, self.strips = table.paths, built, store, strips
        self.seen, self.progress, self.parts = seen, progress, parts
        self.preprocesses = [one.info.preprocess for one in built.networks]
        self.store_may_know = store.counts().get("facts", 0) > 0
        self._row_of: dict[bytes, int] = {}
        self.ahead: Ahead | None = None
        self.waiting: list[_Done] = []
        self.decode_s = self.model_s = 0.0
        self.n_run = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._results: queue.SimpleQueue[_Done | BaseException] = queue.SimpleQueue()

    def run(self, rows: list[int], n_threads: int | None) -> PassReport:
        n_threads = n_threads or available_cores()
        if not self.store_may_know:
            for one in self.built.networks:
                one.engine()  # its start is no part of the pass
        start = time.perf_counter()
        if any(is_far(self.paths[row]) for row in rows):
            self.ahead = Ahead(path for row in rows if is_far(path := self.paths[row]))
        batches = jobs(rows, n_threads, max(1, self.built.info.batch_size))
        threads = [
            threading.Thread(target=self._work, args=(batches,), daemon=True)
            for _ in range(min(n_threads, len(rows)))
        ]
        for thread in threads:
            thread.start()
        try:
            self._collect(len(rows))
        finally:
            self._stop.set()
            if self.ahead is not None:
                self.ahead.close()
            self._write()
            for thread in threads:
                thread.join()
        seconds = time.perf_counter() - start
        if not self.n_run:
            return PassReport(seconds=seconds, n_cores=n_threads)
        return PassReport(
            n_images=self.n_run,
            seconds=seconds,
            decode_ms=1000 * self.decode_s / self.n_run,
            model_ms=1000 * self.model_s / self.n_run,
            n_cores=min(n_threads, available_cores()),
        )

    def run_by(self, runner: Runner, rows: list[int]) -> PassReport:
        """The pass, done by somebody else; what comes is kept as it comes, in any order."""
        start, n_done, n_run, decode_s, model_s = time.perf_counter(), 0, 0, 0.0, 0.0
        made = runner.parts([self.paths[row] for row in rows], self.built)
        try:
            for places, part in made:
                part.require_recipe(recipe_for(self.built.info))
                self._take(rows[places.start : places.stop], part)
                n_run, n_done = n_run + part.n_run, n_done + len(part)
                decode_s, model_s = decode_s + part.decode_s, model_s + part.model_s
                self.progress(n_done, len(rows))
        finally:
            if isinstance(made, Generator):
                made.close()
            self._write()
        seconds = time.perf_counter() - start
        return PassReport(
            n_images=n_run,
            seconds=seconds,
            decode_ms=1000 * decode_s / max(1, n_run),
            model_ms=1000 * model_s / max(1, n_run),
            n_cores=getattr(runner, "n_cores", 1),
        )

    def _take(self, rows: list[int], part: Part) -> None:
        """A part that came; it waits for the store as what was computed here does."""
        for place, row in enumerate(rows):
            fact, features = part.row(place)
            self.seen.put(row, fact)
            if features is not None:
                self.seen.X[row] = features
            if fact.digest:  # else its path could not be read: nothing to be known again
                stat = _stat_if(self.paths[row], part.stamps[place])
                made = {} if features is None else self._by_network(features)
                self.waiting.append(_Done(row, fact, stat, features=made))
        if len(self.waiting) >= ROWS_PER_WRITE:
            self._write()

    def _work(self, batches: Iterator[list[int]]) -> None:
        try:
            while not self._stop.is_set():
                with self._lock:
                    rows = next(batches, None)
                if rows is None:
                    return
                self._do(rows)
        except BaseException as error:  # handed to the caller's thread, which raises it
            self._results.put(error)

    def _do(self, rows: list[int]) -> None:
        start = time.thread_time()
        done = [self._read(row) for row in rows]
        between, model_s = time.thread_time(), 0.0
        n_run = sum(bool(d.pixels) for d in done)
        for number, one in enumerate(self.built.networks):
            shown = [d for d in done if number in d.pixels]
            if shown:
                engine = one.engine()
                wall = time.perf_counter()
                pixels = np.stack([d.pixels.pop(number) for d in shown])
                for d, features in zip(shown, engine.run(pixels), strict=True):
                    d.features[number] = features
                model_s += time.perf_counter() - wall
        with self._lock:
            self.decode_s += between - start
            self.model_s += model_s
            self.n_run += n_run
        for d in done:
            self._results.put(d)

    def _read(self, row: int) -> _Done:
        """One file up to what its networks are shown, or to what is known of it already."""
        path = self.paths[row]
        try:
            stat = stat_of(path)
            content = content_of(self.ahead.take(path) if self.ahead and is_far(path) else path)
        except DecodeError as error:
            return _Done(row, refused=error)
        digest = content.digest
        with self._lock:
            first = self._row_of.setdefault(digest, row)
        if first != row:
            return _Done(row, stat=stat, copy_of=first)
        known = self._known(row, digest, stat)
        if known.facts is not None and known.facts.rejected is not None:
            return known
        try:
            self._show(content, known)
        except DecodeError as error:
            return _Done(row, rejected_facts(content.n_bytes, digest, error), stat)
        return known

    def _show(self, content: Content, done: _Done) -> None:
        """What each network is shown that has not seen the picture: it is decoded once."""
        known = done.stored | done.features
        wanted = {n: p for n, p in enumerate(self.preprocesses) if n not in known}
        if not wanted:
            return
        first = next(iter(wanted.values()))
        decoded = decoded_for(content, first)
        if done.facts is None:
            done.facts = facts_of(content, decoded, white=first.white)
        for number, own in wanted.items():
            done.pixels[number] = own(wanted_by(own, content, decoded).pixels)

    def _known(self, row: int, digest: bytes, stat: os.stat_result | None) -> _Done:
        """What is known of a content: all of it where a file has a new name, or another time."""
        if (found := self.parts.of_content(digest)) is not None:
            return _Done(row, found[0], stat, features=self._by_network(found[1]))
        return self._stored(row, digest, stat) if self.store_may_know else _Done(row, stat=stat)

    def _by_network(self, features: NDArray[np.float32]) -> dict[int, NDArray[np.float32]]:
        """A whole row, strip by strip."""
        return {number: features[strip.columns] for number, strip in enumerate(self.strips)}

    def _stored(self, row: int, digest: bytes, stat: os.stat_result | None) -> _Done:
        """What the store knows of a content: some of it where one of the networks is new."""
        facts = self.store.facts([digest]).get(digest)
        done = _Done(row, facts, stat)
        if facts is not None and facts.rejected is None:
            X = np.empty((1, self.seen.X.shape[1]), np.float32)
            (found,) = stored_rows(self.store, [digest], self.strips, X)
            for number in np.flatnonzero(found).tolist():
                done.stored[number] = X[0, self.strips[number].columns]
        return done

    def _collect(self, total: int) -> None:
        copies: list[_Done] = []
        for n_done in range(1, total + 1):
            result = self._results.get()
            if isinstance(result, BaseException):
                raise result
            if result.refused is not None:
                self.seen.put(result.row, rejected_facts(0, b"", result.refused))
            elif result.copy_of is not None:
                copies.append(result)
            else:
                assert result.facts is not None
                self.seen.put(result.row, result.facts)
                for number, features in (result.stored | result.features).items():
                    self.seen.X[result.row, self.strips[number].columns] = features
                self.waiting.append(result)
                if len(self.waiting) >= ROWS_PER_WRITE:
                    self._write()
            self.progress(n_done, total)
        for copy in copies:
            assert copy.copy_of is not None
            first = copy.copy_of
            copy.facts = self.seen.rejected.get(first) or self.seen.facts[first]
            self.seen.put(copy.row, copy.facts)
            self.seen.X[copy.row] = self.seen.X[first]
            self.waiting.append(copy)

    def _write(self) -> None:
        """Hand what waits to the store."""
        waiting, self.waiting = self.waiting, []
        self.store.put_facts([d.facts for d in waiting if d.facts is not None])
        for number, strip in enumerate(self.strips):
            new = [d for d in waiting if number in d.features]
            digests = [d.facts.digest for d in new if d.facts is not None]
            X = self.seen.X[[d.row for d in new], strip.columns]
            self.store.put_features(digests, strip.digest, X)
        self.store.remember_files(
            (self.paths[d.row], d.stat, d.facts.digest) for d in waiting if d.stat and d.facts
        )


def _stat_if(path: str, stamp: Any) -> os.stat_result | None:
    """A file's ``stat``, if it is still the one of which the stamp was taken before it was read."""
    stat = stat_of(path)
    return stat if stat is not None and stamp_of(stat) == tuple(stamp) else None


def jobs(rows: list[int], n_threads: int, batch_size: int) -> Iterator[list[int]]:
    """Rows in parts for threads that take one after the other.

    Several images at once, because threads that meet at Python's lock after each one wait for each
    other (4 to 8 % of a pass); fewer towards the end, so that no thread is left with work alone.
    After Polychronopoulos and Kuck (1987), Guided self-scheduling.

    Examples
    --------
    >>> [len(part) for part in jobs(list(range(50)), n_threads=2, batch_size=1)]
    [8, 8, 8, 6, 5, 3, 3, 2, 1, 1, 1, 1, 1, 1, 1]
    """
    start = 0
    while start < len(rows):
        share = (len(rows) - start) // (2 * n_threads)
        size = max(batch_size, min(IMAGES_AT_ONCE, share) // batch_size * batch_size)
        yield rows[start : start + size]
        start += size


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
