"""The bill of a run, before it begins and against what it took: what there is to do, gathered."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from regraft.backbones import catalog
from regraft.choosing import bill
from regraft.choosing.bill import Bill
from regraft.choosing.network_cost import NetworkCost, cost_of, is_packaged
from regraft.choosing.past import Past
from regraft.choosing.reckoning import outside_s
from regraft.choosing.way import Way
from regraft.choosing.workload import Workload
from regraft.data.table import ImageTable, first_few
from regraft.features import engines, extract, side_by_side
from regraft.features.elsewhere import HERE
from regraft.features.engines import BuiltEngine
from regraft.images import pictures
from regraft.listener import SILENT, Listener
from regraft.machine import blas, running_since
from regraft.machine.contention import NO_TURNS, Turns
from regraft.machine.devices import choose_device
from regraft.machine.processor import available_cores
from regraft.model.place import LOG
from regraft.probe.classifier import Classifier
from regraft.record.configuration import RunConfig
from regraft.training.chosen_settings import situation_of
from regraft.training.methods import METHODS
from regraft.wording import count, duration, printable
from regraft.workflows import fitting, made_before
from regraft.workflows.learnable import refuse_unlearnable
from regraft.workflows.lesson import Lesson, lesson_of
from regraft.workflows.preparation import MANY, Prepared, prepare, read, timed, white_for

# What takes longer is told beforehand.
WORTH_TELLING_S = 10.0
# Pictures that say what kind of data these are, where the store does not know all of them.
SAMPLED = 240
# To find an engine takes less, to build one more.
BUILDING_S = 0.25
# A pass over fewer pictures is over before it could be timed.
FEW = 60
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
    work = _work_before(config, table, folder, offline, listener)
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


def work_of(
    config: RunConfig, prepared: Prepared, lesson: Lesson, probe: Classifier | None = None
) -> Workload:
    """What is left to do when the data were looked at; `probe` says what kind they are."""
    info = prepared.built.info
    situation = None
    if probe is not None:
        situation = situation_of(probe, info, prepared.extraction.facts, len(lesson.learn), True)
    passed = prepared.extraction.report
    timed = passed.n_images >= FEW
    return Workload(
        n_images=len(prepared.table),
        n_learn=len(lesson.learn),
        n_reported=int(lesson.roles.reports.sum()),
        n_classes=len(lesson.classes),
        n_features=info.n_features,
        n_missing=prepared.extraction.computed,
        is_built=prepared.seconds.get("engine", 0.0) < BUILDING_S,
        picture_ms=passed.decode_ms if timed else None,
        network_ms=passed.model_ms if timed else None,
        situation=situation,
        is_made=made_before.is_made(config, len(prepared.table)),
        is_repeated=made_before.is_repeated(config, len(prepared.table)),
        has_torch="torch" in sys.modules,
        network=_network(config, prepared.built),
        n_cores=available_cores(),
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


def work_before_pass(
    config: RunConfig, table: ImageTable, built: BuiltEngine, missing: list[int]
) -> Workload:
    """What there is to do when the engine is there and the missing have to be read; where they are
    many, some are timed."""
    work = known_of(config, table, built, len(missing))
    return with_timed(work, timed(table, built, missing)) if len(missing) >= MANY else work


def known_of(
    config: RunConfig, table: ImageTable, built: BuiltEngine | None, n_missing: int
) -> Workload:
    """What there is to do, by a table that was read and what is kept; no picture is looked at."""
    n_learn, n_reported = _parts(config, table)
    work = Workload(
        n_images=len(table),
        n_learn=n_learn,
        n_reported=n_reported,
        n_classes=len(table.classes),
        n_missing=n_missing,
        is_built=built is not None,
        is_made=made_before.is_made(config, len(table)),
        is_repeated=made_before.is_repeated(config, len(table)),
        n_cores=available_cores(),
    )
    if built is None:
        return work
    return replace(work, n_features=built.info.n_features, network=_network(config, built))


def with_timed(work: Workload, ms: tuple[float, float] | None) -> Workload:
    """The same, where some pictures were timed."""
    return work if ms is None else replace(work, picture_ms=ms[0], network_ms=ms[1])


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
        self.work = replace(work, n_epochs_done=_epochs_done(folder))
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
        """By what past runs say alone: how fast the pass just was, is no part of a prediction."""
        plain = replace(work, picture_ms=None, network_ms=None)
        return bill.bill_of(way_of(self.config), self.config, plain, self.past)


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


def to_be_seen(config: RunConfig, table: ImageTable) -> tuple[int, bool]:
    """How many images a backbone has not seen yet, and whether its engine is built."""
    built = _built(config, table, offline=True)
    if built is None:
        return len(table), False
    return len(extract.missing_from_store(table, built)), True


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


def _work_before(
    config: RunConfig, table: ImageTable, folder: Path | None, offline: bool, listener: Listener
) -> Workload:
    # What a training takes depends on what kind of data these are; a packaged engine, which tells
    # that, is built in half a second.
    builds = METHODS[config.method].trains and config.weights is None
    builds = builds and is_packaged(config.backbone)
    built = _built(config, table, offline, builds=builds)
    if built is None and config.weights is None:
        from regraft.backbones import listing  # timm, for its names

        listing.require_known(config.backbone)
    missing = list(range(len(table))) if built is None else extract.missing_from_store(table, built)
    work = known_of(config, table, built, len(missing))
    work = replace(work, n_epochs_done=_epochs_done(folder))
    if built is None:
        return work
    if len(missing) >= FEW:
        work = with_timed(work, timed(table, built, missing))
    if not METHODS[config.method].trains:
        return work
    probe, prepared = _probe_of_sample(config, table, bool(missing), offline, listener)
    facts = prepared.extraction.facts
    situation = situation_of(probe, prepared.built.info, facts, work.n_learn, True)
    n_missing = len(missing) - prepared.extraction.computed
    return replace(work, situation=situation, n_missing=max(0, n_missing))


def _built(
    config: RunConfig, table: ImageTable, offline: bool, *, builds: bool = False
) -> BuiltEngine | None:
    """The engine of the run, if it is built; else only where `builds` says so."""
    source = replace(config.source, white=white_for(config.scale, table.paths))
    device = choose_device(config.device)
    if not builds and any(
        engines.find_built(one, device) is None for one in source.parts or (source,)
    ):
        return None
    sample = pictures.sample(table.paths)
    return side_by_side.locate(source, sample=sample, device=config.device, offline=offline)


def _network(config: RunConfig, built: BuiltEngine) -> NetworkCost:
    """What its network costs, roughly by the size of its weights."""
    n_bytes = 0
    with contextlib.suppress(OSError):
        n_bytes = sum(one.weights_path.stat().st_size for one in built.networks)
    return cost_of(config.backbone, built.info, n_bytes // 4)


def _parts(config: RunConfig, table: ImageTable) -> tuple[int, int]:
    """How many images teach, and how many are reported."""
    n = sum(label is not None for label in table.labels)
    if not table.has_splits:
        reported = round(config.test_fraction * n)
        return n - reported, reported
    counts = {str(name): int((table.splits == name).sum()) for name in ("train", "val", "test")}
    return counts["train"], counts["test"] or counts["val"]


def _probe_of_sample(
    config: RunConfig, table: ImageTable, is_sampled: bool, offline: bool, listener: Listener
) -> tuple[Classifier, Prepared]:
    """The probe on all images if the store has them, else on a sample of every class."""
    plain = replace(config, method="probe", training=None)
    prepared = prepare(
        plain, offline=offline, listener=listener,
        of_table=_sample(table) if is_sampled and len(table) > SAMPLED else table,
    )  # fmt: skip
    lesson = lesson_of(prepared)
    return fitting.task_of(plain, prepared, lesson).fit_probe(), prepared


def _sample(table: ImageTable) -> ImageTable:
    """About `SAMPLED` images, as many of each label and split as there is a share of them."""
    keys = [f"{label}\0{split}" for label, split in zip(table.labels, table.splits, strict=True)]
    order = np.argsort(np.array(keys, object).astype(str), kind="stable")
    places = np.linspace(0, len(order) - 1, SAMPLED).astype(int)
    mask = np.zeros(len(table), bool)
    mask[order[places]] = True
    return table.select(mask)


def _epochs_done(folder: Path | None) -> int:
    """Of a run that was stopped, or that is made again."""
    if folder is None or not (folder / "checkpoints" / "last.safetensors").exists():
        return 0
    try:
        return len((folder / LOG).read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError):
        return 0
