"""`regraft auto`: the best way that a budget of time allows, found by measuring; told once."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft import model
from regraft.choosing import bill
from regraft.choosing.arm import TRIED
from regraft.choosing.past import Past
from regraft.choosing.way import BACKBONES_TRIED, METHODS_TRIED
from regraft.data.splits import Roles
from regraft.data.table import ImageTable, column
from regraft.errors import UsageError
from regraft.features.engines import BuiltEngine
from regraft.features.extraction import Extraction
from regraft.listener import SILENT, Listener
from regraft.machine import blas, running_since
from regraft.machine.name_length import require_short_names
from regraft.probe.classifier import Classifier
from regraft.record import run_folder
from regraft.record.configuration import RunConfig
from regraft.record.identity import MadeFrom, Place, made_from_in
from regraft.wording import count, duration
from regraft.workflows import billing, experiment, search_words, told_search, work_to_do
from regraft.workflows.experiment import Begun, Result
from regraft.workflows.journal import FILE, Journal
from regraft.workflows.lesson import Lesson, lesson_of
from regraft.workflows.preparation import Clock, Prepared, compared_of, prepare
from regraft.workflows.search import Search, Watch
from regraft.workflows.spending import Budget
from regraft.workflows.units import units_of

BUDGET_S = 120.0
# What drawing the report takes, until this machine's own past runs say better.
REPORT_S, REPORT = 2.5, ("report",)
# Of that: without heat maps, and what comes after them.
LEAST_OF_REPORT, AFTER_HEAT = 0.6, 0.4


@dataclass(frozen=True, eq=False)
class AutoResult:
    """A finished search.

    Attributes
    ----------
    result : Result
        The run of the way that was taken; its metrics have the search under ``auto``.
    has_time_for_report : bool
    report_until : float
        A moment of `time.monotonic` by which the pictures of a report must be there.
    """

    result: Result
    has_time_for_report: bool
    report_until: float


class Least:
    """Says before a first pass that a budget does not hold it, and what the least is; else the bill
    of a long one."""

    def __init__(self, config: RunConfig, budget: Budget) -> None:
        self.config, self.budget, self.is_told = config, budget, False

    def tell(
        self, table: ImageTable, built: BuiltEngine, listener: Listener, missing: list[int]
    ) -> None:
        """Hears of what has to be read; the engine is there by now."""
        work = work_to_do.work_before_pass(self.config, table, built, missing)
        found = bill.bill_of(billing.way_of(self.config), self.config, work, Past.read())
        spent = self.budget.spent - found.parts["start"]
        if spent + found.seconds > self.budget.seconds:
            about = f"about {duration(spent + found.seconds)} "
            about += f"({duration(spent + found.low)} to {duration(spent + found.high)})"
            listener.say(search_words.too_short(self.budget.seconds, about))
            self.is_told = True
        elif found.seconds >= billing.WORTH_TELLING_S:
            listener.say(f"expected of the first probe: {found.words}")


@blas.one_thread
def auto(
    config: RunConfig,
    *,
    budget_s: float = BUDGET_S,
    methods: Sequence[str] = METHODS_TRIED,
    backbones: Sequence[str] = BACKBONES_TRIED,
    out: str | os.PathLike[str] = "runs",
    name: str | None = None,
    offline: bool = False,
    draws_report: bool = True,
    began: float | None = None,
    command: str = "",
    listener: Listener = SILENT,
    watch: Watch = lambda search: None,
) -> AutoResult:
    """The best way that a budget allows: the probe first, then what may win most a second.

    The probe's model is on disk as soon as it is fitted. What is compared is judged by images of
    train that taught it nothing; the reported split is looked at once, at the end, by what was
    taken. A search that was killed goes on, and what it had spent counts.

    Parameters
    ----------
    config : RunConfig
        The data, and what all ways share; its backbone is that of the first probe.
    budget_s : float
        Seconds, all in all.
    methods, backbones : sequences of str
        What may be tried.
    draws_report : bool
        Whether time is kept back for the report.
    began : float, optional
        `time.monotonic` when the clock began to run; now, if not given.
    command : str
        That goes on with it, if it is stopped.
    watch : callable(search)
        Told whenever something changed.

    Raises
    ------
    RegraftError
        What `train` would refuse too.
    """
    began = time.monotonic() if began is None else began
    clock, started = Clock(), time.perf_counter()
    require_short_names(os.fsdecode(out), "--out")
    budget = Budget(budget_s, began)
    least = Least(config, budget)
    prepared = prepare(config, offline=offline, listener=listener, tells=least.tell)
    lesson, made_from = lesson_of(prepared), MadeFrom.of(prepared)
    folder, note = _folder(config, made_from, budget_s, methods, backbones, os.fsdecode(out), name)
    if note:
        listener.say(note)
    identity = _identity(config, made_from, methods, backbones)
    journal = Journal(folder, identity)
    run_folder.begin(folder, config, made_from.to_dict(), command=command or "regraft auto")
    if journal.read():
        budget = replace(budget, began=began - journal.spent_s)
        listener.say(
            f"going on with a search that was stopped: {duration(journal.spent_s)} of the budget "
            f"were spent, {count(sum(a.state == TRIED for a in journal.arms), 'way')} tried"
        )
    search = Search(
        config, prepared, lesson, budget, methods=list(methods), says_least=not least.is_told,
        backbones=list(backbones), journal=journal, offline=offline, listener=listener,
        last_s=_report_s() if draws_report else 0.0, watch=watch,
        on_first=lambda classifier: _save_first(classifier, folder, listener),
    )  # fmt: skip
    own, classifier, sight = search.run()
    clock.lap("search")
    begun = Begun(own, Place(folder), sight, MadeFrom.of(sight), started)

    def more() -> dict[str, Any]:
        return {"auto": told_search.told(search)}

    result = experiment.finished(begun, classifier, lesson, clock, more=more, listener=listener)
    left, needs = search.budget.left, _report_s() * search.spending.slowness
    end = search.budget.began + budget_s
    return AutoResult(result, left >= LEAST_OF_REPORT * needs, end - AFTER_HEAT * needs)


def search_all(
    config: RunConfig,
    extraction: Extraction,
    built: BuiltEngine,
    y: NDArray[np.intp],
    *,
    classes: Sequence[str],
    groups: Sequence[str | None] | None = None,
    budget_s: float = BUDGET_S,
    began: float | None = None,
    offline: bool = False,
) -> tuple[Classifier, dict[str, Any]]:
    """As :func:`auto`, of all images of an extraction: none is kept apart, nothing is written.

    Returns
    -------
    Classifier, and the search as metrics.json would have it.
    """
    named = None if groups is None else column(groups)
    copies = compared_of(extraction.facts).copies()
    everyone = np.ones(len(y), bool)
    prepared = Prepared(extraction.table, extraction, built, copies, copies, [], False)
    lesson = Lesson(
        Roles(everyone, None, ~everyone, "test"), y, list(classes),
        units_of(copies.unit, named, everyone),
    )  # fmt: skip
    began = time.monotonic() if began is None else began
    methods, backbones = list(METHODS_TRIED), [config.backbone]
    backbones += [name for name in BACKBONES_TRIED if name != config.backbone]
    if config.weights is not None:
        backbones = backbones[:1]
    search = Search(
        config, prepared, lesson, Budget(budget_s, began), methods=methods, backbones=backbones,
        journal=Journal(None), offline=offline,
    )  # fmt: skip
    _, classifier, _ = search.run()
    return classifier, told_search.told(search)


def note_report(seconds: float) -> None:
    """What drawing a report took, for the next budget."""
    past = Past.read()
    past.note(REPORT, reckoned=REPORT_S, real=seconds)
    past.save()


def process_began() -> float:
    """When this process was started, as `time.monotonic` would have said."""
    return time.monotonic() - running_since.seconds()


def _report_s() -> float:
    return REPORT_S * Past.read().factor(REPORT).value


def _save_first(classifier: Any, folder: Path, listener: Listener) -> None:
    """The probe's model, as soon as there is one; a finished run that is there stays whole."""
    if (folder / run_folder.RUN_FILE).exists():
        return
    learnt = classifier.learnt
    right = None
    if learnt is not None and len(learnt.oof_rows) and learnt.judged is not None:
        right = "each image of train left out in turn"
    try:
        model.save(replace(classifier, card={**classifier.card, "tested_by": right}),
                   folder / "model")  # fmt: skip
    except (OSError, UsageError) as error:
        listener.say(f"the first model could not be saved: {error}")


