"""The bytes of a picture that is no file of its own: an object elsewhere, a shard's member."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from itertools import islice

from regraft.data import remote
from regraft.data.members import Member
from regraft.errors import DecodeError

# Pictures that are fetched before they are needed, so that no core waits for the network.
AHEAD = 48


def is_stored(path: object) -> bool:
    """Whether a path is an address, or a member of a shard."""
    return isinstance(path, Member) or (isinstance(path, str) and remote.is_address(path))


def is_far(path: object) -> bool:
    """Whether reading it waits for the network, so that it pays to ask early."""
    return isinstance(path, str) and remote.is_address(path)


def read_stored(path: str) -> bytes:
    """All bytes of it.

    Raises
    ------
    DecodeError
        It cannot be read whole; see :func:`regraft.data.remote.read`.
    """
    if not isinstance(path, Member):
        return remote.read(path)
    if path.n_bytes > remote.MAX_BYTES:
        raise DecodeError(
            f"the member has {path.n_bytes:,} bytes; at most {remote.MAX_BYTES:,} are read",
            cure="make the picture smaller",
        )
    if remote.is_address(path.shard):
        return remote.read(path.shard, path.offset, path.n_bytes)
    try:
        with open(path.shard, "rb") as file:
            file.seek(path.offset)
            data = file.read(path.n_bytes)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DecodeError(
            f"the shard cannot be read ({reason})", cure="check the disk and the path"
        ) from error
    if len(data) < path.n_bytes:
        raise DecodeError(
            f"the shard ends early: {len(data):,} of {path.n_bytes:,} bytes are there",
            cure=f"copy {os.path.basename(path.shard)} again",
        )
    return data


class Ahead:
    """Objects that will be needed soon, fetched meanwhile; safe from several threads.

    Its threads are daemons: a program that is stopped does not wait for a slow server.

    Parameters
    ----------
    addresses : iterable of str
        In the order in which they will be asked for, nearly.
    """

    def __init__(self, addresses: Iterable[str]) -> None:
        self._next = iter(addresses)
        self._wanted: queue.SimpleQueue[tuple[str, Future[bytes]] | None] = queue.SimpleQueue()
        self._coming: dict[str, Future[bytes]] = {}
        self._lock = threading.Lock()
        self._is_over = False
        for _ in range(remote.MOST_AT_ONCE):
            threading.Thread(target=self._fetch, daemon=True).start()
        with self._lock:
            self._order(AHEAD)

    def take(self, address: str) -> bytes:
        """The content of one; whoever takes one lets the next one be fetched.

        Raises
        ------
        DecodeError
            As :func:`read_stored`.
        """
        with self._lock:
            self._order(1)
            future = self._coming.pop(address, None)
        return read_stored(address) if future is None else future.result()

    def close(self) -> None:
        """Fetch nothing more."""
        self._is_over = True
        for _ in range(remote.MOST_AT_ONCE):
            self._wanted.put(None)

    def _order(self, n: int) -> None:
        for address in islice(self._next, n):
            if address not in self._coming:
                future = self._coming[address] = Future()
                self._wanted.put((address, future))

    def _fetch(self) -> None:
        while (wanted := self._wanted.get()) is not None and not self._is_over:
            address, future = wanted
            try:
                future.set_result(read_stored(address))
            except BaseException as error:  # raised where the content is asked for
                future.set_exception(error)
