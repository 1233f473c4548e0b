"""A SQLite file that never stops a run: damaged, it is replaced; read-only, it is read.

Everything that can go wrong with the file (a torn page, a full disk, a lock held by a process that
hangs) ends here, as a sentence in `Database.notes`. What its rows hold is the business of
`regraft.features.store`, which checks each of them: SQLite does not notice every flipped byte.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Row = tuple[Any, ...]
Work = Callable[[sqlite3.Connection], T]

# Pages have 4096 bytes: a vector then wastes 3-8 % of its space whatever its length, against
# 37 % (3000 float32) or 61 % (1280 float32) with larger ones; speed differs less than the noise.
_PRAGMAS = (
    "page_size = 4096",
    "journal_mode = WAL",
    "synchronous = NORMAL",
    "cache_size = -32768",  # KiB
    "journal_size_limit = 67108864",
    "cell_size_check = ON",
)
_SUFFIXES = ("", "-wal", "-shm")
_WAIT_S = 30.0
_PER_SELECT = 512
_MOST_RESTARTS = 3

# Engine errors that tell of the place, not of the database. All others mean damage.
_FAULTS_OF_PLACE = {
    sqlite3.SQLITE_PERM: "no permission",
    sqlite3.SQLITE_BUSY: "another process held it for too long",
    sqlite3.SQLITE_LOCKED: "another process held it for too long",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_INTERRUPT: "it was interrupted",
    sqlite3.SQLITE_IOERR: "the disk is full or failed",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_PROTOCOL: "another process held it for too long",
    sqlite3.SQLITE_NOLFS: "the file system holds no files of this size",
    sqlite3.SQLITE_AUTH: "no permission",
}


class DamageError(sqlite3.DatabaseError):
    """Damage that we see and SQLite did not. Handled like its own."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


# The second: Python fails to decode SQLite's message when that quotes a damaged schema.
_ENGINE_ERRORS = (sqlite3.Error, UnicodeDecodeError)


