"""Whether timm has a network of some name, told from its source, without importing it.

Its import takes seconds, PyTorch's with it; reading its source takes 0.03 s for a name that is
there, and 0.2 s for one that is not.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

# A network is a function of this name, in timm/models/*.py.
_REGISTERED = re.compile(rb"^@register_model\s*\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)


def instead_of(name: str) -> list[str] | None:
    """All names that timm has, where it has no such network; None if it has, or cannot be asked.

    What stands behind a point, which names weights, is not looked at.

    Examples
    --------
    >>> instead_of("resnet18.a1_in1k") is None
    True
    """
    base = name.partition(".")[0]
    if timm := sys.modules.get("timm"):  # it may know more by now: what a program added to it
        return None if timm.is_model(base) else list(timm.list_models())
    # In quotes stand older names, which it still answers to.
    spelt = re.escape(base).encode()
    is_there = re.compile(rb"\bdef %s\(|'%s'|\"%s\"" % (spelt, spelt, spelt))
    known: list[str] = []
    for file in _source_files():
        content = file.read_bytes()
        if is_there.search(content):
            return None
        known += [found.decode() for found in _REGISTERED.findall(content)]
    return known or None


def _source_files() -> list[Path]:
    """Of timm's networks; none where it is not installed."""
    spec = importlib.util.find_spec("timm")
    places = (spec.submodule_search_locations if spec else None) or []
    return sorted(file for place in places for file in Path(place, "models").glob("*.py"))
