"""Commands that the page's buttons stand for: run as they are shown, one at a time."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regraft.errors import UsageError
from regraft.teaching import leaving
from regraft.teaching.names import OWN
from regraft.teaching.project import Project
from regraft.training.methods import METHODS

RUNS = f"{OWN}/runs"
# Lines of a command that are kept, and the seconds that it is given to end.
MOST_LINES, PATIENCE_S = 200, 10.0
BUDGETS = ("30s", "2m", "10m", "1h")
TARGETS = ("onnx", "openvino", "torch", "docker")


@dataclass
class Job:
    """One command, running or over."""

    command: list[str]
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=MOST_LINES))
    code: int | None = None
    process: subprocess.Popen[str] | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "command": shown(self.command), "lines": list(self.lines), "code": self.code,
            "is_running": self.code is None,
        }  # fmt: skip


class Jobs:
    """The commands of one taught folder.

    Parameters
    ----------
    project : Project
    tell : callable(Job)
        Hears of each line, and of the end.
    """

    def __init__(self, project: Project, tell: Callable[[Job], None]) -> None:
        self.project, self.tell = project, tell
        self.last: Job | None = None
        self._home = Path.cwd()
        self._lock = threading.Lock()

    def train(self, way: str, budget: str = "2m") -> Job:
        """`regraft train` by a method, or `regraft auto` with a budget, on what is labelled."""
        if way not in ("auto", *METHODS):
            raise UsageError(f"there is no way {way!r}", cure=", ".join(("auto", *METHODS)))
        if budget not in BUDGETS:
            raise UsageError(f"there is no budget {budget!r}", cure=", ".join(BUDGETS))
        require_packages(way)
        leaving.write_table(self.project)
        return self._run(self._to_train(way, budget))

    def _to_train(self, way: str, budget: str) -> list[str]:
        table = self._within(self.project.folder / leaving.TABLE)
        how = ["auto", table, "--budget", budget] if way == "auto" else ["train", table]
        how += [] if way in ("auto", "probe") else ["--method", way]
        return [*how, "--out", self._within(self.project.folder / RUNS)]

    def ways(self) -> list[dict[str, Any]]:
        """What can be trained by, and why not where it cannot; the command for each budget."""
        words = {"auto": "the best way that a budget of time allows"}
        words |= {name: method.help for name, method in METHODS.items()}
        return [
            {
                "name": name,
                "help": text,
                "why_not": why_not(name),
                "commands": {budget: shown(self._to_train(name, budget)) for budget in BUDGETS},
            }
            for name, text in words.items()
        ]

    def export(self, run: str, target: str) -> Job:
        """`regraft export` of a run's model."""
        if target not in TARGETS:
            raise UsageError(f"nothing is exported to {target!r}", cure=", ".join(TARGETS))
        return self._run(self._to_export(self.run_folder(run), target))

    def _to_export(self, folder: Path, target: str) -> list[str]:
        model, out = self._within(folder / "model"), self._within(folder / f"export-{target}")
        command = ["export", model, "--to", target, "--out", out]
        if not (folder / "run.json").exists():  # it is no run, so nobody knows its images
            command += ["--data", self._within(self.project.folder / leaving.TABLE)]
        return command

    def run_folder(self, name: str) -> Path:
        """The folder of a run by its name."""
        if name not in {run["name"] for run in self.runs()}:
            raise UsageError(f"there is no run {name[:100]!r}", cure="train one")
        return self.project.folder / RUNS / name

    def part_folder(self, run: str, part: str) -> Path:
        """A run's model or one of its exports, by name."""
        folder = self.run_folder(run)
        if part not in ("model", *_exports(folder)):
            cure = ", ".join(("model", *_exports(folder)))
            raise UsageError(f"{run} has no {part[:100]!r}", cure=cure)
        return folder / part

    def runs(self) -> list[dict[str, Any]]:
        """What was trained here, the newest first."""
        root = self.project.folder / RUNS
        folders = list(root.iterdir()) if root.is_dir() else []
        finished = [path for path in folders if (path / "model" / "config.json").exists()]
        finished.sort(key=lambda path: -path.stat().st_mtime)
        return [self._facts(path) for path in finished if not path.name.startswith(".")]

    def to_dict(self) -> dict[str, Any]:
        """Ways to train, what was trained, and the command that runs, for JSON."""
        last = self.last
        return {"ways": self.ways(), "runs": self.runs(), "job": last.to_dict() if last else None}

    def stop(self) -> None:
        """End what runs."""
        job = self.last
        if job is not None and job.process is not None and job.code is None:
            _end(job.process)

    def _facts(self, folder: Path) -> dict[str, Any]:
        extra: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError, AttributeError):
            config = json.loads((folder / "model" / "config.json").read_text(encoding="utf-8"))
            extra = config["regraft"].get("extra", {})
        return {
            "name": folder.name,
            "accuracy": extra.get("accuracy"),
            "n": extra.get("n"),
            "model": self._within(folder / "model"),
            "has_report": (folder / "report.html").exists(),
            "exports": _exports(folder),
            "export": {target: shown(self._to_export(folder, target)) for target in TARGETS},
            "serve": shown(["serve", self._within(folder / "model")]),
        }

    def _within(self, path: Path) -> str:
        """As it would be typed where the server was started."""
        whole = path.resolve()
        return str(whole.relative_to(self._home) if whole.is_relative_to(self._home) else whole)

    def _run(self, arguments: Sequence[str]) -> Job:
        with self._lock:
            if self.last is not None and self.last.code is None:
                raise UsageError(
                    f"a command is running: {shown(self.last.command)}", cure="wait, or stop it"
                )
            job = Job(list(arguments))
            job.process = subprocess.Popen(
                [sys.executable, "-m", "regraft", *arguments],
                cwd=self._home,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                encoding="utf-8", errors="replace", start_new_session=True,
                env={**os.environ, "NO_COLOR": "1", "COLUMNS": "100"},
            )  # fmt: skip
            self.last = job
        threading.Thread(target=self._follow, args=(job,), daemon=True).start()
        return job

    def _follow(self, job: Job) -> None:
        assert job.process is not None
        assert job.process.stdout is not None
        self.tell(job)
        with job.process.stdout as lines:
            for line in lines:
                job.lines.append(line.rstrip())
                self.tell(job)
        job.code = job.process.wait()
        self.tell(job)


def _exports(folder: Path) -> list[str]:
    return [path.name for path in sorted(folder.glob("export-*")) if path.is_dir()]


def why_not(way: str) -> str:
    """What is missing for a way; empty if nothing is."""
    try:
        require_packages(way)
    except UsageError as error:
        return error.cure
    return ""


def require_packages(way: str) -> None:
    """UsageError where a method needs packages that are not installed."""
    if way in METHODS and METHODS[way].trains:
        missing = [name for name in ("torch", "timm") if importlib.util.find_spec(name) is None]
        if missing:
            raise UsageError(
                f"{way} needs packages that are not installed: {', '.join(missing)}",
                cure="pip install 'regraft[train]'",
            )


def shown(arguments: Sequence[str]) -> str:
    """A command as it is typed.

    >>> shown(["train", "my photos/pictures.csv"])
    "regraft train 'my photos/pictures.csv'"
    """
    return shlex.join(["regraft", *arguments])


def _end(process: subprocess.Popen[str]) -> None:
    """With all that it started; asked first, then made to."""
    for number in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_S)
            return
