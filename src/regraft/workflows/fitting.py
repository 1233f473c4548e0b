"""The configured method, fitted: from settings by name to a `Task` to a `Classifier`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from regraft.backbones import catalog
from regraft.data.table import column
from regraft.errors import ConfigError
from regraft.features.engine import EngineInfo
from regraft.features.engines import BuiltEngine
from regraft.features.extraction import Extraction
from regraft.machine import blas, cache, extras
from regraft.machine.arrays import physical_bytes
from regraft.probe import probe
from regraft.probe.classifier import Classifier
from regraft.probe.probe import LINEAR_HEADS, Probe, network_of
from regraft.record.configuration import RunConfig
from regraft.training.methods import METHODS
from regraft.training.task import Environment, Task
from regraft.workflows import calibrating
from regraft.workflows.lesson import Lesson
from regraft.workflows.preparation import Prepared, compared_of
from regraft.workflows.units import units_of

WITHOUT_TORCH = "--method probe, which needs it not"
# Heads that need all rows at once; the others go over them in parts.
HOLDING_ALL = ("logistic", "svm", "knn")


def task_of(
    config: RunConfig, prepared: Prepared, lesson: Lesson, environment: Environment | None = None
) -> Task:
    """What a run's configuration asks for, of its data.

    Raises
    ------
    ConfigError
        The method cannot go on from this head.
    """
    require_linear_head(config)
    require_room_for_head(config, prepared.X, prepared.built.info)
    return Task(
        METHODS[config.method], probe_of(config, prepared.built.info), config.settings,
        prepared.built, prepared.extraction, lesson.y, tuple(lesson.classes),
        lesson.learn, lesson.choose, lesson.units, environment or Environment(),
        lesson.units_of_choose,
    )  # fmt: skip


def require_taps(config: RunConfig, built: BuiltEngine) -> None:
    """Refuse, before any picture is read, taps that the network has not."""
    taps = _taps(config.taps, built.info)
    if taps is not None:
        probe.require_taps(taps, network_of(built))


def require_packages(config: RunConfig) -> None:
    """Refuse, before any picture is read, a method whose packages are not installed.

    Raises
    ------
    MissingPackageError
    """
    if METHODS[config.method].trains:
        for package in ("torch", "timm", "accelerate"):
            extras.require(package, f"--method {config.method}", otherwise=WITHOUT_TORCH)


def require_split_point(config: RunConfig, *, offline: bool = False) -> None:
    """Refuse, before any picture is read, a split point that the network has not.

    Raises
    ------
    BackboneError
        With the points that are nearest, or those of its stages.
    """
    name = config.settings.split_point
    if not METHODS[config.method].splits or name is None:
        return
    with extras.needed_for(f"--method {config.method}", otherwise=WITHOUT_TORCH):
        from regraft.training import fine_tuning  # torch and timm, which it needs anyway

    source = catalog.resolve(config.backbone, weights=config.weights)
    fine_tuning.require_split_point(source, name, offline=offline)


def fit(task: Task) -> Classifier:
    """What the task's method learns."""
    if not task.method.trains:
        return task.fit_probe()
    with extras.needed_for(f"--method {task.method.name}", otherwise=WITHOUT_TORCH):
        from regraft.training import fine_tuning

    return calibrating.on_held_out(fine_tuning.fit(task), task)


@blas.one_thread
def fit_all(
    config: RunConfig,
    extraction: Extraction,
    built: BuiltEngine,
    y: NDArray[np.intp],
    *,
    classes: Sequence[str],
    groups: Sequence[str | None] | None = None,
) -> Classifier:
    """The method on all images of an extraction, near-duplicates and groups kept together.

    `groups` are names, None for an image in none (`data.labels.groups_of`).
    """
    require_linear_head(config)
    require_packages(config)
    named = None if groups is None else column(groups)
    units = units_of(compared_of(extraction.facts).copies().unit, named, np.ones(len(y), bool))
    return fit(
        Task(
            METHODS[config.method], probe_of(config, built.info), config.settings,
            built, extraction, y, tuple(classes), np.arange(len(y)), units=units,
        )
    )  # fmt: skip


def probe_of(config: RunConfig, info: EngineInfo) -> Probe:
    """How a run fits its probe."""
    return Probe(
        taps=_taps(config.taps, info),
        head=config.head,
        class_weight=config.class_weight,
        random_state=config.seed,
    )


def require_linear_head(config: RunConfig) -> None:
    """Refuse a head from which training by gradients cannot go on."""
    if METHODS[config.method].trains and config.head not in LINEAR_HEADS:
        raise ConfigError(
            f"method {config.method!r} goes on from a linear head, {config.head!r} is none",
            cure=f"--head {' or '.join(LINEAR_HEADS)}; --hidden 256 for hidden layers",
        )


def require_room_for_head(
    config: RunConfig, X: NDArray[np.float32], info: EngineInfo, *, memory: int | None = None
) -> None:
    """Refuse a head that holds all rows where they would fill half of the memory.

    Raises
    ------
    ConfigError
        With the head that adds up sums over the rows instead.
    """
    if config.head not in HOLDING_ALL:
        return
    n_bytes = 8 * len(X) * (info.taps[-1].stop - info.taps[-1].start)
    memory = physical_bytes() if memory is None else memory
    if n_bytes > memory / 2:
        raise ConfigError(
            f"head {config.head!r} holds the features of all {len(X):,} images: "
            f"{cache.in_words(n_bytes)} or more, of {cache.in_words(memory)} of memory",
            cure="--head ridge, which goes over them in parts",
        )


def _taps(names: list[str] | None, info: EngineInfo) -> tuple[str, ...] | None:
    """Names as users write them: 'codes' are the final features, 'all' every stage and final."""
    if not names:
        return None
    meanings = {"codes": ("final",), "all": tuple(tap.name for tap in info.taps)}
    known = [tap for name in names for tap in meanings.get(name.strip(), (name.strip(),))]
    return tuple(dict.fromkeys(known))
