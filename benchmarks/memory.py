"""Memory of `regraft train` end to end, on many pictures and on many stored features.

    python benchmarks/memory.py pictures [--rows 100000]   # made-up JPEGs, default backbone
    python benchmarks/memory.py tiles DATA... [--rows 100000]   # cut from photographs, as real ones
    python benchmarks/memory.py stored [--rows 1000000] [--narrow]    # put into the store before

Anonymous memory (RssAnon: what lies in no file) is looked at every half second, from outside, for
a tenth of the rows and for all of them. Pages of mapped files are not in it, but in what is
resident: the system drops them when it needs room. `--narrow`: 32 features instead of 624.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from measure import REGRAFT, fresh, last_json, running

if TYPE_CHECKING:
    from regraft.features.engine import EngineInfo

N_CLASSES = 10
# Small, so that a million rows of its features are some gigabytes.
SMALL = "random:test_efficientnet"
LINKS = 50_000  # of one file; more are not allowed everywhere


def pictures(n_rows: int) -> None:
    """Pictures whose class is a colour."""
    few, folder, cache = fresh() / "few", fresh() / "photos", fresh()
    random = np.random.default_rng(0)
    write_pictures(few, 20 * N_CLASSES, random)
    train(few, cache)  # builds the engine, which takes PyTorch and its memory, once
    write_pictures(folder, n_rows, random)
    report(train(folder, cache), n_rows, "made-up pictures, read and computed")


def write_pictures(folder: Path, n_rows: int, random: np.random.Generator) -> None:
    import simplejpeg

    inks = random.integers(40, 216, (N_CLASSES, 3))
    for code in range(N_CLASSES):
        (folder / f"class{code}").mkdir(parents=True)
    for row in range(n_rows):
        code = row % N_CLASSES
        coarse = random.integers(-60, 60, (8, 8, 3)) + inks[code]
        pixels = np.clip(coarse, 0, 255).astype(np.uint8).repeat(8, 0).repeat(8, 1)
        data = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=90)
        (folder / f"class{code}" / f"{row:07}.jpg").write_bytes(data)


def tiles(n_rows: int, sources: list[str]) -> None:
    """Real small pictures: squares of photographs, none twice, in the classes of these."""
    folder, cache = fresh() / "photos", fresh()
    n = write_tiles(folder, n_rows, sources)
    few = fresh() / "few"
    write_tiles(few, 4_000, sources)
    train(few, cache)  # builds the engine
    for rows in (n // 10, n):
        part = folder if rows == n else fresh() / "part"
        if part != folder:
            write_tiles(part, rows, sources)
        report(train(part, cache), rows, "squares of photographs, read and computed")


def write_tiles(folder: Path, n_rows: int, sources: list[str], side: int = 48) -> int:
    """As many as there are, at most `n_rows`, the same number of each photograph first."""
    from PIL import Image

    files = [file for one in sources for file in sorted(Path(one).rglob("*.jp*g"))]
    np.random.default_rng(0).shuffle(files)
    each = -(-n_rows // len(files))
    n = 0
    for number, file in enumerate(files):
        with Image.open(file) as picture:
            pixels = picture.convert("RGB")
        corners = [
            (x, y) for y in range(0, pixels.height - side, side)
            for x in range(0, pixels.width - side, side)
        ]  # fmt: skip
        place = folder / file.parent.name
        place.mkdir(parents=True, exist_ok=True)
        for x, y in corners[: min(4 * each, n_rows - n)]:
            pixels.crop((x, y, x + side, y + side)).save(place / f"{number}-{x}-{y}.jpg")
            n += 1
        if n >= n_rows:
            break
    return n


def stored(n_rows: int, *, narrow: bool) -> None:
    """Rows whose facts and features the store has already: no file is opened."""
    room = fresh()
    write_store(room, n_rows, narrow=narrow)
    run = train(room / "photos", room / "cache", "--backbone", SMALL)
    assert run["metrics"]["features"]["from_store"] == n_rows
    report(run, n_rows, "rows from the store")


def write_store(room: Path, n_rows: int, *, narrow: bool) -> None:
    with_cache(room)
    info, random = engine_info(narrow=narrow), np.random.default_rng(0)
    means = random.standard_normal((N_CLASSES, info.n_features)).astype(np.float32)
    paths = linked_files(room / "photos", n_rows)
    fill_store(info, paths, random, lambda codes, noise: np.abs(0.3 * means[codes] + noise))


def with_cache(room: Path) -> None:
    """A cache in this folder, for what this process puts into the store."""
    os.environ["REGRAFT_CACHE"] = str(room / "cache")
    os.environ["REGRAFT_CACHE_LIMIT"] = "100G"


def fill_store(
    info: EngineInfo, paths: list[Path], random: np.random.Generator,
    features_of: Callable[[list[int], np.ndarray], np.ndarray],
) -> None:  # fmt: skip
    """Made-up facts of files whose folders are called class0, class1, ..., and features of the
    codes and noise of some of them."""
    from regraft.features.store import Store
    from regraft.features.strips import recipe_for
    from regraft.images import DECODER_VERSION
    from regraft.images.facts import FileFacts

    recipe = recipe_for(info)
    with Store.open(decoder=DECODER_VERSION) as store:
        store.put_recipe(recipe)
        for start in range(0, len(paths), 10_000):
            part = paths[start : start + 10_000]
            digests = [random.bytes(32) for _ in part]
            thumbs = random.integers(0, 256, (len(part), 256)).astype(np.uint8)
            store.put_facts(
                FileFacts(digest, 900, "JPEG", "RGB", 64, 64, 1, 1, 128.0, 40.0, thumb.tobytes())
                for digest, thumb in zip(digests, thumbs, strict=True)
            )
            codes = [int(path.parent.name.removeprefix("class")) for path in part]
            noise = random.standard_normal((len(part), info.n_features)).astype(np.float32)
            store.put_features(digests, recipe.digest, features_of(codes, noise))
            store.remember_files(
                (str(path), os.stat(path), digest)
                for path, digest in zip(part, digests, strict=True)
            )


def engine_info(*, narrow: bool) -> EngineInfo:
    """Of the small network, which is built if need be; `narrow`: made to have 32 features.

    What a run shows the network itself, some drawn pictures, is put into the store for it.
    """
    from regraft.backbones import catalog
    from regraft.data.table import ImageTable
    from regraft.features import engines, extract
    from regraft.features.store import Store
    from regraft.features.strips import recipe_for
    from regraft.images import DECODER_VERSION, drawn

    source = catalog.resolve(SMALL)
    built = engines.locate(source, device="cpu", offline=True)
    if not narrow:
        return built.info
    far = extract.through_store(ImageTable.from_paths(drawn.pictures()), built)
    info = replace(built.info, widths=(("blocks.0", 4), ("final", 24)))
    with Store.open(decoder=DECODER_VERSION) as store:
        store.put_recipe(recipe_for(info))
        few = np.ascontiguousarray(far.X[:, : info.n_features])
        store.put_features(list(far.digests), recipe_for(info).digest, few)
    (built.folder / "engine.json").write_text(info.to_json())
    return engines.locate(source, device="cpu", offline=True).info


def linked_files(folder: Path, n_rows: int) -> list[Path]:
    """Paths of old small files, many of them the same one: nothing opens them."""
    found = []
    for code in range(N_CLASSES):
        (folder / f"class{code}").mkdir(parents=True)
    for row in range(n_rows):
        path = folder / f"class{row % N_CLASSES}" / f"{row:07}.jpg"
        if row % LINKS == 0:
            first = path
            path.write_bytes(f"not opened {row}".encode())
            os.utime(path, (1e9, 1e9))
        else:
            os.link(first, path)
        found.append(path)
    return found


def train(data: Path, cache: Path, *options: str) -> dict:
    """One whole run; its result, its seconds and the processor's, and the most memory, in MiB."""
    command = [*REGRAFT, "train", str(data), "--json", "--no-report", "-q", *options]
    env = dict(os.environ, REGRAFT_CACHE=str(cache), REGRAFT_CACHE_LIMIT="100G")
    start, before, most = time.perf_counter(), os.times(), (0.0, 0.0)
    with tempfile.TemporaryFile("w+") as said:  # of many classes it is more than a pipe holds
        with running(command, env=env, cwd=fresh(), stdout=said, text=True) as run:
            while run.poll() is None:
                most = tuple(map(max, most, memory_mib(run.pid)))
                time.sleep(0.5)
        said.seek(0)
        out = said.read()
    if run.returncode:
        sys.exit(f"exit {run.returncode}")
    after = os.times()
    return {
        "mib": most[0],
        "resident_mib": most[1],
        "seconds": time.perf_counter() - start,
        "processor_s": sum(after[2:4]) - sum(before[2:4]),
        "metrics": last_json(out),
    }


