"""Start-up: `regraft --help`, and `predict` of one photograph with the engine built.

python benchmarks/startup.py PHOTO [--rounds 5]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from measure import REGRAFT, SHARED, fresh, last_json, spread, timed

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("photo", nargs="?", type=Path)
parser.add_argument("--rounds", type=int, default=7)
args = parser.parse_args()
data = SHARED / "data/hymenoptera_data"
photo = args.photo or sorted((data / "val/ants").glob("*.jpg"))[0]

cache, room = fresh(), fresh()
run = timed([*REGRAFT, "train", data, "--json"], cache=cache, cwd=room)
model = room / last_json(run["out"])["model"]
helps, cold, warm = [], [], []
for _ in range(args.rounds):
    helps.append(timed([*REGRAFT, "--help"], cache=cache)["seconds"])
    timed([*REGRAFT, "cache", "clear", "--features"], cache=cache)
    cold.append(timed([*REGRAFT, "predict", model, photo], cache=cache)["seconds"])
    warm.append(timed([*REGRAFT, "predict", model, photo], cache=cache)["seconds"])
print("regraft --help                 ", spread(helps))
print("predict one photograph         ", spread(cold))
print("predict it again (in the store)", spread(warm))
