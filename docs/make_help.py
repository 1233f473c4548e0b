"""Writes docs/help.md from the commands' own ``--help``; a test compares the two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from regraft.cli.main import cli

PAGE = Path(__file__).with_name("help.md")
WIDTH = 80
HEAD = """# Every command's help

<!-- Written by `make docs` from the commands themselves: do not edit it by hand. -->
"""


def page() -> str:
    """The whole of docs/help.md."""
    parts = [f"## {name}\n\n```text\n{text}\n```\n" for name, text in helps(cli, "regraft")]
    return "\n".join([HEAD, *parts])


def helps(
    command: click.Command, name: str, parent: click.Context | None = None
) -> Iterator[tuple[str, str]]:
    """``(name, help)`` of a command and of every command under it, in their own order."""
    settings = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    context = click.Context(command, info_name=name, parent=parent, **settings)
    yield (
        context.command_path,
        "\n".join(line.rstrip() for line in command.get_help(context).splitlines()),
    )
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None and not found.hidden:
                yield from helps(found, child, context)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
