"""What is settled before a network learns, step by step: rows, a look, settings, input, start.

Each step is a small object that does not change, made from those before it.

Array letters: N images, D features, K classes.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regraft.data.splits import carve
from regraft.data.table import ImageTable
from regraft.errors import ConfigError
from regraft.features import engines, extract
from regraft.features.engine import EngineInfo, Tap
from regraft.features.engines import BuiltEngine
from regraft.features.rows import rows_of
from regraft.images import pictures
from regraft.images.facts_table import FactsTable
from regraft.listener import Doing, Listener
from regraft.probe.base import Codes, Floats
from regraft.probe.choice import Candidate
from regraft.probe.classifier import Classifier
from regraft.probe.judging import FEWEST_TO_JUDGE, can_tell, rows_that_judge
from regraft.probe.probe import class_weights
from regraft.probe.representation import Block, Representation
from regraft.probe.source_classifier import FINAL, SOURCE, source_classifier
from regraft.training import defaults
from regraft.training.settings import TrainingSettings
from regraft.training.task import Task

if TYPE_CHECKING:
    from regraft.backbones.network import LoadedNetwork
    from regraft.training.examples import Examples
    from regraft.training.views import Views

# Fewer held-out images than this tell nothing; the last epoch is taken as it is.
FEWEST_TO_CHOOSE = FEWEST_TO_JUDGE
# So many ways to hold a part out are looked at.
MOST_PARTS = 10
# The images that choose need not be more than this: the interval is narrow enough.
MOST_TO_CHOOSE = 2_000
# Of the images, these are mirrored and turned; fewer would have no power.
SHARE_TO_TEST, FEWEST_TO_TEST = 0.34, 30
# In the run's folder: what a tracker keeps there.
TRACKED = "tracked"
# What may change between a training and the one that goes on with it.
_NO_IDENTITY = {"epochs", "workers", "budget_gib", "tracker", "refit"}


# -- Rows ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Rows:
    """The images of a training: those that teach, then those that choose.

    Attributes
    ----------
    of_extraction : (N,) int
        Which rows of the extraction they are.
    n_learn : int
        So many teach; the others choose.
    y, units : (N,) int
    is_carved : bool
        Whether those that choose were taken from those that teach.
    """

    of_extraction: NDArray[np.intp]
    n_learn: int
    y: Codes
    units: Codes
    is_carved: bool

    def __len__(self) -> int:
        return len(self.of_extraction)

    @property
    def n_choose(self) -> int:
        """How many choose."""
        return len(self) - self.n_learn

    @property
    def learn(self) -> NDArray[np.intp]:
        """Places of those that teach."""
        return np.arange(self.n_learn)

    @property
    def choose(self) -> NDArray[np.intp]:
        """Places of those that choose."""
        return np.arange(self.n_learn, len(self))

    @property
    def all(self) -> NDArray[np.intp]:
        """Places of all."""
        return np.arange(len(self))


def divided(task: Task) -> Rows:
    """Rows that teach, and those that choose: the ones given, or a part of the former."""
    y, learn, choose = np.asarray(task.y), np.asarray(task.learn), task.choose
    own = np.arange(len(learn)) if task.units is None else np.asarray(task.units)
    if choose is None:
        part = held_out(y[learn], own, task.settings.select_fraction, task.seed)
        learn, choose, own, later = learn[~part], learn[part], own[~part], own[part]
    else:
        later = own.max(initial=0) + 1 + np.arange(len(choose))
    rows = np.concatenate([learn, choose])
    return Rows(rows, len(learn), y[rows], np.concatenate([own, later]), task.choose is None)


def held_out(y: Codes, units: Codes | None, fraction: float, seed: int) -> NDArray[np.bool_]:
    """A stratified part of whole units that chooses; none where too few images could tell.

    Where units are so large that a part of this size has too few classes, the part is larger.
    """
    wanted = min(fraction * len(y), MOST_TO_CHOOSE)
    units = np.arange(len(y)) if units is None else np.asarray(units)
    if wanted >= FEWEST_TO_CHOOSE and len(rows_that_judge(y, units)):
        n_parts = max(2, min(round(len(y) / wanted), len(np.unique(units))))
        while n_parts > 1:
            part = _part_of_most_classes(y, units, n_parts, seed)
            if can_tell(y[part], len(np.unique(y))):
                return part
            n_parts = min(n_parts - 1, max(5, n_parts // 2))
    return np.zeros(len(y), bool)


def _part_of_most_classes(y: Codes, units: Codes, n_parts: int, seed: int) -> NDArray[np.bool_]:
    """The first of the parts whose images are of the most classes."""
    fold = carve(y, n_parts, units=units, seed=seed)
    parts = (_without_sole_teachers(y, units, fold == k) for k in range(min(n_parts, MOST_PARTS)))
    return max(parts, key=lambda part: len(np.unique(y[part])))


def _without_sole_teachers(y: Codes, units: Codes, part: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The part without units that hold all there is of a class: that has to teach."""
    teaching = np.bincount(y[~part], minlength=int(y.max()) + 1)
    sole = units[part & (teaching[y] == 0)]
    return part & ~np.isin(units, sole) if len(sole) else part


