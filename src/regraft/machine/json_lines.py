"""A file of JSON lines that only grows."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def add_line(path: Path, row: Mapping[str, Any]) -> None:
    """Add one object. A last line that a kill cut off stays as it is, and this one begins anew.

    Raises
    ------
    OSError
        If the file cannot be written.
    ValueError
        For NaN and infinity, which JSON does not have.

    Examples
    --------
    >>> import tempfile
    >>> log = Path(tempfile.mkdtemp()) / "log.jsonl"
    >>> _ = log.write_text('{"epo')
    >>> add_line(log, {"epoch": 2})
    >>> log.read_text()
    '{"epo\\n{"epoch": 2}\\n'
    """
    line = (json.dumps(dict(row), allow_nan=False) + "\n").encode()
    with open(path, "a+b") as stream:
        if stream.seek(0, os.SEEK_END):
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                line = b"\n" + line
        stream.write(line)
