"""Options of the methods that learn by gradients, made from the list of their settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, fields
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

import click

from regraft.record import configuration
from regraft.training.methods import METHODS, TRAINED
from regraft.training.settings import TrainingSettings, option
from regraft.training.usage import users

if TYPE_CHECKING:
    from regraft.record.configuration import RunConfig

F = TypeVar("F", bound=Callable[..., Any])
_KINDS: dict[Any, Any] = {int: click.INT, float: click.FLOAT, str: click.STRING}
NAMES = tuple(field.name for field in fields(TrainingSettings))
# Of each setting, without the None that means "chosen".
_TYPES = {n: (get_args(kind) or (kind,))[0] for n, kind in get_type_hints(TrainingSettings).items()}


def training(function: F) -> F:
    """Decorator: one option per setting; those that are not typed come as None."""
    for field in reversed(fields(TrainingSettings)):
        function = _option(field)(function)
    return function


def given(options: dict[str, Any]) -> dict[str, Any] | None:
    """Takes the training settings that were typed out of all options."""
    found = {name: options.pop(name) for name in NAMES}
    typed = {name: value for name, value in found.items() if value is not None}
    return typed or None


def configured(
    data: str, taps: str | None, class_weight: str, settings: dict[str, Any]
) -> RunConfig:
    """The run that was typed: DATA and all options that say what a run does."""

    return configuration.RunConfig.from_dict(
        settings
        | {
            "training": given(settings),
            "data": data,
            "taps": taps.split(",") if taps else None,
            "class_weight": None if class_weight == "none" else class_weight,
        }
    )


def _option(field: Field[Any]) -> Callable[[F], F]:
    kind, choices = _TYPES[field.name], field.metadata["choices"]
    flag = option(field.name)
    if kind is bool:
        flag = f"{flag}/{flag.replace('--', '--no-', 1)}"
    type_ = click.Choice(choices) if choices else _KINDS.get(kind)
    return click.option(flag, field.name, type=type_, default=None, help=_help(field))


def _help(field: Field[Any]) -> str:
    """What it is, for which methods if not for all that train, and what it is if not given."""
    methods, needs = users(field.name), field.metadata["needs"]
    only = [", ".join(methods)] if methods not in (TRAINED, tuple(METHODS)) else []
    if needs:
        only.append(f"with {option(needs[0])} {needs[1]}")
    limits = f" ({'; '.join(only)})" if only else ""
    words = f"{field.metadata['words']}{limits}."
    if field.default not in (None, "", 0, 0.0, False):
        words += f"  [default: {_shown(field.default)}]"
    return words


def _shown(value: Any) -> str:
    return "on" if value is True else str(value)
