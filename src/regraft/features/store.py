"""The feature store: what one pass over the images learnt, kept so that no image is read twice.

One SQLite database in the cache folder. The decision a reader would doubt: no promise rests on
SQLite finding damage. Every row carries a checksum over its key and its content, checked when it
is read, so that a flipped byte, a swapped row or a torn file costs a recomputation, never a wrong
number. For the same reason nothing here raises for a store that is broken, locked, full or
read-only: the run goes on without it, and `Store.notes` says so.

Letters: N images, D features.
"""

from __future__ import annotations

import hashlib
import os
import random
import sqlite3
import time
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from regraft.features import facts_in_rows, least_used, stored_vectors, tables
from regraft.features.database import Database, Row, bytes_in_use, number, select_in, text_of
from regraft.features.known_files import (
    NO_STAMP,
    RACY_NS,
    known_files,
    path_key,
    paths_of,
    stamp_now,
    stamp_of,
)
from regraft.features.recipe import STORE_DTYPES, Recipe
from regraft.features.seals import seal_of
from regraft.features.stored_recipes import StoredRecipe, recipes_in
from regraft.features.stored_vectors import feature_ids, rows_of, vectors
from regraft.images.facts import FileFacts
from regraft.machine import cache
from regraft.wording import agree, count


class Sample(NamedTuple):
    """One stored vector of shape (D,), with where its image was last seen."""

    digest: bytes
    paths: list[str]
    recipe_digest: str
    vector: NDArray[np.floating[Any]]


