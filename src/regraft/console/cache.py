"""`regraft cache`: what is kept on disk, what was freed, whether the features are right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regraft.console.screen import bare_table, hang, stdout
from regraft.console.wording import literal
from regraft.machine.cache import in_words
from regraft.wording import count

# What the store counts, one of each.
_ONE = {
    "files": "file", "facts": "fact", "recipes": "recipe", "batches": "batch",
    "features": "feature", "sets of decoded images": "set of decoded images",
}  # fmt: skip


def show_cache_sizes(sizes: Sequence[tuple[str, Path, int, int]], *, limit: int) -> None:
    """`regraft cache size`; `limit` is what the features may take."""
    table = bare_table()
    table.add_column("kind")
    table.add_column("size", justify="right")
    table.add_column("entries", justify="right")
    for kind, _, n_bytes, n_entries in sizes:
        table.add_row(kind, in_words(n_bytes), str(n_entries))
    screen = stdout()
    screen.print(table)
    if sizes:
        screen.print(f"in {literal(str(sizes[0][1].parent))}", soft_wrap=True)
    for words in (
        f"features: at most {in_words(limit)} (REGRAFT_CACHE_LIMIT); the least recently used go",
        "pixels, activations: --budget-gib of a training; engines, archives: no limit",
    ):
        hang(screen, "", words, indent=0)


def show_cache_list(contents: Any) -> None:
    """`regraft cache list`."""
    screen = stdout()
    screen.print("[bold]engines[/]" + ("" if contents.engines else ": none"))
    alike = Counter(
        f"{info.name} ({info.architecture}), {info.runtime} {info.precision}"
        for _, info in contents.engines
    )
    for words, n in alike.items():
        times = f": {n} engines" if n > 1 else ""
        screen.print(f"  {words}{times}")
    screen.print("[bold]features[/]" + ("" if contents.recipes else ": none"))
    for stored in contents.recipes:
        recipe = stored.recipe or {}
        what = f"{recipe.get('weights_digest', '?')[:8]} {recipe.get('engine', '')}"
        kept = f"{count(stored.n_rows, 'image')}, {in_words(stored.n_bytes)}"
        screen.print(f"  {kept}: weights {what}")
    counts = (count(n, _ONE.get(name, name), name) for name, n in contents.counts.items())
    hang(screen, "", ", ".join(counts), indent=0)


def show_freed(n_bytes: int) -> None:
    """After `clear`."""
    stdout().print(f"{in_words(n_bytes)} freed")


def show_pruned(n_bytes: int, *, now: int, limit: int) -> None:
    """After `prune`: what was freed, and how the store stands to its limit."""
    stdout().print(
        f"{in_words(n_bytes)} freed; the features take {in_words(now)} now, the limit is "
        f"{in_words(limit)}",
        soft_wrap=True,
    )


def show_verified(report: Any) -> None:
    """`regraft cache verify`."""
    screen = stdout()
    for problem in report.problems:
        screen.print(f"[red]wrong[/] {literal(problem)}", soft_wrap=True)
    if not report.n_stored and report.is_good:
        screen.print("no features are stored yet, so there is nothing to verify")
        return
    screen.print(
        f"{count(report.n_compared, 'feature')} computed again, largest difference "
        f"{report.worst:.1e}; {report.n_gone} not comparable (image or engine gone)"
    )
    if report.is_good:
        screen.print("[green]every feature that was computed again is as it was kept[/]")
