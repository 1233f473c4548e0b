"""Values from JSON or from options, checked against the fields of the dataclass they are for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from regraft.errors import ConfigError
from regraft.wording import near_names


def check(values: Mapping[str, Any], kind: Any, *, what: str, place: str = "") -> None:
    """Refuse a name that the dataclass `kind` has no field of, and a value of another type.

    Raises
    ------
    ConfigError
        With near names, or with the type and what was found.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Recipe:
    ...     epochs: int | None = None
    >>> check({"epochs": 3}, Recipe, what="a recipe")
    >>> check({"epoch": 3}, Recipe, what="a recipe")
    Traceback (most recent call last):
        ...
    regraft.errors.ConfigError: a recipe has no setting 'epoch'
      cure:  did you mean 'epochs'?
    >>> check({"epochs": "three"}, Recipe, what="a recipe")
    Traceback (most recent call last):
        ...
    regraft.errors.ConfigError: 'epochs' must be int or null, got 'three'
    """
    types = get_type_hints(kind)
    known = [field.name for field in fields(kind)]
    for name, value in values.items():
        if name not in known:
            near = near_names(name, known, n=1)
            cure = f"did you mean {near[0]!r}?" if near else f"settings: {', '.join(known)}"
            raise ConfigError(f"{what} has no setting {name!r}", place=place, cure=cure)
        if not is_of(value, types[name]):
            wanted = in_words(types[name])
            raise ConfigError(f"{name!r} must be {wanted}, got {value!r}", place=place)


def is_of(value: Any, kind: Any) -> bool:
    """Whether a value is of a type as annotations write it; whole numbers are floats too.

    Examples
    --------
    >>> is_of(1, float), is_of(True, int), is_of(None, str | None), is_of(["a", 1], list[str])
    (True, False, True, False)
    """
    if isinstance(kind, UnionType):
        return any(is_of(value, one) for one in get_args(kind))
    origin = get_origin(kind)
    if origin is list:
        return isinstance(value, list) and all(is_of(one, get_args(kind)[0]) for one in value)
    if origin is not None:
        return isinstance(value, origin)
    if kind in (int, float):
        numbers = int if kind is int else (int, float)
        return isinstance(value, numbers) and not isinstance(value, bool)
    return isinstance(value, kind)


def in_words(kind: Any) -> str:
    """A type as JSON's readers know it.

    Examples
    --------
    >>> in_words(int | None), in_words(list[str] | None)
    ('int or null', 'list[str] or null')
    """
    if isinstance(kind, UnionType):
        return " or ".join(in_words(one) for one in get_args(kind))
    if kind is type(None):
        return "null"
    return str(kind) if get_origin(kind) else str(kind.__name__)