class Store:
    """Digests, facts and features of images already seen. Made by :meth:`open`.

    Several processes may use one store at once, and several threads one object. After a fork the
    child must open its own.

    Attributes
    ----------
    folder : Path
    limit_bytes : int
    n_healed : int
        Damaged rows found (and removed) through this object.

    Examples
    --------
    >>> import tempfile
    >>> digest = bytes(32)
    >>> with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder)) as store:
    ...     store.put_features([digest], "recipe", np.ones((1, 4), np.float32))
    ...     found, X = store.features([digest, None], "recipe", 4)
    >>> found.tolist(), X[0].tolist()
    ([True, False], [1.0, 1.0, 1.0, 1.0])
    """

    def __init__(
        self, folder: Path, *, decoder: str, limit_bytes: int, is_open: bool = True
    ) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self.n_healed = 0
        # The names are part of the version, so that a FileFacts with other fields is a miss.
        version = f"{decoder} {' '.join(facts_in_rows.NAMES)}"
        self._version = hashlib.sha256(version.encode()).digest()[:8]
        self._opened_ns = time.time_ns()
        self._database = Database(
            folder / "store.sqlite", schema=tables.SCHEMA, layout=tables.LAYOUT, is_open=is_open
        )
        self._used_batches: set[Any] = set()

    @property
    def notes(self) -> list[str]:
        """What went wrong and what was done about it, as sentences for people."""
        return self._database.notes

    def report(self) -> list[str]:
        """The notes, and what was found damaged: all that a user must hear."""
        if not self.n_healed:
            return self.notes
        healed = (
            f"{count(self.n_healed, 'damaged row')} {agree(self.n_healed, '[was|were]')} removed "
            "from the feature store; what is needed of them is computed again from the images"
        )
        return [*self.notes, healed]

    @property
    def is_writable(self) -> bool:
        """False once nothing new can be kept; reading goes on where there is something to read."""
        return self._database.is_writable

    @classmethod
    def open(
        cls, folder: Path | None = None, *, decoder: str = "", limit_bytes: int | None = None
    ) -> Store:
        """Store in this folder, healed or replaced if damaged, read-only or empty if need be.

        Parameters
        ----------
        folder : Path, optional
            ``features`` in the cache folder if not given. Made if missing.
        decoder : str
            Version of the decoding rules: facts found by another one are not given.
        limit_bytes : int, optional
            Size to which the least recently used features are pruned at :meth:`close`;
            :func:`regraft.machine.cache.size_limit` if not given.
        """
        folder = cache.folder_of("features") if folder is None else Path(folder)
        limit = cache.size_limit() if limit_bytes is None else limit_bytes
        return cls(folder, decoder=decoder, limit_bytes=limit)

    @classmethod
    def nowhere(cls) -> Store:
        """A store that knows nothing, keeps nothing, and leaves nothing on disk."""
        return cls(Path(os.devnull), decoder="", limit_bytes=0, is_open=False)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Mark what was used, prune to the size limit, and let go. May be called twice."""
        self._mark_used()
        self.prune()
        self._database.close()

    # Files: (path, size, times, inode) -> digest

    def digests_of(self, paths: Sequence[str]) -> list[bytes | None]:
        """SHA-256 of each file's content, if the file is known and has not changed since.

        Parameters
        ----------
        paths : sequence of N str
            Links are followed.

        Returns
        -------
        list of N bytes or None
            None if the file is new, changed, or cannot be looked at.
        """
        keys = [path_key(path) for path in paths]
        known = self._database.read(
            lambda c: known_files(c, list(dict.fromkeys(keys))), dict[bytes, Row]()
        )
        digests: list[bytes | None] = []
        for path, key in zip(paths, keys, strict=True):
            stamp, digest, seal = known.get(key, (None, None, None))
            if stamp is None or stamp != stamp_now(path):
                digests.append(None)
            elif seal != seal_of(key, stamp, digest):
                self.n_healed += 1  # the row is overwritten once the file is hashed again
                digests.append(None)
            else:
                digests.append(digest)
        return digests

    def remember_files(self, seen: Iterable[tuple[str, os.stat_result, bytes]]) -> None:
        """Keep the digests of files, given with the ``os.stat`` taken *before* they were read.

        That ``stat`` must have been taken after this store was opened. Of files changed less than
        two seconds before the opening only the place is kept (:meth:`paths_of`), and they are read
        again the next time: a later change might leave no trace.

        Parameters
        ----------
        seen : iterable of (path, stat result, digest)
        """
        rows = []
        for path, stat, digest in seen:
            is_settled = stat.st_mtime_ns < self._opened_ns - RACY_NS
            key, stamp = path_key(path), stamp_of(stat) if is_settled else NO_STAMP
            rows.append((key, stamp, digest, seal_of(key, stamp, digest)))
        self._database.write_rows("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", rows)

    # Facts: digest -> FileFacts

    def facts(self, digests: Iterable[bytes | None]) -> dict[bytes, FileFacts]:
        """Facts of the images among these that are known, rejected files included."""
        wanted = list(dict.fromkeys(digest for digest in digests if digest is not None))
        known: dict[bytes, FileFacts] = {}
        bad: list[int] = []

        def read(connection: sqlite3.Connection) -> None:
            query = "SELECT id, digest, body, seal FROM facts WHERE version = ? AND digest IN"
            for row, digest, body, seal in select_in(connection, query, wanted, self._version):
                if type(digest) is type(body) is bytes and seal == seal_of(
                    digest, self._version, body
                ):
                    known[digest] = facts_in_rows.unpack(digest, body)
                else:
                    bad.append(row)

        self._database.read(read, None)
        self._discard("facts", bad)
        return known

    def put_facts(self, facts: Iterable[FileFacts]) -> None:
        """Keep these facts, in one transaction."""
        rows = []
        for fact in facts:
            body = facts_in_rows.pack(fact)
            seal = seal_of(fact.digest, self._version, body)
            rows.append((fact.digest, self._version, body, seal))
        columns = "INSERT OR REPLACE INTO facts (digest, version, body, seal)"
        self._database.write_rows(f"{columns} VALUES (?, ?, ?, ?)", rows)

    # Features: (digest, recipe) -> vector

    def features(
        self,
        digests: Sequence[bytes | None],
        recipe_digest: str,
        n_features: int,
        dtype: DTypeLike = np.float32,
        *,
        out: NDArray[np.float32] | None = None,
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Stored features of these images.

        Parameters
        ----------
        digests : sequence of N bytes or None
            May repeat; None is never found.
        recipe_digest : str
        n_features : int
            D; a stored vector of another length counts as damaged.
        dtype : float32 or float16
            In which the vectors were put.
        out : float32 array of shape (N, D), optional
            Filled in place (it may be memory-mapped); rows not found are left as they are.

        Returns
        -------
        found : bool array of shape (N,)
        X : float32 array of shape (N, D)
            `out` if given. Otherwise rows not found are NaN.
        """
        N, stored = len(digests), np.dtype(dtype).newbyteorder("<")
        if stored.name not in STORE_DTYPES:
            raise ValueError(f"dtype must be one of {STORE_DTYPES}, got {stored.name}")
        X = np.empty((N, n_features), np.float32) if out is None else out
        if X.shape != (N, n_features) or X.dtype != np.float32:
            raise ValueError(f"out must be float32 ({N}, {n_features}), got {X.dtype} {X.shape}")
        first: dict[bytes, int] = {}
        repeats = []
        for i, digest in enumerate(digests):
            if digest is not None and first.setdefault(digest, i) != i:
                repeats.append((i, first[digest]))
        found = np.zeros(N, bool)

        bad: list[int] = []

        def read(connection: sqlite3.Connection) -> None:
            batches, damaged = stored_vectors.fill(
                connection, X, found, first, recipe_digest, stored
            )
            self._used_batches |= batches
            bad.extend(damaged)

        self._database.read(read, None)
        self._discard("features", bad)
        for i, j in repeats:
            found[i] = found[j]
            if found[j]:
                X[i] = X[j]
        if out is None:
            X[~found] = np.nan
        return found, X

    def known(self, digests: Iterable[bytes | None], recipe_digest: str) -> set[bytes]:
        """Of these images those whose facts and features by this recipe are stored, by their keys
        alone: nothing of them is read, so a damaged row counts too."""
        wanted = list(dict.fromkeys(digest for digest in digests if digest is not None))

        def read(connection: sqlite3.Connection) -> set[bytes]:
            query = "SELECT digest FROM facts WHERE version = ? AND digest IN"
            facts = {row[0] for row in select_in(connection, query, wanted, self._version)}
            return facts.intersection(
                rows_of(connection, recipe_digest, dict.fromkeys(wanted)).values()
            )

        return self._database.read(read, set[bytes]())

    def digests_with_features(self, recipe_digest: str) -> list[bytes]:
        """Content digests of all images whose features by this recipe are stored."""
        query = """
            SELECT features.digest FROM recipes JOIN features ON features.recipe = recipes.id
            WHERE recipes.digest = ?"""
        rows = self._database.read(
            lambda c: c.execute(query, (recipe_digest,)).fetchall(), list[Row]()
        )
        return [digest for (digest,) in rows if type(digest) is bytes]

    def paths_of(self, digests: Collection[bytes]) -> dict[bytes, list[str]]:
        """Where the images of these contents were last seen; those never seen are left out."""
        return self._database.read(lambda c: paths_of(c, digests), dict[bytes, list[str]]())

    def put_features(
        self,
        digests: Sequence[bytes],
        recipe_digest: str,
        X: NDArray[np.float32] | NDArray[np.float16],
    ) -> None:
        """Keep the features of these images, in one transaction.

        Parameters
        ----------
        digests : sequence of N bytes
        recipe_digest : str
        X : float32 or float16 array of shape (N, D)
            Kept in its own dtype. Not cast here: a run must go on with the numbers that a later
            run will read, so who wants half precision rounds first.
        """
        if X.ndim != 2 or len(X) != len(digests) or X.dtype not in (np.float32, np.float16):
            raise ValueError(
                f"X must be float32 or float16 of shape ({len(digests)}, D), "
                f"got {X.dtype} {X.shape}"
            )
        if not len(X):
            return
        rows_ND = np.ascontiguousarray(X, X.dtype.newbyteorder("<"))
        today = least_used.today()
        self._database.write(
            lambda c: stored_vectors.put(c, recipe_digest, digests, rows_ND, today), None
        )

    def put_recipe(self, recipe: Recipe) -> None:
        """Keep the ingredients behind a recipe's digest, for `recipes` and for people."""
        self._database.write_rows(
            "INSERT INTO recipes (digest, body) VALUES (?, ?) "
            "ON CONFLICT (digest) DO UPDATE SET body = excluded.body",
            [(recipe.digest, recipe.to_json())],
        )

    # Looking after it

    def counts(self) -> dict[str, int]:
        """Number of rows of each table: files, facts, recipes, batches, features."""
        return self._database.read(
            lambda c: {
                table: number(c, f"SELECT count(*) FROM {table}") for table in tables.TABLES
            },
            dict.fromkeys(tables.TABLES, 0),
        )

    def size(self) -> int:
        """Bytes on disk, the write-ahead log included."""
        return self._database.size()

    def recipes(self) -> list[StoredRecipe]:
        """Recipes in the store with the rows and bytes of each, in the order they came."""
        return self._database.read(recipes_in, list[StoredRecipe]())

    def sample(self, n: int, seed: int = 0) -> list[Sample]:
        """Up to `n` stored vectors, drawn at random, to be compared with fresh ones."""
        samples: list[Sample] = []
        bad: list[int] = []

        def read(connection: sqlite3.Connection) -> None:
            ids = feature_ids(connection)
            chosen = random.Random(seed).sample(ids, min(n, len(ids)))
            rows = list(vectors(connection, chosen))
            whole = [row for row in rows if row.is_whole]
            bad.extend(row.id for row in rows if not row.is_whole)
            paths = paths_of(connection, {row.digest for row in whole})
            for row in whole:
                found = paths.get(row.digest, [])
                samples.append(Sample(row.digest, found, row.recipe_digest, row.vector()))

        self._database.read(read, None)
        self._discard("features", bad)
        return samples

    def integrity_check(self) -> list[str]:
        """What is wrong with the store, after reading all of it. Damaged vectors are removed."""
        bad: list[int] = []

        def read(connection: sqlite3.Connection) -> list[str]:
            report = [text_of(line) for (line,) in connection.execute("PRAGMA integrity_check(10)")]
            ids = feature_ids(connection)
            bad.extend(row.id for row in vectors(connection, ids) if not row.is_whole)
            return [line for line in report if line != "ok"]

        n_notes = len(self.notes)
        problems = self._database.read(read, list[str]())
        self._discard("features", bad)
        if bad:
            problems.append(f"{len(bad)} stored features had a wrong checksum and were removed")
        return problems + self.notes[n_notes:]

    def prune(self, max_bytes: int | None = None) -> int:
        """Drop the features used longest ago until the store is below a size.

        It goes down to nine tenths of the limit, so that not every run has to prune, and counts
        pages in use: freed pages are used again, and given back to the disk when they are many.

        Parameters
        ----------
        max_bytes : int, optional
            The limit that the store was opened with, if not given.

        Returns
        -------
        int
            Bytes freed.
        """
        limit = self.limit_bytes if max_bytes is None else max_bytes
        before = self._database.read(bytes_in_use, 0)
        if before <= limit:
            return 0
        after = self._database.write(lambda c: least_used.drop_oldest(c, 0.9 * limit), before)
        self._database.give_back_pages()
        return before - after

    def clear(self) -> None:
        """Forget everything and give the space back."""
        self._database.write(lambda c: least_used.empty(c, tables.TABLES), None)
        self._database.give_back_pages()

    def _mark_used(self) -> None:
        used, today = self._used_batches, least_used.today()
        self._used_batches = set()
        if used:  # at most one write a day for each batch
            query, stale = "SELECT id FROM batches WHERE used <> ?", list[Row]()
            stale = self._database.read(lambda c: c.execute(query, (today,)).fetchall(), stale)
            rows = [(today, batch) for (batch,) in stale if batch in used]
            self._database.write_rows("UPDATE batches SET used = ? WHERE id = ?", rows)

    def _discard(self, table: str, ids: list[int]) -> None:
        self.n_healed += len(ids)
        self._database.write_rows(f"DELETE FROM {table} WHERE id = ?", [(row,) for row in ids])
