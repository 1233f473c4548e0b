"""A search that is killed at random points and begun again: the same choice, the same weights?

    python benchmarks/auto_kills.py DATA [--kills 10] [--seed 0]

A tiny network, every arm worth its time, what was learnt always taken, and a budget that is no
limit, so that nothing but the kill could make a difference. Each search is killed once (SIGKILL)
after a random time, then goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SEARCH = """
import sys
from regraft.choosing import expectation, standing
from regraft.record.configuration import RunConfig
from regraft.training import candidates
from regraft.workflows import auto
candidates.ALPHAS, standing.MARGIN = (1.0,), -1e6
expectation.LEAST_SHARE = expectation.LEAST_LOSS = -100.0
tiny = "random:test_efficientnet"
auto.auto(RunConfig(sys.argv[1], backbone=tiny), budget_s=3600, backbones=[tiny], out=sys.argv[2],
          name=sys.argv[3], methods=["probe", "partial", "full"], draws_report=False)
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chance, same = random.Random(given.seed), 0
    with tempfile.TemporaryDirectory(prefix="auto-kills-") as folder:
        os.environ["REGRAFT_CACHE"] = str(Path(folder, "cache"))
        search(given.data, folder, "warm")
        begun = time.monotonic()
        whole = search(given.data, folder, "whole")
        seconds = time.monotonic() - begun
        for number in range(given.kills):
            after, name = chance.uniform(0.1, 0.98) * seconds, f"killed-{number}"
            was_killed = killed(given.data, folder, name, after)
            found = search(given.data, folder, name)
            same += found == whole
            print(f"killed after {after:.1f} of {seconds:.1f} s: {was_killed}; {found}", flush=True)
    print(f"{same} of {given.kills} ended as {whole}")
    sys.exit(same != given.kills)


def search(data: str, out: str, name: str) -> tuple[str, str]:
    """What was taken, and the digest of its weights."""
    subprocess.run(called(data, out, name), check=True)
    metrics = json.loads(Path(out, name, "metrics.json").read_text(encoding="utf-8"))
    weights = Path(out, name, "model", "model.safetensors").read_bytes()
    weights += Path(out, name, "model", "regraft.safetensors").read_bytes()
    return metrics["auto"]["took"]["way"], hashlib.sha256(weights).hexdigest()[:12]


def killed(data: str, out: str, name: str, after: float) -> str:
    """A search that is killed; what it had come to."""
    process = subprocess.Popen(called(data, out, name))
    try:
        process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    journal = Path(out, name, "auto.json")
    if not journal.exists():
        return "before or after the search"
    arms = json.loads(journal.read_text(encoding="utf-8"))["arms"]
    return ", ".join(f"{arm['way']['method']} {arm['state']}" for arm in arms)


def called(data: str, out: str, name: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-c", SEARCH, data, out, name]


if __name__ == "__main__":
    main()
