"""The threads of one pass: read, hash, decode, facts and the network's taps, overlapped.

As many threads as cores each take the next few images through all steps. Decoding and inference
release Python's lock, so every core is busy with one or the other until the last image, and no
queue has to be balanced.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from regraft.data.stored import Ahead, is_far
from regraft.data.table import ImageTable
from regraft.errors import DecodeError
from regraft.features.engines import BuiltEngine
from regraft.features.extraction import PassReport, Seen
from regraft.features.firsts import Firsts
from regraft.features.part import Part, stamp_of, stat_of
from regraft.features.parts import NO_PARTS, Parts
from regraft.features.store import Store
from regraft.features.strips import Strip, recipe_for, stored_rows
from regraft.images.facts import FileFacts, facts_of, rejected_facts
from regraft.images.pictures import Content, content_of, decoded_for, wanted_by
from regraft.machine.processor import available_cores

# Images that a thread takes at once at most, unless the engine's batches are larger.
IMAGES_AT_ONCE = 8
# Rows that wait for the store: few enough that a kill loses little, enough for one transaction.
ROWS_PER_WRITE = 512
# For threads that may wait for a server, once a pass is over or was stopped.
LONGEST_WAIT_S = 3.0

Progress = Callable[[int, int], None]


class Runner(Protocol):
    """Who does the pass instead of this process's threads: processes, a cluster."""

    def parts(self, paths: Sequence[str], built: BuiltEngine) -> Iterator[tuple[range, Part]]:
        """What the pass makes of these images, some at a time, in any order.

        Each part comes with its places among `paths`, and every path is in one part. An iterator
        that is closed before its end stops who works for it.
        """
        ...


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


class Pass:
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
        self._firsts = Firsts(0)
        self.ahead: Ahead | None = None
        self.waiting: list[_Done] = []
        self.decode_s = self.model_s = 0.0
        self.n_run = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._results: queue.SimpleQueue[_Done | BaseException] = queue.SimpleQueue()

    def run(self, rows: list[int], n_threads: int | None) -> PassReport:
        n_threads = n_threads or available_cores()
        self._firsts = Firsts(len(rows))
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
            self._join(threads)
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

    def _join(self, threads: Sequence[threading.Thread]) -> None:
        """Wait for the threads; where one may wait for a silent server, not longer than a moment:
        who stops a pass does not wait for that too, and they are daemons."""
        until = time.monotonic() + LONGEST_WAIT_S
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()) if self.ahead else None)

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
            first = self._firsts.of(digest, row)
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