# -- A look ----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Look:
    """The images as the network at its own size sees them, and the probe on that.

    Attributes
    ----------
    table : ImageTable of N rows
    facts : FactsTable of N rows
    X : (N, D) float32
    probe : Classifier
        With the taps measured, even where some were given: the curve says what data these are.
    """

    table: ImageTable
    facts: FactsTable
    X: Any
    probe: Classifier

    @property
    def digests(self) -> list[bytes]:
        """Of the pictures' contents."""
        return self.facts.digests


def looked(task: Task, rows: Rows) -> Look:
    """The probe at the network's own size says what kind of data these are."""
    places = rows.of_extraction
    X = rows_of(task.extraction.X, places)
    probe = fitted_probe(task, rows, X, task.built, None, rows.all)
    facts = task.extraction.facts.select(places)
    return Look(task.extraction.table.select(places), facts, X, probe)


def fitted_probe(
    task: Task,
    rows: Rows,
    X: Floats,
    built: BuiltEngine,
    taps: tuple[str, ...] | None,
    places: NDArray[np.intp],
) -> Classifier:
    """The task's probe on some of the rows, by the features of an engine."""
    return replace(task.probe, taps=taps).fit(
        rows_of(X, places),
        rows.y[places],
        network=built,
        classes=task.classes,
        units=rows.units[places],
    )


# -- Settings --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Chosen:
    """The settings with everything chosen that was left open, and by what."""

    settings: TrainingSettings
    situation: defaults.Situation


def chosen(task: Task, rows: Rows, look: Look, loaded: LoadedNetwork) -> Chosen:
    """What "chosen for these data" means here."""

    from regraft.backbones.split_points import split_points

    names: list[str] = []
    if task.method.splits:
        names = [point.name for point in split_points(loaded.network)]
    situation = _situation(task, rows, look, loaded)
    settings = defaults.resolved(task.settings, task.method, situation, names)
    if settings.augment == "auto":
        settings = replace(settings, augment=_augmentation(task, rows, look, settings))
    return Chosen(settings, situation)


def _situation(task: Task, rows: Rows, look: Look, loaded: LoadedNetwork) -> defaults.Situation:
    from regraft.backbones import network

    return situation_of(
        look.probe, task.built.info, look.facts, rows.n_learn, network.takes_any_size(loaded)
    )


def situation_of(
    probe: Classifier, info: EngineInfo, facts: FactsTable, n_learn: int, takes_any_size: bool
) -> defaults.Situation:
    """What the rules of `defaults` look at, by a probe whose taps were measured."""
    sides = np.minimum(facts.column("width"), facts.column("height"))
    return defaults.Situation(
        n_images=n_learn,
        n_classes=len(probe.classes),
        median_side_px=float(np.median(sides)),
        native_px=min(info.preprocess.input_px),
        takes_any_size=takes_any_size,
        gain_of_stages=_gain_of_stages(probe),
        stages=tuple(name for name, _ in info.widths[:-1]),
        probe_error=_error(probe),
    )


def _augmentation(task: Task, rows: Rows, look: Look, settings: TrainingSettings) -> str:
    """What 'auto' stands for, by a test on held-out images."""
    from regraft.training.views import measured_augmentation

    if not task.method.moves_network and settings.views == 1:
        return "none"
    part = held_out(rows.y, rows.units, SHARE_TO_TEST, task.seed)
    if part.sum() < FEWEST_TO_TEST:
        return "light"
    task.environment.listener.say(Doing("testing whether these pictures may be mirrored or turned"))
    taps = look.probe.representation.taps
    without = fitted_probe(task, rows, look.X, task.built, taps, np.flatnonzero(~part))
    tested = np.flatnonzero(part)
    return measured_augmentation(
        look.table.select(tested), rows.y[tested], look.X[tested], task.built, without
    )


