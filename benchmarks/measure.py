"""What the benchmarks share: whole processes, timed from outside, medians with their range."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

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
    done = subprocess.Popen(
        list(map(str, command)), env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = done.communicate()
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{err.decode()[-800:]}")
    return {"seconds": seconds, "out": out.decode(), "err": err.decode()}


def peak_mib() -> float:
    """Largest resident set among the processes run so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def last_json(text: str) -> dict:
    """The object on the last line."""
    return json.loads(text.strip().splitlines()[-1])


def spread(seconds: list[float]) -> str:
    """Median and range."""
    return f"{median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f}, n = {len(seconds)})"


def fresh() -> Path:
    """A new folder."""
    return Path(tempfile.mkdtemp(prefix="regraft-bench-"))


def needs_shared() -> None:
    """Stop, and say so, where the peers and the data are not at hand."""
    if not SHARED.is_dir():
        sys.exit("this benchmark needs ../shared (data and peers), which is not here")
