"""Vectors as they lie in the rows of the store, under the image and the recipe they were made by.

Letters: N images, D features. What comes from the database may have any type: a damaged byte can
change that too.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regraft.features.database import select_in, text_of
from regraft.features.recipe import STORE_DTYPES
from regraft.features.seals import is_whole, seal_start
from regraft.features.stored_recipes import recipe_id


def rows_of(
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


class StoredVector(NamedTuple):
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
        start = seal_start(self.recipe_digest, np.dtype(self.dtype_name))
        return is_whole(self.body, self.seal, self.digest, start)

    def vector(self) -> NDArray[np.floating[Any]]:
        return np.frombuffer(self.body, np.dtype(self.dtype_name).newbyteorder("<"))


def fill(
    connection: sqlite3.Connection,
    X: NDArray[np.float32],
    found: NDArray[np.bool_],
    places: Mapping[bytes, int],
    recipe_digest: str,
    dtype: np.dtype[Any],
) -> tuple[set[int], list[int]]:
    """Write the stored vectors into their rows of X, (N, D), and True into those of `found`.

    Returns
    -------
    batches : set of int
        In which they were put.
    damaged : list of int
        Ids of rows that are not whole, or of another length than D.
    """
    n_bytes, start = X.shape[1] * dtype.itemsize, seal_start(recipe_digest, dtype)
    batches: set[int] = set()
    damaged: list[int] = []
    digest_of = rows_of(connection, recipe_digest, places)
    # In the order of the ids, so that the disk is read in one sweep.
    query = "SELECT id, batch, seal, vector FROM features WHERE id IN"
    for row, batch, seal, vector in select_in(connection, query, sorted(digest_of)):
        digest = digest_of[row]
        if not is_whole(vector, seal, digest, start) or len(vector) != n_bytes:
            damaged.append(row)
            continue
        X[places[digest]] = np.frombuffer(vector, dtype)
        found[places[digest]] = True
        batches.add(batch)
    return batches, damaged


def put(
    connection: sqlite3.Connection,
    recipe_digest: str,
    digests: Sequence[bytes],
    rows_ND: NDArray[Any],
    day: int,
) -> None:
    """Keep vectors as one batch, last used on this day."""
    dtype, start = rows_ND.dtype, seal_start(recipe_digest, rows_ND.dtype)
    recipe = recipe_id(connection, recipe_digest)
    batch = connection.execute(
        "INSERT INTO batches (recipe, dtype, row_bytes, used) VALUES (?, ?, ?, ?)",
        (recipe, dtype.name, rows_ND.shape[1] * dtype.itemsize, day),
    ).lastrowid
    connection.executemany(
        "INSERT OR REPLACE INTO features (recipe, batch, digest, seal, vector) "
        "VALUES (?, ?, ?, ?, ?)",
        (
            (recipe, batch, digest, zlib.crc32(row, zlib.crc32(digest, start)), row)
            for digest, row in zip(digests, rows_ND, strict=True)
        ),
    )


def feature_ids(connection: sqlite3.Connection) -> list[int]:
    """Of all rows that hold a vector, rising."""
    # Asked for by batch, so that the small index is read and not the vectors.
    rows = connection.execute("SELECT id FROM features ORDER BY batch")
    return sorted(row for (row,) in rows if type(row) is int)


def vectors(connection: sqlite3.Connection, ids: Sequence[int]) -> Iterator[StoredVector]:
    """The rows of these ids, whole or not."""
    query = """
        SELECT features.id, features.digest, seal, vector, dtype, recipes.digest FROM features
        LEFT JOIN batches ON batches.id = batch LEFT JOIN recipes ON recipes.id = features.recipe
        WHERE features.id IN"""
    for row, digest, seal, body, dtype, recipe_digest in select_in(connection, query, ids):
        yield StoredVector(row, digest, seal, body, text_of(dtype), text_of(recipe_digest))
