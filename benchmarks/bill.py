"""Bills against reality: every way on some sets, cold and warm; what was said, and what it took.

    python benchmarks/bill.py OUT.jsonl DATA... [--ways probe,head] [--epochs 2] [--past FILE]
    python benchmarks/bill.py OUT.jsonl                                  sums up what is there

Each run is a process of its own with a cache of its own (cold), then once more with that cache
(warm, under another run's name, so that it learns anew). The machine's own past is kept from run to
run, as a user's would be: in `--past` beyond this call.
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

from measure import fresh

PAST = "bills.json"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("data", nargs="*")
    parser.add_argument("--ways", default="probe,head,partial,full,scratch")
    parser.add_argument("--epochs", default="2")
    parser.add_argument("--past", type=Path)
    given = parser.parse_args()
    past = given.past or fresh() / PAST
    for data in given.data:
        for way in given.ways.split(","):
            for row in cold_and_warm(data, way, given.epochs, past):
                with open(given.out, "a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                print(in_words(row), flush=True)
    summary(given.out)


def cold_and_warm(data: str, way: str, epochs: str, past: Path) -> list[dict[str, object]]:
    """Two runs with one cache, which begins with the past alone and leaves it."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="bill-cache-") as folder:
        cache = Path(folder)
        if past.exists():
            shutil.copy(past, cache / PAST)
        for state in ("cold", "warm"):
            rows.append(one(data, way, state, cache, epochs))
        shutil.copy(cache / PAST, past)
    return rows


def one(data: str, way: str, state: str, cache: Path, epochs: str) -> dict[str, object]:
    """A bill, and then the run."""
    args = [data, "--method", way, "--json", "-q", "--run", state, "--out", str(cache / "runs")]
    if way != "probe":
        args += ["--epochs", epochs]
    bill = json.loads(called(cache, *args, "--dry-run")[0])
    found, seconds, cpu, peak = called(cache, *args, "--no-report")
    took = json.loads(found)["bill"]["took"]
    return {
        "data": Path(data).name, "way": way, "state": state, "said_s": bill["seconds"]["value"],
        "low": bill["seconds"]["low"], "high": bill["seconds"]["high"], "took_s": round(seconds, 2),
        "cpu_s": round(cpu, 2), "load": round(os.getloadavg()[0], 1),
        "said_mib": bill["memory_mib"], "took_mib": round(peak), "past": bill["past_runs"],
        "said": bill["parts"], "took": took,
    }  # fmt: skip


def called(cache: Path, *args: str) -> tuple[str, float, float, float]:
    """stdout, seconds, seconds of all cores and peak MiB of one `regraft train`."""
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
    seconds, cpu = time.perf_counter() - begun, usage.ru_utime + usage.ru_stime
    return text.strip().splitlines()[-1], seconds, cpu, usage.ru_maxrss / 1024


def in_words(row: dict[str, object]) -> str:
    return (
        f"{row['data']} {row['way']} {row['state']}: said {row['said_s']} s "
        f"({row['low']} to {row['high']}), took {row['took_s']} ({row['cpu_s']} of cores, load "
        f"{row['load']}); said {row['said_mib']} MiB, took {row['took_mib']}"
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
