"""Budgets against the clock: `regraft auto` on some sets, alone and beside a second load.

    python benchmarks/budgets.py OUT.jsonl DATA... [--budgets 10,60] [--load 2] [--warm]

Each run is a process of its own, timed from outside, with a cache of its own that is empty unless
`--warm`. `--load` is a number of processes that do nothing but compute beside it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

from measure import fresh, running


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--budgets", default="10,60")
    parser.add_argument("--load", type=int, default=0)
    parser.add_argument("--warm", action="store_true")
    given = parser.parse_args()
    beside = [multiprocessing.Process(target=compute, daemon=True) for _ in range(given.load)]
    for process in beside:
        process.start()
    folder = fresh()
    for data in given.data:
        for budget in map(int, given.budgets.split(",")):
            cache = Path(folder, "warm" if given.warm else f"{Path(data).name}-{budget}")
            row = {**one(data, budget, cache), "load": given.load, "warm": given.warm}
            with open(given.out, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(row, flush=True)
    for process in beside:
        process.kill()


def compute() -> None:
    while True:
        sum(range(100_000))


def one(data: str, budget: int, cache: Path) -> dict[str, object]:
    """One search, with its report, and when its first model was on disk."""
    out = fresh()
    begun, first = time.time(), 0.0
    said = out / "said.json"
    with open(said, "w", encoding="utf-8") as stdout, running(
        [sys.executable, "-m", "regraft", "auto", data, "--budget", f"{budget}s", "--json",
         "-q", "--out", str(out)],
        stdout=stdout, env={**os.environ, "REGRAFT_CACHE": str(cache)},
    ) as process:  # fmt: skip
        while process.poll() is None:
            if not first and any(out.glob("*/model/config.json")):
                first = time.time() - begun
            time.sleep(0.05)
    wall = time.time() - begun
    found = json.loads(said.read_text(encoding="utf-8").strip().splitlines()[-1])
    told = found["auto"]
    return {
        "data": Path(data).name, "budget": budget, "wall": round(wall, 1),
        "first_model": round(first, 1), "probe_s": told["tried"][0]["seconds"],
        "kept": wall <= 1.05 * budget + 2, "tried": len(told["tried"]),
        "took": " ".join(told["took"].get(key, "") for key in ("way", "backbone", "look")),
        "accuracy": round(found["evaluation"]["accuracy"]["value"], 4),
        "report": (Path(found["run"]) / "report.html").exists(),
    }  # fmt: skip


if __name__ == "__main__":
    main()
