"""What several networks, a look or larger pictures gain over the default, and what they cost.

    python benchmarks/looks.py RESULTS.jsonl SET...             accuracy and log loss of every way
    python benchmarks/looks.py RESULTS.jsonl --table            the table of what was measured
    python benchmarks/looks.py RESULTS.jsonl --seconds SET      cold processes, interleaved

A SET is a folder that `regraft train` takes. What was measured already is not measured again.
Engines must be built (the first run of each way builds them).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from regraft.machine.cache import cache_folder

BACKBONES = ("default", "lite2", "default+lite1", "default+lite2", "default+lite1+lite2")
# By name: backbone, look, side of the input (0: the network's own).
WAYS = {
    f"{backbone}{' flip' * (look == 'flip')}": (backbone, look, 0)
    for look in ("plain", "flip")
    for backbone in BACKBONES
}
WAYS |= {
    "default 288": ("default", "plain", 288),
    "default 320": ("default", "plain", 320),
    "default+lite2 320": ("default+lite2", "plain", 320),
    "default+lite2 flip 320": ("default+lite2", "flip", 320),
}
BASE = "default"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("sets", nargs="*")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", action="store_true")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    ways = [way for way in WAYS if way in asked.ways.split(",")]
    if asked.seconds:
        _time(asked.results, asked.sets, ways, asked.rounds)
    elif not asked.table:
        _measure(asked.results, asked.sets, ways)
    _show(_known(asked.results), ways)


def _known(results: Path) -> list[dict[str, Any]]:
    lines = results.read_text().splitlines() if results.exists() else []
    return [json.loads(line) for line in lines]


def _note(results: Path, row: dict[str, Any]) -> None:
    with results.open("a") as file:
        file.write(json.dumps(row) + "\n")


def _options(way: str) -> list[str]:
    backbone, look, side = WAYS[way]
    return [
        "--backbone", backbone, "--look", look, *(["--image-size", str(side)] if side else [])
    ]  # fmt: skip


def _measure(results: Path, sets: list[str], ways: list[str]) -> None:
    from regraft.record.configuration import RunConfig
    from regraft.workflows import experiment

    done = {(row["set"], row["way"]) for row in _known(results) if "accuracy" in row}
    for data in sets:
        for way in ways:
            name = Path(data).name
            if (name, way) in done:
                continue
            backbone, look, side = WAYS[way]
            config = RunConfig(
                data, backbone=backbone, look=look, training={"image_size": side} if side else None
            )
            with tempfile.TemporaryDirectory() as out:
                metrics = experiment.run(config, out=out).metrics
            found, left_out = metrics["evaluation"], metrics["left_out"] or {}
            row = {
                "set": name,
                "way": way,
                "n": found["n"],
                "accuracy": found["accuracy"]["value"],
                "log_loss": found["log_loss"]["value"],
                "left_out": left_out.get("accuracy"),
                "taps": metrics["chosen"]["taps"],
                "fit_s": metrics["seconds"]["fit"],
            }
            _note(results, row)
            print(json.dumps(row), flush=True)


def _time(results: Path, sets: list[str], ways: list[str], rounds: int) -> None:
    """Whole processes with the engines built and an empty store, each way once a round."""
    engines = cache_folder() / "engines"
    for number, data in ((n, data) for n in range(rounds) for data in sets):
        for way in ways:
            with tempfile.TemporaryDirectory() as room:
                (Path(room) / "cache").mkdir()
                (Path(room) / "cache" / "engines").symlink_to(engines)
                command = [sys.executable, "-m", "regraft", "train", data, *_options(way)]
                command += ["--quiet", "--no-report", "--out", f"{room}/runs"]
                start, before = time.perf_counter(), _core_seconds()
                subprocess.run(
                    command, check=True, stdout=subprocess.DEVNULL,
                    env={**os.environ, "REGRAFT_CACHE": f"{room}/cache"},
                )  # fmt: skip
                seconds, core_s = time.perf_counter() - start, _core_seconds() - before
            row = {
                "set": Path(data).name, "way": way, "round": number,
                "seconds": seconds, "core_s": core_s,
            }  # fmt: skip
            _note(results, row)
            print(json.dumps(row), flush=True)


def _core_seconds() -> float:
    """Of all processes that this one waited for: what a busy machine leaves of a timing."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def _show(rows: list[dict[str, Any]], ways: list[str]) -> None:
    """Accuracy and log loss, set by set; the means over the sets that all of the ways know."""
    scored = {(r["set"], r["way"]): r for r in rows if "accuracy" in r}
    seconds: dict[str, list[float]] = {}
    for row in rows:
        if "seconds" in row:
            seconds.setdefault(row["way"], []).append(row["seconds"])
    ways = [way for way in ways if any(known == way for _, known in scored)]
    sets = sorted({name for name, _ in scored}, key=str.lower)
    whole = [name for name in sets if all((name, way) in scored for way in ways)]
    print("| set (n) | " + " | ".join(ways) + " |")
    print("|---" * (len(ways) + 1) + "|")
    for name in sets:
        cells = [_cell(scored.get((name, way))) for way in ways]
        n = next(row["n"] for (known, _), row in scored.items() if known == name)
        print(f"| {name} ({n}) | " + " | ".join(cells) + " |")
    for title, mean in (
        ("mean error", lambda way: np.mean([1 - scored[s, way]["accuracy"] for s in whole])),
        ("mean log loss", lambda way: np.mean([scored[s, way]["log_loss"] for s in whole])),
    ):
        base = mean(BASE) if BASE in ways else float("nan")
        cells = [f"{mean(way):.4f} ({mean(way) / base:.2f}x)" for way in ways]
        print(f"| {title} of {len(whole)} sets | " + " | ".join(cells) + " |")
    cells = [
        f"{np.median(seconds[way]):.1f} ({np.median(seconds[way]) / np.median(seconds[BASE]):.1f}x)"
        if way in seconds and BASE in seconds else "" for way in ways
    ]  # fmt: skip
    print("| seconds, cold | " + " | ".join(cells) + " |")


def _cell(row: dict[str, Any] | None) -> str:
    return f"{row['accuracy']:.3f} / {row['log_loss']:.3f}" if row else ""


if __name__ == "__main__":
    main()
