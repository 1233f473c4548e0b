"""A picture inside a tar shard: as text it is its path, and it knows where its bytes are."""

from __future__ import annotations

from typing import Any


class Member(str):
    """A member of a tar, where a table of images has a path.

    Attributes
    ----------
    shard : str
        Path or address of the tar.
    offset, n_bytes : int
        Where its content begins in the tar, and how long it is.
    header : int
        Checksum of the header before it, by which a shard is known that was replaced since.

    Examples
    --------
    >>> one = Member("shards/0000.tar", "a/1.jpg", 512, 900, 0)
    >>> one, one.shard, one.offset, file_of(one), file_of("a/1.jpg")
    ('shards/0000.tar/a/1.jpg', 'shards/0000.tar', 512, 'shards/0000.tar', 'a/1.jpg')
    """

    __slots__ = ("header", "n_bytes", "offset", "shard")
    shard: str
    offset: int
    n_bytes: int
    header: int

    def __new__(cls, shard: str, name: str, offset: int, n_bytes: int, header: int) -> Member:
        member = super().__new__(cls, f"{shard}/{name}")
        member.shard, member.offset, member.n_bytes = shard, offset, n_bytes
        member.header = header
        return member

    def __reduce__(self) -> tuple[Any, ...]:
        name = self[len(self.shard) + 1 :]
        return Member, (self.shard, str(name), self.offset, self.n_bytes, self.header)


def file_of(path: str) -> str:
    """The file that holds a picture: itself, or its shard."""
    return path.shard if isinstance(path, Member) else path
