"""What people see in a terminal: progress, results, tables; plain lines when it is no terminal.

Only formats. Every number comes from the library, and ``--json`` prints the library's own object.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from regraft.advice import layer_curve
from regraft.cache import in_words
from regraft.report.lettering import printable as _printable
from regraft.runs import RunConfig

# Above this many classes only the worst are listed, and the confusions instead of the matrix.
MAX_CLASSES_LISTED = 12
SHOWN_PATHS = 3
# Lines under a heading begin here.
INDENT = 8
# The largest class (of what is scored, or learnt from) over the smallest that passes for even.
EVEN = 1.5
# Below this many scored images the result says so.
FEW_SCORED = 30

_SEVERITIES = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def _out() -> Console:
    return Console(highlight=False, soft_wrap=False, width=None if sys.stdout.isatty() else 100)


def show_result(result: Any, *, as_json: bool, config: RunConfig | None = None) -> None:
    """A finished run: the score first, then the data, the choice, the time, what to do next."""
    if as_json:
        _print_json(result.metrics)
        return
    findings = [finding.to_dict() for finding in result.prepared.findings]
    table = result.prepared.table
    counts = Counter(str(label) for label in table.labels[table.splits == "train"])
    _show_run(result.metrics, findings, config, counts)


def show_metrics(run: Any, *, as_json: bool, config: RunConfig | None = None) -> None:
    """A run that was finished earlier."""
    if as_json:
        _print_json(run.metrics)
        return
    _out().print("[dim]this run is finished already:[/]")
    _show_run(run.metrics, run.findings, config, {})


def show_scored(scored: Any, *, as_json: bool) -> None:
    """`regraft evaluate`."""
    if as_json:
        _print_json(scored.to_dict())
        return
    out = _out()
    _score(out, scored.evaluation.to_dict())
    show_left_out(scored.table.rejected)
    if scored.n_learnt_from:
        known = f"{scored.n_learnt_from} of these images are what the model learnt from"
        if scored.counts_them:
            out.print(f"[yellow]{known}, and they are in this score: it flatters[/]")
        else:
            out.print(f"{known}; they are left out of this score (--split all counts them)")
    if scored.n_unlabelled:
        were = "was" if scored.n_unlabelled == 1 else "were"
        out.print(f"{_count(scored.n_unlabelled, 'image')} without a label {were} left out")


def show_left_out(rejected: Sequence[Any]) -> None:
    """The first of the files that could not be read, with the reasons."""
    out = _out()
    for bad in rejected[:SHOWN_PATHS]:
        out.print(
            f"[yellow]left out[/] {_name(bad.path)}: {escape(bad.reason)}",
            soft_wrap=True,
        )
    if len(rejected) > SHOWN_PATHS:
        out.print(f"… and {len(rejected) - SHOWN_PATHS} more left out (--json lists all)")


def show_explained(explained: Any, *, as_json: bool) -> None:
    """`regraft explain`: a line an image, then where the pictures are and how they were made."""
    if as_json:
        for row in explained.rows():
            _print_json(row)
        return
    out = _out()
    for image in explained.images:
        speaks = "" if image["explained"] == image["label"] else f"  for {image['explained']}:"
        middle = "nothing speaks for it"
        if image["in_middle"] is not None:
            middle = f"{100 * image['in_middle']:.0f} % of the heat in the middle"
        out.print(
            f"{_name(image['path'])}  [bold]{_name(image['label'])}[/] "
            f"{100 * image['probability']:.1f} %{_name(speaks)}  {middle}",
            soft_wrap=True,
        )
        for near in image["nearest"]:
            out.print(f"  like {near['similarity']:.2f}  {_name(near['path'])}", soft_wrap=True)
    for bad in explained.rejected:
        line = f"regraft: {_printable(bad.path)}: not read: {bad.reason}"
        print(line, file=sys.stderr, flush=True)
    if explained.images:
        pictures = _count(len(explained.images), "picture")
        out.print(f"{pictures} and maps.json in {_name(explained.folder)}", soft_wrap=True)
        _hang(out, f"{explained.method}:", escape(explained.why))
    for note in explained.notes:
        _hang(out, "note:", escape(note))


def show_check(checked: Any, *, as_json: bool, config: RunConfig | None = None) -> None:
    """`regraft check`."""
    if as_json:
        _print_json(checked.to_dict())
        return
    out = _out()
    content = checked.to_dict()
    out.print(
        f"[bold]{_count(content['images'], 'image')}[/] in "
        f"{_count(len(content['classes']), 'class', 'classes')}"
        + (f", {len(content['rejected'])} rejected" if content["rejected"] else "")
    )
    _counts(out, content["counts"])
    for bad in content["rejected"][:10]:
        mend = f"; {escape(bad['mend'])}" if bad["mend"] else ""
        out.print(
            f"  [red]rejected[/] {_name(bad['path'])}: {escape(bad['reason'])}{mend}",
            soft_wrap=True,
        )
    if len(content["rejected"]) > 10:
        out.print(f"  … and {len(content['rejected']) - 10} more (--json lists all)")
    findings = [f for f in content["findings"] if f["kind"] != "unreadable"]
    for finding in findings:
        _finding(out, finding, in_full=True)
    if not findings and not content["rejected"]:
        out.print("[green]nothing found that is wrong[/]")
    if not checked.has_errors:
        _next(out, f"regraft train {_quoted(content['source'])}{_repeated(config)}")


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
    _hang(
        screen,
        "",
        f"n = {_count(curve.n_images, 'train image')}, each scored by a fit that did not see it",
        indent=0,
    )
    _hang(screen, "", escape(layer_curve.read(curve.points, curve.n_images).words), indent=0)
    if out is not None:
        screen.print(f"picture: {_name(out)}", soft_wrap=True)


def show_backbones(found: Sequence[Any], *, pattern: str, as_json: bool) -> None:
    """`regraft backbones`."""
    if as_json:
        print(json.dumps([listed.to_dict() for listed in found]))
        return
    out = _out()
    rows = [(one.name, _weights_in_words(one), _licence_in_words(one.licence)) for one in found]
    width = max(len("name"), *(len(name) for name, _, _ in rows))
    second = max(len("weights"), *(len(weights) for _, weights, _ in rows))
    out.print(f"[bold]{'name':{width}}  {'weights':{second}}  licence[/]", soft_wrap=True)
    for name, weights, licence in rows:
        line = f"{name:{width}}  {weights:{second}}  {licence}"
        out.print(escape(line), soft_wrap=True)
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
        table.add_row(kind, in_words(n_bytes), str(n_entries))
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
        out.print(f"  {_count(stored.n_rows, 'image')}, {in_words(stored.n_bytes)}: weights {what}")
    out.print(", ".join(f"{count} {name}" for name, count in contents.counts.items()))


def show_freed(n_bytes: int) -> None:
    """After `clear`."""
    _out().print(f"{in_words(n_bytes)} freed")


def show_pruned(n_bytes: int, *, now: int, limit: int) -> None:
    """After `prune`: what was freed, and how the store stands to its limit."""
    _out().print(
        f"{in_words(n_bytes)} freed; the features take {in_words(now)} now, the limit is "
        f"{in_words(limit)}",
        soft_wrap=True,
    )


def show_verified(report: Any) -> None:
    """`regraft cache verify`."""
    out = _out()
    for problem in report.problems:
        out.print(f"[red]wrong[/] {_name(problem)}", soft_wrap=True)
    if not report.n_stored and report.is_good:
        out.print("no features are stored yet, so there is nothing to verify")
        return
    out.print(
        f"{_count(report.n_compared, 'feature')} computed again, largest difference "
        f"{report.worst:.1e}; {report.n_gone} not comparable (image or engine gone)",
        soft_wrap=True,
    )
    if report.is_good:
        out.print("[green]the store tells the truth[/]")


def show_page(page: Path, *, as_json: bool) -> None:
    """`regraft report` of one run."""
    if as_json:
        _print_json({"schema": 1, "report": str(page)})
        return
    _out().print(f"[bold]Report[/]  {_name(str(page))}", soft_wrap=True)


def show_comparison(compared: Any, page: Path, *, as_json: bool) -> None:
    """`regraft report` of several runs."""
    if as_json:
        _print_json({**compared.to_dict(), "report": str(page)})
        return
    out = _out()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("run", overflow="fold")
    table.add_column("method", overflow="fold")
    table.add_column("right", justify="right")
    for row in compared.to_dict()["runs"]:
        table.add_row(
            escape(_printable(Path(row["run"]).name)),
            escape(row["made_by"]),
            _percent(row["accuracy"]),
        )
    out.print(table)
    for words in compared.overlap:
        _hang(out, "", escape(words), indent=0)
    out.print()
    for against in compared.against:
        name = escape(_printable(against.other.folder.name))
        _hang(out, "", f"[bold]{name}[/] is {escape(against.words)}", indent=0)
    _hang(out, "", escape(compared.best), indent=0)
    out.print(f"[bold]Report[/]  {_name(str(page))}", soft_wrap=True)


def say_next(text: str) -> None:
    """One line on stderr."""
    Console(stderr=True, highlight=False).print(f"[dim]{escape(text)}[/]", soft_wrap=True)


def _show_run(
    metrics: Mapping[str, Any],
    findings: Sequence[Mapping[str, Any]],
    config: RunConfig | None,
    train_counts: Mapping[str, int],
) -> None:
    out = _out()
    _score(out, metrics["evaluation"])
    _beside(out, metrics, config, train_counts)
    _data(out, metrics, findings, config)
    _choice(out, metrics)
    _training(out, metrics)
    _time(out, metrics)
    out.print(f"[bold]Saved[/]   {_name(metrics['model'])}", soft_wrap=True)
    model = _quoted(metrics["model"])
    _next(
        out,
        f"regraft predict {model} new_photos/",
        f"regraft layers {_quoted(metrics['data']['source'])}{_repeated(config)}",
    )


def _score(out: Console, evaluation: Mapping[str, Any]) -> None:
    accuracy, n = evaluation["accuracy"], evaluation["n"]
    where = f"{evaluation['split']} " if evaluation["split"] not in ("", "all") else ""
    out.print(
        f"[bold green]{_percent(accuracy['value'])}[/] of {_count(n, where + 'image')} right "
        f"({_level(accuracy)} interval {_range(accuracy)})",
        soft_wrap=True,
    )
    if not _is_even([row["n"] for row in evaluation["per_class"]]):
        balanced = evaluation["balanced_accuracy"]
        out.print(
            f"Balanced accuracy {_percent(balanced['value'])} "
            f"({_level(balanced)} interval {_range(balanced)})",
            soft_wrap=True,
        )
    if n < FEW_SCORED:
        report = "reports" if n == 1 else "report"
        out.print(
            f"[yellow]only {_count(n, 'image')} {report} this score; the interval says how little "
            "that tells[/]",
            soft_wrap=True,
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
        out.print(
            f"the {len(shown)} weakest of {len(rows)} classes (metrics.json has all)",
            soft_wrap=True,
        )
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
    first = "is \\ called"
    widths = _header_widths(names, matrix, out.width - max(len(first), 16))
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    table.add_column(first, no_wrap=True)
    for name, width in zip(names, widths, strict=True):
        table.add_column(_short(name, width), justify="right", no_wrap=True)
    for i, name in enumerate(names):
        cells = [
            f"[green]{n}[/]" if i == j else (f"[red]{n}[/]" if n else "[dim]·[/]")
            for j, n in enumerate(matrix[i])
        ]
        table.add_row(_short(name, 16), *cells)
    out.print(table)
    out.print()


def _header_widths(names: list[str], matrix: list[list[int]], room: int) -> list[int]:
    """As much of each name as fits beside the others; short names leave their room to long ones."""
    lengths = [len(_printable(name)) for name in names]
    digits = max(len(str(n)) for row in matrix for n in row)
    for cap in range(max(lengths), 4, -1):
        widths = [max(digits, min(length, cap)) for length in lengths]
        if sum(widths) + 2 * len(widths) <= room:
            return widths
    return [max(digits, min(length, 4)) for length in lengths]


def _worst_confusions(out: Console, names: list[str], matrix: list[list[int]]) -> None:
    pairs = [
        (n, names[i], names[j])
        for i, row in enumerate(matrix)
        for j, n in enumerate(row)
        if i != j and n
    ]
    for n, truth, called in sorted(pairs, key=lambda pair: (-pair[0], pair[1:]))[:5]:
        out.print(f"  {n} x {_short(truth, 30)} called {_short(called, 30)}", soft_wrap=True)
    out.print()


def _beside(
    out: Console,
    metrics: Mapping[str, Any],
    config: RunConfig | None,
    train_counts: Mapping[str, int],
) -> None:
    of = {"majority class": "the commonest class of train", "nearest neighbour": "nearest image"}
    baselines = [
        f"{of.get(name, name)} {_percent(e['value'])}" for name, e in metrics["baselines"].items()
    ]
    _hang(out, "Beside", ", ".join(baselines))
    for sentence in _no_better(metrics):
        _hang(out, "", f"[yellow]{sentence}[/]")
    is_balanced = config is not None and config.class_weight == "balanced"
    if _no_better(metrics) and not _is_even(list(train_counts.values())) and not is_balanced:
        _hang(out, "", "the classes of train are uneven; try [bold]--class-weight balanced[/]")
    leaks = metrics["leaks"]
    if leaks["images"] and leaks["evaluation_without"]:
        clean = leaks["evaluation_without"]["accuracy"]
        have = "image that has" if leaks["images"] == 1 else "images that have"
        _hang(
            out,
            "",
            f"without the {leaks['images']} {have} a copy in train: "
            f"{_percent(clean['value'])} ({_range(clean)})",
        )


def _no_better(metrics: Mapping[str, Any]) -> list[str]:
    """A plain sentence for each baseline that the model does not beat."""
    evaluation = metrics["evaluation"]
    accuracy, baselines = evaluation["accuracy"]["value"], metrics["baselines"]
    sentences = []
    majority, nearest = (baselines.get(n) for n in ("majority class", "nearest neighbour"))
    if majority and majority["value"] is not None and accuracy <= majority["value"]:
        right = round(majority["value"] * evaluation["n"])
        labels = [row["label"] for row in evaluation["per_class"] if row["n"] == right]
        answer = f"'{_name(labels[0])}'" if len(labels) == 1 else "the largest class"
        sentences.append(f"no better than always answering {answer}")
    if nearest and nearest["value"] is not None and accuracy <= nearest["value"]:
        sentences.append("no better than copying the nearest training image")
    return sentences


def _data(
    out: Console,
    metrics: Mapping[str, Any],
    findings: Sequence[Mapping[str, Any]],
    config: RunConfig | None,
) -> None:
    data = metrics["data"]
    splits = ", ".join(f"{n} {name}" for name, n in data["splits"].items())
    made = " (divided here, by content)" if data["splits_assigned"] else ""
    rejected = f"; [red]{data['rejected']} rejected[/]" if data["rejected"] else ""
    _hang(
        out,
        "Data",
        f"{_count(data['images'], 'image')}, {_count(len(data['classes']), 'class', 'classes')}: "
        f"{splits}{made}{rejected}",
    )
    for finding in findings[:4]:
        _finding(out, finding, in_full=False)
    if findings:
        more = f"{len(findings)} findings in all: " if len(findings) > 4 else ""
        command = f"regraft check {_quoted(data['source'])}{_repeated(config)}"
        out.print(f"{' ' * INDENT}[dim]{more}{escape(command)}[/]", soft_wrap=True)


def _choice(out: Console, metrics: Mapping[str, Any]) -> None:
    chosen = metrics["chosen"]
    taps = _taps_in_words(chosen["taps"], metrics)
    strength = f", strength {chosen['strength']:.3g}" if chosen["strength"] is not None else ""
    training = metrics.get("training")
    head = f"{chosen['head']} head{strength}"
    if training is not None and not training["starts_from_probe"]:
        hidden = training["settings"]["hidden"]
        head = f"a new head with hidden layers {hidden}" if hidden else "a new linear head"
    _hang(out, "Chosen", f"{escape(taps)}; {head}")
    if chosen["candidates"]:
        _hang(out, "", f"[dim]{escape(_by_in_words(chosen))}[/]")
    curve = metrics["layers"]
    if len(curve) > 1:
        n = chosen["candidates"][0]["n"]
        ends = f"{curve[0]['tap']} {_percent(curve[0]['accuracy'])}"
        _hang(
            out,
            "Layers",
            f"{layer_curve.bars(curve)}  {escape(ends)} … "
            f"{escape(curve[-1]['tap'])} {_percent(curve[-1]['accuracy'])}",
        )
        _hang(out, "", escape(layer_curve.read(curve, n).words))


def _training(out: Console, metrics: Mapping[str, Any]) -> None:
    """What learnt and what stayed, and what became the model."""
    training = metrics.get("training")
    if training is None:
        return
    settings, weights, chosen = training["settings"], training["weights"], training["chosen"]
    parts = {
        "head": "the head alone",
        "partial": f"from {settings['split_point']} on",
        "full": "every layer",
        "scratch": "every layer, from random weights",
    }
    has_no_views = metrics["method"] == "head" and settings["views"] == 1
    _hang(
        out,
        "Learnt",
        f"{escape(parts[metrics['method']])}: {_count(len(training['epochs']), 'epoch')} over "
        f"{_count(training['learnt_from'], 'image')}"
        + ("" if has_no_views else f", views {settings['augment']}, {settings['image_size']} px"),
    )
    ends = {0.0: "the start itself", 1.0: f"the weights of the {chosen['weights']}"}
    start = "the probe" if training["starts_from_probe"] else "the start"
    way = f"{100 * chosen['alpha']:.0f} % of the way from {start} to the {chosen['weights']}"
    by = f"by {training['held_out']} held-out images of {training['held_out_from']}"
    if not training["candidates"]:
        by = "with too few images to hold any out that could tell"
    _hang(out, "", f"[dim]taken: {ends.get(chosen['alpha'], way)}, {by}[/]")
    if weights["frozen"]:
        _hang(
            out,
            "",
            f"[dim]{weights['frozen']} tensors were frozen and are bit by bit what they were; "
            f"{weights['moved']} moved[/]",
        )
    for note in training["notes"]:
        _hang(out, "", f"[yellow]{escape(note)}[/]")
    if metrics["method"] == "scratch":
        _hang(
            out,
            "",
            "[yellow]training from scratch is for comparison: it has to learn from these images "
            "alone what the other methods start with[/]",
        )


def _by_in_words(chosen: Mapping[str, Any]) -> str:
    """How the taps were chosen, for people; metrics.json has the exact rule."""
    by, candidates = str(chosen["by"]), chosen["candidates"]
    together = ", together with its copies and its group"
    ways = {"leave-one-out": "", "leave-one-unit-out": together}
    how = ways.get(by.partition(" ")[0])
    if how is None:
        return f"by {by}"
    return (
        f"the simplest of {_count(len(candidates), 'choice')} that is as good as the best; each "
        f"was measured on {_count(candidates[0]['n'], 'train image')}, every image left out in "
        f"turn{how}"
    )


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
    _hang(out, "Time", f"{seconds['total']:.1f} s ({', '.join(parts)})")
    speed = features["pass"]
    if features["computed"]:
        _hang(
            out,
            "",
            f"{_count(features['computed'], 'image')} read at {speed['images_per_second']:.0f}/s, "
            f"{100 * speed['share_of_limit']:.0f} % of what these cores can do; "
            f"{escape(features['engine'])}",
        )
    if features["from_store"]:
        _hang(out, "", f"{_count(features['from_store'], 'image')} from the store, not read again")


def _finding(out: Console, finding: Mapping[str, Any], *, in_full: bool) -> None:
    style = _SEVERITIES[finding["severity"]]
    _hang(out, "", f"[{style}]{finding['severity']}[/] {_name(finding['message'])}")
    if not in_full:
        return
    for path in finding["paths"][:SHOWN_PATHS]:
        out.print(f"{' ' * INDENT}  {_name(path)}", soft_wrap=True)
    if len(finding["paths"]) > SHOWN_PATHS:
        out.print(f"{' ' * INDENT}  … and {len(finding['paths']) - SHOWN_PATHS} more")
    if finding.get("why"):
        _hang(out, "", f"[dim]{escape(finding['why'])}[/]", indent=INDENT + 2)
    _hang(out, "", f"[green]{escape(finding['mend'])}[/]", indent=INDENT + 2)


def _counts(out: Console, counts: Mapping[str, Mapping[str, int]]) -> None:
    for split, classes in counts.items():
        listed = ", ".join(f"{_printable(name)} {n}" for name, n in list(classes.items())[:8])
        more = f", … {len(classes) - 8} more" if len(classes) > 8 else ""
        _hang(
            out, f"  {split}:", f"{sum(classes.values())} ({escape(listed)}{more})", is_bold=False
        )


def _hang(
    out: Console, heading: str, text: str, *, indent: int = INDENT, is_bold: bool = True
) -> None:
    """Markup under a heading; wrapped with a hanging indent on a terminal, else in one line.

    Words longer than a line (paths) stay whole, and a number stays with its unit.
    """
    lead = Text(f"{heading} " if len(heading) >= indent > 0 else f"{heading:{indent}}")
    lead.stylize("bold" if is_bold and heading else "")
    whole = Text.from_markup(text)
    lines = [whole]
    if out.is_terminal:
        lines = list(whole.divide(_breaks(whole.plain, max(20, out.width - len(lead.plain)))))
    for number, line in enumerate(lines):
        line.rstrip()
        start = lead if number == 0 else Text(" " * len(lead.plain))
        out.print(Text.assemble(start, line), soft_wrap=True)


def _breaks(text: str, width: int) -> list[int]:
    """Where the lines after the first begin."""
    found, start, end = [], 0, 0
    for word in re.finditer(r"\S+(?: %)?", text):
        if word.end() - start > width and end > start:
            found.append(word.start())
            start = word.start()
        end = word.end()
    return found


def _repeated(config: RunConfig | None) -> str:
    """The options that another command on the same data needs again."""
    if config is None:
        return ""
    options = {
        "--backbone": None if config.backbone == "default" else config.backbone,
        "--weights": config.weights,
        "--path-column": config.path_column,
        "--label-column": config.label_column,
        "--split-column": config.split_column,
        "--group-column": config.group_column,
    }
    return "".join(f" {name} {_quoted(value)}" for name, value in options.items() if value)


def _weights_in_words(listed: Any) -> str:
    if listed.weights.startswith("hf-hub"):
        return "hf-hub"
    return str(listed.weights) + ("" if listed.is_here else " (not installed)")


def _licence_in_words(licence: str) -> str:
    """Short, for a column."""
    return licence if len(licence) <= 16 else licence[:15] + "…"


def _is_even(counts: Sequence[int]) -> bool:
    present = [n for n in counts if n]
    return not present or max(present) <= EVEN * min(present)


def _count(n: int, one: str, many: str = "") -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"


def _level(estimate: Mapping[str, Any]) -> str:
    return f"{100 * estimate['level']:.0f} %"


def _next(out: Console, *commands: str) -> None:
    for number, command in enumerate(commands):
        heading = "[bold]Next[/]    " if number == 0 else "        "
        out.print(f"{heading}[bold blue]{escape(command)}[/]", soft_wrap=True)


def _print_json(content: Mapping[str, Any]) -> None:
    print(json.dumps(content, allow_nan=False))


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
    "say_next",
    "show_backbones",
    "show_cache_list",
    "show_cache_sizes",
    "show_check",
    "show_explained",
    "show_freed",
    "show_layers",
    "show_left_out",
    "show_metrics",
    "show_pruned",
    "show_result",
    "show_scored",
    "show_verified",
]
