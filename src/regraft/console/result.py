"""A run's result: the score first, then the data, the choice, the time, what to do next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from regraft.console.baselines import show_baselines
from regraft.console.bill import show_settled
from regraft.console.choice import show_choice
from regraft.console.commands import command_on, quoted, show_next
from regraft.console.evaluation import show_classes, show_score
from regraft.console.finding import show_finding
from regraft.console.promises import show_promises
from regraft.console.screen import INDENT, hang, stdout
from regraft.console.training import show_training
from regraft.console.verdict import show_cross_validated, show_steps, show_verdict
from regraft.console.wording import literal, whole_percent
from regraft.record.configuration import RunConfig
from regraft.wording import count

MOST_FINDINGS = 4


def show_result(result: Any, *, config: RunConfig | None = None) -> None:
    """Of a run that has just finished."""
    findings = [finding.to_dict() for finding in result.prepared.findings]
    table = result.prepared.table
    counts = Counter(str(label) for label in table.labels[table.splits == "train"])
    _show_run(stdout(), result.metrics, findings, config, counts)


def show_finished(run: Any, *, config: RunConfig | None = None) -> None:
    """Of a run that was finished earlier."""
    screen = stdout()
    screen.print("[dim]this run is finished already:[/]")
    _show_run(screen, run.metrics, run.findings, config, {})


def _show_run(
    screen: Console,
    metrics: Mapping[str, Any],
    findings: Sequence[Mapping[str, Any]],
    config: RunConfig | None,
    train_counts: Mapping[str, int],
) -> None:
    show_score(screen, metrics["evaluation"])
    show_cross_validated(screen, metrics)
    show_verdict(screen, metrics)
    screen.print()
    show_classes(screen, metrics["evaluation"])
    show_baselines(screen, metrics, config, train_counts)
    _data(screen, metrics["data"], findings, config)
    show_choice(screen, metrics)
    show_promises(screen, metrics)
    show_training(screen, metrics)
    _time(screen, metrics)
    screen.print(f"[bold]Saved[/]   {literal(metrics['model'])}", soft_wrap=True)
    if not show_steps(screen, metrics):
        show_next(screen, f"regraft predict {quoted(metrics['model'])} new_photos/")


def _data(
    screen: Console,
    data: Mapping[str, Any],
    findings: Sequence[Mapping[str, Any]],
    config: RunConfig | None,
) -> None:
    splits = ", ".join(f"{n} {name}" for name, n in data["splits"].items())
    made = f" (divided here, by content{_shares(data)})" if data["splits_assigned"] else ""
    rejected = f"; [red]{data['rejected']} rejected[/]" if data["rejected"] else ""
    hang(
        screen,
        "Data",
        f"{count(data['images'], 'image')}, {count(len(data['classes']), 'class', 'classes')}: "
        f"{splits}{made}{rejected}",
    )
    for finding in findings[:MOST_FINDINGS]:
        show_finding(screen, finding)
    if findings:
        more = f"{len(findings)} findings in all: " if len(findings) > MOST_FINDINGS else ""
        command = command_on(data["source"], "check", config)
        screen.print(f"{' ' * INDENT}[dim]{more}{escape(command)}[/]", soft_wrap=True)


def _shares(data: Mapping[str, Any]) -> str:
    """How much of each class is tested, from the least to the most."""
    counts = data.get("counts", {})
    if not {"train", "test"} <= counts.keys():
        return ""
    tested = counts["test"]
    shares = [n / max(1, n + counts["train"][label]) for label, n in tested.items()]
    low, high = whole_percent(min(shares)), whole_percent(max(shares))
    each = f"{low} to {high}" if low != high else low
    return f", {each.replace(' % to', ' to')} of each class tested"


def _time(screen: Console, metrics: Mapping[str, Any]) -> None:
    seconds, features = metrics["seconds"], metrics["features"]
    parts = [
        f"{name} {value:.1f}"
        for name, value in seconds.items()
        if name != "total" and value >= 0.05
    ]
    each = f" ({', '.join(parts)})" if parts else ""
    hang(screen, "Time", f"{seconds['total']:.1f} s{each}")
    show_settled(screen, metrics)
    speed = features["pass"]
    if features["computed"]:
        hang(
            screen,
            "",
            f"{count(features['computed'], 'image')} read at {speed['images_per_second']:.0f}/s, "
            f"{whole_percent(speed['share_of_limit'])} of what these cores can do; "
            f"{escape(features['engine'])}",
        )
    if n_known := features.get("known"):
        words = (
            f"{count(n_known, 'image')} read but not computed: copies, or known by their content"
        )
        hang(screen, "", words)
    if features.get("from_parts"):
        hang(screen, "", f"{count(features['from_parts'], 'image')} from parts, not read here")
    if features["from_store"]:
        hang(screen, "", f"{count(features['from_store'], 'image')} from the store, not read again")
