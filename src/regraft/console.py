"""What people see in a terminal: progress, results, tables; plain lines when it is no terminal.

Only formats. Every number comes from the library, and ``--json`` prints the library's own object.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from regraft.advice import layer_curve
from regraft.experiment import Listener
from regraft.runs import RunConfig

# Above this many classes only the worst are listed, and the confusions instead of the matrix.
MAX_CLASSES_LISTED = 12
SHOWN_PATHS = 3

_SEVERITIES = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def _out() -> Console:
    return Console(highlight=False, soft_wrap=False, width=None if sys.stdout.isatty() else 100)


@contextmanager
def listening(*, quiet: bool) -> Iterator[Listener]:
    """A listener that shows progress on stderr: a bar with rate and time left, or plain lines."""
    if quiet:
        yield Listener(say=_say_plain)
    elif sys.stderr.isatty():
        yield from _bar()
    else:
        yield Listener(say=_say_plain, progress=_plain_progress)


def show_result(result: Any, *, as_json: bool) -> None:
    """A finished run: the score first, then the data, the choice, the time, what to do next."""
    if as_json:
        _print_json(result.metrics)
        return
    findings = [finding.to_dict() for finding in result.prepared.findings]
    _show_run(result.metrics, findings)


def show_metrics(run: Any, *, as_json: bool) -> None:
    """A run that was finished earlier."""
    if as_json:
        _print_json(run.metrics)
        return
    _out().print("[dim]this run is finished already:[/]")
    _show_run(run.metrics, run.findings)


def show_scored(scored: Any, *, as_json: bool) -> None:
    """`regraft evaluate`."""
    if as_json:
        _print_json(scored.to_dict())
        return
    out = _out()
    _score(out, scored.evaluation.to_dict())
    for bad in scored.table.rejected[:SHOWN_PATHS]:
        out.print(f"[yellow]left out[/] {_name(bad.path)}: {escape(bad.reason)}")
    if scored.n_unlabelled:
        out.print(f"{scored.n_unlabelled} images without a label were left out")


def show_check(checked: Any, *, as_json: bool) -> None:
    """`regraft check`."""
    if as_json:
        _print_json(checked.to_dict())
        return
    out = _out()
    content = checked.to_dict()
    out.print(
        f"[bold]{content['images']} images[/] in {len(content['classes'])} classes"
        + (f", {len(content['rejected'])} rejected" if content["rejected"] else "")
    )
    _counts(out, content["counts"])
    for bad in content["rejected"][:10]:
        mend = f"; {escape(bad['mend'])}" if bad["mend"] else ""
        out.print(f"  [red]rejected[/] {_name(bad['path'])}: {escape(bad['reason'])}{mend}")
    if len(content["rejected"]) > 10:
        out.print(f"  … and {len(content['rejected']) - 10} more (--json lists all)")
    findings = [f for f in content["findings"] if f["kind"] != "unreadable"]
    for finding in findings:
        _finding(out, finding, in_full=True)
    if not findings and not content["rejected"]:
        out.print("[green]nothing found that is wrong[/]")
    if not checked.has_errors:
        _next(out, f"regraft train {_quoted(content['source'])}")


def show_layers(curve: Any, *, out: str | None, as_json: bool) -> None:
    """`regraft layers`: a table, a reading, and a picture if a file is named."""
    if out is not None:
        layer_curve.draw(curve.points, curve.n_images, out)
    if as_json:
        _print_json(curve.to_dict())
        return
    screen = _out()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading, side in (("stage", "left"), ("", "left"), ("left-out accuracy", "right")):
        table.add_column(heading, justify=side)  # type: ignore[arg-type]
    best = max(point["accuracy"] for point in curve.points)
    for point in curve.points:
        bar = "█" * round(30 * point["accuracy"])
        style = "bold green" if point["accuracy"] == best else ""
        table.add_row(point["tap"], f"[blue]{bar}[/]", _percent(point["accuracy"]), style=style)
    screen.print(table)
    screen.print(f"n = {curve.n_images} train images, each scored by a fit that did not see it")
    screen.print(layer_curve.read(curve.points, curve.n_images).words)
    if out is not None:
        screen.print(f"picture: {out}")


def show_backbones(found: Sequence[Any], *, pattern: str, as_json: bool) -> None:
    """`regraft backbones`."""
    if as_json:
        print(json.dumps([listed.to_dict() for listed in found]))
        return
    out = _out()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("name", "weights", "licence"):
        table.add_column(heading, overflow="fold")
    for listed in found:
        here = (
            "" if listed.is_here or listed.weights.startswith("hf") else " [dim](not installed)[/]"
        )
        table.add_row(listed.name, escape(listed.weights) + here, listed.licence)
    out.print(table)
    if not pattern:
        out.print(
            "[dim]These need no network. regraft backbones PATTERN lists timm's, e.g. 'resnet*';\n"
            "local-dir:FOLDER, hf-hub:OWNER/REPO and --weights FILE work too.[/]"
        )


def show_cache_sizes(sizes: Sequence[tuple[str, Path, int, int]]) -> None:
    """`regraft cache size`."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading, side in (("kind", "left"), ("size", "right"), ("entries", "right")):
        table.add_column(heading, justify=side)  # type: ignore[arg-type]
    for kind, _, n_bytes, n_entries in sizes:
        table.add_row(kind, _bytes(n_bytes), str(n_entries))
    out = _out()
    out.print(table)
    if sizes:
        out.print(f"in {_name(str(sizes[0][1].parent))}", soft_wrap=True)


