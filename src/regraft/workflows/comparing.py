"""`regraft compare`: several ways on the same data, each kept as a run, and held side by side."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from regraft.choosing.comparing import Ranking, Row, in_common, interval_of, together_of
from regraft.choosing.kept import keeps_probe
from regraft.choosing.way import Way
from regraft.errors import DataError, RegraftError, TrainingError
from regraft.listener import SILENT, Doing, Listener
from regraft.machine import atomic, blas
from regraft.record import run_folder
from regraft.record.configuration import RunConfig
from regraft.report import ways_page
from regraft.wording import count, duration, percent
from regraft.workflows import experiment

PAGE, FILE = "compare.html", "compare.json"


@blas.one_thread
def compare(
    config: RunConfig,
    ways: Sequence[Way],
    *,
    seeds: Sequence[int] = (0,),
    absent: Sequence[tuple[Way, str]] = (),
    settings: Mapping[str, Any] | None = None,
    out: str | os.PathLike[str] = "runs",
    offline: bool = False,
    listener: Listener = SILENT,
    on_row: Callable[[Way, int, Mapping[str, Any]], None] = lambda way, seed, metrics: None,
) -> tuple[Ranking, Path]:
    """Run several ways, keep each as a run, and say which is best and which is the cheapest of
    those that tie with it. What was run before is taken as it is.

    Parameters
    ----------
    config : RunConfig
        The data, and what all ways share.
    seeds : sequence of int
        Each way is run with each; images are paired within a seed.
    absent : sequence of (Way, str)
        Ways that cannot be run, and why: they are among the lost ones.
    settings : mapping, optional
        Of training, for the ways that look at them.
    on_row : callable(way, seed, metrics)
        Told of every run when it is there.

    Returns
    -------
    Ranking, and the folder with ``compare.html`` and ``compare.json``.

    Raises
    ------
    DataError
        The data cannot be learnt from, whatever the way.
    TrainingError
        Not one way could be run.
    """
    found: dict[Way, list[dict[str, Any]]] = {}
    lost = [_lost(way, seed, why) for way, why in absent for seed in seeds]
    n_runs = len(ways) * len(seeds)
    for number, (way, seed) in enumerate((way, seed) for way in ways for seed in seeds):
        listener.say(Doing(f"{number + 1} of {n_runs}: {way.name}, seed {seed}"))
        try:
            own = replace(way.config(config, settings), seed=seed)
            done = experiment.resumed(own, out=os.fsdecode(out), offline=offline, listener=listener)
        except DataError:
            raise  # it is so for every way
        except (RegraftError, MemoryError, RuntimeError, OSError, ImportError) as error:
            why = error.rule if isinstance(error, RegraftError) else str(error) or "out of memory"
            lost.append(_lost(way, seed, why))
            listener.say(f"{way.name} is lost: {why}")
            continue
        metrics = {**done.metrics, "folder": str(done.folder)}
        found.setdefault(way, []).append({"seed": seed, "metrics": metrics})
        on_row(way, seed, metrics)
    whole = {way: runs for way, runs in found.items() if len(runs) == len(seeds)}
    if not whole:
        raise TrainingError(
            f"not one of {count(len(ways), 'way')} could be run"
            + (f": {lost[0]['why']}" if lost else ""),
            cure="other --ways or --backbones; regraft backbones PATTERN lists networks",
        )
    ranking = _ranked(whole, lost)
    folder = Path(out) / _name(config, ways, seeds, settings or {})
    content = {**ranking.to_dict(), "data": config.data, "seeds": list(seeds)}
    atomic.write_json(folder / FILE, content)
    ways_page.write(content, folder / PAGE)
    return ranking, folder


def _lost(way: Way, seed: int, why: str) -> dict[str, Any]:
    return {"way": way.method, "backbone": way.backbone, "seed": seed, "why": why}


def _ranked(found: Mapping[Way, list[dict[str, Any]]], lost: list[dict[str, Any]]) -> Ranking:
    """Rows over the images that all ways have scored, seed by seed."""
    right: dict[Way, dict[str, bool]] = {}
    group_of: dict[str, str] = {}
    for way, runs in found.items():
        right[way], of_runs = _right_of(runs)
        group_of.update(of_runs)
    keys = in_common([list(own) for own in right.values()])
    if not keys:
        raise DataError("the ways have no scored image in common", cure="compare on the same data")
    images = np.array([key.partition(" ")[2] for key in keys], object)
    groups = [group_of.get(key) for key in keys] if group_of else None
    together = together_of(images, groups)
    rows = []
    for way, runs in found.items():
        own = np.array([right[way][key] for key in keys], bool)
        metrics = [run["metrics"] for run in runs]
        of_run = metrics[0]["evaluation"]["accuracy"]
        is_alone = len(runs) == 1 and metrics[0]["evaluation"]["n"] == len(keys)
        accuracy = dict(of_run) if is_alone else interval_of(own, together)
        rows.append(
            Row(
                way,
                own,
                accuracy,
                float(np.mean([m["evaluation"]["log_loss"]["value"] for m in metrics])),
                float(np.mean([m["seconds"]["total"] for m in metrics])),
                float(np.mean([_mib(Path(m["model"])) for m in metrics])),
                [m["folder"] for m in metrics],
                any(m["features"]["from_store"] for m in metrics),
                all(keeps_probe(m) for m in metrics),
            )
        )
    return Ranking(rows, images, lost, groups)


def _right_of(runs: Sequence[Mapping[str, Any]]) -> tuple[dict[str, bool], dict[str, str]]:
    """Whether each scored image is right, and the groups of those that have one; by seed and
    path."""
    found, groups = {}, {}
    for run in runs:
        file = Path(run["metrics"]["folder"]) / run_folder.PREDICTIONS
        with open(file, encoding="utf-8", errors="surrogateescape", newline="") as stream:
            for row in csv.DictReader(stream):
                key = f"{run['seed']} {row['path']}"
                found[key] = row["label"] == row["predicted"]
                if group := row.get("group"):
                    groups[key] = group
    return found, groups


def _mib(folder: Path) -> float:
    files = folder.glob("*") if folder.is_dir() else ()
    return sum(file.stat().st_size for file in files if file.is_file()) / 2**20


def _name(
    config: RunConfig, ways: Sequence[Way], seeds: Sequence[int], settings: Mapping[str, Any]
) -> str:
    text = json.dumps([config.digest, [way.name for way in ways], list(seeds), dict(settings)])
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{replace(config, method='probe').stem.removesuffix('probe')}compare-{digest}"


def row_in_words(way: Way, metrics: Mapping[str, Any]) -> str:
    """One run as it comes."""
    share = percent(metrics["evaluation"]["accuracy"]["value"])
    return f"{way.name}: {share} in {duration(metrics['seconds']['total'])}"
