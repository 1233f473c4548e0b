"""The processor: how many of its cores are ours, and in which arithmetic it is fast."""

from __future__ import annotations

import hashlib
import os
import platform

from regraft.errors import UsageError

PRECISIONS = ("fp32", "bf16")


def precision() -> str:
    """Arithmetic of engines on the CPU, and of training that chooses by itself.

    'bf16' where the processor is faster in it, else 'fp32', unless ``REGRAFT_PRECISION`` says
    which. A processor without AVX-512 may have no bf16 at all: OpenVINO then computes in fp32, and
    the engine's notes say so.

    Examples
    --------
    >>> os.environ["REGRAFT_PRECISION"] = "fp32"
    >>> precision()
    'fp32'
    >>> del os.environ["REGRAFT_PRECISION"]
    """
    forced = os.environ.get("REGRAFT_PRECISION", "").strip()
    if not forced:
        return "bf16" if _is_faster_in_bf16() else "fp32"
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


def _is_faster_in_bf16() -> bool:
    """By tiles (AMX), or by AVX-512's bf16 products where these are AMD's.

    Core-milliseconds an image for the default backbone, bf16 and fp32, by AVX-512 alone: 2.9 and
    5.2 on AMD's Zen 5, but 14.1 and 9.4 on Intel's Emerald Rapids (docs/experiments.md).
    """
    flags = _flags()
    return "amx_bf16" in flags or ("avx512_bf16" in flags and _vendor() == "AuthenticAMD")


def _flags() -> frozenset[str]:
    return frozenset(_told("flags", "Features").split())


def _vendor() -> str:
    return _told("vendor_id")


def _told(*names: str) -> str:
    """What /proc/cpuinfo says of the first core under one of these names; '' elsewhere."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                name, _, value = line.partition(":")
                if name.strip() in names:
                    return value.strip()
    except OSError:
        pass
    return ""
