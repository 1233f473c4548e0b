"""The processor: how many of its cores are ours, and in which arithmetic it is fast."""

from __future__ import annotations

import hashlib
import os
import platform


def precision() -> str:
    """'bf16' where the processor multiplies it in tiles (AMX), else 'fp32'.

    AVX-512's bf16 instructions alone do not pay: 14.1 core-milliseconds an image for the default
    backbone, against 9.4 in fp32 (docs/experiments.md).
    """
    return "bf16" if "amx_bf16" in _flags() else "fp32"


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """Name and abilities of this processor, as a short text that differs where they do."""
    flags = " ".join(sorted(_flags()))
    return f"{platform.machine()} {hashlib.sha256(flags.encode()).hexdigest()[:12]}"


def _flags() -> frozenset[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith(("flags", "Features")):
                    return frozenset(line.partition(":")[2].split())
    except OSError:
        pass
    return frozenset()
