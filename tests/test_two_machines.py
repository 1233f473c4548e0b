"""Training over two machines: two agents of torchrun, as on two nodes, on the loopback."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import warm
from test_processes import BACKBONE, Copies, free_port, pid_of_rank

# 27 images of train in steps of 8 over two machines: the last step has 3, of which one has 2.
GIVEN = [
    "train", "photos", "--backbone", BACKBONE, "--method", "full", "--batch-size", "8",
    "--schedule", "constant", "--warmup", "0", "--select-fraction", "0.3", "--no-report", "--json",
]  # fmt: skip


def agents(room: Path, *arguments: str) -> list[subprocess.Popen[str]]:
    """One agent for each of two machines; they meet at a port of the first."""
    port = str(free_port())
    return [
        subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--node-rank",
             str(node), "--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port",
             port, "-m", "--", "regraft", *GIVEN, *arguments],
            cwd=room, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={
                **os.environ, "REGRAFT_CACHE": str(room / "cache"), "OMP_NUM_THREADS": "1",
                "NO_COLOR": "1",
            },
            start_new_session=True,
        )
        for node in range(2)
    ]  # fmt: skip


def ended(started: list[subprocess.Popen[str]], timeout_s: float) -> list[tuple[str, str]]:
    try:
        return [process.communicate(timeout=timeout_s) for process in started]
    finally:
        for process in started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def room(make_room: Callable[[str], Path], make_photos: Callable[..., Path]) -> Path:
    folder = make_room("machines")
    make_photos(folder / "photos", splits={"train": 13, "val": 5}, size_px=64)
    return folder


@pytest.mark.slow  # torch starts five times
def test_a_machine_that_falls_ends_the_other_and_the_run_goes_on(room: Path) -> None:
    victim = 1
    started = agents(room, "--epochs", "4000", "--run", "r", "--out", "killed")
    last = room / "killed" / "r" / "checkpoints" / "last.safetensors"
    deadline = time.monotonic() + 150
    while not last.exists():
        assert all(process.poll() is None for process in started), ended(started, 5)
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(pid_of_rank(started[victim].pid, victim), signal.SIGKILL)
    fell = time.monotonic()
    said = ended(started, 60)
    assert time.monotonic() - fell < 40, "the other machine waited for the one that is gone"
    assert all(process.returncode not in (0, None) for process in started)
    assert "another process ended" in said[1 - victim][1]
    assert "bug of ours" not in said[0][1] + said[1][1]
    assert not (room / "killed" / "r" / "run.json").exists()
    epochs = n_epochs_of(room / "killed" / "r")
    assert epochs >= 1
    # A few epochs more than were done, so that what is kept is gone on with, in processes that
    # are told what agents would tell them; its bits are compared in test_processes.py.
    more = str(epochs + 2)
    given = [*GIVEN, "--epochs", more, "--run", "r", "--out", "killed", "--resume"]
    with warm.process({**os.environ, "OMP_NUM_THREADS": "1"}) as source:
        process = Copies(source, 2, room, *given, n_local=1)
        stdout, stderr = process.communicate(timeout=200)
    assert process.returncode == 0, stderr[-3000:]
    metrics: dict[str, Any] = json.loads(stdout)  # only the first process speaks
    assert metrics["training"]["resumed_at"] >= epochs - 1


def n_epochs_of(run: Path) -> int:
    lines = (run / "log.jsonl").read_text().splitlines()
    return max((json.loads(line).get("epoch", 0) for line in lines if line), default=0)
