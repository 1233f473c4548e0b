"""Where Regraft keeps on disk what it can make again: one folder, a sub-folder for each kind.

Nothing here is precious: every kind may be deleted at any time and costs only time. Importing
this module or asking for a path creates nothing.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

from regraft.errors import UsageError

KINDS = {
    "features": "features and facts of images already seen",
    "pixels": "decoded images at training resolution",
    "activations": "what a frozen prefix makes of augmented views",
    "engines": "compiled graphs of backbones",
    "archives": "unpacked archives",
    "listings": "what tar shards elsewhere hold",
}

# Of the features, unless REGRAFT_CACHE_LIMIT says another: some three million images, but never
# more than this share of the disk.
DEFAULT_LIMIT, DEFAULT_SHARE = 20 * 2**30, 0.1
_CLEARED = ".cleared-"
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


def cache_folder() -> Path:
    """Folder under which everything is kept: ``REGRAFT_CACHE``, else the system's cache folder.

    Examples
    --------
    >>> os.environ["REGRAFT_CACHE"] = "/tmp/elsewhere"
    >>> cache_folder().as_posix()
    '/tmp/elsewhere'
    >>> del os.environ["REGRAFT_CACHE"]
    """
    if chosen := os.environ.get("REGRAFT_CACHE"):
        return Path(chosen).expanduser().absolute()
    # Imported here because it takes longer than everything else this module does.
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("regraft", appauthor=False))


def folder_of(kind: str) -> Path:
    """Sub-folder of one of `KINDS`; it may not exist yet."""
    return cache_folder() / _known(kind)


def size_limit(given: str | None = None) -> int:
    """Bytes that the feature store may take: as given, by ``REGRAFT_CACHE_LIMIT``, or by default.

    The default is 20 GiB, or a tenth of the disk where that is less.

    Examples
    --------
    >>> os.environ["REGRAFT_CACHE_LIMIT"] = "500 MB"
    >>> size_limit() == 500 * 2**20
    True
    >>> del os.environ["REGRAFT_CACHE_LIMIT"]
    """
    text = (os.environ.get("REGRAFT_CACHE_LIMIT", "") if given is None else given).strip()
    if not text and given is None:
        return int(min(DEFAULT_LIMIT, DEFAULT_SHARE * _disk_bytes()))
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)\s*([KMGT]?)(?:I?B)?", text.upper())
    if not match:
        raise UsageError(
            f"the size limit of the cache must be a number of bytes such as 20G, got {text!r}",
            place="--limit" if given is not None else "environment variable REGRAFT_CACHE_LIMIT",
            cure="20G (K, M, G, T are powers of 1024), or leave it out",
        )
    return int(float(match[1]) * 2 ** _UNITS[match[2]])


def sizes() -> list[tuple[str, Path, int, int]]:
    """What the cache holds: one ``(kind, path, n_bytes, n_entries)`` for each of `KINDS`.

    ``n_entries`` counts what lies directly in the folder; a folder that does not exist has none.
    """
    found = []
    for kind in KINDS:
        folder = folder_of(kind)
        n_entries = len(os.listdir(folder)) if folder.is_dir() else 0
        found.append((kind, folder, _bytes_under(folder), n_entries))
    return found


def clear(kinds: Iterable[str] = tuple(KINDS)) -> int:
    """Delete the content of these kinds; gives the number of bytes freed.

    A folder is renamed before it is emptied, so that a run that is under way never sees half of
    it: it goes on with the files it has open, and new ones are made beside them. A link, to a
    larger disk, stays. What a clearing that was killed has left goes with the next one.
    """
    return sum(_clear(folder_of(kind)) for kind in kinds)


def _clear(folder: Path) -> int:
    """Empty one folder, and what was set aside of it before; gives the number of bytes freed."""
    there = folder.resolve()
    with contextlib.suppress(FileNotFoundError):  # there is none, or another process was faster
        # A number at random: that of the process is the same in every container.
        there.rename(there.with_name(f"{there.name}{_CLEARED}{secrets.token_hex(8)}"))
    if folder.is_symlink():
        there.mkdir(exist_ok=True)
    doomed = list(there.parent.glob(f"{glob.escape(there.name + _CLEARED)}*"))
    before = sum(map(_bytes_under, doomed))
    for each in doomed:
        shutil.rmtree(each, ignore_errors=True)  # another process may be at it
    return before - sum(map(_bytes_under, doomed))


def files_kept(kind: str, ending: str) -> list[tuple[Path, int]]:
    """The whole files of a kind and their bytes, the one unused for longest first."""
    found = []
    for path in folder_of(kind).glob(f"[!.]*{ending}"):
        with contextlib.suppress(OSError):  # another process may remove it
            found.append((path.stat().st_mtime, path, path.stat().st_size))
    return [(path, n_bytes) for _, path, n_bytes in sorted(found)]


def make_room(kind: str, ending: str, n_bytes: int) -> None:
    """Remove the files unused for longest until the others take at most this."""
    kept = files_kept(kind, ending)
    total = sum(size for _, size in kept)
    for path, size in kept:
        if total <= n_bytes:
            return
        with contextlib.suppress(OSError):  # Windows removes no file that is open
            path.unlink(missing_ok=True)
            total -= size


def in_words(n_bytes: float) -> str:
    """A number of bytes for people.

    Examples
    --------
    >>> in_words(512), in_words(3 * 2**20)
    ('512 B', '3.0 MiB')
    """
    if n_bytes < 1024:
        return f"{n_bytes:.0f} B"
    for unit in ("KiB", "MiB"):
        n_bytes /= 1024
        if n_bytes < 1024:
            return f"{n_bytes:.1f} {unit}"
    return f"{n_bytes / 1024:.1f} GiB"


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise UsageError(
            f"no kind of cache is called {kind!r}", cure="choose from " + ", ".join(KINDS)
        )
    return kind


def _disk_bytes() -> float:
    """Of the disk on which the cache lies, or will lie."""
    there = cache_folder()
    while not os.path.exists(there) and there != there.parent:
        there = there.parent
    try:
        return float(shutil.disk_usage(there).total)
    except OSError:
        return float("inf")


def _bytes_under(folder: Path) -> int:
    n_bytes = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                n_bytes += os.lstat(os.path.join(parent, name)).st_size
            except FileNotFoundError:  # another process tidied up in between
                continue
    return n_bytes
