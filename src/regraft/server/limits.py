"""How much a request may bring and how long it may take, and the memory that all share.

How many pixels a picture may have is the decoder's to say (:mod:`regraft.images.decode`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from regraft.server.refusals import Refusal

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """What is refused; every value is named in the refusal.

    Attributes
    ----------
    picture_bytes : int
        Of one picture's file.
    request_bytes : int
        Of a whole request.
    held_bytes : int
        Of all requests that are in hand at once.
    items : int
        Pictures in one request.
    places : int
        Pictures that are waiting or being answered, of all requests.
    connections : int
        That are open at once.
    head_s : float
        For the lines before a body.
    body_s : float
        For a whole body.
    pause_s : float
        Between two parts of a body.
    answer_s : float
        From the last byte of a request to its answer.
    """

    picture_bytes: int = 32 * MIB
    request_bytes: int = 128 * MIB
    held_bytes: int = 512 * MIB
    items: int = 64
    places: int = 256
    connections: int = 500
    head_s: float = 10.0
    body_s: float = 60.0
    pause_s: float = 10.0
    answer_s: float = 60.0


class Held:
    """The bytes of bodies that are in memory now, over all requests.

    Examples
    --------
    >>> held = Held(most=10)
    >>> with held.for_request() as take:
    ...     take(8)
    ...     held.n_bytes
    8
    >>> held.n_bytes
    0
    """

    def __init__(self, most: int) -> None:
        self.most, self.n_bytes = most, 0

    @contextmanager
    def for_request(self) -> Iterator[_Share]:
        """A share that is given back after the block."""
        share = _Share(self)
        try:
            yield share
        finally:
            self.n_bytes -= share.n_bytes


class _Share:
    def __init__(self, held: Held) -> None:
        self._held, self.n_bytes = held, 0

    def __call__(self, n: int) -> None:
        """Some bytes more; refused where all requests together would hold too many."""
        if self._held.n_bytes + n > self._held.most:
            raise Refusal(
                503,
                f"the pictures in hand take {in_mib(self._held.n_bytes)}; at most "
                f"{in_mib(self._held.most)} are held at once",
                cure="send it again later",
                retry_after_s=1,
            )
        self._held.n_bytes += n
        self.n_bytes += n


def in_mib(n_bytes: int) -> str:
    """For people.

    >>> in_mib(32 * MIB), in_mib(1536)
    ('32 MiB', '1,536 bytes')
    """
    return f"{n_bytes:,} bytes" if n_bytes < MIB else f"{n_bytes / MIB:.0f} MiB"
