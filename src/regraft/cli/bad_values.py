"""A value that an option cannot have: the option as it was typed, what it may be, what is meant."""

from __future__ import annotations

import re
from typing import Any

import click
from click.types import FloatParamType, FloatRange, IntParamType, IntRange

from regraft.errors import UsageError
from regraft.machine import allowed

# click says the value in words only: "'x' is not one of ...", "0.0 is not in the range ...".
_VALUE = re.compile(r"'?(?P<value>.*?)'? is not (?:one of|in the range|a valid)", re.DOTALL)


def in_our_words(error: click.BadParameter) -> UsageError | None:
    """The same refusal with the rule, the value and the cure; None if it is of another kind.

    Examples
    --------
    >>> option = click.Option(["--folds"], type=click.IntRange(2))
    >>> error = click.BadParameter("1 is not in the range x>=2.", param=option)
    >>> print(in_our_words(error))
    --folds must be a whole number of 2 or more, got 1
      cure:  --folds 2
    """
    param, said = error.param, _VALUE.match(error.message)
    if param is None or said is None:
        return None
    name, value = _name(param), said["value"]
    if isinstance(param.type, click.Choice):
        choices = [str(choice) for choice in param.type.choices]
        cure = allowed.choice_meant(value, choices)
        return UsageError(f"{name} has no choice {value!r}", cure=cure)
    number = _number(param.type)
    if not number:
        return None
    return UsageError(
        f"{name} must be {number}, got {value or repr(value)}",
        cure=_nearest(param, value) or _default(param),
    )


def as_typed(text: str, setting: str) -> str:
    """A text about a setting of the configuration, with the option that says it.

    Examples
    --------
    >>> as_typed("'batch_size' must be a whole number", "batch_size")
    '--batch-size must be a whole number'
    """
    return text.replace(repr(setting), "--" + setting.replace("_", "-"))


def _name(param: click.Parameter) -> str:
    return param.opts[0] if isinstance(param, click.Option) else param.make_metavar(_NOWHERE)


_NOWHERE = click.Context(click.Command("regraft"))


def _nearest(param: click.Parameter, value: str) -> str:
    """The option at the end of its range that a number lies beyond; '' for all else.

    Examples
    --------
    >>> option = click.Option(["--n"], type=click.IntRange(1, 40))
    >>> _nearest(option, "100"), _nearest(option, "0"), _nearest(option, "x")
    ('--n 40', '--n 1', '')
    """
    kind = param.type
    try:
        number = float(value)
    except ValueError:
        return ""
    if not isinstance(kind, IntRange | FloatRange) or not isinstance(param, click.Option):
        return ""
    if kind.max is not None and number > kind.max and not kind.max_open:
        return f"{param.opts[0]} {kind.max:g}"
    if kind.min is not None and number < kind.min and not kind.min_open:
        return f"{param.opts[0]} {kind.min:g}"
    return ""


def _default(param: click.Parameter) -> str:
    shown = isinstance(param, click.Option) and param.show_default and param.default is not None
    return f"leave out {param.opts[0]}: it is then {param.default}" if shown else ""


def _number(kind: click.ParamType[Any]) -> str:
    if isinstance(kind, IntRange | FloatRange):
        bounds = {
            "gt" if kind.min_open else "ge": kind.min,
            "lt" if kind.max_open else "le": kind.max,
        }
        of = int if isinstance(kind, IntRange) else float
        return allowed.number_in_words(of, **bounds)
    if isinstance(kind, IntParamType):
        return allowed.number_in_words(int)
    return allowed.number_in_words(float) if isinstance(kind, FloatParamType) else ""
