"""Features or images to classifiers. One method a file, one line here.

The classes are imported when they are asked for: a list of names should cost nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

METHODS = {
    "probe": "regraft.methods.probe:Probe",
    "head": "regraft.methods.head:HeadOnly",
    "partial": "regraft.methods.partial:Partial",
    "full": "regraft.methods.full:Full",
    "scratch": "regraft.methods.scratch:Scratch",
}


def method(name: str) -> Any:
    """The class of a method.

    Examples
    --------
    >>> method("probe").__name__
    'Probe'
    """
    module, _, attribute = METHODS[name].partition(":")
    return getattr(import_module(module), attribute)
