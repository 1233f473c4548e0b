"""`regraft features`."""

from __future__ import annotations

import click

from regraft.cli import options
from regraft.record import configuration


@click.command(short_help="the pass over a folder, or a part of it, kept for a later train")
@click.argument("data")
@click.option(
    "--shard",
    default="1/1",
    show_default=True,
    metavar="i/n",
    help="Which part of DATA: shard i of n. Any machine can make any of them, in any order.",
)
@click.option("--out", required=True, metavar="PARTS", help="Folder of the parts.")
@options.backbone
@options.look
@options.columns
@options.scale
@options.runner
@options.keep
@options.no_store
@options.output
def command(
    data: str, shard: str, out: str, runner: str, no_store: bool, offline: bool, as_json: bool,
    quiet: bool, **settings: object,
) -> None:  # fmt: skip
    """Read the images of one shard of DATA, run the network, and keep what it gives in PARTS.

    A part is one file, whole or not there. `regraft train DATA --features PARTS` takes all parts
    together; its numbers are those of a train that reads everything by itself.

    \b
      regraft features photos/ --out parts/
      regraft features photos/ --shard 3/64 --out parts/
      regraft features photos/ --shard $SLURM_ARRAY_TASK_ID/64 --out parts/
      regraft train photos/ --features parts/
    """
    from regraft.console import progress
    from regraft.console.part import show_part
    from regraft.features.shard import Shard
    from regraft.workflows import sharding

    config = configuration.RunConfig.from_dict({"data": data, **settings})
    options.require_usable(config)
    one = Shard.parse(shard)
    options.require_room(out)
    elsewhere = options.elsewhere_of(runner)
    with progress.listening(quiet=quiet, after="writing the part") as listener:
        made = sharding.make_part(
            config, one, out, uses_store=not no_store, offline=offline, listener=listener,
            elsewhere=elsewhere,
        )  # fmt: skip
    show_part(made, as_json=as_json)