def show_cache_list(contents: Any) -> None:
    """`regraft cache list`."""
    out = _out()
    out.print("[bold]engines[/]" + ("" if contents.engines else ": none"))
    for _, info in contents.engines:
        out.print(f"  {info.name} ({info.architecture}), {info.runtime} {info.precision}")
    out.print("[bold]features[/]" + ("" if contents.recipes else ": none"))
    for stored in contents.recipes:
        recipe = stored.recipe or {}
        what = f"{recipe.get('weights_digest', '?')[:8]} {recipe.get('engine', '')}"
        out.print(f"  {stored.n_rows} images, {_bytes(stored.n_bytes)}: weights {what}")
    out.print(", ".join(f"{count} {name}" for name, count in contents.counts.items()))


def show_freed(n_bytes: int) -> None:
    """After `prune` and `clear`."""
    _out().print(f"{_bytes(n_bytes)} freed")


def show_verified(report: Any) -> None:
    """`regraft cache verify`."""
    out = _out()
    for problem in report.problems:
        out.print(f"[red]wrong[/] {escape(problem)}")
    out.print(
        f"{report.n_compared} features computed again, largest difference {report.worst:.1e}; "
        f"{report.n_gone} not comparable (image or engine gone)"
    )
    if report.is_good:
        out.print("[green]the store tells the truth[/]")


def say_next(text: str) -> None:
    """One line on stderr."""
    Console(stderr=True, highlight=False).print(f"[dim]{escape(text)}[/]", soft_wrap=True)


def _show_run(metrics: Mapping[str, Any], findings: Sequence[Mapping[str, Any]]) -> None:
    out = _out()
    _score(out, metrics["evaluation"])
    _beside(out, metrics)
    _data(out, metrics, findings)
    _choice(out, metrics)
    _time(out, metrics)
    out.print(f"[bold]Saved[/]   {_name(metrics['model'])}", soft_wrap=True)
    model = _quoted(metrics["model"])
    _next(
        out,
        f"regraft predict {model} new_photos/",
        f"regraft layers {_quoted(metrics['data']['source'])}",
    )


def _score(out: Console, evaluation: Mapping[str, Any]) -> None:
    accuracy = evaluation["accuracy"]
    where = f" {evaluation['split']}" if evaluation["split"] not in ("", "all") else ""
    out.print(
        f"[bold green]{_percent(accuracy['value'])}[/] of {evaluation['n']}{where} images right "
        f"({accuracy['level']:.0%} interval {_range(accuracy)})"
    )
    out.print()
    _per_class(out, evaluation)
    _confusion(out, evaluation)


def _per_class(out: Console, evaluation: Mapping[str, Any]) -> None:
    rows = evaluation["per_class"]
    shown = rows
    if len(rows) > MAX_CLASSES_LISTED:
        shown = sorted(rows, key=lambda r: (r["f1"]["value"] is None, r["f1"]["value"] or 0))
        shown = shown[:MAX_CLASSES_LISTED]
        out.print(f"the {len(shown)} weakest of {len(rows)} classes (metrics.json has all)")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("class", overflow="fold", max_width=28)
    for heading in ("images", "recall", "interval", "precision", "F1"):
        table.add_column(heading, justify="right")
    for row in shown:
        table.add_row(
            escape(_printable(row["label"])),
            str(row["n"]),
            _percent(row["recall"]["value"]),
            _range(row["recall"], short=True),
            _percent(row["precision"]["value"]),
            _percent(row["f1"]["value"]),
        )
    out.print(table)
    out.print()


