"""One picture of a taught folder, and whether it is set aside to score on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from regraft.teaching.names import TRASH

# The share of the pictures that is set aside to score on.
HELD_SHARE = 0.2


@dataclass(frozen=True)
class Picture:
    """One picture of the folder.

    Attributes
    ----------
    number : int
    path : str
        Within the folder, with '/'.
    digest : str
        SHA-256 of its file, hex.
    together : str
        What it must stay together with (a burst, near copies): set aside together or not at all.
    """

    number: int
    path: str
    digest: str
    together: str

    @property
    def label(self) -> str | None:
        """Its class; None if it has none yet."""
        return self.path.rpartition("/")[0] or None

    @property
    def is_removed(self) -> bool:
        """In the trash, or gone from the disk."""
        return not self.path or self.path.startswith(f"{TRASH}/")

    @property
    def is_held(self) -> bool:
        """Set aside to score on, by its content alone: it teaches nothing, and no doubt of the
        model ever asks for its label."""
        return is_held(self.together or self.digest)


@dataclass(frozen=True)
class New:
    """A picture that is to be added; `data` is its file, `ending` that of its kind ('.jpg').

    `label` is its own class, where not all that come with it have one and the same.
    """

    name: str
    data: bytes
    ending: str
    together: str = ""
    label: str | None = None


def is_held(key: str) -> bool:
    """Whether what has this content is set aside.

    Examples
    --------
    >>> sum(is_held(str(n)) for n in range(10_000)) // 100
    19
    """
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < HELD_SHARE * 2**64
