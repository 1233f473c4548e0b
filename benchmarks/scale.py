"""How time and memory grow: manifests up to a million rows, probes up to 10^6 x 1,280 features.

    python benchmarks/scale.py manifest [--rows 1000000]
    python benchmarks/scale.py probe [--rows 1000000] [--features 1280] [--classes 1000]

Each size runs in a process of its own, so that its peak is its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from measure import REGRAFT, fresh, timed


def manifest(n_rows: int) -> None:
    """`check --quick` and splitting over a generated manifest of repeated small files."""
    from PIL import Image

    room = fresh()
    random = np.random.default_rng(0)
    for i in range(100):
        pixels = random.integers(0, 255, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(room / f"{i:02d}.png")
        for j in range(n_rows // 100):
            (room / f"{i:02d}-{j}.png").hardlink_to(room / f"{i:02d}.png")
    names = [f"{i % 100:02d}-{i // 100}.png,class{i % 100 % 50},{i // 7}" for i in range(n_rows)]
    (room / "all.csv").write_text("path,label,group\n" + "\n".join(names) + "\n")
    run = timed(["/usr/bin/env", "time", "-f", "%M", *REGRAFT, "check", room / "all.csv",
                 "--quick", "--json"])  # fmt: skip
    peak = int(run["err"].strip().splitlines()[-1]) / 1024
    print(f"check --quick, {n_rows} rows: {run['seconds']:.1f} s, peak {peak:.0f} MiB")
    code = (
        "import time, resource, hashlib, numpy as np, sys\n"
        "from regraft.data import sources, splits\n"
        "t = time.perf_counter(); table = sources.read_table(sys.argv[1])\n"
        "read = time.perf_counter() - t; t = time.perf_counter()\n"
        "digests = [hashlib.sha256(p.encode()).digest() for p in table.paths]\n"
        "t = time.perf_counter(); splits.assign(table.labels, digests, groups=table.groups)\n"
        "print(f'read {read:.1f} s, assign {time.perf_counter() - t:.1f} s, peak '\n"
        "      f'{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(room / "all.csv")], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    print(f"splitting, {n_rows} rows: {done.stdout.strip()}")


def probe(n_rows: int, n_features: int, n_classes: int) -> None:
    """A probe on memory-mapped features around class means, for growing numbers of rows."""
    for rows in sorted({n_rows // 100, n_rows // 10, n_rows}):
        sizes = [str(rows), str(n_features), str(n_classes)]
        done = subprocess.run(
            [sys.executable, __file__, "one-probe", *sizes], capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        print(done.stdout.strip())


def one_probe(n_rows: int, n_features: int, n_classes: int) -> None:
    import resource

    from regraft.features.engine import Tap
    from regraft.probe.network import Network
    from regraft.probe.probe import Probe

    file = Path(fresh()) / "features"
    X = np.memmap(file, np.float32, "w+", shape=(n_rows, n_features))
    random = np.random.default_rng(0)
    means = random.standard_normal((n_classes, n_features)).astype(np.float32)
    y = random.integers(0, n_classes, n_rows)
    for start in range(0, n_rows, 20_000):
        codes = y[start : start + 20_000]
        noise = random.standard_normal((len(codes), n_features), np.float32)
        X[start : start + 20_000] = 0.25 * means[codes] + noise
    X.flush()
    del X
    X = np.memmap(file, np.float32, "r", shape=(n_rows, n_features))
    start_s = time.perf_counter()
    network = Network((Tap("final", 0, n_features),))
    classes = [*map(str, range(n_classes))]
    fitted = Probe(taps=("final",)).fit(X, y, network=network, classes=classes)
    seconds = time.perf_counter() - start_s
    sample = slice(0, 5_000)
    right = (fitted.proba_of(X[sample]).argmax(1) == y[sample]).mean()
    status = Path("/proc/self/status").read_text()
    anonymous = int(status.split("RssAnon:")[1].split()[0]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({
        "rows": n_rows, "features": n_features, "classes": n_classes, "seconds": round(seconds, 1),
        "peak_mib_with_mapped_pages": round(peak), "anonymous_mib_at_end": round(anonymous),
        "strength": fitted.learnt.strength, "train_accuracy_of_5000": round(float(right), 3),
    }))  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["one-probe"]:
        one_probe(*map(int, sys.argv[2:5]))
        sys.exit()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["manifest", "probe"], nargs="?", help="default: both")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=1_280)
    parser.add_argument("--classes", type=int, default=1_000)
    args = parser.parse_args()
    if args.what != "probe":
        manifest(args.rows)
    if args.what != "manifest":
        probe(args.rows, args.features, args.classes)
