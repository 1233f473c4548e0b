"""Every setting of the methods that learn by gradients, with its default and its words.

One field is one setting: the command line's options, the help and the checks are made from this
list. A value of None means "chosen for these data" (`defaults.py` says by which rule).
Each names the mark of the methods that use it; given to another one it would change nothing, and
is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any

from msgspec import Meta

from regraft.backbones.catalog import Source
from regraft.errors import ConfigError
from regraft.machine import json_values
from regraft.probe.method import Method
from regraft.wording import near_names

OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("one-cycle", "cosine", "step", "constant")
LOSSES = ("cross-entropy", "nll", "focal")
BATCHNORM = ("frozen", "train", "affine-only", "re-estimate")
AUGMENTATIONS = (
    "auto", "none", "light", "standard", "strong", "orientation-free", "upright",
)  # fmt: skip
KEEPS = ("loss", "accuracy", "balanced-accuracy", "last")
RECIPES = ("default", "tutorial")

Share = Annotated[float, Meta(ge=0, le=1)]
Below1 = Annotated[float, Meta(ge=0, le=0.99)]
UpTo100 = Annotated[float, Meta(ge=0, le=100)]
Epochs = Annotated[int, Meta(ge=0, le=100_000)]
Images = Annotated[int, Meta(ge=1, le=65_536)]
Side = Annotated[int, Meta(ge=16, le=4096)]


def _setting(
    default: Any,
    words: str,
    *,
    choices: tuple[str, ...] = (),
    used_by: str = "trains",
    needs: tuple[str, str] | None = None,
) -> Any:
    """A field. `used_by` is the mark that a method has which uses it (`Method`); `needs` names
    another setting and the value that it must have for this one to matter, in capitals if any
    will do."""
    metadata = {"words": words, "choices": choices, "used_by": used_by, "needs": needs}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class TrainingSettings:
    """How a network learns on. Rates are per step, sizes in pixels.

    Examples
    --------
    >>> TrainingSettings.from_dict({"epochs": 4, "optimizer": "adam"}).optimizer
    'adam'
    >>> TrainingSettings.from_dict({"epoch": 4})
    Traceback (most recent call last):
        ...
    regraft.errors.ConfigError: training has no setting 'epoch'
      cure:  did you mean 'epochs'?
    """

    recipe: str = _setting(
        "default", "default, or tutorial: SGD 1e-3, StepLR(7, 0.1), batch 4", choices=RECIPES
    )
    split_point: str | None = _setting(
        None, "the first module that learns, e.g. blocks.5 or layer4", used_by="splits"
    )
    epochs: Epochs | None = _setting(None, "passes over the images")
    batch_size: Images = _setting(32, "images per step")
    accumulate: Images = _setting(1, "batches whose gradients are added up for one step")
    optimizer: str = _setting("sgd", "what takes the steps", choices=OPTIMIZERS)
    learning_rate: UpTo100 | None = _setting(None, "largest rate of the body")
    head_rate: UpTo100 | None = _setting(None, "largest rate of the head")
    momentum: Annotated[float, Meta(ge=0, le=0.9999)] = _setting(
        0.9, "of SGD", needs=("optimizer", "sgd")
    )
    weight_decay: Annotated[float, Meta(ge=0, le=10)] = _setting(
        0.0, "decoupled, not on biases and norms"
    )
    l2_sp: UpTo100 = _setting(
        0.0, "pull towards the weights at the start (L2-SP)", used_by="moves_network"
    )
    layer_decay: Annotated[float, Meta(ge=0.01, le=1)] = _setting(
        1.0, "rate of a stage over that of the next one", used_by="moves_network"
    )
    schedule: str = _setting("one-cycle", "of the rate", choices=SCHEDULES)
    warmup: Share = _setting(0.3, "share of the steps with a growing rate")
    step_epochs: Annotated[int, Meta(ge=1, le=100_000)] = _setting(
        7, "epochs until the rate falls", needs=("schedule", "step")
    )
    gamma: Share = _setting(0.1, "what the rate is multiplied by", needs=("schedule", "step"))
    loss: str = _setting("cross-entropy", "what is made small", choices=LOSSES)
    label_smoothing: Below1 = _setting(0.0, "share of the target spread over all classes")
    focal_gamma: Annotated[float, Meta(ge=0, le=20)] = _setting(
        2.0, "how much sure hits count less", needs=("loss", "focal")
    )
    mixup: UpTo100 = _setting(0.0, "alpha of mixup; 0 is without", used_by="moves_network")
    cutmix: UpTo100 = _setting(0.0, "alpha of CutMix; 0 is without", used_by="sees_pictures")
    ema: Annotated[float, Meta(ge=0, le=0.99999)] = _setting(
        0.0, "decay of the weights' moving average; 0 is without"
    )
    clip: Annotated[float, Meta(ge=0, le=1e6)] = _setting(
        1.0, "largest norm of the gradient; 0 is without"
    )
    patience: Epochs = _setting(0, "stop after so many epochs without a better one; 0 never")
    unfreeze: Annotated[float, Meta(ge=0, le=100_000)] = _setting(
        0.0, "epochs in which the head alone learns, before the body does", used_by="moves_network"
    )
    batchnorm: str | None = _setting(
        None, "BatchNorm where layers learn", choices=BATCHNORM, used_by="moves_network"
    )
    augment: str = _setting("auto", "auto: by a test on validation images", choices=AUGMENTATIONS)
    crop_scale: str | None = _setting(
        None, "smallest and largest share of the picture in a crop: 0.08,1"
    )
    degrees: Annotated[float, Meta(ge=0, le=180)] | None = _setting(None, "largest rotation")
    horizontal_flip: Share | None = _setting(None, "its probability")
    vertical_flip: Share | None = _setting(None, "its probability")
    views: Annotated[int, Meta(ge=1, le=1000)] | None = _setting(
        None, "augmented views per image; computed once", used_by="has_views"
    )
    image_size: Side | None = _setting(
        None, "side of the network's input", used_by="shows_pictures"
    )
    start_size: Side | None = _setting(
        None, "side in the first two thirds", used_by="sees_pictures"
    )
    mean: str | None = _setting(
        None, "of RGB in 0..1, three numbers: 0.5,0.5,0.5", used_by="shows_pictures"
    )
    std: str | None = _setting(None, "of RGB in 0..1, three numbers", used_by="shows_pictures")
    init_head: str = _setting(
        "probe",
        "where the head starts",
        choices=("probe", "random"),
        used_by="starts_from_probe",
    )
    hidden: str = _setting("", "widths of a hidden layer or more before the last: 256")
    dropout: Below1 = _setting(0.4, "after each hidden layer", needs=("hidden", "WIDTHS"))
    keep: str = _setting("last", "what tells the best epoch, on validation images", choices=KEEPS)
    select_fraction: Annotated[float, Meta(ge=0.01, le=0.5)] = _setting(
        0.1, "share of train held out as validation images, to choose"
    )
    interpolate: bool = _setting(
        True,
        "try the way from the start to the learnt weights (WiSE-FT)",
        used_by="starts_from_probe",
    )
    average_last: Annotated[int, Meta(ge=1, le=50)] = _setting(
        3, "try the average of so many last epochs"
    )
    refit: bool = _setting(False, "learn again on all of train with what was chosen")
    precision: str = _setting("auto", "arithmetic", choices=("auto", "fp32", "bf16", "fp16"))
    compile: str = _setting(
        "auto",
        "torch.compile; auto: on a GPU, if many steps are to come and a trial is faster",
        choices=("auto", "on", "off"),
        used_by="moves_network",
    )
    workers: Annotated[int, Meta(ge=0, le=256)] | None = _setting(
        None, "threads that prepare pictures"
    )
    budget_gib: Annotated[float, Meta(ge=0, le=1e6)] = _setting(
        4.0, "disk for activations and decoded pictures"
    )
    tracker: str = _setting("", "tensorboard, wandb, ...: as Accelerate names them")

    def __post_init__(self) -> None:
        json_values.check(vars(self), TrainingSettings, what="training")
        for f in fields(self):
            value, choices = getattr(self, f.name), f.metadata["choices"]
            if choices and value is not None and value not in choices:
                near = near_names(str(value), choices, n=1)
                cure = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(choices)}"
                raise ConfigError(f"{f.name} has no choice {value!r}", cure=cure)
        if not all(0 <= value <= 1 for value in self.numbers("mean", 3) or ()):
            raise ConfigError(f"mean must be of colours in 0..1, got {self.mean!r}")
        if not all(0 < value <= 1 for value in self.numbers("std", 3) or ()):
            raise ConfigError(f"std must be of colours in 0..1 and above 0, got {self.std!r}")
        _ = self.hidden_widths
        self._refuse_augmentation()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, place: str = "") -> TrainingSettings:
        """From JSON or options; unknown names are answered with near ones.

        Examples
        --------
        >>> TrainingSettings.from_dict({"warm_up": 0.1})
        Traceback (most recent call last):
            ...
        regraft.errors.ConfigError: training has no setting 'warm_up'
          cure:  did you mean 'warmup'?
        """
        json_values.check(values, cls, what="training", place=place)
        return cls(**{**recipe_of(values), **values})

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @property
    def hidden_widths(self) -> tuple[int, ...]:
        """Widths of the head's hidden layers; empty for a linear head."""
        try:
            widths = tuple(int(part) for part in self.hidden.split(",") if part.strip())
        except ValueError as error:
            raise ConfigError(
                f"hidden must be widths as 256 or 512,256: {self.hidden!r}"
            ) from error
        if any(not 1 <= width <= 65_536 for width in widths):
            raise ConfigError(f"hidden widths must be 1 to 65536, got {self.hidden!r}")
        return widths

    @property
    def augmentation_changes(self) -> dict[str, Any]:
        """What is changed of the preset, in the words of `regraft.images.augment.Augmentation`."""
        given = {
            "scale": self.numbers("crop_scale", 2),
            "degrees": self.degrees,
            "horizontal_flip": self.horizontal_flip,
            "vertical_flip": self.vertical_flip,
        }
        return {name: value for name, value in given.items() if value is not None}

    def _refuse_augmentation(self) -> None:
        """Before any work, what no view could be made with."""
        if not self.augmentation_changes:
            return
        from regraft.images.augment import Augmentation

        preset = "light" if self.augment == "auto" else self.augment
        try:
            Augmentation.preset(preset, **self.augmentation_changes)
        except ConfigError as error:
            given = [option(n) for n in VIEW if getattr(self, n) not in (None, "auto")]
            raise ConfigError(error.rule, place=", ".join(given), cure=error.cure) from error

    def shown_to(self, source: Source) -> Source:
        """The network for pictures of the size and normalisation that are given here."""
        side = self.image_size
        return source.given(
            input_px=None if side is None else (side, side),
            mean=self.numbers("mean", 3),
            std=self.numbers("std", 3),
        )

    def numbers(self, name: str, n: int) -> tuple[float, ...] | None:
        """A setting of several numbers, such as mean."""
        text = getattr(self, name)
        if text is None:
            return None
        try:
            values = tuple(float(part) for part in text.split(","))
        except ValueError:
            values = ()
        if len(values) != n or not all(map(math.isfinite, values)):
            raise ConfigError(f"{name} must be {n} numbers with commas, got {text!r}")
        return values


