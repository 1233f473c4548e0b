"""Bills against reality: every way on some sets, cold and warm; what was said, and what it took.

    python benchmarks/bill.py OUT.jsonl DATA... [--ways probe,head,partial] [--epochs 2] [--fresh]

Each run is a process of its own with a cache of its own (cold), then once more with that cache
(warm, under another run's name, so that it learns anew). The machine's own past is kept from run to
run, as a user's would be; `--fresh` forgets it before each.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PAST = "bills.json"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--ways", default="probe,head,partial,full,scratch")
    parser.add_argument("--epochs", default="2")
    parser.add_argument("--fresh", action="store_true")
    given = parser.parse_args()
    past = Path(tempfile.mkdtemp(prefix="bills-")) / PAST
    for data in given.data:
        for way in given.ways.split(","):
            cache = Path(tempfile.mkdtemp(prefix="bill-cache-"))
            for state in ("cold", "warm"):
                if past.exists() and not given.fresh:
                    shutil.copy(past, cache / PAST)
                row = one(data, way, state, cache, given.epochs)
                with open(given.out, "a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                print(in_words(row), flush=True)
                if (cache / PAST).exists():
                    shutil.copy(cache / PAST, past)
            shutil.rmtree(cache)
    summary(given.out)


def one(data: str, way: str, state: str, cache: Path, epochs: str) -> dict[str, object]:
    """A bill, and then the run."""
    args = [data, "--method", way, "--json", "-q", "--run", state, "--out", str(cache / "runs")]
    if way != "probe":
        args += ["--epochs", epochs]
    bill = json.loads(called(cache, *args, "--dry-run")[0])
    found, seconds, peak = called(cache, *args, "--no-report")
    json.loads(found)
    return {
        "data": Path(data).name, "way": way, "state": state, "said_s": bill["seconds"]["value"],
        "low": bill["seconds"]["low"], "high": bill["seconds"]["high"], "took_s": round(seconds, 2),
        "said_mib": bill["memory_mib"], "took_mib": round(peak), "past": bill["past_runs"],
    }  # fmt: skip


def called(cache: Path, *args: str) -> tuple[str, float, float]:
    """stdout, seconds and peak MiB of one `regraft train`."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "regraft", "train", *args],
        stdout=subprocess.PIPE, env={**os.environ, "REGRAFT_CACHE": str(cache)}, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"train {' '.join(args)} ended with {status}")
    return text.strip().splitlines()[-1], time.perf_counter() - begun, usage.ru_maxrss / 1024


def in_words(row: dict[str, object]) -> str:
    return (
        f"{row['data']} {row['way']} {row['state']}: said {row['said_s']} s "
        f"({row['low']} to {row['high']}), took {row['took_s']}; "
        f"said {row['said_mib']} MiB, took {row['took_mib']}"
    )


def summary(file: Path) -> None:
    """The share of bills within [0.67, 1.5] and in their own range, and of peaks under 1.1x."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    near = [0.67 <= row["took_s"] / row["said_s"] <= 1.5 for row in rows]
    inside = [row["low"] <= row["took_s"] <= row["high"] for row in rows]
    over = [row["took_mib"] > 1.1 * row["said_mib"] for row in rows]
    print(
        f"{len(rows)} runs: {sum(near)} within [0.67, 1.5] of the bill, {sum(inside)} within its "
        f"range; {sum(over)} peaks above 1.1 x what was said"
    )


if __name__ == "__main__":
    main()
