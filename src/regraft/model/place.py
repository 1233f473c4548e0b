"""Where a model lies: in the folder that is named, or in the run that is; and a run half-made."""

from __future__ import annotations

import json
import os
import shlex
from os.path import isfile  # of a name that cannot be it says no, where pathlib raises
from pathlib import Path
from typing import Any

from regraft.model.config_file import CONFIG
from regraft.wording import agree, count, near_names

# In a run's folder: its model; its configuration until it is finished; an epoch a line.
MODEL, UNFINISHED, LOG = "model", "unfinished.json", "log.jsonl"
# Where runs go if nothing else is said; so many are named where one is meant.
RUNS, FEW = "runs", 5


def model_in(folder: Path) -> Path:
    """The folder itself, or the model of the run that it is."""
    if not isfile(folder / CONFIG) and isfile(folder / MODEL / CONFIG):
        return folder / MODEL
    return folder


def near_models(folder: Path) -> list[str]:
    """Models and runs beside a folder that is not there, whose names are near."""
    beside = folder.parent.parent if folder.name == MODEL else folder.parent
    name = folder.parent.name if folder.name == MODEL else folder.name
    try:
        named = [one for one in os.listdir(beside) if isfile(model_in(beside / one) / CONFIG)]
    except (OSError, ValueError):
        return []
    return [str(beside / one) for one in near_names(name, named)]


def others_there(folder: Path, holds: str = f"{MODEL}/{CONFIG}") -> str:
    """Runs that may be meant where a folder is none itself: in it, or in `runs` here; '' if none.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("cats", "dogs"):
    ...     (folder / name / MODEL).mkdir(parents=True)
    ...     _ = (folder / name / MODEL / CONFIG).write_text("{}")
    >>> others_there(folder).replace(str(folder), "runs")
    'give one of the 2 runs that are there: runs/cats, runs/dogs'
    """
    for place in (folder, folder / RUNS, Path(RUNS)):
        found = _runs_in(place, holds)
        if found:
            named = [shlex.quote(str(place / name)) for name in found]
            one_of = "the run" if len(named) == 1 else f"one of the {len(named):,} runs"
            shown = ", ".join(named[:FEW]) + ", ... (the newest first)" * (len(named) > FEW)
            return f"give {one_of} that {agree(len(named), '[is|are]')} there: {shown}"
    return ""


def _runs_in(folder: Path, holds: str) -> list[str]:
    """The newest first, since it is the one that most often is meant; else by name."""
    try:
        found = sorted(name for name in os.listdir(folder) if isfile(folder / name / holds))
        if len(found) <= FEW:
            return found
        return sorted(found, key=lambda name: -os.path.getmtime(folder / name / holds))
    except (OSError, ValueError):
        return []


def run_with(file: Path, holds: str) -> str:
    """The run that a file lies in, as a cure; '' for what is no file of a run."""
    try:
        run = (
            next((p for p in file.parents[:2] if isfile(p / holds)), None) if isfile(file) else None
        )
    except ValueError:  # a NUL in the name
        return ""
    return f"it is a file of a run; give the run: {shlex.quote(str(run))}" if run else ""


def run_of(folder: Path) -> Path:
    """The folder itself, or the run that the model or the page in it belongs to."""
    is_model = folder.name == MODEL and isfile(folder / CONFIG)
    is_model = is_model or (folder.suffix == ".html" and isfile(folder))
    return folder.parent if is_model else folder


def is_unfinished(folder: Path) -> bool:
    """Whether a run was begun in this folder and has not come to its end."""
    return isfile(folder / UNFINISHED)


def state_of(folder: Path) -> str:
    """What an unfinished run is, and how far it came.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / UNFINISHED).write_text('{"config": {"data": "photos", "method": "full"}}')
    >>> state_of(folder)
    "is a run that was not finished: method full on 'photos', 0 epochs done"
    """
    if _record(folder).get("command"):
        return "is a search for the best way that was not finished; its first model is there"
    config = _config(folder)
    done = count(_n_lines(folder / LOG), "epoch")
    method, data = config.get("method", "probe"), config.get("data", "?")
    return f"is a run that was not finished: method {method} on {data!r}, {done} done"


def command_that_goes_on(folder: Path) -> str:
    """As it can be typed, where the run was begun."""
    if command := _record(folder).get("command"):
        return str(command)
    options = {"--config": folder / UNFINISHED, "--out": folder.parent, "--run": folder.name}
    return "regraft train " + " ".join(f"{k} {shlex.quote(str(v))}" for k, v in options.items())


def _config(folder: Path) -> dict[str, Any]:
    found = _record(folder).get("config")
    return found if isinstance(found, dict) else {}


def _record(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / UNFINISHED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _n_lines(file: Path) -> int:
    try:
        return len(file.read_bytes().splitlines())
    except OSError:
        return 0
