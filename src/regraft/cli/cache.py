"""`regraft cache`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from regraft.machine import cache

F = TypeVar("F", bound=Callable[..., Any])


@click.group(
    name="cache", invoke_without_command=True, short_help="what is kept on disk; how to free it"
)
@click.pass_context
def command(ctx: click.Context) -> None:
    """What Regraft keeps on disk (REGRAFT_CACHE says where), and how to free it.

    Everything in the cache can be made again; models and runs are not in it.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(size)


@command.command("list", short_help="engines and kinds of features that are kept")
def list_recipes() -> None:
    """Engines, kinds of features, and how many sets of decoded images are kept."""
    from regraft.console.cache import show_cache_list
    from regraft.features import upkeep

    show_cache_list(upkeep.contents())


@command.command(short_help="bytes on disk, by kind")
def size() -> None:
    """Bytes on disk, by kind."""
    from regraft.console.cache import show_cache_sizes

    show_cache_sizes(cache.sizes(), limit=cache.size_limit())


@command.command(short_help="drop the features unused for longest, down to a size")
@click.option(
    "--limit",
    metavar="SIZE",
    help="Size to come down to, such as 5G. Default: REGRAFT_CACHE_LIMIT, else 20G or a tenth of "
    "the disk.",
)
def prune(limit: str | None) -> None:
    """Drop the features that were not used for longest, down to a size.

    \b
      regraft cache prune --limit 5G
    """
    from regraft.console.cache import show_pruned
    from regraft.features import upkeep

    n_bytes = upkeep.prune(limit)
    now = next(size for kind, _, size, _ in cache.sizes() if kind == "features")
    show_pruned(n_bytes, now=now, limit=cache.size_limit(limit))


def _kinds(function: F) -> F:
    """Decorator: a flag for each kind of content."""
    for kind, words in reversed(cache.KINDS.items()):
        function = click.option(f"--{kind}", is_flag=True, help=f"{words.capitalize()}.")(function)
    return function


@command.command(short_help="remove all that is kept, or the kinds that are named")
@_kinds
def clear(**kinds: bool) -> None:
    """Remove what is kept: all, or only the kinds that are named.

    \b
      regraft cache clear --features
    """
    from regraft.console.cache import show_freed

    chosen = [kind for kind, wanted in kinds.items() if wanted] or list(kinds)
    show_freed(cache.clear(chosen))


@command.command(short_help="check checksums, and compute a sample again")
@click.option("--sample", default=16, show_default=True, help="Features to compute again.")
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Random seed of the sample.",
)
def verify(sample: int, seed: int) -> int:
    """Check every stored row's checksum, and compute a sample again and compare."""
    from regraft.console.cache import show_verified
    from regraft.features import upkeep

    report = upkeep.verify(sample, seed=seed)
    show_verified(report)
    return 0 if report.is_good else 1
