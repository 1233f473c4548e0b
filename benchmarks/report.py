"""The page of a run: seconds to draw it, and its size.

    python benchmarks/report.py [DATA] [--images 10000] [--rounds 3]

Drawn for DATA (default: ants and bees), and for made-up pictures of 20 classes. Seconds are those
of `train` with the page less those without, warm store, in turns; then of `regraft report`, which
draws from the run's folder alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median

import numpy as np
from measure import REGRAFT, SHARED, fresh, last_json, spread, timed
from PIL import Image

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("data", nargs="?", type=Path, default=SHARED / "data/hymenoptera_data")
parser.add_argument("--images", type=int, default=10_000)
parser.add_argument("--rounds", type=int, default=3)
args = parser.parse_args()


def made_up(n_images: int) -> Path:
    """Noise around a colour for each class, 96 px."""
    folder, random = fresh(), np.random.default_rng(0)
    for i in range(n_images):
        label, split = i % 20, "test" if i // 20 % 5 == 0 else "train"
        room = folder / split / f"class {label:02d}"
        room.mkdir(parents=True, exist_ok=True)
        colour = np.array([label * 12, 255 - label * 12, (label * 53) % 255])
        pixels = np.clip(colour + random.normal(0, 60, (96, 96, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(room / f"{i:05d}.jpg", quality=85)
    return folder


for data in (args.data, made_up(args.images)):
    if not data.is_dir():
        continue
    cache, with_page, without, again = fresh(), [], [], []
    timed([*REGRAFT, "train", data, "--json"], cache=cache, cwd=fresh())
    for _ in range(args.rounds):
        room = fresh()
        run = timed([*REGRAFT, "train", data, "--json"], cache=cache, cwd=room)
        with_page.append(run["seconds"])
        bare = timed([*REGRAFT, "train", data, "--json", "--no-report"], cache=cache, cwd=fresh())
        without.append(bare["seconds"])
        result = last_json(run["out"])
        page = room / result["run"] / "report.html"
        again.append(timed([*REGRAFT, "report", page.parent], cache=cache, cwd=room)["seconds"])
    drawn = median(with_page) - median(without)
    print(
        f"{result['data']['images']:,} images: train with the page {spread(with_page)}, without "
        f"{spread(without)}: {drawn:.2f} s; regraft report {spread(again)}; "
        f"{page.stat().st_size / 1e6:.2f} MB",
        flush=True,
    )
