"""The run directory: the resolved configuration, where a run's files go, and what is in them.

A run is written under a temporary name and renamed when it is whole, so a folder that has a
``run.json`` is a finished run, whatever killed the ones before it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from regraft import __version__, typed
from regraft.errors import ConfigError, UsageError
from regraft.methods import METHODS
from regraft.methods.settings import TrainingSettings

RUN_FILE = "run.json"
# In the folder of a run that trains: its configuration, until run.json takes its place.
UNFINISHED = "unfinished.json"
CHECKPOINTS, LOG, TRACKED = "checkpoints", "log.jsonl", "tracked"
PREDICTIONS = "predictions.csv"
# The page of a run and what it is drawn from: they stay while a run made again says the same.
REPORT, EVIDENCE = "report.html", ("evidence.json", "evidence.safetensors")


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides what a run does; ``run.json`` holds it and re-runs it.

    Attributes
    ----------
    data : str
        Folder, manifest or archive.
    method : str
    backbone : str
    weights : str or None
        A weights file for the backbone's architecture.
    taps : list of str or None
        None: measured and chosen.
    head : str
    class_weight : str or None
    path_column, label_column, split_column, group_column : str or None
        Of a manifest.
    test_fraction : float
        Where the data come without splits.
    seed : int
    device : str
    training : dict or None
        Settings of the methods that learn by gradients
        (:class:`regraft.methods.settings.TrainingSettings`).
    """

    data: str
    method: str = "probe"
    backbone: str = "default"
    weights: str | None = None
    taps: list[str] | None = None
    head: str = "ridge"
    class_weight: str | None = None
    path_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    group_column: str | None = None
    test_fraction: float = 0.2
    seed: int = 0
    device: str = "auto"
    training: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(
                f"no method is called {self.method!r}", cure=f"methods: {', '.join(METHODS)}"
            )
        self._refuse_unused_taps(self.settings)

    @property
    def settings(self) -> TrainingSettings:
        """Those of `training`, and of its recipe.

        Raises
        ------
        ConfigError
            One is unknown, of another type, out of range, or not used by this method.
        """
        return TrainingSettings.from_dict(self.training or {}, method=self.method)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, place: str = "") -> RunConfig:
        """From JSON; unknown keys are answered with near names.

        Examples
        --------
        >>> RunConfig.from_dict({"data": "photos", "backbon": "lite1"})
        Traceback (most recent call last):
            ...
        regraft.errors.ConfigError: a run has no setting 'backbon'
          cure:  did you mean 'backbone'?
        """
        typed.check(values, cls, what="a run", place=place)
        if "data" not in values:
            raise ConfigError("a run needs 'data'", place=place, cure='"data": "photos/"')
        try:
            return cls(**values)
        except ConfigError as error:
            raise ConfigError(error.rule, place=place or error.place, cure=error.cure) from error

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> RunConfig:
        """From a ``run.json`` of a finished run, or from a JSON file of settings alone."""
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"cannot read {str(path)!r}: {error.strerror}") from error
        except ValueError as error:
            raise ConfigError(f"not JSON: {error}", place=str(path)) from error
        if isinstance(content, dict) and isinstance(content.get("config"), dict):
            content = content["config"]
        if not isinstance(content, dict):
            raise ConfigError("the configuration must be a JSON object", place=str(path))
        return cls.from_dict(content, place=str(path))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def _refuse_unused_taps(self, settings: TrainingSettings) -> None:
        """A head that starts at random sees the final features, as the tutorials' do."""
        is_random = self.method == "scratch" or settings.init_head == "random"
        final = all(name.strip() in ("final", "codes") for name in self.taps or ())
        if self.method == "probe" or final or not is_random:
            return
        raise ConfigError(
            "a head that starts from random numbers sees the final features; it does not use "
            f"--taps {','.join(self.taps or ())}",
            cure="leave out --taps"
            + (
                "" if self.method == "scratch" else "; or --init-head probe, which starts from them"
            ),
        )

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits that differ where any setting does."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]

    def goes_on_from(self, earlier: RunConfig) -> bool:
        """Whether this is the same run, or the same for more (or fewer) epochs."""
        return self._without_epochs() == earlier._without_epochs()

    def _without_epochs(self) -> dict[str, Any]:
        training = {k: v for k, v in (self.training or {}).items() if k != "epochs"}
        return {**self.to_dict(), "training": training}

    @property
    def default_name(self) -> str:
        """``<data>-<method>-<digest>``, safe as a folder's name."""
        data = Path(os.path.abspath(self.data)).name.split(".")[0] or "data"
        safe = re.sub(r"[^A-Za-z0-9_-]+", "_", data.encode("ascii", "replace").decode())
        return f"{safe.strip('_') or 'data'}-{self.method}-{self.digest}"


