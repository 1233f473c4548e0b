"""What a run has to do, for its bill: how many pictures, engines, epochs, of what kind of data."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from regraft.choosing.network_cost import NetworkCost, cost_of, is_packaged
from regraft.choosing.workload import Workload
from regraft.data.table import ImageTable
from regraft.features import engines, extract, side_by_side
from regraft.features.engines import BuiltEngine
from regraft.images import pictures
from regraft.listener import Listener
from regraft.machine.devices import choose_device
from regraft.machine.processor import available_cores
from regraft.model.place import LOG
from regraft.probe.classifier import Classifier
from regraft.record.configuration import RunConfig
from regraft.training.chosen_settings import situation_of
from regraft.training.methods import METHODS
from regraft.workflows import fitting, made_before
from regraft.workflows.lesson import Lesson, lesson_of
from regraft.workflows.preparation import MANY, Prepared, prepare, timed, white_for

# Pictures that say what kind of data these are, where the store does not know all of them.
SAMPLED = 240
# To find an engine takes less, to build one more.
BUILDING_S = 0.25
# A pass over fewer pictures is over before it could be timed.
FEWEST_TIMED = 60


def work_before(
    config: RunConfig, table: ImageTable, folder: Path | None, offline: bool, listener: Listener
) -> Workload:
    """What there is to do before any picture was looked at; a run that trains has a sample looked
    at for it."""
    # What a training takes depends on what kind of data these are; a packaged engine, which tells
    # that, is built in half a second.
    builds = METHODS[config.method].trains and config.weights is None
    builds = builds and is_packaged(config.backbone)
    built = _built(config, table, offline, builds=builds)
    if built is None and config.weights is None:
        from regraft.backbones import listing  # timm, for its names

        listing.require_known(config.backbone)
    missing = list(range(len(table))) if built is None else extract.missing_from_store(table, built)
    work = _known_of(config, table, built, len(missing))
    work = replace(work, n_epochs_done=epochs_done(folder))
    if built is None:
        return work
    if len(missing) >= FEWEST_TIMED:
        work = _with_timed(work, timed(table, built, missing))
    if not METHODS[config.method].trains:
        return work
    probe, prepared = _probe_of_sample(config, table, bool(missing), offline, listener)
    facts = prepared.extraction.facts
    situation = situation_of(probe, prepared.built.info, facts, work.n_learn)
    n_missing = len(missing) - prepared.extraction.computed
    return replace(work, situation=situation, n_missing=max(0, n_missing))


def work_before_pass(
    config: RunConfig, table: ImageTable, built: BuiltEngine, missing: list[int]
) -> Workload:
    """What there is to do when the engine is there and the missing have to be read; where they are
    many, some are timed."""
    work = _known_of(config, table, built, len(missing))
    return _with_timed(work, timed(table, built, missing)) if len(missing) >= MANY else work


def _known_of(
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


def _with_timed(work: Workload, ms: tuple[float, float] | None) -> Workload:
    """The same, where some pictures were timed."""
    return work if ms is None else replace(work, picture_ms=ms[0], network_ms=ms[1])


def work_of(
    config: RunConfig, prepared: Prepared, lesson: Lesson, probe: Classifier | None = None
) -> Workload:
    """What is left to do when the data were looked at; `probe` says what kind they are."""
    info = prepared.built.info
    situation = None
    if probe is not None:
        situation = situation_of(probe, info, prepared.extraction.facts, len(lesson.learn))
    passed = prepared.extraction.report
    timed = passed.n_images >= FEWEST_TIMED
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


def to_be_seen(config: RunConfig, table: ImageTable) -> tuple[int, bool]:
    """How many images a backbone has not seen yet, and whether its engine is built."""
    built = _built(config, table, offline=True)
    if built is None:
        return len(table), False
    return len(extract.missing_from_store(table, built)), True


def epochs_done(folder: Path | None) -> int:
    """Of a run that was stopped, or that is made again."""
    if folder is None or not (folder / "checkpoints" / "last.safetensors").exists():
        return 0
    try:
        return len((folder / LOG).read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError):
        return 0


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
