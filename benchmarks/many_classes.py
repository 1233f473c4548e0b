"""Memory, processor time and files of `regraft train` by the number of classes.

    python benchmarks/many_classes.py [--rows 20000] [--classes 2000] [--backbone NAME] [OPTION ...]

Features are made up and put into the store, half of the rows to learn from and half to be tested
on; what follows the pass is all real, the report included. Anonymous memory (RssAnon) is looked at
every 50 ms from outside. Further options go to `regraft train`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from pathlib import Path

import numpy as np
from measure import REGRAFT, fresh, running
from memory import LINKS, SMALL, engine_info, fill_store, memory_mib, with_cache


def write_store(room: Path, n_rows: int, n_classes: int) -> None:
    """Facts and features of rows about the means of their classes."""
    with_cache(room)
    info, random = engine_info(narrow=False), np.random.default_rng(0)
    means = random.standard_normal((n_classes, info.n_features)).astype(np.float32)
    paths = linked_pictures(room / "photos", n_rows, n_classes)
    fill_store(info, paths, random, lambda codes, noise: np.abs(means[codes] + 1.2 * noise))


def linked_pictures(folder: Path, n_rows: int, n_classes: int) -> list[Path]:
    """Paths of old small pictures, many of them the same one; the first of a class teaches."""
    import simplejpeg

    for part in ("train", "test"):
        for code in range(n_classes):
            (folder / part / f"class{code:05}").mkdir(parents=True)
    random, found = np.random.default_rng(1), []
    for row in range(n_rows):
        part = "train" if row // n_classes % 2 == 0 else "test"
        path = folder / part / f"class{row % n_classes:05}" / f"{row:07}.jpg"
        if row % LINKS == 0:
            first = path
            coarse = random.integers(0, 256, (8, 8, 3)).astype(np.uint8)
            pixels = np.ascontiguousarray(coarse.repeat(8, 0).repeat(8, 1))
            path.write_bytes(simplejpeg.encode_jpeg(pixels, quality=90))
            os.utime(path, (1e9, 1e9))
        else:
            os.link(first, path)
        found.append(path)
    return found


def train(room: Path, options: list[str]) -> dict[str, object]:
    """One whole run."""
    command = [*REGRAFT, "train", str(room / "photos"), "--backbone", SMALL, "--run", "many", "-q",
               *options]  # fmt: skip
    env = dict(os.environ, REGRAFT_CACHE=str(room / "cache"), REGRAFT_CACHE_LIMIT="100G")
    start, most, where = time.perf_counter(), 0.0, fresh()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with running(command, env=env, cwd=where) as run:
        while run.poll() is None:
            most = max(most, memory_mib(run.pid)[0])
            time.sleep(0.05)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    made = where / "runs" / "many"
    found = json.loads((made / "metrics.json").read_text()) if made.exists() else {}
    return {
        "code": run.returncode,
        "anonymous_mib": round(most),
        "seconds": round(time.perf_counter() - start, 1),
        "processor_seconds": round(
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1
        ),
        "by_phase": found.get("seconds"),
        "head": found.get("chosen", {}).get("head"),
        "accuracy": found.get("evaluation", {}).get("accuracy", {}).get("value"),
        "mib_of": {
            path.relative_to(made).as_posix(): round(path.stat().st_size / 2**20, 2)
            for path in sorted(made.rglob("*"))
            if path.is_file() and path.stat().st_size > 2**19
        },
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--classes", type=int, default=2_000)
    parser.add_argument("--room", type=Path, help="where to make the data, or where they are")
    asked, options = parser.parse_known_args()
    room = asked.room or fresh()
    if not (room / "photos").exists():
        # In a process of its own: what is made up must not stay in memory.
        child = os.fork()
        if child == 0:
            write_store(room, asked.rows, asked.classes)
            os._exit(0)
        os.waitpid(child, 0)
    print(json.dumps({"rows": asked.rows, "classes": asked.classes, **train(room, options)}))
