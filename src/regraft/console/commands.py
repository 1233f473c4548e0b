"""Commands that can be typed next, with the options that the same data need again."""

from __future__ import annotations

import shlex

from rich.console import Console
from rich.markup import escape

from regraft.record.configuration import RunConfig
from regraft.wording import printable


def show_next(screen: Console, *commands: str) -> None:
    """Below each other, the likeliest first."""
    for number, command in enumerate(commands):
        heading = "[bold]Next[/]    " if number == 0 else "        "
        screen.print(f"{heading}[bold blue]{escape(command)}[/]", soft_wrap=True)


def command_on(data: str, verb: str, config: RunConfig | None) -> str:
    """Another command on the same data.

    Examples
    --------
    >>> command_on("my photos.csv", "train", RunConfig("my photos.csv", label_column="kind"))
    "regraft train 'my photos.csv' --label-column kind"
    """
    return f"regraft {verb} {quoted(data)}{config.same_data_options if config else ''}"


def quoted(path: str) -> str:
    """For a shell."""
    return shlex.quote(printable(path))
