"""R6, R7: training that is killed or stopped goes on to the same bits; nothing half-written."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import safe_open

REGRAFT = Path(sys.executable).with_name("regraft")
N_KILLS = int(os.environ.get("REGRAFT_KILLS", "2"))
SETTINGS = [
    "--method", "partial", "--backbone", "random:test_efficientnet", "--epochs", "6",
    "--views", "2", "--batch-size", "4", "--json",
]  # fmt: skip


@pytest.fixture
def photos(tmp_path: Path, make_photos: Callable[..., Path]) -> Path:
    return make_photos(tmp_path / "photos", splits={"train": 24, "val": 4})


def start(photos: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [REGRAFT, "train", photos, *SETTINGS, "--out", out, "--run", "r", *more],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "NO_COLOR": "1"},
        # As from a terminal: a background shell has SIGINT ignored, and hands that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


def finish(photos: Path, out: Path, *more: str) -> str:
    process = start(photos, out, *more)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr[-2000:]
    model = Path(json.loads(stdout)["model"])
    return hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()


def every_file_is_whole(out: Path) -> None:
    for file in out.rglob("*.safetensors"):
        if not file.name.startswith("."):
            with safe_open(file, framework="pt") as tensors:
                assert list(tensors.keys())
    for file in out.rglob("*.json"):
        json.loads(file.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "2"])
def test_r6_killed_at_random_points_it_ends_with_the_same_bits(
    photos: Path, tmp_path: Path, workers: str
) -> None:
    finish(photos, tmp_path / "warm")  # engines and activations are there
    begun = time.monotonic()
    wanted = finish(photos, tmp_path / "whole", "--workers", workers)
    whole = time.monotonic() - begun
    chance = random.Random(int(workers))
    kills = 0
    for _ in range(N_KILLS):
        process = start(photos, tmp_path / "killed", "--workers", workers)
        try:
            process.communicate(timeout=chance.uniform(0.4, 0.95) * whole)
            break  # it was faster than the clock
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
        every_file_is_whole(tmp_path / "killed")
    assert finish(photos, tmp_path / "killed", "--workers", workers) == wanted
    assert kills >= 1


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_r7_a_stop_leaves_best_and_last_and_says_so(
    photos: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    wanted = finish(photos, tmp_path / "whole")
    process = start(photos, tmp_path / "stopped", "--batch-size", "1")
    checkpoints = tmp_path / "stopped" / "r" / "checkpoints"
    deadline = time.monotonic() + 120
    while not (checkpoints / "last.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert (checkpoints / "best.safetensors").exists()
    every_file_is_whole(tmp_path / "stopped")
    assert finish(photos, tmp_path / "whole") == wanted
