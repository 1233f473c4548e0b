"""Values from JSON or from options, checked against the annotations of what they are for.

msgspec does it; the one place where its answers become ours, with the key and what was found there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar, get_type_hints

import msgspec

from regraft.errors import ConfigError
from regraft.machine import allowed
from regraft.wording import near_names

T = TypeVar("T")


class MisfitError(ValueError):
    """A value is not what an annotation says.

    Attributes
    ----------
    rule : str
        What it must be, and what was found.
    key : str
        Where it is: 'regraft.widths[0]'.
    """

    def __init__(self, rule: str, key: str) -> None:
        super().__init__(rule)
        self.rule, self.key = rule, key


def fitted(value: object, kind: type[T], key: str = "") -> T:
    """A value as `kind`, whose annotations say of what type and in which range each part is.

    Raises
    ------
    MisfitError
        The first part that is something else.

    Examples
    --------
    >>> fitted(1, float), fitted(None, str | None), fitted(["a"], list[str])
    (1.0, None, ['a'])
    >>> fitted({"sizes": [1, True]}, dict[str, list[int]], key="config")
    Traceback (most recent call last):
        ...
    regraft.machine.json_values.MisfitError: 'config[...][1]' must be int, got bool
    """
    # msgspec wants floats themselves, not what is made of them, as numpy.float64.
    plain = float(value) if isinstance(value, float) else value
    try:
        return msgspec.convert(plain, kind)
    except msgspec.ValidationError as error:
        rule, _, path = str(error).replace("`", "").partition(" - at $")
        key = (key + path).lstrip(".")
        raise MisfitError(_explained(rule, key, _found(value, path)), key) from error


def check(values: Mapping[str, Any], kind: type, *, what: str, place: str = "") -> None:
    """Refuse a name that the class `kind` has no field of, and a value that its field cannot have.

    Raises
    ------
    ConfigError
        With near names, or with what the value must be and what was found.

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
    regraft.errors.ConfigError: 'epochs' must be a whole number, got 'three'
      cure:  leave out 'epochs'
    """
    types = _types(kind)
    for name, value in values.items():
        if name not in types:
            near = near_names(name, types, n=1)
            cure = f"did you mean {near[0]!r}?" if near else f"settings: {', '.join(types)}"
            raise ConfigError(f"{what} has no setting {name!r}", place=place, cure=cure)
        try:
            fitted(value, types[name], name)
        except MisfitError as error:
            raise _refusal(name, value, kind, place) from error


def _refusal(name: str, value: object, kind: type, place: str) -> ConfigError:
    wanted = allowed.listed(kind, name) or allowed.in_words(_types(kind)[name])
    rule = f"{name!r} must be {wanted}, got {shown(value)}"
    return ConfigError(rule, place=place, cure=allowed.without_it(kind, name), setting=name)


def shown(value: object) -> str:
    """A value in a message: its beginning, if it is long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


@cache
def _types(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _explained(rule: str, key: str, found: str) -> str:
    """'Expected int >= 0' as "'epochs' must be int >= 0, got -1"."""
    if not rule.startswith("Expected "):  # "Object missing required field x"
        return f"{rule[0].lower()}{rule[1:]}, in {key!r}" if key else rule
    wanted, _, kind = rule.removeprefix("Expected ").partition(", got ")
    return f"{key!r} must be {wanted}, got {found or kind}".removesuffix(", got ")


def _found(value: Any, path: str) -> str:
    """The value at the end of '.regraft.widths[0]'; '' if the path does not name it."""
    try:
        for name, number in re.findall(r"\.([^.\[]+)|\[(\d+|\.+)\]", path):
            value = value[name or int(number)]
    except (LookupError, TypeError, ValueError):
        return ""
    return shown(value)
