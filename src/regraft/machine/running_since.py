"""How long this process has been running, its start and its imports included."""

from __future__ import annotations

import os
import time

_IMPORTED = time.monotonic()


def seconds() -> float:
    """Since the process was started, as far as the system tells; else since this was imported.

    Examples
    --------
    >>> 0 < seconds() < 1e7
    True
    """
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return time.monotonic() - _IMPORTED
