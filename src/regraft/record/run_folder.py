"""The run directory: where a run's files go, and what is in them.

A run is written under a temporary name and renamed when it is whole, so a folder that has a
``run.json`` is a finished run, whatever killed the ones before it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regraft import __version__
from regraft.errors import UsageError
from regraft.machine import atomic
from regraft.machine.json_lines import add_line
from regraft.machine.name_length import require_short_names
from regraft.machine.package_version import version_of
from regraft.model.place import LOG, UNFINISHED, others_there, run_of
from regraft.record.configuration import RunConfig

RUN_FILE = "run.json"
CHECKPOINTS, TRACKED = "checkpoints", "tracked"
PREDICTIONS = "predictions.csv"
# The page of a run and what it is drawn from: they stay while a run made again says the same.
REPORT, EVIDENCE = "report.html", ("evidence.json", "evidence.safetensors")


def folder_for(
    config: RunConfig, *, out: str = "runs", name: str | None = None, resume: bool = False
) -> Path:
    """Where this run's files go; refuses a folder that holds something else.

    With `resume` the run that is there may have had another number of epochs.

    Raises
    ------
    UsageError
        The name is no folder name or too long for one, or the folder holds another configuration
        or foreign files.
    """
    if name is not None and (
        not name.strip() or name in {".", ".."} or "/" in name or "\\" in name
    ):
        raise UsageError(
            f"--run {name!r} is not a folder's name", cure="--out DIR says where it goes"
        )
    require_short_names(out, "--out")
    require_short_names(name or "", "--run")
    folder = Path(out) / (name or config.default_name)
    if not folder.exists():
        return folder
    earlier = config_in(folder)
    if earlier is None and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{str(folder)!r} exists and is not a run of Regraft", cure="another --run or --out"
        )
    may_go_on = resume and earlier is not None and config.goes_on_from(earlier)
    if earlier is not None and earlier != config and not may_go_on:
        mine, theirs = config.to_dict(), earlier.to_dict()
        if mine["training"] != theirs["training"]:  # the one setting, not all of them
            mine, theirs = (found.pop("training") or {} for found in (mine, theirs))
        changed = next(key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key))
        cure = "another --run name, or remove that folder"
        if config.goes_on_from(earlier):
            cure = "--resume goes on with the epochs that are there; or " + cure
        raise UsageError(
            f"run {folder.name!r} was made with {changed} {_in_words(theirs.get(changed))}, "
            f"now it is {_in_words(mine.get(changed))}",
            place=str(folder),
            cure=cure,
        )
    return folder


def _in_words(setting: Any) -> str:
    if isinstance(setting, list):
        return ",".join(map(str, setting))
    return "not given" if setting is None else repr(setting)


def config_file_of(given: str) -> Path:
    """The file that says what a run does: itself, or that in the folder of a run or its model."""
    folder = run_of(Path(given))
    if not folder.is_dir():
        return Path(given)
    found = [file for name in (RUN_FILE, UNFINISHED) if (file := folder / name).is_file()]
    if not found:
        raise UsageError(
            f"{given!r} is a folder without {RUN_FILE}, so no run",
            cure=others_there(folder, RUN_FILE)
            or f"--config runs/NAME, or a file such as {RUN_FILE}",
        )
    return found[0]


def begin(
    folder: Path, config: RunConfig, made_from: Mapping[str, Any], *, command: str = ""
) -> None:
    """Make the folder of a run that leaves something behind even when it is stopped.

    `command` goes on with it, where that is not `regraft train`.
    """
    record = {"schema": 1, "config": config.to_dict(), "made_from": dict(made_from)}
    if command:
        record["command"] = command
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / RUN_FILE).exists():
            atomic.write_json(folder / UNFINISHED, record)
    except OSError as error:
        raise UsageError(
            f"cannot write the run: {error.strerror}", place=str(folder), cure="--out DIR"
        ) from error


def forget(folder: Path) -> None:
    """Take away the folder of a run that learnt nothing, if nothing else is in it."""
    with contextlib.suppress(OSError):
        if os.listdir(folder) == [UNFINISHED]:
            (folder / UNFINISHED).unlink()
            folder.rmdir()


def log_epoch(folder: Path, row: Mapping[str, Any]) -> None:
    """Add an epoch to ``log.jsonl``; what an interrupted run wrote of later ones goes, and so does
    a line that was torn when it was killed."""
    path = folder / LOG
    with contextlib.suppress(OSError):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        kept = [line for line in lines if _epoch_of(line) < row["epoch"]]
        with atomic.file(path) as part:
            part.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
    add_line(path, row)


def _epoch_of(line: str) -> float:
    """Infinity of a line that is not whole."""
    try:
        return float(json.loads(line)["epoch"])
    except (ValueError, LookupError, TypeError):
        return math.inf


@contextmanager
def writing(
    folder: Path, *, replaces: bool = False, say: Callable[[str], None] = lambda text: None
) -> Iterator[Path]:
    """A temporary folder that takes the place of `folder` if the block ends well.

    A finished run that gave other answers (by another version, say) is kept under another name,
    unless `replaces` says that it was gone on with.
    """
    try:
        with atomic.folder(folder) as made:
            yield made
            kept = [CHECKPOINTS, LOG, TRACKED]  # of a run that trained
            is_same = _says_the_same(folder, made)
            if is_same:
                kept += [REPORT, *EVIDENCE]
            for name in kept:
                if (folder / name).exists():
                    os.replace(folder / name, made / name)
            if (folder / RUN_FILE).exists() and not (is_same or replaces):
                aside = folder.rename(free_name(folder))
                say(f"the earlier run gave other answers; it is kept as {aside.name!r}")
    except OSError as error:
        raise UsageError(
            f"cannot write the run: {error.strerror}", place=str(folder.parent), cure="--out DIR"
        ) from error


def free_name(folder: Path) -> Path:
    """The first free name with a number behind that of the folder."""
    numbered = (folder.with_name(f"{folder.name}-{i}") for i in itertools.count(1))
    return next(name for name in numbered if not name.exists())


def _says_the_same(earlier: Path, now: Path) -> bool:
    """Whether two runs of one configuration gave every image the same probabilities."""
    try:
        first, second = ((folder / PREDICTIONS).read_bytes() for folder in (earlier, now))
    except OSError:
        return False
    return first == second


def environment() -> dict[str, Any]:
    """Versions and machine, without importing what is not loaded anyway."""
    modules = {
        "numpy": "numpy",
        "openvino": "openvino",
        "pillow": "PIL",
        "simplejpeg": "simplejpeg",
    }
    return {
        "regraft": __version__,
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "command": sys.argv[1:],
        **{name: version_of(name, module) for name, module in modules.items()},
    }


def record_in(folder: Path) -> dict[str, Any] | None:
    """What the run in a folder was made with, finished or not; None if there is no run."""
    for name in (RUN_FILE, UNFINISHED):
        with contextlib.suppress(OSError, ValueError):
            found = json.loads((folder / name).read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return found
    return None


def config_in(folder: Path) -> RunConfig | None:
    """The configuration of the run in a folder; None if there is none that can be read."""
    for name in (RUN_FILE, UNFINISHED):
        with contextlib.suppress(UsageError, OSError):
            return RunConfig.from_file(folder / name)
    return None


@dataclass(frozen=True)
class Finished:
    """A run that was finished earlier, read back."""

    folder: Path
    metrics: dict[str, Any]
    findings: list[dict[str, Any]]


def finished(folder: Path, config: RunConfig) -> Finished | None:
    """The finished run of exactly this configuration in a folder, or None if it has still to be
    made."""
    if config_in(folder) != config or not (folder / RUN_FILE).exists():
        return None
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        found = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return Finished(folder, metrics, found["findings"])
