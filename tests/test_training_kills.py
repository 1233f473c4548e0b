"""R6, R7: training that is killed or stopped goes on to the same bits; nothing half-written."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from safetensors import safe_open

from warm import Copy, Warm

N_KILLS = int(os.environ.get("REGRAFT_KILLS", "2"))
SETTINGS = [
    "--method", "partial", "--backbone", "random:test_efficientnet", "--epochs", "6",
    "--views", "2", "--batch-size", "4", "--json", "--no-report",
]  # fmt: skip


class Finished(NamedTuple):
    """A run that nobody stopped: its images, its bits, and the seconds it took on a warm cache."""

    warm: Warm
    photos: Path
    cache: Path
    digest: str
    seconds: float


@pytest.fixture(scope="module")
def finished(
    make_room: Callable[[str], Path], make_photos: Callable[..., Path], warm_process: Warm
) -> Finished:
    room = make_room("finished")
    photos = make_photos(room / "photos", splits={"train": 8, "val": 3}, size_px=64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(room / "cache"))
        finish(
            warm_process, photos, room / "first"
        )  # engines and activations are there from now on
        begun = time.monotonic()
        digest = finish(warm_process, photos, room / "whole")
    return Finished(warm_process, photos, room / "cache", digest, time.monotonic() - begun)


@pytest.fixture
def whole(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> Finished:
    """`finished`, and its cache for this test too."""
    monkeypatch.setenv("REGRAFT_CACHE", str(finished.cache))
    return finished


def start(warm: Warm, photos: Path, out: Path, *more: str) -> Copy:
    given = ["train", photos, *SETTINGS, "--out", out, "--run", "r", *more]
    return warm.start(*given, cwd=photos, env={**os.environ, "NO_COLOR": "1"})


def finish(warm: Warm, photos: Path, out: Path, *more: str) -> str:
    process = start(warm, photos, out, *more)
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


def epochs_in(log: Path) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


def killed(process: Copy, log: Path, chance: random.Random, whole: float) -> bool:
    """Kill it somewhere: by the clock, or within the epochs; False if it was faster."""
    begun, before = time.monotonic(), epochs_in(log)
    by_clock, after = chance.random() < 0.5, before + chance.randint(0, 2)
    at, later = begun + chance.uniform(0.1, 0.95) * whole, chance.uniform(0, 0.3)
    while process.poll() is None:
        if not by_clock and epochs_in(log) > after:
            by_clock, at = True, time.monotonic() + later
        if by_clock and time.monotonic() >= at:
            process.kill()
            break
        time.sleep(0.005)
    process.communicate()
    return process.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "2"])
def test_r6_killed_at_random_points_it_ends_with_the_same_bits(
    whole: Finished, tmp_path: Path, workers: str
) -> None:
    """The same as the run of two workers, whatever their number."""
    chance = random.Random(int(workers))
    n_kills = n_runs = 0
    reached = []
    while n_kills < N_KILLS:
        out = tmp_path / f"killed-{n_runs}"
        process = start(whole.warm, whole.photos, out, "--workers", workers)
        if killed(process, out / "r" / "log.jsonl", chance, whole.seconds):
            n_kills += 1
            reached.append(epochs_in(out / "r" / "log.jsonl"))
            every_file_is_whole(out)
        else:  # it was faster: then the next one, from the start
            assert process.returncode == 0
            assert (
                finish(whole.warm, whole.photos, out, "--workers", workers, "--resume")
                == whole.digest
            )
            n_runs += 1
    print(f"{n_kills} kills over {n_runs + 1} runs, after {reached} of 6 epochs")
    ended = finish(whole.warm, whole.photos, tmp_path / f"killed-{n_runs}", "--workers", workers)
    assert ended == whole.digest


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_r7_a_stop_leaves_best_and_last_and_says_so(
    whole: Finished, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    process = start(whole.warm, whole.photos, tmp_path / "stopped", "--batch-size", "1")
    checkpoints = tmp_path / "stopped" / "r" / "checkpoints"
    deadline = time.monotonic() + 120
    while not (checkpoints / "last.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert (checkpoints / "best.safetensors").exists()
    every_file_is_whole(tmp_path / "stopped")
    again = start(whole.warm, whole.photos, tmp_path / "stopped", "--batch-size", "1")
    _, stderr = again.communicate(timeout=120)
    assert again.returncode == 0, stderr
    assert "going on after epoch" in stderr
