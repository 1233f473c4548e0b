"""Exported models on all reported images, how long exporting takes, and images a second.

    python benchmarks/exporting.py DATA... [--to onnx openvino] [--room FOLDER] [--no-rates]

Of each data set a probe on the default backbone is trained, exported, and compared on every image
that it reported. The rates are those of the graph alone, uint8 pixels to probabilities, taking
turns: the file in its own runtime, and the model's engine as `predict` runs it, in fp32 and, where
the processor has it, in bf16.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measure import fresh

# More than any set reports.
ALL = 1_000_000
ROUNDS, PER_ROUND = 5, 128


def main() -> None:
    options = parsed()
    room = options.room or fresh()
    os.environ.setdefault("REGRAFT_CACHE", str(room / "cache"))
    for data in options.data:
        run = trained(data, room)
        for to in options.to:
            row = {"data": data.name, "to": to, **exported(run, room, to)}
            if not options.no_rates:
                row["images_s"] = rates(run, room / to / data.name)
            print(json.dumps(row), flush=True)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--to", nargs="+", default=["onnx", "openvino"])
    parser.add_argument("--room", type=Path, help="kept; by default a temporary folder")
    parser.add_argument("--no-rates", action="store_true")
    return parser.parse_args()


def trained(data: Path, room: Path) -> Path:
    """The run's folder; an earlier one is taken as it is."""
    run = room / "runs" / data.name
    if not (run / "model").is_dir():
        regraft("train", data, "--no-report", "--out", run.parent, "--run", run.name, "-q")
    return run


def exported(run: Path, room: Path, to: str) -> dict[str, Any]:
    """How it compares on all reported images; the seconds of an export with the usual number."""
    begun = time.perf_counter()
    regraft("export", run, "--to", to, "--out", room / to / run.name, "-q")
    seconds = time.perf_counter() - begun
    out = room / f"{to}-all" / run.name
    said = json.loads(
        regraft("export", run, "--to", to, "--out", out, "--images", ALL, "--json", "-q")
    )
    return {"seconds": round(seconds, 1), **said["compared"]}


def regraft(*args: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "regraft", *map(str, args)], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def rates(run: Path, folder: Path) -> dict[str, float]:
    """Images a second, the middle of rounds in which all take turns."""
    import regraft as library
    from regraft.model.export_reference import Reference
    from regraft.model.export_runtimes import start

    model = library.load(run / "model")
    reference, pixels = Reference(model), np.load(folder / "golden" / "tensors.npy")
    many = np.concatenate([pixels] * (PER_ROUND // len(pixels)))
    (file,) = (path for path in folder.glob("model.*") if path.suffix in (".onnx", ".xml", ".pt2"))
    ways: dict[str, Callable[[Any], Any]] = {"exported": start(file), "predict in fp32": reference}
    if not reference.is_exact_here:
        ways["predict in bf16"] = reference.as_here
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS + 1):
        for name, way in ways.items():
            begun = time.perf_counter()
            way(many)
            found[name].append(len(many) / (time.perf_counter() - begun))
    return {name: round(statistics.median(each[1:]), 1) for name, each in found.items()}


if __name__ == "__main__":
    main()
