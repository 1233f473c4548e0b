"""The bytes of a picture that is no file of its own: an object elsewhere, a shard's member."""

from __future__ import annotations

import os
import queue
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress

from regraft.data import remote
from regraft.data.members import Member
from regraft.data.tar_stream import BLOCK
from regraft.errors import DecodeError

# What is fetched before it is needed, so that no core waits for the network: so many bytes, or so
# many objects, whose size nobody knows before.
AHEAD_BYTES, OBJECTS_AHEAD = 32 * 2**20, 48
# Objects of more bytes are not fetched before they are needed: 48 scans would fill the memory.
LARGEST_AHEAD_BYTES = 8 * 2**20
# Of a shard, so much is asked for at once, with no more than this between two pictures of it.
STRETCH_BYTES, MOST_BETWEEN = 2 * 2**20, 64 * 2**10


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
        return _content(path, remote.read(path.shard, path.offset - BLOCK, path.n_bytes + BLOCK))
    try:
        with open(path.shard, "rb") as file:
            file.seek(path.offset - BLOCK)
            data = file.read(path.n_bytes + BLOCK)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DecodeError(
            f"the shard cannot be read ({reason})", cure="check the disk and the path"
        ) from error
    return _content(path, data)


def _content(member: Member, data: bytes) -> bytes:
    """The content of a member, from the bytes that begin with its header.

    Raises
    ------
    DecodeError
        They are too few, or the header is another one: in a shard that was replaced after it was
        listed, another picture lies there, and not of this label.
    """
    n_bytes = max(0, len(data) - BLOCK)
    if n_bytes < member.n_bytes:
        raise DecodeError(
            f"the shard ends early: {n_bytes:,} of {member.n_bytes:,} bytes are there",
            cure=f"copy {os.path.basename(member.shard)} again",
        )
    if zlib.crc32(data[:BLOCK]) != member.header:
        raise DecodeError(
            "the shard was replaced after it was listed: something else stands where this was",
            cure="the same command lists it anew; nothing should write to the data meanwhile",
        )
    return data[BLOCK:]


class Ahead:
    """Pictures that will be needed soon, fetched meanwhile; safe from several threads.

    Its threads are daemons: a program that is stopped does not wait for a slow server.

    Parameters
    ----------
    pictures : iterable of str
        Addresses, and members of shards elsewhere, in the order in which they will be asked for,
        nearly.
    """

    def __init__(self, pictures: Iterable[str]) -> None:
        self._next = stretches(pictures)
        self._wanted: queue.SimpleQueue[Mapping[str, Future[bytes]] | None] = queue.SimpleQueue()
        self._coming: dict[str, Future[bytes]] = {}
        self._n_bytes = 0
        self._lock = threading.Lock()
        self._is_over = False
        for _ in range(remote.MOST_AT_ONCE):
            threading.Thread(target=self._fetch, daemon=True).start()
        with self._lock:
            self._order()

    def take(self, picture: str) -> bytes:
        """The content of one; whoever takes one lets the next ones be fetched.

        Raises
        ------
        DecodeError
            As :func:`read_stored`.
        """
        with self._lock:
            future = self._coming.pop(picture, None)
            if future is not None:
                self._n_bytes -= _reckoned_bytes(picture)
            self._order()
        if future is not None:
            with suppress(remote.TooLargeError):
                return future.result()
        return read_stored(picture)

    def close(self) -> None:
        """Fetch nothing more."""
        self._is_over = True
        for _ in range(remote.MOST_AT_ONCE):
            self._wanted.put(None)

    def _order(self) -> None:
        while self._n_bytes < AHEAD_BYTES and (stretch := next(self._next, None)) is not None:
            futures = {one: Future[bytes]() for one in stretch if one not in self._coming}
            self._coming |= futures
            self._n_bytes += sum(map(_reckoned_bytes, futures))
            self._wanted.put(futures)

    def _fetch(self) -> None:
        while (wanted := self._wanted.get()) is not None and not self._is_over:
            contents = _read_at_once(list(wanted)) if len(wanted) > 1 else {}
            for picture, future in wanted.items():
                try:
                    content = contents.get(picture)
                    future.set_result(_read_ahead(picture) if content is None else content)
                except BaseException as error:  # raised where the content is asked for
                    future.set_exception(error)


def _read_ahead(picture: str) -> bytes:
    """As `read_stored`; TooLargeError for an object that has to wait until it is needed."""
    if isinstance(picture, Member):
        return read_stored(picture)
    return remote.read(picture, most=LARGEST_AHEAD_BYTES)


def stretches(pictures: Iterable[str]) -> Iterator[list[str]]:
    """Pictures that one request can bring: members that lie near each other in one shard.

    Examples
    --------
    >>> shard = "s3://b/0.tar"
    >>> near = [Member(shard, "1.jpg", 512, 900, 0), Member(shard, "2.jpg", 4096, 900, 0)]
    >>> [len(one) for one in stretches([*near, "s3://b/3.jpg", "s3://b/4.jpg"])]
    [2, 1, 1]
    """
    stretch: list[str] = []
    for picture in pictures:
        if stretch and not _goes_on(stretch, picture):
            yield stretch
            stretch = []
        stretch.append(picture)
    if stretch:
        yield stretch


def _goes_on(stretch: list[str], picture: str) -> bool:
    first, last = stretch[0], stretch[-1]
    return (
        isinstance(picture, Member)
        and isinstance(first, Member)
        and isinstance(last, Member)
        and picture.shard == first.shard
        and 0 <= picture.offset - (last.offset + last.n_bytes) <= MOST_BETWEEN
        and picture.offset + picture.n_bytes - first.offset <= STRETCH_BYTES
    )


def _read_at_once(members: list[str]) -> dict[str, bytes]:
    """The members of a stretch by one request; none where it fails, and each is asked for itself,
    which says of each what is wrong with it."""
    first, last = members[0], members[-1]
    assert isinstance(first, Member)
    assert isinstance(last, Member)
    start = first.offset - BLOCK
    try:
        data = remote.read(first.shard, start, last.offset + last.n_bytes - start)
    except DecodeError:
        return {}
    found = dict[str, bytes]()
    for one in members:
        assert isinstance(one, Member)
        at = one.offset - BLOCK - start
        with suppress(DecodeError):
            found[one] = _content(one, data[at : at + BLOCK + one.n_bytes])
    return found


def _reckoned_bytes(picture: str) -> int:
    return picture.n_bytes if isinstance(picture, Member) else AHEAD_BYTES // OBJECTS_AHEAD
