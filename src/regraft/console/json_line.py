"""Standard output for programs: one line of JSON, without what draws for people."""

from __future__ import annotations

import json
from typing import Any


def print_json(content: Any) -> None:
    """One object or list, on one line of stdout."""
    print(json.dumps(content, allow_nan=False))
