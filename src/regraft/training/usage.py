"""Which setting is for which method; one that would change nothing is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from regraft.errors import ConfigError
from regraft.training.methods import METHODS
from regraft.training.settings import VIEW, TrainingSettings, is_used, option, recipe_of


def settings_for(method: str, values: Mapping[str, Any], *, place: str = "") -> TrainingSettings:
    """The settings of a method, from JSON or options.

    Raises
    ------
    ConfigError
        One is unknown, of another type, out of range, or would change nothing.

    Examples
    --------
    >>> settings_for("full", {"split_point": "layer4"})
    Traceback (most recent call last):
        ...
    regraft.errors.ConfigError: method 'full' does not use --split-point 'layer4'
      cure:  --method partial; or leave out --split-point
    """
    told = _that_change_something(method, values)
    for name, value in told.items():  # before their ranges: the method may have none of them
        if not is_used(name, METHODS[method]):
            raise ConfigError(
                f"method {method!r} does not use {option(name)} {value!r}",
                place=place,
                cure=f"--method {_either(users(name))}; or leave out {option(name)}",
            )
    settings = TrainingSettings.from_dict(values, place=place)
    for name, value in told.items():
        _refuse_without_effect(method, settings, name, value, place)
    return settings


def users(name: str) -> tuple[str, ...]:
    """The methods that look at a setting.

    Examples
    --------
    >>> users("split_point"), users("epochs")
    (('partial',), ('head', 'partial', 'full', 'scratch'))
    """
    return tuple(method for method in METHODS if is_used(name, METHODS[method]))


def _that_change_something(method: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those that say something else than what happens anyway."""
    recipe, fixed = recipe_of(values), METHODS[method].fixed
    found = {}
    for f in fields(TrainingSettings):
        value = values.get(f.name)
        if value is not None and value not in (f.default, recipe.get(f.name), fixed.get(f.name)):
            found[f.name] = value
    return found


def _refuse_without_effect(
    method: str, settings: TrainingSettings, name: str, value: Any, place: str
) -> None:
    sees_it_as_it_is = not METHODS[method].moves_network and (settings.views or 1) == 1
    if sees_it_as_it_is and name in VIEW and value != "none":  # none is what it does
        raise ConfigError(
            f"method {method!r} sees each picture as it is and does not use {option(name)} "
            f"{value!r}",
            place=place,
            cure=f"--views 8 computes features of eight views; or leave out {option(name)}",
        )
    (needs,) = (f.metadata["needs"] for f in fields(TrainingSettings) if f.name == name)
    if needs and not _is_met(getattr(settings, needs[0]), needs[1]):
        raise ConfigError(
            f"{option(name)} {value!r} is used with {option(needs[0])} {needs[1]} only",
            place=place,
            cure=f"{option(needs[0])} {needs[1]}; or leave out {option(name)}",
        )


def _is_met(value: Any, wanted: str) -> bool:
    return bool(value) if wanted.isupper() else value == wanted


def _either(methods: tuple[str, ...]) -> str:
    """'head, partial or full'."""
    *most, last = methods
    return f"{', '.join(most)} or {last}" if most else last
