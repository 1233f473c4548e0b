"""A process that ends without taking PyTorch apart still does what was registered for its end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import atexit, sys, tempfile, threading, time, weakref
from pathlib import Path
from regraft.machine import leaving

sys.modules.setdefault("torch", sys) if {has_torch} else None
room = tempfile.TemporaryDirectory(dir={folder!r})
atexit.register(lambda: Path({folder!r}, "registered").write_text("x"))
late = threading.Thread(target=lambda: (time.sleep(0.3), Path({folder!r}, "late").write_text("x")))
late.start()
print("said", end="")
leaving.leave({code})
"""


@pytest.mark.parametrize("has_torch", [True, False])
@pytest.mark.parametrize("code", [0, 4])
def test_the_end_of_a_process(tmp_path: Path, has_torch: bool, code: int) -> None:
    script = SCRIPT.format(has_torch=has_torch, folder=str(tmp_path), code=code)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, "said", "")
    assert {path.name for path in tmp_path.iterdir()} == {"registered", "late"}


def test_nobody_reads_what_is_said(tmp_path: Path) -> None:
    script = SCRIPT.format(has_torch=True, folder=str(tmp_path), code=0)
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        process.stderr.read()
    assert process.returncode != 0
