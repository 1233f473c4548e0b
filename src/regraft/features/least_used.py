"""What the store gives up when it is too large: whole batches, the least recently used first."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable

from regraft.features.database import bytes_in_use


def today() -> int:
    """Days since 1970, UTC: the unit in which use is noted."""
    return int(time.time() // 86400)


def drop_oldest(connection: sqlite3.Connection, target: float) -> int:
    """Delete whole batches, least recently used first; gives the bytes still in use."""
    connection.execute("DELETE FROM features WHERE batch NOT IN (SELECT id FROM batches)")
    # A day to come was written by a clock that ran ahead, and says nothing; one day is allowed,
    # for the clocks of two machines.
    query = "SELECT id FROM batches ORDER BY CASE WHEN used > ? THEN 0 ELSE used END, id"
    for (batch,) in connection.execute(query, (today() + 1,)).fetchall():
        if bytes_in_use(connection) <= target:
            break
        connection.execute("DELETE FROM features WHERE batch = ?", (batch,))
        connection.execute("DELETE FROM batches WHERE id = ?", (batch,))
    if bytes_in_use(connection) > target:  # a limit below what facts and files take
        empty(connection, ("facts", "files"))
    return bytes_in_use(connection)


def empty(connection: sqlite3.Connection, tables: Iterable[str]) -> None:
    """Delete all rows of these tables."""
    for table in tables:
        connection.execute(f"DELETE FROM {table}")
