"""The command `regraft`: each command lies in a file of its own and is imported when it is used."""

from __future__ import annotations

import importlib
import os

import click

from regraft import __version__

COMMANDS = {
    "train": "train a classifier on a folder of photographs and test it",
    "auto": "find the best way that a budget of time allows, by measuring",
    "advise": "say which way suits your data, and what each would cost",
    "compare": "run several ways on the same data: accuracy against time",
    "check": "say what is in a folder of photographs, and what is wrong with it",
    "features": "compute the features of a folder, or a part of it, for a later train",
    "evaluate": "score a saved model on labelled images, with intervals",
    "predict": "label new images with a saved model",
    "serve": "answer over HTTP, with a page to drop pictures on",
    "teach": "teach a folder in the browser: label, see the score, mend, use",
    "calibrate": "let a saved model say what it does not know",
    "explain": "show where a saved model looks, as pictures and numbers",
    "export": "write a model for another runtime, compared on real images",
    "report": "draw a run's page again, or compare runs",
    "lr-find": "find a learning rate: the loss while the rate rises",
    "show": "show what the network will see of your photographs",
    "summary": "list a network's layers, what they cost, and what a method trains",
    "layers": "measure how well each stage of the network serves your data",
    "backbones": "list the networks that can be used",
    "cache": "show what is kept on disk, and free it",
    "demo": "train on real images that come along: 1,797 handwritten digits",
}


class LazyGroup(click.Group):
    """Knows every command's name and one line; imports a command only to run or explain it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(
            f"regraft.cli.{name.replace('-', '_')}"
        ).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if "No such command" not in error.message:
                raise
            from regraft.cli.other_names import hint_for_command
            from regraft.wording import near_names

            near = near_names(args[0], COMMANDS, n=1)
            hint = hint_for_command(args) or (f"Did you mean {near[0]!r}?" if near else "")
            raise click.UsageError(f"{error.message} {hint}".rstrip(), ctx=ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="regraft")
def cli() -> None:
    """Turn a folder of photographs into a tested image classifier.

    \b
    One folder per class is all it needs:
      regraft train photos/                           train, test, save
      regraft predict runs/NAME/model new_photos/     use it

    A network that has learnt from millions of images gets a new last layer for your classes.
    Every score has an interval, and comes from images that taught and chose nothing.
    """


def main() -> None:
    """Run the command line; every error of Regraft becomes one message and its exit code."""
    # Before anything loads OpenMP (libgomp), which reads it once. By default its threads spin for
    # long while they wait for each other: 170 ms a training step on idle cores, 1,700 to 3,300 as
    # soon as other programs run. Spinning a thirtieth as long: 178 and 460 (docs/experiments.md).
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    from regraft.cli import outcome
    from regraft.machine import leaving

    leaving.leave(outcome.of(cli))


if __name__ == "__main__":
    main()
