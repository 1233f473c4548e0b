"""How many planted copies `find_duplicates` finds, and how many images it calls copies wrongly.

    python benchmarks/duplicates.py DATA... [--n 150]

For each folder, copies of N random images are planted in a temporary folder, one kind at a time,
and looked for among all images. "images in clusters" is counted on the folder as it is: what is
found there is a true copy or a false alarm, which only eyes can tell, so the pairs are printed.

Found on 150 images each, seed 0 (default backbone, bf16; recall in %, last column images flagged):
                   q50   q75   q90  50 %  200 %  flip  crop   flagged (of these, of two scenes)
    hymenoptera  100.0 100.0 100.0 100.0 100.0  100.0  98.0   0 of 398
    cats_dogs    100.0 100.0 100.0 100.0 100.0  100.0 100.0   2 of 1,650: a true copy
    ucmerced      98.7  98.7  98.7  98.0  98.7   98.7  89.3   5 of 1,386: overlapping scenes
    gtsrb         98.7 100.0 100.0  94.7 100.0  100.0  48.7   127 of 1,720: frames of one sign (4)
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from regraft.backbones import catalog
from regraft.checks.duplicates import Duplicates, find_duplicates
from regraft.data.table import ImageTable
from regraft.features import engines, extract
from regraft.images import pictures


class Columns(NamedTuple):
    """What find_duplicates needs, for N images."""

    paths: list[str]
    digests: list[bytes]
    thumbs: np.ndarray
    final: np.ndarray


def make_columns(paths: list[str]) -> Columns:
    """Digests, thumbnails and final features of the readable images among the paths."""
    table = ImageTable.from_paths(paths)
    built = engines.locate(catalog.resolve("default"), sample=pictures.sample(table.paths))
    found = extract.through_store(table, built)
    final = built.info.taps[-1]
    return Columns(
        list(found.table.paths),
        found.digests,
        found.facts.thumbs,
        found.X[:, final.start : final.stop],
    )


# ---- planting -------------------------------------------------------------------------------


def _resized(image: Image.Image, factor: float) -> Image.Image:
    size = [max(1, round(side * factor)) for side in image.size]
    return image.resize((size[0], size[1]), Image.Resampling.BICUBIC)


def _cropped(image: Image.Image, rng: random.Random) -> Image.Image:
    width, height = (round(side * 0.95) for side in image.size)
    left, top = rng.randint(0, image.width - width), rng.randint(0, image.height - height)
    return image.crop((left, top, left + width, top + height))


_Change = Callable[[Image.Image, random.Random], Image.Image]
KINDS: dict[str, tuple[int, _Change]] = {  # JPEG quality, and the change before encoding
    "q50": (50, lambda image, rng: image),
    "q75": (75, lambda image, rng: image),
    "q90": (90, lambda image, rng: image),
    "half": (95, lambda image, rng: _resized(image, 0.5)),
    "double": (95, lambda image, rng: _resized(image, 2.0)),
    "flip": (95, lambda image, rng: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
    "crop": (95, _cropped),
}


def plant(kind: str, paths: list[str], folder: Path, rng: random.Random) -> list[str]:
    """Write a changed copy of each image; the paths of the copies."""
    quality, change = KINDS[kind]
    copies = []
    for n, path in enumerate(paths):
        copies.append(str(folder / f"{kind}-{n:05d}.jpg"))
        with Image.open(path) as image:
            change(image.convert("RGB"), rng).save(copies[-1], quality=quality)
    return copies


# ---- measuring ------------------------------------------------------------------------------


def images_below(folder: str) -> Iterator[str]:
    """Paths of the files below a folder, sorted."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        yield from (os.path.join(place, name) for name in sorted(names) if name[0] != ".")


def recall(columns: Columns, rows: list[int], copies: Columns) -> float:
    """Share of the copies that are in one unit with their originals."""
    found = find_duplicates(
        columns.digests + copies.digests,
        np.concatenate([columns.thumbs, copies.thumbs]),
        np.concatenate([columns.final, copies.final]),
    )
    return float((found.unit[rows] == found.unit[len(columns.paths) :]).mean())


def measure(folder: str, *, n_planted: int, show: int) -> None:
    """Print recall per kind, what is found in the folder as it is, and the time."""
    columns = make_columns(list(images_below(folder)))
    started = time.perf_counter()
    found: Duplicates = find_duplicates(columns.digests, columns.thumbs, columns.final)
    seconds = time.perf_counter() - started
    n_images = sum(len(rows) for rows in found.clusters())
    print(f"{folder}: {len(columns.paths)} images, {seconds * 1000:.0f} ms")
    print(f"  as it is: {len(found.pairs)} pairs, {n_images} images in clusters")
    for pair in found.pairs[:show]:
        print(f"    {pair.similarity:.3f} {columns.paths[pair.i]} {columns.paths[pair.j]}")

    rng = random.Random(0)
    rows = sorted(rng.sample(range(len(columns.paths)), min(n_planted, len(columns.paths))))
    with tempfile.TemporaryDirectory() as temporary:
        for kind in KINDS:
            originals = [columns.paths[row] for row in rows]
            copies = plant(kind, originals, Path(temporary), rng)
            print(f"  {kind:7s} {recall(columns, rows, make_columns(copies)):6.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", nargs="+", help="folders of images")
    parser.add_argument("--n", type=int, default=150, help="copies planted of each kind")
    parser.add_argument("--show", type=int, default=10, help="pairs to print")
    options = parser.parse_args()
    for folder in options.data:
        measure(folder, n_planted=options.n, show=options.show)


if __name__ == "__main__":
    main()
