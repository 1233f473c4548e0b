"""The pass against its own limit, and the peak memory of the process.

    python benchmarks/extraction.py [DATA ...] [--rounds 3]

The limit is cores / (decode core-seconds + model core-seconds) per image, both measured within the
pass itself.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median

from measure import REGRAFT, SHARED, fresh, last_json, timed

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("data", nargs="*", type=Path)
parser.add_argument("--rounds", type=int, default=3)
args = parser.parse_args()
sets = args.data or [SHARED / "data/hymenoptera_data", SHARED / "data/cats_dogs"]
for data in sets:
    cache, passes, seconds = fresh(), [], []
    timed([*REGRAFT, "train", data, "--json"], cache=cache, cwd=fresh())
    peak = 0.0
    for _ in range(args.rounds):
        timed([*REGRAFT, "cache", "clear", "--features"], cache=cache)
        run = timed(["/usr/bin/env", "time", "-f", "%M", *REGRAFT, "train", data, "--json"],
                    cache=cache, cwd=fresh())  # fmt: skip
        peak = max(peak, int(run["err"].strip().splitlines()[-1]) / 1024)
        passes.append(last_json(run["out"])["features"]["pass"])
        seconds.append(run["seconds"])
    share = median(p["share_of_limit"] for p in passes)
    typical = min(passes, key=lambda p: abs(p["share_of_limit"] - share))
    speed = f"{typical['images_per_second']:.0f} of {typical['limit_images_per_second']:.0f}"
    costs = f"decode {typical['decode_core_ms']:.2f}, model {typical['model_core_ms']:.2f} core-ms"
    print(
        f"{data.name}: {share:.1%} of the limit ({speed} images/s; {costs}), "
        f"whole process {median(seconds):.2f} s, peak {peak:.0f} MiB, n = {len(passes)}"
    )
