"""Folders that Regraft itself has written: a run or a model, which hold no photographs to learn."""

from __future__ import annotations

import json
import os
from os.path import isfile, join

# What lies in each; a folder of photographs has neither.
_RUN = (("run.json", "unfinished.json"), "a run of Regraft")
_MODEL = (("regraft.safetensors",), "a model of Regraft")


def own_kind(folder: str) -> str:
    """What a folder is, if Regraft wrote it; else ''.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> own_kind(folder)
    ''
    >>> with open(os.path.join(folder, "run.json"), "w") as file:
    ...     _ = file.write('{"schema": 1, "config": {"data": "photos"}}')
    >>> own_kind(folder)
    'a run of Regraft'
    """
    try:
        if any(isfile(join(folder, name)) for name in _MODEL[0]):
            return _MODEL[1]
        return _RUN[1] if _config_of(folder) else ""
    except ValueError:  # a NUL in the name
        return ""


def data_of(folder: str) -> str:
    """What a run, or the run that a model lies in, learnt from; '' if that is not known."""
    for place in (folder, os.path.dirname(os.path.abspath(folder))):
        data = _config_of(place).get("data")
        if isinstance(data, str):
            return data
    return ""


def _config_of(folder: str) -> dict[str, object]:
    for name in _RUN[0]:
        try:
            with open(join(folder, name), encoding="utf-8") as file:
                found = json.load(file)
        except (OSError, ValueError):
            continue
        config = found.get("config") if isinstance(found, dict) else None
        if isinstance(config, dict):
            return config
    return {}
