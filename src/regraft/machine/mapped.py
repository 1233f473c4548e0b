"""Pages of mapped files, let go before they fill the memory that a scheduler counts.

The system takes them back when it needs room; who counts what a process holds (Slurm does) ends it
before that. Nothing is lost: what was written is the file's, and comes back when it is looked at.
"""

from __future__ import annotations

import contextlib
import mmap
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

# Of all files, those of the libraries among them, which are some 100 MiB and stay.
MOST_RESIDENT = 3 * 2**27
_EVERY_S = 0.1

_maps: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()
_lock = threading.Lock()
_watcher: list[threading.Thread] = []


def watch(mapped: Any) -> None:
    """Let go of the pages of a map, or of the one that an array lies in, whenever files fill much
    of the memory. It must be shared with its file: a private one would lose what was written."""
    with _lock:
        if (found := _map_of(mapped)) is not None:
            _maps.add(found)
        if not _watcher and sys.platform == "linux":
            _watcher.append(threading.Thread(target=_watch, daemon=True))
            _watcher[0].start()


def let_go(mapped: Any) -> None:
    """The pages of a shared map, or of the one that an array lies in; of anything else nothing.

    Examples
    --------
    >>> let_go(b"no map")
    """
    found = _map_of(mapped)
    if found is not None and hasattr(mmap, "MADV_DONTNEED"):
        with contextlib.suppress(ValueError, OSError):  # closed meanwhile, or not to be had here
            found.madvise(mmap.MADV_DONTNEED)


def _map_of(mapped: Any) -> mmap.mmap | None:
    while mapped is not None and not isinstance(mapped, mmap.mmap):
        mapped = mapped.obj if isinstance(mapped, memoryview) else getattr(mapped, "base", None)
    return mapped


def resident_bytes() -> int:
    """Of files, in the memory of this process; 0 where the system does not say."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return 1024 * int(Path("/proc/self/status").read_text().split("RssFile:")[1].split()[0])
    return 0


def _watch() -> None:
    """As long as there are maps."""
    while True:
        time.sleep(_EVERY_S)
        with _lock:
            if not _maps:
                _watcher.clear()
                return
            some = list(_maps)
        if resident_bytes() > MOST_RESIDENT:
            for one in some:
                let_go(one)
        some = []  # what is freed meanwhile must not wait for the next look
