"""The processor: how many of its cores are ours, and in which arithmetic it is fast."""

from __future__ import annotations

import hashlib
import os
import platform

from regraft.errors import UsageError

PRECISIONS = ("fp32", "bf16")


def precision() -> str:
    """Arithmetic of engines on the CPU, and of training that chooses by itself.

    'bf16' where the processor multiplies it in tiles (AMX), else 'fp32', unless
    ``REGRAFT_PRECISION`` says which. AVX-512's bf16 instructions alone do not pay: 14.1
    core-milliseconds an image for the default backbone, against 9.4 in fp32
    (docs/experiments.md). A processor without AVX-512 may have no bf16 at all: OpenVINO then
    computes in fp32, and the engine's notes say so.

    Examples
    --------
    >>> os.environ["REGRAFT_PRECISION"] = "fp32"
    >>> precision()
    'fp32'
    >>> del os.environ["REGRAFT_PRECISION"]
    """
    forced = os.environ.get("REGRAFT_PRECISION", "").strip()
    if not forced:
        return "bf16" if "amx_bf16" in _flags() else "fp32"
    if forced not in PRECISIONS:
        raise UsageError(
            f"the precision must be {' or '.join(PRECISIONS)}, got {forced!r}",
            place="environment variable REGRAFT_PRECISION",
            cure="REGRAFT_PRECISION=fp32, or leave it unset: the processor then decides",
        )
    return forced


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def multiplies_int8() -> bool:
    """Whether it sums products of 8-bit integers without overflow (VNNI, AMX, ARM's dot product).

    Examples
    --------
    >>> multiplies_int8() in (True, False)
    True
    """
    return bool({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"} & _flags())


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