def _confusion(out: Console, evaluation: Mapping[str, Any]) -> None:
    names = [row["label"] for row in evaluation["per_class"]]
    matrix = evaluation["confusion"]
    if len(names) > MAX_CLASSES_LISTED:
        _worst_confusions(out, names, matrix)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    table.add_column("is \\ called")
    for name in names:
        table.add_column(_short(name, 9), justify="right")
    for i, name in enumerate(names):
        cells = [
            f"[green]{n}[/]" if i == j else (f"[red]{n}[/]" if n else "[dim]·[/]")
            for j, n in enumerate(matrix[i])
        ]
        table.add_row(_short(name, 16), *cells)
    out.print(table)
    out.print()


def _worst_confusions(out: Console, names: list[str], matrix: list[list[int]]) -> None:
    pairs = [
        (n, names[i], names[j])
        for i, row in enumerate(matrix)
        for j, n in enumerate(row)
        if i != j and n
    ]
    for n, truth, called in sorted(pairs, key=lambda pair: (-pair[0], pair[1:]))[:5]:
        out.print(f"  {n} x {_short(truth, 30)} called {_short(called, 30)}")
    out.print()


def _beside(out: Console, metrics: Mapping[str, Any]) -> None:
    baselines = [f"{name} {_percent(e['value'])}" for name, e in metrics["baselines"].items()]
    out.print(f"[bold]Beside[/]  {', '.join(baselines)}")
    leaks = metrics["leaks"]
    if leaks["images"] and leaks["evaluation_without"]:
        clean = leaks["evaluation_without"]["accuracy"]
        out.print(
            f"        without the {leaks['images']} images that have a copy in train: "
            f"{_percent(clean['value'])} ({_range(clean)})"
        )


def _data(out: Console, metrics: Mapping[str, Any], findings: Sequence[Mapping[str, Any]]) -> None:
    data = metrics["data"]
    splits = ", ".join(f"{n} {name}" for name, n in data["splits"].items())
    made = " (divided here, by content)" if data["splits_assigned"] else ""
    rejected = f"; [red]{data['rejected']} rejected[/]" if data["rejected"] else ""
    out.print(
        f"[bold]Data[/]    {data['images']} images, {len(data['classes'])} classes: "
        f"{splits}{made}{rejected}"
    )
    for finding in findings[:4]:
        _finding(out, finding, in_full=False)
    if findings:
        more = f"{len(findings)} findings in all: " if len(findings) > 4 else ""
        out.print(f"        [dim]{more}regraft check {escape(_quoted(data['source']))}[/]")


def _choice(out: Console, metrics: Mapping[str, Any]) -> None:
    chosen = metrics["chosen"]
    taps = _taps_in_words(chosen["taps"], metrics)
    strength = f", strength {chosen['strength']:.3g}" if chosen["strength"] is not None else ""
    out.print(f"[bold]Chosen[/]  {escape(taps)}; {chosen['head']} head{strength}")
    if chosen["candidates"]:
        out.print(f"        [dim]by {escape(chosen['by'])}[/]")
    curve = metrics["layers"]
    if len(curve) > 1:
        n = chosen["candidates"][0]["n"]
        ends = f"{curve[0]['tap']} {_percent(curve[0]['accuracy'])}"
        out.print(
            f"[bold]Layers[/]  {layer_curve.bars(curve)}  {ends} … "
            f"{curve[-1]['tap']} {_percent(curve[-1]['accuracy'])}"
        )
        out.print(f"        {layer_curve.read(curve, n).words}")


