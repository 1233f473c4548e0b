"""A part that was made, in a line or as JSON."""

from __future__ import annotations

import sys

from regraft.console.commands import command_on, quoted
from regraft.console.json_line import print_json
from regraft.console.lines import beside, width_of, wrapped
from regraft.console.screen import say_aside
from regraft.wording import count
from regraft.workflows.sharding import Made

_SHOWN = 10


def show_part(made: Made, *, as_json: bool) -> None:
    """What is in the part, and what uses it."""
    if as_json:
        print_json(made.to_dict())
        return
    were = "is there already" if made.was_there else "made"
    text = f"shard {made.part.shard} {were}: {count(len(made.part.good), 'image')}"
    width = width_of(sys.stdout)
    print(beside(f"{text},", str(made.path), width).replace(",  ", ", "))
    rejected = made.rejected
    for name, reason in rejected[:_SHOWN]:
        print(wrapped(f"not read: {name}: {reason}", width, lead="  "))
    if len(rejected) > _SHOWN:
        print(f"  … and {len(rejected) - _SHOWN:,} more (--json lists all)")
    sys.stdout.flush()
    if n_unread := len(made.part.unread):
        again = f"the same command asks again for {count(n_unread, 'image')}"
        say_aside(f"{again} that could not be read")
    if made.part.shard.number == made.part.shard.of:
        train = command_on(made.config.data, "train", made.config)
        say_aside(f"with all parts: {train} --features {quoted(str(made.path.parent))}")
