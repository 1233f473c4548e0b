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
import json
import os
import random
import sqlite3
import time
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from regraft.data.members import file_of
from regraft.features.database import Database, Row, bytes_in_use, number, select_in
from regraft.features.recipe import STORE_DTYPES, Recipe
from regraft.images.facts import FileFacts
from regraft.machine import cache
from regraft.wording import agree, count

# Vectors stand last in their row, so that the columns before them are read without them, and in
# a table with integer ids: ids grow as rows are put, so a pass appends, and what was put together
# is read in one sweep. Keyed by digest (WITHOUT ROWID) each row would land on a random page.
# The time of last use is kept per put (table `batches`), because marking a row would rewrite it.
_LAYOUT = 1
_SCHEMA = """
CREATE TABLE files (path BLOB PRIMARY KEY, stamp BLOB, digest BLOB, seal INTEGER) WITHOUT ROWID;
CREATE TABLE facts (id INTEGER PRIMARY KEY, digest BLOB, version BLOB, body BLOB, seal INTEGER,
                    UNIQUE (digest, version));
CREATE TABLE recipes (id INTEGER PRIMARY KEY, digest TEXT UNIQUE, body TEXT);
CREATE TABLE batches (id INTEGER PRIMARY KEY, recipe INTEGER, dtype TEXT, row_bytes INTEGER,
                      used INTEGER);
CREATE TABLE features (id INTEGER PRIMARY KEY, recipe INTEGER, batch INTEGER, digest BLOB,
                       seal INTEGER, vector BLOB, UNIQUE (recipe, digest));
CREATE INDEX features_by_batch ON features (batch);
"""
_TABLES = ("files", "facts", "recipes", "batches", "features")

# A file changed within the same tick of its clock keeps its time stamp. The coarsest tick in use
# is FAT's, 2 s; git guards its index against the same ("racily clean" entries).
_RACY_NS = 2_000_000_000

_FACT_NAMES = tuple(f.name for f in fields(FileFacts) if f.name not in ("digest", "thumb"))
_fact_values = attrgetter(*_FACT_NAMES)
_THUMB_AT = [f.name for f in fields(FileFacts)].index("thumb")


