"""How much memory is free for work, as far as the system tells."""

from __future__ import annotations


def available_mib() -> float:
    """MiB that could be used without swapping; infinity where the system does not tell.

    Examples
    --------
    >>> available_mib() > 0
    True
    """
    try:
        with open("/proc/meminfo", encoding="ascii", errors="replace") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return float(line.split()[1]) / 1024
    except (OSError, ValueError, IndexError):
        pass
    return float("inf")