def _folder(
    config: RunConfig, made_from: MadeFrom, budget_s: float, methods: Sequence[str],
    backbones: Sequence[str], out: str, name: str | None,
) -> tuple[Path, str]:  # fmt: skip
    """Where the run goes; a search of other data, or with another budget, stays as it is."""
    if name is not None and (not name.strip() or name in {".", ".."} or set(name) & set("/\\")):
        raise UsageError(
            f"--run {name!r} is not a folder's name", cure="--out DIR says where it goes"
        )
    require_short_names(name or "", "--run")
    text = json.dumps([config.digest, budget_s, list(methods), list(backbones)])
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    own = f"{replace(config, method='probe').stem.removesuffix('probe')}auto-{digest}"
    folder = Path(out) / (name or own)
    is_foreign = folder.exists() and run_folder.record_in(folder) is None
    if is_foreign and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{str(folder)!r} exists and is not a run of Regraft", cure="another --run or --out"
        )
    earlier = made_from_in(folder) if folder.exists() else None
    is_unlike = earlier is not None and earlier.data != made_from.data
    if is_unlike or (name is not None and folder.exists() and not _is_search(folder)):
        if name is not None:
            what = made_from.unlike(earlier) if is_unlike else "is not a search for the best way"
            raise UsageError(
                f"run {folder.name!r} {what}", place=str(folder),
                cure="another --run name, or remove that folder",
            )  # fmt: skip
        beside = Path(out) / f"{own}-{made_from.name}"
        return beside, f"run {folder.name!r} is of other data and stays; this is {beside.name!r}"
    return folder, ""


def _is_search(folder: Path) -> bool:
    """Whether a search was begun here, however early it was killed: before its first way was judged
    it has no journal yet. An empty folder is nobody else's."""
    if (folder / FILE).exists() or not any(folder.iterdir()):
        return True
    if "command" in (run_folder.record_in(folder) or {}):
        return True
    try:
        return "auto" in json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def _identity(
    config: RunConfig, made_from: MadeFrom, methods: Sequence[str], backbones: Sequence[str]
) -> str:
    parts = [config.digest, made_from.data, made_from.weights, list(methods), list(backbones)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
