"""What is settled before a network learns: rows, settings, probe, pictures.

Array letters: N images, D features, K classes.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regraft.data.splits import carve
from regraft.data.table import ImageTable
from regraft.errors import ConfigError
from regraft.features import engines, extract
from regraft.features.engines import BuiltEngine
from regraft.features.store import Store
from regraft.images import DECODER_VERSION
from regraft.images.facts import FileFacts
from regraft.methods.base import Codes, Floats
from regraft.methods.gradient import defaults
from regraft.methods.probe import Probe
from regraft.methods.representation import SOURCE, Block, Representation
from regraft.methods.settings import TrainingSettings

if TYPE_CHECKING:
    from regraft.backbones.network import LoadedNetwork
    from regraft.methods.fine_tuning import FineTuning
    from regraft.methods.gradient.examples import Examples
    from regraft.methods.gradient.views import Views

# Fewer held-out images than this tell nothing; the last epoch is taken as it is.
FEWEST_TO_CHOOSE = 8
# The images that choose need not be more than this: the interval is narrow enough.
MOST_TO_CHOOSE = 2_000
# Of the images, these are mirrored and turned; fewer would have no power.
SHARE_TO_TEST, FEWEST_TO_TEST = 0.34, 30
# In the run's folder: what a tracker keeps there.
TRACKED = "tracked"
# What may change between a training and the one that goes on with it.
_NO_IDENTITY = {"epochs", "workers", "budget_gib", "tracker", "refit"}


class Plan:
    """Everything that one fit needs, settled in order."""

    # Attributes:
    #   rows          of the extraction: those that teach, then those that choose
    #   learn, choose their places in `rows`, as in everything below
    #   y, units, table, facts, digests, X
    #   scout         the probe at the network's own size, on all rows
    #   settings      resolved; situation: what resolved them
    #   built, loaded engine and network at the size at which training sees
    #   probe, start  the probe of all rows and that of those that teach (None: a random head)
    #   representation what the result's head sees

    def __init__(
        self,
        method: FineTuning,
        extraction: extract.Extraction,
        y: Codes,
        *,
        n_classes: int,
        learn: NDArray[np.intp],
        choose: NDArray[np.intp] | None,
        units: Codes | None,
    ) -> None:
        self.method, self.n_classes = method, n_classes
        self.seed, self.environment = method.random_state, method.environment
        self.listener = method.environment.listener
        self._divide(np.asarray(y), np.asarray(learn), choose, units)
        self._look(extraction)
        self._choose_settings()
        self._start_from_probe()

    # -- rows --------------------------------------------------------------------------------

    def _divide(
        self,
        y: Codes,
        learn: NDArray[np.intp],
        choose: NDArray[np.intp] | None,
        units: Codes | None,
    ) -> None:
        """Rows that teach, those that choose, and all of them together as a table."""
        settings = self.method.settings
        self.is_carved = choose is None
        if choose is None:
            part = _held_out(y[learn], units, settings.select_fraction, self.seed)
            learn, choose = learn[~part], learn[part]
            units = None if units is None else np.asarray(units)[~part]
        self.rows = np.concatenate([learn, choose])
        self.learn = np.arange(len(learn))
        self.choose = np.arange(len(learn), len(self.rows))
        self.y = y[self.rows]
        own = np.arange(len(learn)) if units is None else np.asarray(units)
        later = own.max(initial=0) + 1 + np.arange(len(choose))
        self.units = np.concatenate([own, later])

    def _look(self, extraction: extract.Extraction) -> None:
        """The probe at the network's own size says what kind of data these are."""
        self.table: ImageTable = extraction.table.select(self.rows)
        self.facts: list[FileFacts] = [extraction.facts[row] for row in self.rows]
        self.digests = [fact.digest for fact in self.facts]
        self.X = extraction.X[self.rows]
        self.built = self.method.built
        everything = np.arange(len(self.rows))
        # With the taps measured, even where some were given: the curve says what data these are.
        self.scout = self.fit_probe(self.X, self.built, None, everything)

    def fit_probe(
        self, X: Floats, built: BuiltEngine, taps: tuple[str, ...] | None, rows: NDArray[np.intp]
    ) -> Probe:
        """The method's probe on some of the rows, by the features of an engine."""
        return self.method.probe(built, taps).fit(
            X[rows], self.y[rows], n_classes=self.n_classes, units=self.units[rows]
        )

    # -- settings ----------------------------------------------------------------------------

    def _choose_settings(self) -> None:
        from regraft.backbones import network, splitting

        info = self.built.info
        self.loaded: LoadedNetwork = network.rebuild(
            self.built.weights_path, info.architecture, info.config
        )
        names: list[str] = []
        if self.method.method == "partial":
            names = [point.name for point in splitting.split_points(self.loaded.network)]
        sides = [min(fact.width, fact.height) for fact in self.facts]
        self.situation = defaults.Situation(
            n_images=len(self.learn),
            n_classes=self.n_classes,
            median_side_px=float(np.median(sides)),
            native_px=min(info.preprocess.input_px),
            takes_any_size=network.takes_any_size(self.loaded),
            gain_of_stages=_gain_of_stages(self.scout),
            stages=tuple(name for name, _ in info.widths[:-1]),
            probe_error=_error(self.scout),
        )
        settings = defaults.resolved(
            self.method.settings, self.method.method, self.situation, names
        )
        if settings.augment == "auto":
            settings = replace(settings, augment=self._augmentation(settings))
        self.settings = settings
        self._take_input()

    def _augmentation(self, settings: TrainingSettings) -> str:
        """What 'auto' stands for, by a test on held-out images."""
        from regraft.methods.gradient.views import measured_augmentation

        if self.method.method == "head" and settings.views == 1:
            return "none"
        part = _held_out(self.y, self.units, SHARE_TO_TEST, self.seed)
        if part.sum() < FEWEST_TO_TEST:
            return "light"
        self.listener.say("testing whether these pictures may be mirrored or turned")
        taps = self.scout.representation_.taps
        blind = self.fit_probe(self.X, self.built, taps, np.flatnonzero(~part))
        rows = np.flatnonzero(part)
        return measured_augmentation(
            self.table.select(rows), self.y[rows], self.X[rows], self.built, blind
        )

    def _take_input(self) -> None:
        """The engine, and the probe's features, at the size at which the network will see, and
        normalised as was asked."""
        settings, own = self.settings, self.built.info.preprocess.input_px
        size = int(settings.image_size or 0)
        source = self.built.source.given(
            input_px=(size, size) if size != min(own) else None,
            mean=settings.numbers("mean", 3),
            std=settings.numbers("std", 3),
        )
        self.X_at_size = self.X
        if source is self.built.source:
            return
        self.built = engines.locate(
            source,
            sample=extract.sample_pictures(self.table),
            device=self.built.device,
            offline=self.environment.offline,
            say=self.listener.say,
        )
        self.loaded = replace(self.loaded, config=dict(self.built.info.config))
        if not self.method.starts_anew:
            self.X_at_size = self.features(self.table, self.built)

    @cached_property
    def views(self) -> Views:
        """The pictures as training sees them."""
        from regraft.methods.gradient.views import Views

        return Views(
            self.table, self.digests, self.built.info.preprocess, self.settings,
            seed=self.seed, environment=self.environment,
        )  # fmt: skip

    def augmented_examples(self) -> Examples:
        """Pictures of the rows that teach, augmented anew in each epoch; small ones first."""
        from regraft.methods.gradient.examples import PixelExamples

        config, settings = self.loaded.config, self.settings
        size, start = int(settings.image_size or 0), settings.start_size
        views = self.views
        views.decode()  # here, where the first of several processes does it for all

        def view(row: int, epoch: int) -> NDArray[np.uint8]:
            is_early = start is not None and epoch < 2 * int(settings.epochs or 0) / 3
            return views.augmented(row, epoch, start if is_early else size)

        return PixelExamples(len(self.learn), view, mean=config["mean"], std=config["std"])

    def plain_examples(self) -> Examples | None:
        """Plain pictures of the rows that choose, kept in memory."""
        from regraft.methods.gradient.examples import PixelExamples

        if not len(self.choose):
            return None
        kept = self.views.all_plain(self.choose)
        config = self.loaded.config
        return PixelExamples(
            len(kept), lambda row, epoch: kept[row], mean=config["mean"], std=config["std"]
        )

    def feature_views(self) -> list[NDArray[np.float32]]:
        """Features of all rows: of the plain pictures, or of several augmented views."""
        from regraft.features import activations

        n_views = int(self.settings.views or 1)
        if n_views == 1:
            return [self.X_at_size]
        info = self.built.info
        engine = activations.PrefixEngine(
            self.built.start(), info.n_features, (0,), info.batch_size,
            self.built.folder.name, info.runtime,
        )  # fmt: skip
        found = activations.compute(
            engine, self.views.augmented, len(self.rows), n_views,
            recipe=self.views.recipe(np.arange(len(self.rows))),
            budget_bytes=int(self.settings.budget_gib * 2**30),
            progress=functools.partial(self.listener.progress, "views"),
        )  # fmt: skip
        if found is None:
            raise ConfigError(
                f"{n_views} views of {len(self.rows)} images do not fit the "
                f"{self.settings.budget_gib:g} GiB of --budget-gib",
                cure="fewer --views, or a larger --budget-gib",
            )
        return [self.X_at_size, *found]

    @cached_property
    def accelerator(self) -> Any:
        """Device, arithmetic and processes, as Accelerate finds or is told them."""
        from regraft.methods.gradient.devices import accelerator

        kept = self.environment.folder
        folder = None if kept is None else kept.parent / TRACKED
        return accelerator(self.built.device, self.settings, self.loaded.network, folder)

    def features(self, table: ImageTable, built: BuiltEngine) -> NDArray[np.float32]:
        """Of the pass, through the store."""
        progress = functools.partial(self.listener.progress, "images")
        with Store.open(decoder=DECODER_VERSION) as store:
            return extract.run(table, built, store, progress=progress).X

    # -- the start ---------------------------------------------------------------------------

    def _start_from_probe(self) -> None:
        """Heads on all rows, and on those that teach alone: what training starts from."""
        everything = np.arange(len(self.rows))
        is_random = self.method.starts_anew or self.settings.init_head == "random"
        if is_random or self.settings.hidden_widths:
            self.probe: Probe = self.scout
            self.start: Probe | None = None
            self.representation = _plain_final(self.built.info.taps)
            if self.settings.hidden_widths and not is_random:
                taps = self.method.taps or self.scout.representation_.taps
                self.representation = Representation.fit(
                    self.X_at_size, taps, self.built.info.taps, source=self.scout.source
                )
            return
        self.probe = self.scout
        if self.method.taps or self.X_at_size is not self.X:
            self.probe = self.fit_probe(self.X_at_size, self.built, self.method.taps, everything)
        self.representation = self.probe.representation_
        taps = self.representation.taps
        self.start = self.probe
        if len(self.choose):
            # On the representation of all rows, which knows no label.
            self.start = self.fit_probe(self.X_at_size, self.built, taps, self.learn)

    def weights(self, rows: NDArray[np.intp]) -> Floats:
        """Of the images in the loss; mean 1."""
        y = self.y[rows]
        if self.method.class_weight is None:
            return np.ones(len(y))
        if self.method.class_weight != "balanced":
            raise ConfigError(
                f"class_weight must be None or 'balanced', got {self.method.class_weight!r}"
            )
        counts = np.bincount(y)
        return np.asarray(len(y) / (np.count_nonzero(counts) * counts[y].astype(np.float64)))

    @property
    def identity(self) -> str:
        """Of this training: what decides its numbers, but for how long it goes on."""
        settings = {k: v for k, v in self.settings.to_dict().items() if k not in _NO_IDENTITY}
        parts = [
            self.method.method, settings, self.built.info.weights_digest, self.seed,
            self.method.class_weight, self.y.tolist(), len(self.learn),
            hashlib.sha256(b"".join(self.digests)).hexdigest(),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _gain_of_stages(probe: Probe) -> float:
    """Left-out accuracy of the best taps less that of the final features; 0 if taps were given."""
    by_taps = {candidate.taps: candidate for candidate in probe.candidates_}
    if ("final",) not in by_taps:
        return 0.0
    own = [candidate for candidate in probe.candidates_ if SOURCE not in candidate.taps]
    best = min(own, key=lambda candidate: candidate.loss)
    return best.accuracy - by_taps["final",].accuracy


def _error(probe: Probe) -> float:
    """Left-out share of wrong answers on the best taps; 0 if taps were given."""
    if not probe.candidates_:
        return 0.0
    return 1 - min(probe.candidates_, key=lambda candidate: candidate.loss).accuracy


def _held_out(y: Codes, units: Codes | None, fraction: float, seed: int) -> NDArray[np.bool_]:
    """A stratified part of whole units that chooses; none of too few images."""
    wanted = min(fraction * len(y), MOST_TO_CHOOSE)
    if wanted < FEWEST_TO_CHOOSE:
        return np.zeros(len(y), bool)
    n_units = len(y) if units is None else len(np.unique(units))
    n_parts = max(2, min(round(len(y) / wanted), n_units))
    part = carve(y, n_parts, units=units, seed=seed) == 0
    # A class that is nowhere else has to teach.
    teaching = np.bincount(y[~part], minlength=int(y.max()) + 1)
    part &= teaching[y] > 0
    return np.asarray(part)


def _plain_final(taps: tuple[engines.Tap, ...]) -> Representation:
    """The final features as they are, as the tutorials' heads see them."""
    final = taps[-1]
    width = final.stop - final.start
    block = Block("final", final.start, final.stop, False)
    return Representation(("final",), (block,), np.zeros(width), np.ones(width))
