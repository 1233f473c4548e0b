"""The configured method, fitted: from settings by name to a `Classifier`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.errors import ConfigError
from regraft.features.engine import EngineInfo
from regraft.features.engines import BuiltEngine
from regraft.features.extract import Extraction
from regraft.features.rows import rows_of
from regraft.machine import blas
from regraft.probe.classifier import Classifier
from regraft.probe.probe import LINEAR_HEADS, Probe
from regraft.record.configuration import RunConfig
from regraft.training.methods import METHODS
from regraft.training.task import Environment
from regraft.workflows.lesson import Lesson, units_of
from regraft.workflows.preparation import Prepared, compared_of


def fit(
    config: RunConfig, prepared: Prepared, lesson: Lesson, environment: Environment
) -> Classifier:
    """The configured method on a run's data."""
    return _fitted(
        config, prepared.extraction, prepared.built, lesson.y, environment,
        classes=lesson.classes, learn=lesson.learn, choose=lesson.choose, units=lesson.units,
    )  # fmt: skip


def fit_probe(config: RunConfig, prepared: Prepared, lesson: Lesson) -> Classifier:
    """The probe that a run's method is, or began from."""
    return probe_of(config, prepared.built.info).fit(
        rows_of(prepared.X, lesson.learn),
        lesson.y[lesson.learn],
        network=prepared.built,
        classes=lesson.classes,
        units=lesson.units,
    )


@blas.one_thread
def fit_all(
    config: RunConfig,
    extraction: Extraction,
    built: BuiltEngine,
    y: NDArray[np.intp],
    *,
    classes: Sequence[str],
    groups: Any = None,
    environment: Environment | None = None,
) -> Classifier:
    """The method on all images of an extraction, near-duplicates and groups kept together."""
    named = None if groups is None else np.array([str(group) for group in groups], object)
    units = units_of(compared_of(extraction.facts).copies().unit, named, np.ones(len(y), bool))
    return _fitted(
        config, extraction, built, y, environment or Environment(),
        classes=classes, learn=np.arange(len(y)), choose=None, units=units,
    )  # fmt: skip


def probe_of(config: RunConfig, info: EngineInfo) -> Probe:
    """How a run fits its probe."""
    return Probe(
        taps=_taps(config.taps, info),
        head=config.head,
        class_weight=config.class_weight,
        random_state=config.seed,
    )


def tuning_of(config: RunConfig, info: EngineInfo, environment: Environment) -> Any:
    """The configured method that trains, ready to fit; a `FineTuning`."""
    require_linear_head(config)
    from regraft.training.fine_tuning import FineTuning

    return FineTuning(METHODS[config.method], probe_of(config, info), config.settings, environment)


def require_linear_head(config: RunConfig) -> None:
    """Refuse a head from which training by gradients cannot go on."""
    if METHODS[config.method].trains and config.head not in LINEAR_HEADS:
        raise ConfigError(
            f"method {config.method!r} goes on from a linear head, {config.head!r} is none",
            cure=f"--head {' or '.join(LINEAR_HEADS)}; --hidden 256 for hidden layers",
        )


def _fitted(
    config: RunConfig,
    extraction: Extraction,
    built: BuiltEngine,
    y: NDArray[np.intp],
    environment: Environment,
    *,
    classes: Sequence[str],
    learn: NDArray[np.intp],
    choose: NDArray[np.intp] | None,
    units: NDArray[np.intp],
) -> Classifier:
    if METHODS[config.method].trains:
        found: Classifier = tuning_of(config, built.info, environment).fit(
            extraction, y, built=built, classes=tuple(classes),
            learn=learn, choose=choose, units=units,
        )  # fmt: skip
        return found
    return probe_of(config, built.info).fit(
        rows_of(extraction.X, learn), y[learn], network=built, classes=classes, units=units
    )


def _taps(names: list[str] | None, info: EngineInfo) -> tuple[str, ...] | None:
    """Names as users write them: 'codes' are the final features, 'all' every stage and final."""
    if not names:
        return None
    meanings = {"codes": ("final",), "all": tuple(tap.name for tap in info.taps)}
    known = [tap for name in names for tap in meanings.get(name.strip(), (name.strip(),))]
    return tuple(dict.fromkeys(known))
