"""The bill of a run: told before it begins, and held against what it took."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from regraft.backbones import catalog
from regraft.choosing import bill
from regraft.choosing.bill import Bill
from regraft.choosing.past import Past
from regraft.choosing.reckoning import outside_s
from regraft.choosing.way import Way
from regraft.choosing.workload import Workload
from regraft.data.table import ImageTable, first_few
from regraft.features.elsewhere import HERE
from regraft.features.engines import BuiltEngine
from regraft.listener import SILENT, Listener
from regraft.machine import blas, running_since
from regraft.machine.contention import NO_TURNS, Turns
from regraft.probe.classifier import Classifier
from regraft.record.configuration import RunConfig
from regraft.training.methods import METHODS
from regraft.wording import count, duration, printable
from regraft.workflows import fitting, made_before
from regraft.workflows.learnable import refuse_unlearnable
from regraft.workflows.lesson import Lesson
from regraft.workflows.preparation import Prepared, read
from regraft.workflows.work_to_do import epochs_done, work_before, work_before_pass, work_of

# What takes longer is told beforehand.
WORTH_TELLING_S = 10.0
# A process that was started so much longer ago than a command takes beside its parts did something
# else before.
ANOTHERS = 5.0
# Parts of a run before the probe has said what kind of data these are.
LOOK = ("start", "engine", "features", "check")


@blas.one_thread
def bill_before(
    config: RunConfig, *, folder: Path | None = None, offline: bool = False,
    listener: Listener = SILENT,
) -> Bill:  # fmt: skip
    """The bill of a run, before it begins: what `regraft train --dry-run` prints.

    Nothing is learnt. Where a training's length depends on what kind of data these are, a sample of
    the pictures is looked at (the store keeps what was computed); if the engine is not built yet,
    both kinds are reckoned with, and the range is wider.

    Parameters
    ----------
    folder : Path, optional
        Of the run, which may have been begun.

    Raises
    ------
    RegraftError
        What the run itself would refuse about its data.
    """
    table = read(config, listings=HERE.listings_for(listener))
    table.tell(listener.say)
    refuse_unlearnable(table)
    listener.say(_classes_in_words(table))
    fitting.require_split_point(config, offline=offline)
    past = _past(listener)
    work = work_before(config, table, folder, offline, listener)
    return bill.bill_of(way_of(config), config, work, past)


def _classes_in_words(table: ImageTable) -> str:
    """How many images of which class, so that a wrong reading shows before a run."""
    n_of = Counter(label for label in table.labels if label is not None)
    shown = first_few((f"{printable(name)} ({n:,})" for name, n in sorted(n_of.items())))
    images, classes = count(len(table), "image"), count(len(n_of), "class", "classes")
    return f"{images} in {classes}: {shown}"


def way_of(config: RunConfig) -> Way:
    """The way that a configuration takes."""
    settings = config.settings
    return Way(
        config.method,
        config.backbone,
        settings.image_size,
        settings.epochs if METHODS[config.method].trains else None,
        "" if config.look == catalog.PLAIN else config.look,
    )


@dataclass
class LongLook:
    """Tells the bill of a run whose look at the pictures alone takes long, and keeps what was told.

    A shorter one is told when the probe has said what kind of data these are, and is surer.

    Attributes
    ----------
    told : Bill or None
    """

    config: RunConfig
    told: Bill | None = None

    def __call__(
        self, table: ImageTable, built: BuiltEngine, listener: Listener, missing: list[int]
    ) -> None:
        way = way_of(self.config)
        work = work_before_pass(self.config, table, built, missing)
        found = bill.bill_of(way, self.config, work, Past.read())
        long = sum(found.parts[part] for part in LOOK) if way.trains else found.seconds
        if long >= WORTH_TELLING_S:
            listener.say(f"expected: {found.words}")
            self.told = found


class Charge:
    """The bill of a run that has begun: told before what takes long, settled when it is over.

    Parameters
    ----------
    folder : Path, optional
        Of the run.
    told : Bill, optional
        What the user was told before the look at the pictures: it is what the run is held to.
    turns : Turns
        How long the process had run, and waited for others, when the run began.
    """

    def __init__(
        self, config: RunConfig, prepared: Prepared, lesson: Lesson, folder: Path | None,
        listener: Listener, told: Bill | None = None, turns: Turns = NO_TURNS,
    ) -> None:  # fmt: skip
        self.turns = turns
        self.config, self.listener = config, listener
        self.prepared, self.lesson = prepared, lesson
        self.past = _past(listener)
        work = work_of(config, prepared, lesson)
        self.work = replace(work, n_epochs_done=epochs_done(folder))
        self.bill = told or self._reckoned(self.work)

    def told(self, probe: Classifier) -> None:
        """Before a training, when the probe has said what kind of data these are."""
        known = work_of(self.config, self.prepared, self.lesson, probe)
        self.work = replace(self.work, situation=known.situation)
        self.bill = self._reckoned(self.work)
        if self.bill.seconds >= WORTH_TELLING_S:
            self.listener.say(f"expected: {self.bill.words}")

    def settled(self, metrics: Mapping[str, Any], classifier: Classifier) -> dict[str, Any]:
        """What the run took against its bill, for metrics.json; the next bills learn from it."""
        training = metrics.get("training")
        real = real_parts(metrics["seconds"], training)
        past, way, peak = Past.read(), way_of(self.config), peak_mib()
        took = sum(real.values()) + self.bill.parts["start"]
        alone = Turns.now().share_since(self.turns)
        bill.note(way, self.config, self.work, past, real, peak, alone=alone)
        if training is not None:
            made_before.note(past, self.config, self.work.n_images)
        past.save()
        return {
            **self.bill.to_dict(),
            "took_s": round(took, 2),
            "took_mib": peak,
            "took": {name: round(seconds, 2) for name, seconds in real.items()},
            "words": _against(self.bill, took, peak),
        }

    def _reckoned(self, work: Workload) -> Bill:
        return bill.bill_of(way_of(self.config), self.config, work.untimed, self.past)


def _against(said: Bill, took: float, peak: float | None) -> str:
    words = f"took {duration(took)}; expected {said.time} ({duration(said.low)} to "
    words += f"{duration(said.high)})"
    if peak is None:
        return words
    return f"{words}; {peak:,.0f} MiB of memory at the peak, expected up to {said.memory_mib:,.0f}"


def real_parts(
    seconds: Mapping[str, float], training: Mapping[str, Any] | None
) -> dict[str, float]:
    """Seconds of a run by the names of the bill's parts."""
    own = ("engine", "features", "check", "evaluate", "save")
    found = {name: seconds[name] for name in own if name in seconds}
    if training is None:
        return found | ({"fit": seconds["fit"]} if "fit" in seconds else {})
    inner = dict(training.get("seconds") or {})
    if inner and "fit" in seconds:  # what is loaded before a training begins is a part of its plan
        inner["plan"] += max(0.0, seconds["fit"] - sum(inner.values()))
    done = len(training["epochs"]) - int(training["resumed_at"])
    return found | {n: v for n, v in inner.items() if n != "steps" or done > 0}


def peak_mib() -> float | None:
    """Of this process's resident memory, as far as the system tells."""
    with contextlib.suppress(ImportError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
    return None


def note_outside(metrics: Mapping[str, Any], config: RunConfig) -> None:
    """Let a command that is over, but for its report, make the next bills better: what it took
    beside the parts that a run measures of itself."""
    way, past = way_of(config), Past.read()
    said = outside_s(way)
    outside = running_since.seconds() - sum(metrics["bill"]["took"].values())
    if 0 < outside < ANOTHERS * said:
        alone = outside * Turns.now().share_since(NO_TURNS)
        past.note(bill.kinds("start", way, Workload(0, 0, 0, 0)), reckoned=said, real=alone)
        past.save()


def _past(listener: Listener) -> Past:
    past = Past.read()
    if past.note_of_damage:
        listener.say(past.note_of_damage)
    return past
