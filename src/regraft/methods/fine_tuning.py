"""What `head`, `partial`, `full` and `scratch` have in common: the story of a network that learns.

A probe comes first. Its head is where the new one starts, its left-out error says how much there
is to learn, and it is the end of the way on which the result is looked for: from the probe
(alpha = 0) to the weights that were learnt (alpha = 1), whatever the held-out images like best.
What moved while the held-out images were held out is then added to the probe of all of train.

Array letters: N images, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from regraft import blas
from regraft.errors import DataError
from regraft.evaluation.calibration import softmax
from regraft.features import engines, extract
from regraft.features.engines import BuiltEngine, available_cores
from regraft.listener import SILENT, Listener
from regraft.methods import processes
from regraft.methods.base import Codes, Floats, Head
from regraft.methods.probe import Probe
from regraft.methods.representation import Representation
from regraft.methods.settings import TrainingSettings

if TYPE_CHECKING:
    from torch import nn

    from regraft.methods.gradient.examples import Examples
    from regraft.methods.gradient.history import Epoch
    from regraft.methods.gradient.learning import Outcome
    from regraft.methods.gradient.lr_find import RangeTest
    from regraft.methods.gradient.plan import Plan


@dataclass(frozen=True)
class Environment:
    """Where and for whom training runs; nothing here changes the result.

    Attributes
    ----------
    folder : Path or None
        Of the checkpoints; None keeps none.
    listener : Listener
    offline : bool
    """

    folder: Path | None = None
    listener: Listener = SILENT
    offline: bool = False


@dataclass
class Part:
    """What learns, and what it learns from.

    Attributes
    ----------
    body : nn.Module or None
        The network, or the rest of it after a cut; None where only a head learns.
    learn, choose : Examples
        In the order of the rows that teach, and of those that choose.
    stages : tuple of str
        Of the body, whose activations the head may see.
    frozen : tuple of str
        Tensors of the network that stay, by name.
    proof : dict
        Of the split.
    """

    body: nn.Module | None
    learn: Examples
    choose: Examples | None
    stages: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    proof: dict[str, float] = field(default_factory=dict)


@dataclass
class FineTuning:
    """A network, or its head, that learns on by gradients.

    Parameters
    ----------
    probe : callable(built, taps) -> Probe
        Makes the probe on an engine's features.
    built : BuiltEngine
        Of the network at its own size.
    settings : TrainingSettings
    taps : tuple of str or None
        What the head sees; None: chosen by the probe.
    class_weight : {'balanced'} or None
    random_state : int
    environment : Environment

    Attributes
    ----------
    representation_, head_, temperature_
        What turns the features of `built_` into probabilities.
    built_ : BuiltEngine
        Of the network as it is now.
    settings_ : TrainingSettings
        With everything that was chosen.
    history_ : list of Epoch
    candidates_, strength_, curve_, chosen_by_
        Of the probe.
    scout_, rows_ : Probe, (n,) int
        The probe on the network as it was, and the rows that it was fitted on.
    training_ : dict
        For metrics.json: what was chosen by what, frozen and moved, the proof of the split.
    """

    probe: Callable[[BuiltEngine, tuple[str, ...] | None], Probe]
    built: BuiltEngine
    settings: TrainingSettings = field(default_factory=TrainingSettings)
    taps: tuple[str, ...] | None = None
    class_weight: str | None = None
    random_state: int = 0
    environment: Environment = field(default_factory=Environment)

    method: ClassVar[str] = ""
    starts_anew: ClassVar[bool] = False

    representation_: Representation = field(init=False, repr=False)
    head_: Head = field(init=False, repr=False)
    temperature_: float = field(init=False)
    built_: BuiltEngine = field(init=False, repr=False)
    settings_: TrainingSettings = field(init=False, repr=False)
    history_: list[Epoch] = field(init=False, repr=False, default_factory=list)
    training_: dict[str, Any] = field(init=False, repr=False, default_factory=dict)
    probe_: Probe = field(init=False, repr=False)
    scout_: Probe = field(init=False, repr=False)
    rows_: NDArray[np.intp] = field(init=False, repr=False)
    strength_: float | None = field(init=False, default=None)
    oof_rows_: Any = field(init=False, repr=False)
    oof_proba_: Floats = field(init=False, repr=False)
    seconds_: dict[str, float] = field(init=False, repr=False, default_factory=dict)

    def part(self, plan: Plan) -> Part:
        """What of the network learns, and its examples; each method has its own."""
        raise NotImplementedError

    @property
    def candidates_(self) -> list[Any]:
        """The probe's measured choice of taps; empty if they were given."""
        return self.probe_.candidates_

    @property
    def curve_(self) -> list[dict[str, float]]:
        """The probe's curve over strengths."""
        return self.probe_.curve_

    @property
    def chosen_by_(self) -> str:
        """How the probe's taps were chosen."""
        return self.probe_.chosen_by_

    @property
    def available(self) -> tuple[engines.Tap, ...]:
        """The probe's taps."""
        return self.probe_.available

    def fit(
        self,
        extraction: extract.Extraction,
        y: Codes,
        *,
        n_classes: int,
        learn: NDArray[np.intp],
        choose: NDArray[np.intp] | None = None,
        units: Codes | None = None,
    ) -> FineTuning:
        """Learn from the images of an extraction.

        Parameters
        ----------
        extraction : Extraction of N images
            By `built`.
        y : (N,) codes
        learn : (n,) int
            Rows that teach.
        choose : (m,) int, optional
            Rows that choose; None carves them out of those that teach.
        units : (n,) int, optional
            Rows of one unit are not divided.

        Raises
        ------
        DataError
            Fewer than two classes.
        TrainingError
            The loss is not finite.
        """
        from regraft.methods.gradient import learning

        plan, part = self._planned(
            extraction, y, n_classes=n_classes, learn=learn, choose=choose, units=units
        )
        self.settings_, self.probe_ = plan.settings, plan.probe
        self.scout_, self.rows_ = plan.scout, plan.rows
        with blas.threads(processes.share(available_cores())):
            outcome = learning.learn(plan, part)
            if self.settings.refit and len(plan.choose) and outcome.alpha > 0:
                outcome = self._again_on_all(plan, outcome, extraction, y)
        self.representation_, self.head_ = outcome.representation, outcome.head
        self.temperature_, self.built_ = outcome.temperature, outcome.built
        self.history_, self.training_ = outcome.epochs, outcome.record
        self.oof_rows_, self.oof_proba_ = plan.rows[plan.choose], outcome.held_out_proba
        return self

    def _again_on_all(
        self, plan: Plan, outcome: Outcome, extraction: extract.Extraction, y: Codes
    ) -> Outcome:
        """Learn once more, from those that chose too, with the settings that they chose."""
        from regraft.methods.gradient import learning

        self.environment.listener.say("learning again from all images, those that chose included")
        folder = self.environment.folder
        again = replace(
            self,
            settings=replace(plan.settings, epochs=max(1, outcome.best_epoch), refit=False),
            environment=replace(self.environment, folder=folder and folder / "refit"),
        )
        rows = np.sort(plan.rows)
        whole, part = again._planned(
            extraction, y, n_classes=plan.n_classes, learn=rows, choose=rows[:0], units=None
        )
        second = learning.learn(whole, part, alpha=outcome.alpha)
        return replace(
            second,
            temperature=outcome.temperature,
            held_out_proba=outcome.held_out_proba,
            record={**second.record, "held_out": len(plan.choose), "chosen_by": outcome.record},
        )

    def try_rates(self, extraction: extract.Extraction, y: Codes, **rows: Any) -> RangeTest:
        """The loss over a rate that rises, on what `fit` would learn from; keeps nothing.

        The arguments are those of `fit`.
        """
        from regraft.methods.gradient import lr_find

        plan, part = self._planned(extraction, y, **rows)
        with blas.threads(available_cores()):
            return lr_find.range_test(plan, part)

    def _planned(self, extraction: extract.Extraction, y: Codes, **rows: Any) -> tuple[Plan, Part]:
        """Everything that training needs, computed by the first process, found by the others."""
        from regraft.methods.gradient.plan import Plan

        n_classes = len(np.unique(y[rows["learn"]]))
        if n_classes < 2:
            raise DataError(
                f"training needs images of at least 2 classes, got {n_classes}",
                cure="one folder per class: DATA/train/<class>/... or DATA/<class>/...",
            )
        with processes.main_first():
            plan = Plan(self, extraction, y, **rows)
            with blas.threads(available_cores()):
                return plan, self.part(plan)

    def predict_proba(self, X: Floats) -> Floats:
        """``(N, D0)`` features of `built_` to ``(N, K)`` probabilities."""
        scores = self.head_.scores(self.representation_(np.asarray(X)))
        return softmax(scores, temperature=self.temperature_)
