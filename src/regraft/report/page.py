"""report.html: one file from a finished run's folder, with everything in it."""

from __future__ import annotations

import os
from pathlib import Path

from regraft.record.run_folder import REPORT
from regraft.report.finished_run import FinishedRun
from regraft.report.rendering import compiled, publish, render

PAGE = "report.html.j2"


def write(folder: str | os.PathLike[str], file: str | os.PathLike[str] | None = None) -> Path:
    """Draw the report of a finished run, into its folder unless a file is named.

    Raises
    ------
    UsageError
        The folder holds no finished run, or no evidence to draw from.
    """
    run = FinishedRun(Path(folder))
    html = render(PAGE, run=run)
    return publish(html, Path(file) if file is not None else run.folder / REPORT)


def prepare() -> None:
    """Compile the page's template, which takes 0.1 s, aside while its pictures are read."""
    compiled(PAGE)
