"""What stands in for the cache where that cannot be written: a temporary folder, for this process.

It goes when the process ends; what a killed one left behind goes when the next one needs a folder.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

_PREFIX, _LOCK = "regraft-stand-in-", "in-use"
# Memory that looks like a folder: often the only place where a container's disk is read-only.
_MEMORY = "/dev/shm"

_making = threading.Lock()
_made: dict[int, tuple[Path, int]] = {}  # by process, so that a fork neither shares nor removes it


def folder_of(kind: str) -> Path:
    """Sub-folder of a kind of content, as `cache.folder_of` gives it; made at the first call.

    Raises
    ------
    OSError
        Nothing temporary can be kept here either.
    """
    with _making:
        if os.getpid() not in _made:
            _made[os.getpid()] = _make()
            atexit.register(remove)
        return _made[os.getpid()][0] / kind


def folders_of(kind: str) -> Iterator[Path]:
    """`folder_of` if this process has come to need it, else none."""
    if os.getpid() in _made:
        yield folder_of(kind)


def remove() -> None:
    """All of it, if there is any."""
    with _making:
        if made := _made.pop(os.getpid(), None):
            folder, lock = made
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                os.close(lock)


def _make() -> tuple[Path, int]:
    parent = _parent()
    _remove_left_behind(parent)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR)
    _take(lock)
    return folder, lock


def _parent() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:
        if os.access(_MEMORY, os.W_OK):
            return _MEMORY
        raise


def _remove_left_behind(parent: str) -> None:
    """A folder whose lock can be taken belongs to no process that runs."""
    for folder in Path(parent).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            lock = os.open(folder / _LOCK, os.O_RDWR)
            try:
                if _take(lock):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _take(lock: int) -> bool:
    """Whether the lock is ours now; never where a system has none."""
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