class Database:
    """One SQLite file with a known layout, opened on construction.

    Several processes may use one file, and several threads one object. After a fork the child
    must open its own.

    Parameters
    ----------
    path : Path
        The folder is made if missing.
    schema : str
        Statements that make the tables, separated by semicolons.
    layout : int, not 0
        Version of the schema. A file with another one is replaced like a damaged one.
    is_open : bool
        Otherwise nothing is touched: nothing is found and nothing kept, as after :meth:`close`.

    Attributes
    ----------
    notes : list of str
        What went wrong and what was done about it, as sentences for people.
    is_writable : bool
    """

    def __init__(self, path: Path, *, schema: str, layout: int, is_open: bool = True) -> None:
        self.path = path
        self.schema = schema
        self.layout = layout
        self.notes: list[str] = []
        self.is_writable = False
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._file_id: tuple[int, int] | None = None
        self._n_restarts = 0
        if is_open:
            self._start()

    def close(self) -> None:
        """Let go of the file. May be called twice; afterwards nothing is found and nothing kept."""
        with self._lock:
            self._disconnect()
            self.is_writable = False

    def read(self, work: Work[T], otherwise: T) -> T:
        """Result of ``work(connection)`` on one unchanging state; `otherwise` if that fails."""
        return self._attempt(work, otherwise, "DEFERRED")

    def write(self, work: Work[T], otherwise: T) -> T:
        """Result of ``work(connection)``, all of it kept or none; `otherwise` if that fails."""
        return self._attempt(work, otherwise, "IMMEDIATE") if self.is_writable else otherwise

    def write_rows(self, statement: str, rows: Sequence[Row]) -> None:
        """Run one statement for each row, in one transaction."""
        if rows:
            self.write(lambda connection: connection.executemany(statement, rows), None)

    def size(self) -> int:
        """Bytes on disk, the write-ahead log included."""
        return sum(_bytes_of(place) for place in self._places())

    def give_back_pages(self) -> None:
        """Return freed pages to the disk if they are many."""

        def vacuum(connection: sqlite3.Connection) -> None:
            n_free = number(connection, "PRAGMA freelist_count")
            # It copies all that is left, so not for a few pages, which are soon used again.
            if n_free > 0.25 * number(connection, "PRAGMA page_count"):
                connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

        if self.is_writable:
            self._attempt(vacuum, None, None)

    def _attempt(self, work: Work[T], otherwise: T, transaction: str | None) -> T:
        with self._lock:
            if self._connection is None:
                return otherwise
            try:
                with _transaction(self._connection, transaction):
                    return work(self._connection)
            except _ENGINE_ERRORS as error:
                if _is_mistake_of_ours(error):
                    raise
                self._cope_with(error)
                return otherwise

    def _cope_with(self, error: Exception) -> None:
        if not _is_damage(error):
            self.is_writable = False
            self._note(
                f"The feature store in {self.path.parent} could not be used as usual "
                f"({_reason(error)}); the run goes on, and what is new is not kept."
            )
        elif self.is_writable and self._n_restarts < _MOST_RESTARTS:
            self._n_restarts += 1
            self._disconnect()
            self._start(damage=error)
        else:
            self._disconnect()
            self.is_writable = False
            self._note(
                f"The feature store in {self.path.parent} is damaged ({error}); "
                "the run goes on without it."
            )

    def _start(self, damage: Exception | None = None) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _require_writable(self.path.parent, self.path)
            with _only_one_opens(self.path.parent):
                if damage is not None and _file_id(self.path) == self._file_id:
                    self._move_aside(damage)  # unless another process has done so already
                self._connection = self._connect_or_begin_afresh()
                self._file_id = _file_id(self.path)
            self.is_writable = True
        except (OSError, *_ENGINE_ERRORS) as error:
            self._start_read_only(error)

    def _connect_or_begin_afresh(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except _ENGINE_ERRORS as error:
            if not _is_damage(error):
                raise
            self._move_aside(error)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        connection = _connection(str(self.path))
        try:
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            layout = number(connection, "PRAGMA user_version")
            if layout == 0 and not number(connection, "SELECT count(*) FROM sqlite_master"):
                self._create(connection)
            elif layout != self.layout:
                raise DamageError(f"its layout is {layout}, ours is {self.layout}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _create(self, connection: sqlite3.Connection) -> None:
        with _transaction(connection, "IMMEDIATE"):
            for statement in self.schema.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {self.layout}")

    def _start_read_only(self, error: Exception) -> None:
        self.is_writable = False
        self._connection = _connect_read_only(self.path, self.layout)
        consequence = (
            "what it holds is used, and what is new is not kept."
            if self._connection
            else "the run goes on without it."
        )
        reason = f"The feature store in {self.path.parent} cannot be written ({_reason(error)})"
        self._note(f"{reason}; {consequence}")

    def _move_aside(self, error: Exception) -> None:
        """Rename the file; its log goes first, lest a fresh database takes it for its own."""
        for older in self.path.parent.glob(f"{self.path.name}.damaged-*"):
            older.unlink(missing_ok=True)
        for log in self._places()[1:]:
            log.unlink(missing_ok=True)
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
        self.path.rename(aside)
        self._note(
            f"The feature store was damaged ({error}) and has been moved to {aside}; a fresh one "
            "was begun. Nothing is lost but the time to compute its features again."
        )

    def _places(self) -> list[Path]:
        return [self.path.with_name(self.path.name + suffix) for suffix in _SUFFIXES]

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(*_ENGINE_ERRORS):
                self._connection.close()
            self._connection = None

    def _note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)


def select_in(
    connection: sqlite3.Connection, query: str, values: Sequence[Any], *before: Any
) -> Iterator[Row]:
    """Rows of a query that ends in ``IN``, asked for in slices of one size, so prepared once."""
    statement = f"{query} ({', '.join('?' * _PER_SELECT)})"
    for start in range(0, len(values), _PER_SELECT):
        part = values[start : start + _PER_SELECT]
        padding = [None] * (_PER_SELECT - len(part))  # NULL is in no set
        yield from connection.execute(statement, (*before, *part, *padding))


def number(connection: sqlite3.Connection, query: str, *values: Any) -> int:
    """The one number that a query gives."""
    row = connection.execute(query, values).fetchone()
    if row is None or type(row[0]) is not int:
        raise DamageError(f"no number where one was expected: {query}")
    return row[0]


def text_of(value: Any) -> str:
    """Text of a column, whatever bytes a damaged one holds."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def bytes_in_use(connection: sqlite3.Connection) -> int:
    """Bytes of the pages that hold something."""
    n_pages = number(connection, "PRAGMA page_count")
    n_free = number(connection, "PRAGMA freelist_count")
    return (n_pages - n_free) * number(connection, "PRAGMA page_size")


def _connection(place: str, *, uri: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(
        place, timeout=_WAIT_S, isolation_level=None, check_same_thread=False, uri=uri
    )
    connection.text_factory = bytes  # damaged text need not be UTF-8
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 2**28)  # no damaged length asks for more
    return connection


def _connect_read_only(path: Path, layout: int) -> sqlite3.Connection | None:
    """Connection for reading; where not even a lock can be made, as to a file that never changes.

    Another process may then write behind our back; the rows' checksums catch what comes of that.
    """
    for how in ("mode=ro", "mode=ro&immutable=1"):
        with contextlib.suppress(*_ENGINE_ERRORS, OSError):
            connection = _connection(f"{path.absolute().as_uri()}?{how}", uri=True)
            with contextlib.suppress(*_ENGINE_ERRORS):
                if number(connection, "PRAGMA user_version") == layout:
                    return connection
            connection.close()
    return None


def _require_writable(folder: Path, path: Path) -> None:
    for place in (folder, path):
        if place.exists() and not os.access(place, os.W_OK):
            raise PermissionError(f"no permission to write {place}")


@contextlib.contextmanager
def _only_one_opens(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: while one process moves a damaged file away, none may open it."""
    if sys.platform == "win32":  # where a file in use cannot be moved anyway
        yield
        return
    import fcntl

    with (folder / "store.lock").open("ab") as lock:
        deadline = time.monotonic() + _WAIT_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError("another process held it for too long") from None
                time.sleep(0.005)
        yield


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection, kind: str | None) -> Iterator[None]:
    if kind is None:
        yield
        return
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            with contextlib.suppress(*_ENGINE_ERRORS):
                connection.execute("ROLLBACK")
        raise


def _is_mistake_of_ours(error: Exception) -> bool:
    is_from_the_engine = hasattr(error, "sqlite_errorcode") or isinstance(error, UnicodeDecodeError)
    return not is_from_the_engine or _code(error) == sqlite3.SQLITE_MISUSE


def _is_damage(error: Exception) -> bool:
    return _code(error) not in _FAULTS_OF_PLACE


def _reason(error: Exception) -> str:
    return _FAULTS_OF_PLACE.get(_code(error)) or getattr(error, "strerror", None) or str(error)


def _code(error: Exception) -> int:
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)) & 0xFF


def _file_id(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_dev, stat.st_ino


def _bytes_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
