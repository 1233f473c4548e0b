"""T0's two ways and Regraft's own, on ants and bees: accuracy against time, over seeds.

    python benchmarks/tutorial_ways.py [--seeds 3] [--backbone default]

Accuracy is that of `val`, which chooses nothing; seconds are of the whole command with the engine
built and no features stored for the first seed. docs/tutorials.md shows the table.
"""

from __future__ import annotations

import argparse
from statistics import median

from measure import REGRAFT, SHARED, fresh, last_json, needs_shared, timed

SCALE = ("--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25")
RECIPE = ("--recipe", "tutorial", "--epochs", "5")
WAYS = {
    'way 1, "fine tuning": all layers, Adam 1e-3': (
        "--method", "full", *RECIPE, "--optimizer", "adam", "--learning-rate", "1e-3",
        "--head-rate", "1e-3", *SCALE,
    ),
    'way 2, "freeze": a new last layer, SGD 1e-3': (
        "--method", "head", *RECIPE, "--momentum", "0", "--views", "5", *SCALE,
    ),
    "Regraft by itself": (),
}  # fmt: skip

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--seeds", type=int, default=3)
parser.add_argument("--backbone", default="default")
args = parser.parse_args()
needs_shared()
data, cache = SHARED / "data/hymenoptera_data", fresh()
common = ("--backbone", args.backbone, "--json", "--no-report", "-q")
timed([*REGRAFT, "train", data, *common], cache=cache, cwd=fresh())  # builds the engine

print("| way | accuracy on val: median (range) | seconds: median (range) |\n|---|---|---|")
for name, options in WAYS.items():
    runs = [
        timed(
            [*REGRAFT, "train", data, *options, "--seed", str(seed), *common],
            cache=cache, cwd=fresh(),
        )
        for seed in range(args.seeds)
    ]  # fmt: skip
    found = [last_json(run["out"])["evaluation"]["accuracy"]["value"] for run in runs]
    seconds = [run["seconds"] for run in runs]
    print(
        f"| {name} | {median(found):.3f} ({min(found):.3f} to {max(found):.3f}) "
        f"| {median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f}) |",
        flush=True,
    )
print(f"\nn = 153 images, {args.seeds} seeds")