def _gain_of_stages(probe: Classifier) -> float:
    """Left-out accuracy of the best taps less that of the final features; 0 if taps were given."""
    own = [found for found in _compared(probe) if SOURCE not in found.taps]
    final = [found for found in own if found.taps == (FINAL,)]
    if not final:
        return 0.0
    return _best(own).accuracy - _best(final).accuracy


def _error(probe: Classifier) -> float:
    """Left-out share of wrong answers of the best candidate; 0 if nothing was compared."""
    found = _compared(probe)
    return 1 - _best(found).accuracy if found else 0.0


def _compared(probe: Classifier) -> list[Candidate]:
    """The candidates that all sets of taps were compared by: of those on as many images."""
    assert probe.learnt is not None
    found: list[Candidate] = probe.learnt.candidates
    return [candidate for candidate in found if candidate.n_images == found[0].n_images]


def _best(found: list[Candidate]) -> Candidate:
    return min(found, key=lambda candidate: candidate.loss)


# -- Input -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Input:
    """The network as training sees through it: at another size perhaps, or normalised otherwise.

    Attributes
    ----------
    built : BuiltEngine
    loaded : LoadedNetwork
    X : (N, D) float32
        What the probe learns on.
    is_native : bool
        It is the network's own input.
    """

    built: BuiltEngine
    loaded: LoadedNetwork
    X: NDArray[np.float32]
    is_native: bool

    @property
    def stages(self) -> tuple[str, ...]:
        """The network's, in order."""
        return tuple(name for name, _ in self.built.info.widths[:-1])


def prepared_input(
    task: Task, look: Look, settings: TrainingSettings, loaded: LoadedNetwork
) -> Input:
    """The engine, and the probe's features, at the size at which the network will see, and
    normalised as was asked."""
    own, size = task.built.info.preprocess.input_px, int(settings.image_size or 0)
    source = task.built.source.given(
        input_px=(size, size) if size != min(own) else None,
        mean=settings.numbers("mean", 3),
        std=settings.numbers("std", 3),
    )
    if source is task.built.source:
        return Input(task.built, loaded, look.X, True)
    listener = task.environment.listener
    built = engines.locate(
        source,
        sample=pictures.sample(look.table.paths),
        device=task.built.device,
        offline=task.environment.offline,
        say=listener.say,
    )
    loaded = replace(loaded, config=dict(built.info.config))
    X = look.X
    if not task.method.starts_anew:
        X = extract.through_store(look.table, built, listener=listener).X
    return Input(built, loaded, X, task.method.starts_anew)


# -- Start -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Start:
    """What training starts from.

    Attributes
    ----------
    probe : Classifier
        Of all rows.
    head : Classifier or None
        The probe of the rows that teach, whose head is the first; None: a random head.
    representation : Representation
        What the result's head sees.
    """

    probe: Classifier
    head: Classifier | None
    representation: Representation


def started(task: Task, rows: Rows, look: Look, seen: Input, settings: TrainingSettings) -> Start:
    """Heads on all rows, and on those that teach alone."""
    given = task.probe.taps
    is_random = task.method.starts_anew or settings.init_head == "random"
    if is_random:
        return Start(look.probe, None, _plain_final(seen.built.info.taps))
    if settings.hidden_widths:
        representation = Representation.fit(
            seen.X,
            given or look.probe.representation.taps,
            seen.built.info.taps,
            source=source_classifier(task.built),
        )
        return Start(look.probe, None, representation)
    probe = look.probe
    if given or not seen.is_native:
        probe = fitted_probe(task, rows, seen.X, seen.built, given, rows.all)
    head = probe
    if rows.n_choose:
        # On the taps that all rows chose, which no held-out label could betray.
        taps = probe.representation.taps
        head = fitted_probe(task, rows, seen.X, seen.built, taps, rows.learn)
    return Start(probe, head, probe.representation)


def _plain_final(taps: tuple[Tap, ...]) -> Representation:
    """The final features as they are, as the tutorials' heads see them."""
    final = taps[-1]
    width = final.stop - final.start
    block = Block("final", final.start, final.stop, False)
    return Representation(("final",), (block,), np.zeros(width), np.ones(width))


