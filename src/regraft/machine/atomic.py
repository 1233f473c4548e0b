"""Files and folders that are whole or not there: made under another name, renamed at the end.

Whatever ends the process, what stands under the final name was finished. What a killed process
left half-made has a name that begins with a dot, and goes a day later.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Something under construction that is older was left by a killed process.
_STALE_S = 24 * 3600
_PREFIX = ".making-"


@contextmanager
def file(path: Path, *, sync: bool = False, shared: bool = False) -> Iterator[Path]:
    """A file under another name that takes the name `path` if the block ends well.

    Parameters
    ----------
    path : Path
        Its folder is made if need be.
    sync : bool
        Wait until the disk has it, so that it outlives the machine's fall too.
    shared : bool
        Another process that makes it meanwhile makes the same; where that one cannot be replaced
        because it is open (Windows), it stays.

    Examples
    --------
    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp()) / "some.txt"
    >>> with file(place) as part:
    ...     _ = part.write_text("all of it")
    >>> place.read_text(), len(os.listdir(place.parent))
    ('all of it', 1)
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path.parent)
    part = path.with_name(f"{_PREFIX}{secrets.token_hex(8)}{path.suffix}")
    part.touch(exist_ok=False)
    try:
        yield part
        if sync:
            with open(part, "rb") as stream:
                os.fsync(stream.fileno())
        with contextlib.suppress(*[PermissionError] * shared):
            os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def folder(target: Path) -> Iterator[Path]:
    """A folder beside `target` that takes its place if the block ends well.

    No system call swaps two folders everywhere, so one that is there already steps aside first
    and goes when the new one stands. Killed between, both are whole, under hidden names.
    """
    with working_folder(target.parent) as made:
        yield made
        aside = target.with_name(f"{_PREFIX}{secrets.token_hex(8)}-before")
        try:
            if target.exists():
                os.rename(target, aside)
            os.rename(made, target)
        finally:
            if aside.exists() and not target.exists():
                os.rename(aside, target)
            shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def working_folder(parent: Path) -> Iterator[Path]:
    """A new folder in `parent`, gone after the block unless it was renamed or published."""
    parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(parent)
    made = parent / f"{_PREFIX}{secrets.token_hex(8)}"
    made.mkdir()
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def publish(made: Path, target: Path, *, is_whole: Callable[[], bool]) -> None:
    """Rename a folder; one that another process made meanwhile is as good as ours.

    `is_whole` says whether what lies at `target` can be used.
    """
    if not is_whole():
        shutil.rmtree(target, ignore_errors=True)
    try:
        made.rename(target)
    except OSError:
        if not is_whole():
            raise


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """JSON, with names that are not UTF-8 escaped; NaN and infinity are refused."""
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    with file(path) as part:
        part.write_text(text, encoding="utf-8")


def _remove_stale(parent: Path) -> None:
    for part in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime <= _STALE_S:
                continue
            if part.is_dir():
                shutil.rmtree(part, ignore_errors=True)
            else:
                part.unlink()