def folder_for(
    config: RunConfig, *, out: str = "runs", name: str | None = None, resume: bool = False
) -> Path:
    """Where this run's files go; refuses a folder that holds something else.

    With `resume` the run that is there may have had another number of epochs.

    Raises
    ------
    UsageError
        The name is no folder name, or the folder holds another configuration or foreign files.
    """
    if name is not None and (
        not name.strip() or name in {".", ".."} or "/" in name or "\\" in name
    ):
        raise UsageError(
            f"--run {name!r} is not a folder's name", cure="--out DIR says where it goes"
        )
    folder = Path(out) / (name or config.default_name)
    if not folder.exists():
        return folder
    earlier = _config_in(folder)
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


def begin(folder: Path, config: RunConfig) -> None:
    """Make the folder of a run that leaves something behind even when it is stopped."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / RUN_FILE).exists():
            write_json(folder / UNFINISHED, {"schema": 1, "config": config.to_dict()})
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
    """Add an epoch to ``log.jsonl``; what an interrupted run wrote of later ones goes."""
    path = folder / LOG
    with contextlib.suppress(OSError, ValueError):
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if json.loads(line)["epoch"] < row["epoch"]]
        temporary = path.with_suffix(".new")
        temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        os.replace(temporary, path)
    with open(path, "a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")


@contextmanager
def writing(folder: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of `folder` if the block ends well."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        room = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise UsageError(
            f"cannot write the run: {error.strerror}", place=str(folder.parent), cure="--out DIR"
        ) from error
    try:
        yield room
        room.chmod(0o755)
        kept = [CHECKPOINTS, LOG, TRACKED]  # of a run that trained
        if _says_the_same(folder, room):
            kept += [REPORT, *EVIDENCE]
        for name in kept:
            if (folder / name).exists():
                os.replace(folder / name, room / name)
        before = room.with_name(room.name + "-before")
        if folder.exists():
            folder.rename(before)
        room.rename(folder)
        shutil.rmtree(before, ignore_errors=True)
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _says_the_same(earlier: Path, now: Path) -> bool:
    """Whether two runs of one configuration gave every image the same probabilities."""
    try:
        first, second = ((folder / PREDICTIONS).read_bytes() for folder in (earlier, now))
    except OSError:
        return False
    return first == second


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """JSON, with names that are not UTF-8 escaped."""
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def environment() -> dict[str, Any]:
    """Versions and machine, without importing what is not loaded anyway."""
    from importlib.metadata import version

    names = ("numpy", "openvino", "pillow", "simplejpeg")
    return {
        "regraft": __version__,
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "command": sys.argv[1:],
        **{name: version(name) for name in names},
    }


def _config_in(folder: Path) -> RunConfig | None:
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


def finished(config: RunConfig, *, out: str = "runs", name: str | None = None) -> Finished | None:
    """The finished run of exactly this configuration, or None if it has still to be made."""
    folder = folder_for(config, out=out, name=name, resume=True)
    if _config_in(folder) != config or not (folder / RUN_FILE).exists():
        return None
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        found = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return Finished(folder, metrics, found["findings"])
