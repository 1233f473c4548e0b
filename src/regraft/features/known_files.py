"""Files whose content is known: by which stamp one is known again, and where a content was seen."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Sequence

from regraft.data.members import file_of
from regraft.features.database import Row, select_in
from regraft.features.seals import seal_of

# A file changed within the same tick of its clock keeps its time stamp. The coarsest tick in use
# is FAT's, 2 s; git guards its index against the same ("racily clean" entries).
RACY_NS = 2_000_000_000


def path_key(path: str) -> bytes:
    """A path as it is kept, absolute; names that are not UTF-8 too."""
    return os.path.abspath(path).encode(errors="surrogatepass")


# Of a file that cannot be told from what it may have become: no file has it.
NO_STAMP = b""


def stamp_of(stat: os.stat_result) -> bytes:
    """What tells a file from one that has changed since."""
    # The time of the last change of the inode too: it cannot be set back, as `cp -p` and archives
    # do with the time of modification. At worst, a file moved or made readable is hashed again.
    return b"%d %d %d %d" % (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


def stamp_now(path: str) -> bytes | None:
    """Of a file, or of the archive it is in; None if it cannot be looked at."""
    try:
        return stamp_of(os.stat(file_of(path)))
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None


def known_files(connection: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, Row]:
    """Stamp, digest and seal of the files with these keys, not yet checked."""
    query = "SELECT path, stamp, digest, seal FROM files WHERE path IN"
    return {
        path: (stamp, digest, seal)
        for path, stamp, digest, seal in select_in(connection, query, keys)
        if type(stamp) is type(digest) is bytes
    }


def paths_of(connection: sqlite3.Connection, digests: Collection[bytes]) -> dict[bytes, list[str]]:
    """Where these contents were last seen; those never seen are left out."""
    paths: dict[bytes, list[str]] = {}
    query = "SELECT path, stamp, digest, seal FROM files WHERE digest IN"
    for path, stamp, digest, seal in select_in(connection, query, list(digests)):
        if type(path) is type(stamp) is bytes and seal == seal_of(path, stamp, digest):
            paths.setdefault(digest, []).append(path.decode(errors="surrogatepass"))
    return paths
