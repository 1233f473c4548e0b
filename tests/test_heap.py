"""Freed memory is used again, without the system clearing it anew."""

from __future__ import annotations

import subprocess
import sys

import pytest

ARRAYS = """
import resource, sys
import numpy as np
from regraft.machine import heap
if sys.argv[1] == "kept":
    heap.keep_what_is_freed()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(1_000_000), np.ones(2_000_000)
before = faults()
for _ in range(20):
    np.ones(1_000_000), np.ones(2_000_000)
print(faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own")
def test_what_is_freed_is_not_cleared_again() -> None:
    given_back, kept = (
        int(subprocess.run([sys.executable, "-c", ARRAYS, how], capture_output=True, text=True,
                           check=True).stdout)
        for how in ("given back", "kept")
    )  # fmt: skip
    assert kept < 200 < given_back
