"""Recipes as they lie in the rows of the store, and how much of each there is."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from typing import Any, NamedTuple

from regraft.features.database import number, text_of


class StoredRecipe(NamedTuple):
    """A recipe with rows in the store; ``recipe`` is its ingredients, None if never told."""

    digest: str
    n_rows: int
    n_bytes: int
    recipe: dict[str, Any] | None


def recipe_id(connection: sqlite3.Connection, digest: str) -> int:
    """Its number in the store, given if it has none."""
    connection.execute("INSERT OR IGNORE INTO recipes (digest) VALUES (?)", (digest,))
    return number(connection, "SELECT id FROM recipes WHERE digest = ?", digest)


def recipes_in(connection: sqlite3.Connection) -> list[StoredRecipe]:
    """All of them, in the order they came."""
    # Counted in the index by batch: a scan of the table itself would read every vector.
    query = """
        SELECT recipes.digest, CAST(total(n) AS INTEGER),
               CAST(total(n * row_bytes) AS INTEGER), recipes.body FROM recipes
        LEFT JOIN batches ON batches.recipe = recipes.id
        LEFT JOIN (SELECT batch, count(*) AS n FROM features GROUP BY batch) AS filled
               ON filled.batch = batches.id
        GROUP BY recipes.id ORDER BY recipes.id"""
    return [
        StoredRecipe(text_of(digest), n_rows, n_bytes, _ingredients(digest, body))
        for digest, n_rows, n_bytes, body in connection.execute(query)
    ]


def _ingredients(digest: Any, body: Any) -> dict[str, Any] | None:
    if type(body) is not bytes or hashlib.sha256(body).hexdigest().encode() != digest:
        return None  # never told, or damaged
    ingredients: dict[str, Any] = json.loads(body)
    return ingredients
