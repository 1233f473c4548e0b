"""Memory that the process has once is kept for the next array, where the C library can be told so.

Whoever learns makes arrays of some MB by the hundred. glibc gives each back to the system and asks
for it again, and the system then clears it, page by page: a quarter of a fit's processor time on
1,168 images (docs/experiments.md).
"""

from __future__ import annotations

import contextlib
import ctypes
import sys

# Of glibc's mallopt(3): what mmap takes, and what is given back once so much lies free at the end.
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1
# glibc takes no larger threshold; larger arrays are few, and given back at once.
LARGEST_KEPT = 32 << 20
MOST_FREE = 256 << 20


def keep_what_is_freed() -> None:
    """For the rest of this process; for commands, which are one, and never for a library's caller.

    Examples
    --------
    >>> keep_what_is_freed()
    """
    if sys.platform != "linux":
        return
    # Another C library has no such function, or does nothing.
    with contextlib.suppress(OSError, AttributeError):
        tell = ctypes.CDLL(None).mallopt
        tell(M_MMAP_THRESHOLD, LARGEST_KEPT)
        tell(M_TRIM_THRESHOLD, MOST_FREE)