# -- The whole -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Plan:
    """All steps together, and what is made of them."""

    task: Task
    rows: Rows
    look: Look
    chosen: Chosen
    input: Input
    start: Start

    @classmethod
    def of(cls, task: Task) -> Plan:
        """Settle everything, in order."""
        from regraft.backbones import network

        rows = divided(task)
        look = looked(task, rows)
        task.environment.on_look(look.probe)
        info = task.built.info
        loaded = network.rebuild(task.built.weights_path, info.architecture, info.config)
        settled = chosen(task, rows, look, loaded)
        seen = prepared_input(task, look, settled.settings, loaded)
        start = started(task, rows, look, seen, settled.settings)
        return cls(task, rows, look, settled, seen, start)

    @property
    def settings(self) -> TrainingSettings:
        """Resolved."""
        return self.chosen.settings

    @property
    def listener(self) -> Listener:
        """Who is told."""
        return self.task.environment.listener

    @property
    def seed(self) -> int:
        """Of everything that is left to chance."""
        return self.task.seed

    @cached_property
    def views(self) -> Views:
        """The pictures as training sees them."""
        from regraft.training.views import Views

        return Views(
            self.look.table, self.look.digests, self.input.built.info.preprocess, self.settings,
            seed=self.seed, listener=self.listener, n_augmented=self.rows.n_learn,
        )  # fmt: skip

    def augmented_examples(self) -> Examples:
        """Pictures of the rows that teach, augmented anew in each epoch; small ones first."""
        from regraft.training.examples import PixelExamples

        config, settings = self.input.loaded.config, self.settings
        size, start = int(settings.image_size or 0), settings.start_size
        views = self.views
        views.decode()  # here, where the first of several processes does it for all

        def view(row: int, epoch: int) -> NDArray[np.uint8]:
            is_early = start is not None and epoch < 2 * int(settings.epochs or 0) / 3
            return views.augmented(row, epoch, start if is_early else size)

        return PixelExamples(self.rows.n_learn, view, mean=config["mean"], std=config["std"])

    def plain_examples(self) -> Examples | None:
        """Plain pictures of the rows that choose, kept in memory."""
        from regraft.training.examples import PixelExamples

        if not self.rows.n_choose:
            return None
        kept = self.views.all_plain(self.rows.choose)
        config = self.input.loaded.config
        return PixelExamples(
            len(kept), lambda row, epoch: kept[row], mean=config["mean"], std=config["std"]
        )

    def feature_views(self) -> list[NDArray[np.float32]]:
        """Features of the rows that teach: of the plain pictures, then of augmented views."""
        from regraft.features import activations

        n_views, plain = int(self.settings.views or 1), self.input.X[self.rows.learn]
        if n_views == 1:
            return [plain]
        built = self.input.built
        engine = activations.PrefixEngine(
            built.engine(), built.info.n_features, (0,), built.info.batch_size,
            built.folder.name, built.info.runtime,
        )  # fmt: skip
        found = activations.compute(
            engine, self.views.augmented, self.rows.n_learn, n_views,
            recipe=self.views.recipe(self.rows.learn),
            budget_bytes=int(self.settings.budget_gib * 2**30),
            progress=functools.partial(self.listener.progress, "views"),
        )  # fmt: skip
        if found is None:
            raise ConfigError(
                f"{n_views} views of {self.rows.n_learn} images do not fit the "
                f"{self.settings.budget_gib:g} GiB of --budget-gib",
                cure="fewer --views, or a larger --budget-gib",
            )
        return [plain, *found]

    @cached_property
    def accelerator(self) -> Any:
        """Device, arithmetic and processes, as Accelerate finds or is told them."""
        from regraft.training.acceleration import accelerator

        kept = self.task.environment.folder
        folder = None if kept is None else kept.parent / TRACKED
        return accelerator(
            self.input.built.device, self.settings, self.input.loaded.network, folder
        )

    def weights(self, places: NDArray[np.intp]) -> Floats:
        """Of the images in the loss; mean 1."""
        return class_weights(self.rows.y[places], self.task.probe.class_weight)

    @property
    def identity(self) -> str:
        """Of this training: what decides its numbers, but for how long it goes on."""
        settings = {k: v for k, v in self.settings.to_dict().items() if k not in _NO_IDENTITY}
        parts = [
            self.task.method.name, settings, self.input.built.info.weights_digest, self.seed,
            self.task.probe.class_weight, self.rows.y.tolist(), self.rows.n_learn,
            hashlib.sha256(b"".join(self.look.digests)).hexdigest(),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