def memory_mib(process: int) -> tuple[float, float]:
    """Anonymous and resident memory now."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0, 0.0
    found = [status.partition(name)[2].split() for name in ("RssAnon:", "VmRSS:")]
    anonymous, resident = (int(words[0]) / 1024 if words else 0.0 for words in found)
    return anonymous, resident


def report(run: dict, n_rows: int, what: str) -> None:
    metrics = run["metrics"]
    print(
        f"{n_rows:,} {what}: {run['seconds']:.0f} s ({run['processor_s']:.0f} of the processor), "
        f"anonymous memory at most {run['mib']:.0f} MiB, resident {run['resident_mib']:.0f}; "
        "accuracy "
        f"{metrics['evaluation']['accuracy']['value']:.3f}; seconds {metrics['seconds']}",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["pictures", "tiles", "stored"], nargs="?",
                        default="pictures")  # fmt: skip
    parser.add_argument("data", nargs="*", help="folders of photographs, for tiles")
    parser.add_argument("--rows", type=int, help="default: 100,000 pictures, 1,000,000 stored rows")
    parser.add_argument("--narrow", action="store_true", help="few features, of stored rows")
    parser.add_argument("--one", action="store_true", help="this number of rows only")
    args = parser.parse_args()
    rows = args.rows or {"stored": 1_000_000}.get(args.what, 100_000)
    if args.what == "tiles":
        sys.exit(tiles(rows, args.data))
    for size in [rows] if args.one else [rows // 10, rows]:
        # In a process of its own: what is made up here must not stay in memory.
        if args.one and args.what == "stored":
            stored(size, narrow=args.narrow)
        elif args.one:
            pictures(size)
        else:
            command = [sys.executable, __file__, args.what, "--rows", str(size), "--one"]
            subprocess.run([*command, *["--narrow"] * args.narrow], check=True)
