"""Does an average of models pay? What two or three of a set's models answer, averaged.

    python benchmarks/averages.py RESULTS.jsonl SET... [--ways probe,lite2,default+lite2,...]
    python benchmarks/averages.py RESULTS.jsonl            the table of what was measured

Each way is trained by the command line, with its own settings, and its model asked about the
reported images. Every pair and the average of all are scored beside the best single one: chosen by
the very images that score, so that what an average gains here is the most that it could.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import tempfile
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from measure import REGRAFT, last_json

import regraft

WAYS = {
    "probe": (),
    "lite2": ("--backbone", "lite2"),
    "default+lite2": ("--backbone", "default+lite2"),
    "partial": ("--method", "partial"),
    "full": ("--method", "full"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("sets", nargs="*")
    parser.add_argument("--ways", default=",".join(WAYS))
    asked = parser.parse_args()
    for data in asked.sets:
        row = measured(data, asked.ways.split(","))
        with open(asked.results, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    for line in asked.results.read_text(encoding="utf-8").splitlines():
        show(json.loads(line))


def measured(data: str, ways: list[str]) -> dict[str, Any]:
    """Accuracy, log loss and seconds of each way, and of each average of two and of all."""
    answers, seconds, y = {}, {}, np.zeros(0, int)
    for way in ways:
        answers[way], y, seconds[way] = asked_of(data, way)
    scores = {}
    for size in sorted({1, 2, len(ways)}):
        for together in combinations(ways, size):
            proba = np.mean([answers[way] for way in together], axis=0)
            scores[" & ".join(together)] = {
                "accuracy": float((proba.argmax(1) == y).mean()),
                "log_loss": float(-np.log(np.maximum(proba[np.arange(len(y)), y], 1e-12)).mean()),
                "seconds": round(sum(seconds[way] for way in together), 1),
            }
    return {"data": Path(data).name, "n": len(y), "scores": scores}


def asked_of(data: str, way: str) -> tuple[Any, Any, float]:
    """(n, K) probabilities of the reported images, their codes, and what the training took."""
    with tempfile.TemporaryDirectory(prefix="averages-") as out:
        begun = time.perf_counter()
        command = [*REGRAFT, "train", data, *WAYS[way], "--json", "-q", "--no-report", "--out", out]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - begun
        run = Path(last_json(done.stdout)["run"])
        with open(run / "predictions.csv", encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["label"]]
        model = regraft.load(run / "model")
        proba = model.predict_proba([str(Path(data, row["path"])) for row in rows])
    codes = {name: code for code, name in enumerate(model.classes_)}
    print(f"{Path(data).name}, {way}: {seconds:.0f} s", flush=True)
    return np.asarray(proba), np.array([codes[row["label"]] for row in rows]), seconds


def show(row: dict[str, Any]) -> None:
    """The best single way, and every average that is better than it."""
    scores = row["scores"]
    print(f"\n{row['data']} (n = {row['n']}): accuracy, log loss, seconds")
    for name, score in sorted(scores.items(), key=lambda one: one[1]["log_loss"]):
        print(f"  {name:52} {score['accuracy']:.4f} {score['log_loss']:.4f} {score['seconds']}")


if __name__ == "__main__":
    main()
