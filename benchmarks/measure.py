"""What the benchmarks share: whole processes, timed from outside, medians with their range."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
PYTHON = sys.executable
REGRAFT = [PYTHON, "-m", "regraft"]


def timed(command: list[str], *, cache: Path | None = None, cwd: Path | None = None) -> dict:
    """Seconds, peak memory and stdout of one whole process; stops if it fails."""
    env = dict(os.environ, NO_COLOR="1")
    if cache is not None:
        env["REGRAFT_CACHE"] = str(cache)
    start = time.perf_counter()
    done = subprocess.run(
        list(map(str, command)), env=env, cwd=cwd, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stderr[-800:]}")
    return {"seconds": seconds, "out": done.stdout, "err": done.stderr}


@contextlib.contextmanager
def running(command: list[str], **how: Any) -> Iterator[subprocess.Popen]:
    """A process to look at; it does not outlive this one, so that its folders can go."""
    with subprocess.Popen(list(map(str, command)), **how) as process:
        try:
            yield process
        finally:
            process.kill()


def peak_mib() -> float:
    """Largest resident set among the processes run so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def last_json(text: str) -> dict:
    """The object on the last line."""
    return json.loads(text.strip().splitlines()[-1])


def spread(seconds: list[float]) -> str:
    """Median and range."""
    return f"{median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f}, n = {len(seconds)})"


@functools.cache
def _room() -> tempfile.TemporaryDirectory:
    """Where all folders of this process lie; gone at its end, also by Ctrl-C or `timeout`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    return tempfile.TemporaryDirectory(prefix="regraft-bench-", ignore_cleanup_errors=True)


def fresh() -> Path:
    """A new folder, for as long as this process lives.

    >>> fresh().is_dir()
    True
    """
    return Path(tempfile.mkdtemp(dir=_room().name))


def needs_shared() -> None:
    """Stop, and say so, where the peers and the data are not at hand."""
    if not SHARED.is_dir():
        sys.exit("this benchmark needs ../shared (data and peers), which is not here")