class StoredRecipe(NamedTuple):
    """A recipe with rows in the store; ``recipe`` is its ingredients, None if never told."""

    digest: str
    n_rows: int
    n_bytes: int
    recipe: dict[str, Any] | None


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
        version = f"{decoder} {' '.join(_FACT_NAMES)}"
        self._version = hashlib.sha256(version.encode()).digest()[:8]
        self._opened_ns = time.time_ns()
        self._database = Database(
            folder / "store.sqlite", schema=_SCHEMA, layout=_LAYOUT, is_open=is_open
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
        keys = [_key(path) for path in paths]
        known = self._database.read(
            lambda c: _known_files(c, list(dict.fromkeys(keys))), dict[bytes, Row]()
        )
        digests: list[bytes | None] = []
        for path, key in zip(paths, keys, strict=True):
            stamp, digest, seal = known.get(key, (None, None, None))
            if stamp is None or stamp != _stamp_of(path):
                digests.append(None)
            elif seal != _seal(key, stamp, digest):
                self.n_healed += 1  # the row is overwritten once the file is hashed again
                digests.append(None)
            else:
                digests.append(digest)
        return digests

    def remember_files(self, seen: Iterable[tuple[str, os.stat_result, bytes]]) -> None:
        """Keep the digests of files, given with the ``os.stat`` taken *before* they were read.

        That ``stat`` must have been taken after this store was opened: files changed less than two
        seconds before the opening are not remembered, as a later change might leave no trace.

        Parameters
        ----------
        seen : iterable of (path, stat result, digest)
        """
        rows = []
        for path, stat, digest in seen:
            if stat.st_mtime_ns < self._opened_ns - _RACY_NS:
                key, stamp = _key(path), _stamp(stat)
                rows.append((key, stamp, digest, _seal(key, stamp, digest)))
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
                if type(digest) is type(body) is bytes and seal == _seal(
                    digest, self._version, body
                ):
                    known[digest] = _unpack_facts(digest, body)
                else:
                    bad.append(row)

        self._database.read(read, None)
        self._discard("facts", bad)
        return known

    def put_facts(self, facts: Iterable[FileFacts]) -> None:
        """Keep these facts, in one transaction."""
        rows = []
        for fact in facts:
            body = _pack_facts(fact)
            seal = _seal(fact.digest, self._version, body)
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

        self._fill(X, found, first, recipe_digest, stored)
        for i, j in repeats:
            found[i] = found[j]
            if found[j]:
                X[i] = X[j]
        if out is None:
            X[~found] = np.nan
        return found, X

    def _fill(
        self,
        X: NDArray[np.float32],
        found: NDArray[np.bool_],
        places: Mapping[bytes, int],
        recipe_digest: str,
        dtype: np.dtype[Any],
    ) -> None:
        n_bytes, start = X.shape[1] * dtype.itemsize, _vector_seal_start(recipe_digest, dtype)
        bad: list[int] = []

        def read(connection: sqlite3.Connection) -> None:
            digest_of = _rows_of(connection, recipe_digest, places)
            # In the order of the ids, so that the disk is read in one sweep.
            query = "SELECT id, batch, seal, vector FROM features WHERE id IN"
            for row, batch, seal, vector in select_in(connection, query, sorted(digest_of)):
                digest = digest_of[row]
                if not _is_whole(vector, seal, digest, start) or len(vector) != n_bytes:
                    bad.append(row)
                    continue
                X[places[digest]] = np.frombuffer(vector, dtype)
                found[places[digest]] = True
                self._used_batches.add(batch)

        self._database.read(read, None)
        self._discard("features", bad)

    def known(self, digests: Iterable[bytes | None], recipe_digest: str) -> set[bytes]:
        """Of these images those whose facts and features by this recipe are stored, by their keys
        alone: nothing of them is read, so a damaged row counts too."""
        wanted = list(dict.fromkeys(digest for digest in digests if digest is not None))

        def read(connection: sqlite3.Connection) -> set[bytes]:
            query = "SELECT digest FROM facts WHERE version = ? AND digest IN"
            facts = {row[0] for row in select_in(connection, query, wanted, self._version)}
            return facts.intersection(
                _rows_of(connection, recipe_digest, dict.fromkeys(wanted)).values()
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
        return self._database.read(lambda c: _paths_of(c, digests), dict[bytes, list[str]]())

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
        dtype, start = rows_ND.dtype, _vector_seal_start(recipe_digest, rows_ND.dtype)

        def write(connection: sqlite3.Connection) -> None:
            recipe = _recipe_id(connection, recipe_digest)
            batch = connection.execute(
                "INSERT INTO batches (recipe, dtype, row_bytes, used) VALUES (?, ?, ?, ?)",
                (recipe, dtype.name, rows_ND.shape[1] * dtype.itemsize, _today()),
            ).lastrowid
            connection.executemany(
                "INSERT OR REPLACE INTO features (recipe, batch, digest, seal, vector) "
                "VALUES (?, ?, ?, ?, ?)",
                (
                    (recipe, batch, digest, zlib.crc32(row, zlib.crc32(digest, start)), row)
                    for digest, row in zip(digests, rows_ND, strict=True)
                ),
            )

        self._database.write(write, None)

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
            lambda c: {table: number(c, f"SELECT count(*) FROM {table}") for table in _TABLES},
            dict.fromkeys(_TABLES, 0),
        )

    def size(self) -> int:
        """Bytes on disk, the write-ahead log included."""
        return self._database.size()

    def recipes(self) -> list[StoredRecipe]:
        """Recipes in the store with the rows and bytes of each, in the order they came."""
        # Counted in the index by batch: a scan of the table itself would read every vector.
        query = """
            SELECT recipes.digest, CAST(total(n) AS INTEGER),
                   CAST(total(n * row_bytes) AS INTEGER), recipes.body FROM recipes
            LEFT JOIN batches ON batches.recipe = recipes.id
            LEFT JOIN (SELECT batch, count(*) AS n FROM features GROUP BY batch) AS filled
                   ON filled.batch = batches.id
            GROUP BY recipes.id ORDER BY recipes.id"""
        rows = self._database.read(lambda c: c.execute(query).fetchall(), list[Row]())
        return [
            StoredRecipe(_text(digest), n_rows, n_bytes, _ingredients(digest, body))
            for digest, n_rows, n_bytes, body in rows
        ]

    def sample(self, n: int, seed: int = 0) -> list[Sample]:
        """Up to `n` stored vectors, drawn at random, to be compared with fresh ones."""
        samples: list[Sample] = []
        bad: list[int] = []

        def read(connection: sqlite3.Connection) -> None:
            ids = _feature_ids(connection)
            chosen = random.Random(seed).sample(ids, min(n, len(ids)))
            rows = list(_vectors(connection, chosen))
            whole = [row for row in rows if row.is_whole]
            bad.extend(row.id for row in rows if not row.is_whole)
            paths = _paths_of(connection, {row.digest for row in whole})
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
            report = [_text(line) for (line,) in connection.execute("PRAGMA integrity_check(10)")]
            ids = _feature_ids(connection)
            bad.extend(row.id for row in _vectors(connection, ids) if not row.is_whole)
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
        after = self._database.write(lambda c: _drop_oldest(c, 0.9 * limit), before)
        self._database.give_back_pages()
        return before - after

    def clear(self) -> None:
        """Forget everything and give the space back."""
        self._database.write(lambda c: _empty(c, _TABLES), None)
        self._database.give_back_pages()

    def _mark_used(self) -> None:
        used, today = self._used_batches, _today()
        self._used_batches = set()
        if used:  # at most one write a day for each batch
            query, stale = "SELECT id FROM batches WHERE used <> ?", list[Row]()
            stale = self._database.read(lambda c: c.execute(query, (today,)).fetchall(), stale)
            rows = [(today, batch) for (batch,) in stale if batch in used]
            self._database.write_rows("UPDATE batches SET used = ? WHERE id = ?", rows)

    def _discard(self, table: str, ids: list[int]) -> None:
        self.n_healed += len(ids)
        self._database.write_rows(f"DELETE FROM {table} WHERE id = ?", [(row,) for row in ids])


# Rows. What comes from the database may have any type: a damaged byte can change that too.


def _key(path: str) -> bytes:
    return os.path.abspath(path).encode(errors="surrogatepass")


def _seal(*parts: bytes) -> int:
    return zlib.crc32(b"\0".join(parts))


def _is_whole(vector: Any, seal: Any, digest: bytes, start: int) -> bool:
    return type(vector) is bytes and zlib.crc32(vector, zlib.crc32(digest, start)) == seal


def _vector_seal_start(recipe_digest: str, dtype: np.dtype[Any]) -> int:
    return zlib.crc32(f"{recipe_digest} {dtype.name} ".encode())


def _stamp(stat: os.stat_result) -> bytes:
    # The time of the last change of the inode too: it cannot be set back, as `cp -p` and archives
    # do with the time of modification. At worst, a file moved or made readable is hashed again.
    return b"%d %d %d %d" % (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


def _stamp_of(path: str) -> bytes | None:
    try:
        return _stamp(os.stat(file_of(path)))
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None


def _known_files(connection: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, Row]:
    query = "SELECT path, stamp, digest, seal FROM files WHERE path IN"
    return {
        path: (stamp, digest, seal)
        for path, stamp, digest, seal in select_in(connection, query, keys)
        if type(stamp) is type(digest) is bytes
    }


def _pack_facts(fact: FileFacts) -> bytes:
    values = json.dumps(_fact_values(fact), default=lambda value: value.item())  # NumPy's numbers
    return values.encode() + b"\0" + fact.thumb


def _unpack_facts(digest: bytes, body: bytes) -> FileFacts:
    text, _, thumb = body.partition(b"\0")
    values = [digest, *json.loads(text.decode())]
    values.insert(_THUMB_AT, thumb)
    return FileFacts(*values)  # by position: by name takes twice as long


def _recipe_id(connection: sqlite3.Connection, digest: str) -> int:
    connection.execute("INSERT OR IGNORE INTO recipes (digest) VALUES (?)", (digest,))
    return number(connection, "SELECT id FROM recipes WHERE digest = ?", digest)


def _rows_of(
    connection: sqlite3.Connection, recipe_digest: str, digests: Collection[bytes]
) -> dict[int, bytes]:
    """From the id of each row that is stored to the digest of its image."""
    query = "SELECT id FROM recipes WHERE digest = ?"
    recipe = connection.execute(query, (recipe_digest,)).fetchone()
    if recipe is None:
        return {}
    query = "SELECT id, digest FROM features WHERE recipe = ? AND digest IN"
    return {
        row: digest
        for row, digest in select_in(connection, query, list(digests), *recipe)
        if type(row) is int and digest in digests
    }


class _Vector(NamedTuple):
    """A row of features as it lies in the database, with what its batch and recipe say of it."""

    id: int
    digest: Any
    seal: Any
    body: Any
    dtype_name: str
    recipe_digest: str

    @property
    def is_whole(self) -> bool:
        if self.dtype_name not in STORE_DTYPES or type(self.digest) is not bytes:
            return False
        start = _vector_seal_start(self.recipe_digest, np.dtype(self.dtype_name))
        return _is_whole(self.body, self.seal, self.digest, start)

    def vector(self) -> NDArray[np.floating[Any]]:
        return np.frombuffer(self.body, np.dtype(self.dtype_name).newbyteorder("<"))


def _feature_ids(connection: sqlite3.Connection) -> list[int]:
    # Asked for by batch, so that the small index is read and not the vectors.
    rows = connection.execute("SELECT id FROM features ORDER BY batch")
    return sorted(row for (row,) in rows if type(row) is int)


def _vectors(connection: sqlite3.Connection, ids: Sequence[int]) -> Iterator[_Vector]:
    query = """
        SELECT features.id, features.digest, seal, vector, dtype, recipes.digest FROM features
        LEFT JOIN batches ON batches.id = batch LEFT JOIN recipes ON recipes.id = features.recipe
        WHERE features.id IN"""
    for row, digest, seal, body, dtype, recipe_digest in select_in(connection, query, ids):
        yield _Vector(row, digest, seal, body, _text(dtype), _text(recipe_digest))


def _paths_of(connection: sqlite3.Connection, digests: Collection[bytes]) -> dict[bytes, list[str]]:
    paths: dict[bytes, list[str]] = {}
    query = "SELECT path, stamp, digest, seal FROM files WHERE digest IN"
    for path, stamp, digest, seal in select_in(connection, query, list(digests)):
        if type(path) is type(stamp) is bytes and seal == _seal(path, stamp, digest):
            paths.setdefault(digest, []).append(path.decode(errors="surrogatepass"))
    return paths


def _ingredients(digest: Any, body: Any) -> dict[str, Any] | None:
    if type(body) is not bytes or hashlib.sha256(body).hexdigest().encode() != digest:
        return None  # never told, or damaged
    ingredients: dict[str, Any] = json.loads(body)
    return ingredients


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _today() -> int:
    return int(time.time() // 86400)


def _drop_oldest(connection: sqlite3.Connection, target: float) -> int:
    """Delete whole batches, least recently used first; gives the bytes still in use."""
    connection.execute("DELETE FROM features WHERE batch NOT IN (SELECT id FROM batches)")
    # A day to come was written by a clock that ran ahead, and says nothing; one day is allowed,
    # for the clocks of two machines.
    query = "SELECT id FROM batches ORDER BY CASE WHEN used > ? THEN 0 ELSE used END, id"
    for (batch,) in connection.execute(query, (_today() + 1,)).fetchall():
        if bytes_in_use(connection) <= target:
            break
        connection.execute("DELETE FROM features WHERE batch = ?", (batch,))
        connection.execute("DELETE FROM batches WHERE id = ?", (batch,))
    if bytes_in_use(connection) > target:  # a limit below what facts and files take
        _empty(connection, ("facts", "files"))
    return bytes_in_use(connection)


def _empty(connection: sqlite3.Connection, tables: Iterable[str]) -> None:
    for table in tables:
        connection.execute(f"DELETE FROM {table}")
