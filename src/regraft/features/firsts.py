"""Which row of a pass had a content first: how copies are known while it goes on.

A hash table in arrays: 48 to 56 bytes a row, which lie on disk where they are many. Python's dict
of digests takes 180, in memory.
"""

from __future__ import annotations

import numpy as np

from regraft.machine import arrays

DIGEST_BYTES = 32


class Firsts:
    """The first row of each content, of `n` rows at most.

    Examples
    --------
    >>> firsts = Firsts(2)
    >>> firsts.of(b"a" * 32, 5), firsts.of(b"b" * 32, 6), firsts.of(b"a" * 32, 7)
    (5, 6, 5)
    """

    def __init__(self, n: int) -> None:
        # Twice as many places as rows, or up to four times: a free one is soon found.
        self._n_places = 1 << (2 * n).bit_length()
        what = "the digests of the pictures"
        # At the place of a content the number of its row here, from 1 on; 0 is free.
        self._numbers = arrays.zeros((self._n_places,), np.int32, what=what)
        self._digests = arrays.zeros((n, DIGEST_BYTES), np.uint8, what=what)
        self._rows = arrays.zeros((n,), np.int64, what=what)
        self._n = 0

    def of(self, digest: bytes, row: int) -> int:
        """The row that had this content before; this one, which is kept, if none had."""
        place = int.from_bytes(digest[:8], "little") % self._n_places
        while number := int(self._numbers[place]):
            if self._digests[number - 1].tobytes() == digest:
                return int(self._rows[number - 1])
            place = (place + 1) % self._n_places
        self._digests[self._n] = np.frombuffer(digest, np.uint8)
        self._rows[self._n] = row
        self._n += 1
        self._numbers[place] = self._n
        return row
