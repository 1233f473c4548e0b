"""Listings of tar shards elsewhere, kept: each shard is read for its listing once, not each time.

To list a shard takes all of its bytes, for its headers lie between the pictures. So what it holds
is kept in the cache folder, under its address; and `regraft features` keeps it beside its parts,
where the machine that trains on them finds it. A shard that has another size, tag or time now is
listed anew.
"""

from __future__ import annotations

import hashlib
import json
import threading
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from regraft.data import remote
from regraft.data.members import Member
from regraft.data.remote import State
from regraft.data.shard_contents import Contents, StoppedError, contents_of
from regraft.data.shard_labels import Said
from regraft.data.table import Rejected, Skipped
from regraft.errors import DecodeError
from regraft.machine import atomic, cache, daemons

KIND = "listings"
# Raised when a listing would be another one of the same shard.
LAYOUT = 1
# Shards elsewhere that are listed at the same time.
AT_ONCE = 8
_SUFFIX = ".listing"

Progress = Callable[[int, int], None]


class Listings:
    """Where listings are kept and looked for.

    Parameters
    ----------
    *folders : Path
        Looked for in all, and kept in the first; by default the one in the cache folder.
    progress : callable(done, total)
        Told after each shard.
    """

    def __init__(self, *folders: Path, progress: Progress = lambda done, total: None) -> None:
        self.folders = folders or (cache.folder_of(KIND),)
        self.progress = progress

    def of(self, shards: Iterable[str]) -> Contents:
        """What shards hold, in their order; one that cannot be read is named among the rejected.

        Parameters
        ----------
        shards : iterable of str
            Paths or addresses.
        """
        shards, found = list(shards), Contents()
        stop = threading.Event()
        # To list one of this disk takes less than threads would win.
        n_threads = AT_ONCE if any(map(remote.is_address, shards)) else 1
        try:
            listed = daemons.in_order(lambda shard: self._one(shard, stop), shards, n_threads)
            for n_done, contents in enumerate(listed, 1):
                found.add(contents)
                self.progress(n_done, len(shards))
        finally:
            stop.set()
        return found

    def _one(self, shard: str, stop: threading.Event) -> Contents:
        try:
            state = remote.state_of(shard) if remote.is_address(shard) else None
            if state is None:
                return contents_of(shard, stop)
            if (kept := self._kept(shard, state)) is not None:
                return kept
            return self._keep(shard, state, contents_of(shard, stop, state.n_bytes))
        except (DecodeError, OSError) as error:
            rule = error.rule if isinstance(error, DecodeError) else f"cannot be opened: {error}"
            cure = error.cure if isinstance(error, DecodeError) else "correct the path"
            return Contents(rejected=[Rejected(shard, rule, cure)])
        except StoppedError:
            return Contents()

    def _kept(self, shard: str, state: State) -> Contents | None:
        for folder in self.folders:
            with suppress(OSError, ValueError, KeyError, TypeError, zlib.error):
                packed = (folder / _name_of(shard)).read_bytes()
                contents = _from_json(json.loads(zlib.decompress(packed)), shard, state)
                if folder != self.folders[0]:
                    self._write(shard, packed)
                return contents
        return None

    def _keep(self, shard: str, state: State, contents: Contents) -> Contents:
        data = json.dumps(_to_json(contents, shard, state)).encode("ascii")
        self._write(shard, zlib.compress(data))
        return contents

    def _write(self, shard: str, packed: bytes) -> None:
        path = self.folders[0] / _name_of(shard)
        with suppress(OSError), atomic.file(path, shared=True) as made:  # it can be made again
            made.write_bytes(packed)


def _name_of(shard: str) -> str:
    return hashlib.sha256(shard.encode("utf-8", "surrogateescape")).hexdigest()[:32] + _SUFFIX


def _to_json(contents: Contents, shard: str, state: State) -> dict[str, Any]:
    start = len(shard) + 1
    return {
        "layout": LAYOUT,
        "shard": shard,
        "state": list(state),
        "names": [path[start:] for path in contents.paths],
        "offsets": [path.offset for path in contents.paths],
        "n_bytes": [path.n_bytes for path in contents.paths],
        "headers": [path.header for path in contents.paths],
        "labels": contents.said.labels,
        "splits": contents.said.splits,
        "groups": contents.said.groups,
        "problems": list(contents.said.problems.items()),
        "n_differ": contents.n_differ,
        "rejected": [list(one) for one in contents.rejected],
        "skipped": [list(one) for one in contents.skipped],
    }


def _from_json(found: dict[str, Any], shard: str, state: State) -> Contents:
    if (found["layout"], found["shard"], found["state"]) != (LAYOUT, shard, list(state)):
        raise ValueError("a listing of another object")
    places = zip(found["names"], found["offsets"], found["n_bytes"], found["headers"], strict=True)
    return Contents(
        [Member(shard, *place) for place in places],
        Said(found["labels"], found["splits"], found["groups"], dict(found["problems"])),
        found["n_differ"],
        [Rejected(*one) for one in found["rejected"]],
        [Skipped(*one) for one in found["skipped"]],
    )