def _taps_in_words(taps: Sequence[str], metrics: Mapping[str, Any]) -> str:
    stages = [t for t in taps if t not in ("final", "source")]
    words = []
    if len(stages) > 1:
        words.append(f"stages {stages[0]} to {stages[-1]}")
    elif stages:
        words.append(f"stage {stages[0]}")
    if "final" in taps:
        words.append("the final features")
    if "source" in taps:
        words.append("the probabilities of the source classes")
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def _time(out: Console, metrics: Mapping[str, Any]) -> None:
    seconds, features = metrics["seconds"], metrics["features"]
    parts = [
        f"{name} {value:.1f}"
        for name, value in seconds.items()
        if name != "total" and value >= 0.05
    ]
    out.print(f"[bold]Time[/]    {seconds['total']:.1f} s ({', '.join(parts)})")
    speed = features["pass"]
    if features["computed"]:
        out.print(
            f"        {features['computed']} images read at {speed['images_per_second']:.0f}/s, "
            f"{speed['share_of_limit']:.0%} of this machine's limit; {features['engine']}"
        )
    if features["from_store"]:
        out.print(f"        {features['from_store']} images from the store, not read again")


def _finding(out: Console, finding: Mapping[str, Any], *, in_full: bool) -> None:
    style = _SEVERITIES[finding["severity"]]
    out.print(f"        [{style}]{finding['severity']}[/] {escape(_printable(finding['message']))}")
    if not in_full:
        return
    for path in finding["paths"][:SHOWN_PATHS]:
        out.print(f"          {_name(path)}", soft_wrap=True)
    if len(finding["paths"]) > SHOWN_PATHS:
        out.print(f"          … and {len(finding['paths']) - SHOWN_PATHS} more")
    if finding.get("why"):
        out.print(f"          [dim]{escape(finding['why'])}[/]")
    out.print(f"          [green]{escape(finding['mend'])}[/]")


def _counts(out: Console, counts: Mapping[str, Mapping[str, int]]) -> None:
    for split, classes in counts.items():
        listed = ", ".join(f"{_printable(name)} {n}" for name, n in list(classes.items())[:8])
        more = f", … {len(classes) - 8} more" if len(classes) > 8 else ""
        out.print(f"  {split}: {sum(classes.values())} ({escape(listed)}{more})")


def _next(out: Console, *commands: str) -> None:
    for number, command in enumerate(commands):
        heading = "[bold]Next[/]    " if number == 0 else "        "
        out.print(f"{heading}[bold blue]{escape(command)}[/]", soft_wrap=True)


def _print_json(content: Mapping[str, Any]) -> None:
    print(json.dumps(content, allow_nan=False))


def _say_plain(text: str) -> None:
    print(f"regraft: {text}", file=sys.stderr, flush=True)


def _plain_progress(stage: str, done: int, total: int) -> None:
    if total >= 10 and done % max(1, total // 10) == 0:
        print(f"regraft: {done} of {total} {stage}", file=sys.stderr, flush=True)


def _bar() -> Iterator[Listener]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    screen = Console(stderr=True, highlight=False)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=screen, transient=True, refresh_per_second=8) as progress:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total, rate="")
            task = progress.tasks[tasks[stage]]
            rate = f"{task.speed:.0f}/s" if task.speed else ""
            progress.update(tasks[stage], completed=done, rate=rate)

        yield Listener(say=lambda text: progress.console.print(escape(text)), progress=show)


def _percent(value: float | None) -> str:
    if value is None:
        return "–"
    shown = f"{100 * value:.1f}"
    return f"{shown if shown != '100.0' or value == 1 else '99.9'} %"


def _range(estimate: Mapping[str, Any], *, short: bool = False) -> str:
    if estimate["value"] is None or estimate["low"] is None:
        return "–"
    low, high = 100 * estimate["low"], 100 * estimate["high"]
    return f"{low:.0f}–{high:.0f} %" if short else f"{low:.1f} to {high:.1f} %"


def _bytes(n: int) -> str:
    size = float(n)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def _printable(text: str) -> str:
    """Text that any terminal can show on one line, whatever bytes a name holds."""
    plain = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in plain)


def _name(path: str) -> str:
    return escape(_printable(path))


def _short(name: str, width: int) -> str:
    plain = _printable(name)
    return escape(plain if len(plain) <= width else plain[: width - 1] + "…")


def _quoted(path: str) -> str:
    import shlex

    return shlex.quote(_printable(path))


__all__ = [
    "RunConfig",
    "listening",
    "say_next",
    "show_backbones",
    "show_cache_list",
    "show_cache_sizes",
    "show_check",
    "show_freed",
    "show_layers",
    "show_metrics",
    "show_result",
    "show_scored",
    "show_verified",
]
