"""What a command or an address holds, checked: numbers of pictures, texts, whole numbers."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from regraft.errors import UsageError
from regraft.server.refusals import Refusal


def numbers(given: dict[str, Any]) -> list[int]:
    """Those of pictures.

    >>> numbers({"pictures": [3, 1]})
    [3, 1]
    """
    found = given.get("pictures")
    if not isinstance(found, list) or not all(type(one) is int for one in found):
        raise UsageError("the numbers of pictures were expected", cure='{"pictures": [1, 2]}')
    return found


def text(given: dict[str, Any], name: str) -> str:
    """One that must be there."""
    found = given.get(name)
    if not isinstance(found, str) or not found:
        raise UsageError(f"{name!r} was expected, a text")
    return found


def text_or_none(given: dict[str, Any], name: str) -> str | None:
    """One that may be missing."""
    return None if given.get(name) is None else text(given, name)


def whole_number(request: Request, name: str, default: int) -> int:
    """Of an address, from 0 on."""
    found = request.query_params.get(name, str(default))
    if not (found.isascii() and found.isdecimal() and len(found) < 10):
        raise Refusal(400, f"{name}={found[:40]!r}: expected a whole number")
    return int(found)
