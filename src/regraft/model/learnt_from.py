"""Which pictures a model has learnt from, told by their content; kept in its config.json."""

from __future__ import annotations

import base64
from collections.abc import Sequence

# Enough of a digest to tell a picture: two of a million images agree by chance once in 10^7.
DIGEST_BYTES = 8


def to_text(digests: Sequence[bytes]) -> str:
    """Content digests, shortened, as base64: what a model has learnt from.

    Examples
    --------
    >>> from_text(to_text([b"12345678901234567890"]))
    {b'12345678'}
    """
    shortened = bytearray()
    for digest in digests:
        shortened += digest[:DIGEST_BYTES]
    return base64.b64encode(shortened).decode()


def from_text(text: object) -> set[bytes]:
    """The inverse, as a set; empty for anything else."""
    try:
        data = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except ValueError:
        return set()
    return {data[i : i + DIGEST_BYTES] for i in range(0, len(data), DIGEST_BYTES)}
