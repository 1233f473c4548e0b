"""An argument or option that was left out, with a line that has it; and a name without quotes."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import click

from regraft.errors import UsageError
from regraft.wording import listed

# In a help, the first of the lines that can be typed: they stand under click's mark \b.
_EXAMPLE = re.compile(r"\x08\n *(regraft .*)")


def in_our_words(error: click.MissingParameter) -> UsageError:
    """Everything that the command still needs, and the first line of its help that has it."""
    context = error.ctx
    assert context is not None  # click's parser gives it
    absent = [
        _shown(param, context)
        for param in context.command.params
        if param.required and context.params.get(param.name or "") in (None, ())
    ]
    return UsageError(
        f"{context.info_name} needs {listed(absent)}", cure=example_of(context.command)
    )


def example_of(command: click.Command) -> str:
    r"""The first line in a command's help that can be typed; '' if it has none.

    Examples
    --------
    >>> example_of(click.Command("x", help="Do it.\n\n\b\n  regraft x photos/\n  regraft x b/"))
    'regraft x photos/'
    """
    found = _EXAMPLE.search(command.help or "")
    return found[1].strip() if found else ""


def name_in_quotes(error: click.ClickException, typed: Sequence[str]) -> str:
    """The quotes that a name with blanks needs, where something lies there; else ''.

    Examples
    --------
    >>> name_in_quotes(click.UsageError("Got unexpected extra argument (x)"), ["train", "x"])
    ''
    """
    if not error.format_message().startswith("Got unexpected extra argument"):
        return ""
    for start in range(len(typed)):
        for stop in range(start + 2, len(typed) + 1):
            name = " ".join(typed[start:stop])
            if os.path.exists(name):
                return f"(a name with blanks needs quotes: {name!r})"
    context = getattr(error, "ctx", None)
    example = example_of(context.command) if context is not None else ""
    return f"(such as: {example})" if example else ""


def _shown(param: click.Parameter, context: click.Context) -> str:
    name = param.make_metavar(context).removesuffix("...")
    if isinstance(param, click.Argument):
        return name
    if isinstance(param.type, click.Choice):
        return f"{param.opts[0]}, one of {', '.join(map(str, param.type.choices))},"
    return f"{param.opts[0]} {name}"