# What the tutorials do, line by line (docs/tutorials.md).
TUTORIAL: dict[str, Any] = {
    "batch_size": 4,
    "learning_rate": 1e-3,
    "head_rate": 1e-3,
    "schedule": "step",
    "warmup": 0.0,
    "step_epochs": 7,
    "gamma": 0.1,
    "label_smoothing": 0.0,
    "clip": 0.0,
    "layer_decay": 1.0,
    "batchnorm": "train",
    "augment": "standard",
    "init_head": "random",
    "keep": "accuracy",
    "interpolate": False,
    "average_last": 1,
}


# Those of a view; nothing changes without one.
VIEW = ("augment", "crop_scale", "degrees", "horizontal_flip", "vertical_flip")


def recipe_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the recipe among these stands for."""
    return TUTORIAL if values.get("recipe") == "tutorial" else {}


def is_used(name: str, method: Method) -> bool:
    """Whether a method looks at a setting.

    Examples
    --------
    >>> from regraft.training.partial import PARTIAL
    >>> is_used("split_point", PARTIAL), is_used("start_size", PARTIAL)
    (True, False)
    """
    (found,) = (f for f in fields(TrainingSettings) if f.name == name)
    return bool(getattr(method, found.metadata["used_by"]))


def option(name: str) -> str:
    """The setting as it is typed.

    Examples
    --------
    >>> option("split_point")
    '--split-point'
    """
    return "--" + name.replace("_", "-")
