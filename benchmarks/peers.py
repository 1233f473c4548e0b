"""Ants and bees, whole process, beside what a user would type instead; runs are interleaved.

Peers give a score and no report, so that Regraft's report is timed apart.

python benchmarks/peers.py [--rounds 3] [--fastai PYTHON_WITH_FASTAI]
"""

from __future__ import annotations

import argparse
import shutil
from statistics import median

from measure import (
    PYTHON,
    REGRAFT,
    SHARED,
    fresh,
    last_json,
    needs_shared,
    peak_mib,
    spread,
    timed,
)

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--fastai", help="a Python that has fastai")
args = parser.parse_args()
needs_shared()
DATA, PEERS = SHARED / "data/hymenoptera_data", SHARED / "peers"

built = fresh()
first = timed([*REGRAFT, "train", DATA, "--json", "--no-report"], cache=built, cwd=fresh())
print(f"first run ever (builds the engine): {first['seconds']:.2f} s, peak {peak_mib():.0f} MiB")

times: dict[str, list[float]] = {}
accuracy: dict[str, float] = {}


def note(name: str, run: dict, value: float) -> None:
    times.setdefault(name, []).append(run["seconds"])
    accuracy[name] = value
    print(f"  {name}: {run['seconds']:.2f} s, accuracy {value:.4f}", flush=True)


def regraft(name: str, cache, *options: str) -> None:
    run = timed([*REGRAFT, "train", DATA, "--json", *options], cache=cache, cwd=fresh())
    note(name, run, last_json(run["out"])["evaluation"]["accuracy"]["value"])


peers = {
    "tutorial head, 5 epochs": [PYTHON, "-W", "ignore", PEERS / "tutorial_loop.py", DATA,
                                "--mode", "head", "--epochs", "5"],
    "scikit-learn probe": [PYTHON, "-W", "ignore", PEERS / "sklearn_probe.py", DATA],
}  # fmt: skip
if args.fastai:
    peers["fastai fine_tune(4)"] = [args.fastai, "-W", "ignore", PEERS / "fastai_fine_tune.py",
                                    DATA]  # fmt: skip
for _ in range(args.rounds):
    cold = fresh() / "cache"
    shutil.copytree(built, cold)
    timed([*REGRAFT, "cache", "clear", "--features"], cache=cold)
    regraft("regraft, engine built, empty store", cold, "--no-report")
    regraft("regraft, warm store", built, "--no-report")
    regraft("regraft, warm store, with its report", built)
    for name, command in peers.items():
        run = timed(command, cwd=PEERS)
        note(name, run, last_json(run["out"])["accuracy"])

for name, seconds in times.items():
    print(f"{name:36} {spread(seconds):34} accuracy {accuracy[name]:.4f}")
for name in peers:
    for own in ("regraft, engine built, empty store", "regraft, warm store"):
        print(f"{name} / {own}: {median(times[name]) / median(times[own]):.1f}")
