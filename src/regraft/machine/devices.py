"""Which device computes: the CPU, or a GPU that is there."""

from __future__ import annotations

import glob
import os
import platform
import sys

from regraft.errors import UsageError
from regraft.machine import extras


def choose_device(device: str = "auto") -> str:
    """The device that 'auto' means here; asks the system, not PyTorch, whose import takes long.

    A GPU is PyTorch's: without it, 'auto' is the CPU.
    """
    if device == "auto":
        is_gpu = os.path.exists("/dev/nvidia0") and extras.has("torch")
        return "cuda" if is_gpu else "cpu"
    return device


def require_device(device: str) -> None:
    """Refuse a device that is not here; asks the system, because importing PyTorch takes long.

    Raises
    ------
    UsageError
        No such device, or neither this machine nor this build of PyTorch has one.

    Examples
    --------
    >>> require_device("cpu")
    >>> require_device("gpu")
    Traceback (most recent call last):
        ...
    regraft.errors.UsageError: no device is called 'gpu'
      cure:  auto, cpu, cuda or mps
    """
    if device not in ("auto", "cpu", "cuda", "mps"):
        raise UsageError(f"no device is called {device!r}", cure="auto, cpu, cuda or mps")
    if device in ("cuda", "mps"):
        extras.require("torch", f"--device {device}", otherwise="--device cpu")
    missing = {"cuda": _why_no_cuda, "mps": _why_no_mps}.get(device, str)()
    if missing:
        raise UsageError(
            f"device {device!r} was asked for, but {missing}",
            cure="--device auto, which takes what there is; or --device cpu",
        )


def _why_no_cuda() -> str:
    # Windows has no such files; there PyTorch itself has to find out.
    has_files = any(glob.glob(f"/dev/{name}") for name in ("nvidia[0-9]*", "dxg", "kfd"))
    if not has_files and sys.platform != "win32":
        return "this machine has no GPU that can be used"
    from importlib.metadata import version

    if version("torch").endswith("+cpu"):
        return f"the PyTorch that is installed ({version('torch')}) is without CUDA"
    return ""


def _why_no_mps() -> str:
    is_apple = sys.platform == "darwin" and platform.machine() == "arm64"
    return "" if is_apple else "this is no Mac with an Apple processor"
