"""Every setting of the methods that learn by gradients, with its default and its words.

One field is one setting: the command line's options, the help and the checks are made from this
list. A value of None means "chosen for these data" (`methods/defaults.py` says by which rule).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from regraft.errors import ConfigError

OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("one-cycle", "cosine", "step", "constant")
LOSSES = ("cross-entropy", "nll", "focal")
BATCHNORM = ("frozen", "train", "affine-only", "re-estimate")
AUGMENTATIONS = (
    "auto", "none", "light", "standard", "strong", "orientation-free", "upright",
)  # fmt: skip
KEEPS = ("loss", "accuracy", "balanced-accuracy", "last")
RECIPES = ("default", "tutorial")


def _setting(default: Any, words: str, *, choices: tuple[str, ...] = (), kind: Any = None) -> Any:
    metadata = {"words": words, "choices": choices, "kind": kind or type(default)}
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
        None, "partial: the first module that learns, e.g. blocks.5 or layer4", kind=str
    )
    epochs: int | None = _setting(None, "passes over the images", kind=int)
    batch_size: int = _setting(32, "images per step")
    accumulate: int = _setting(1, "batches whose gradients are added up for one step")
    optimizer: str = _setting("sgd", "what takes the steps", choices=OPTIMIZERS)
    learning_rate: float | None = _setting(None, "largest rate of the body", kind=float)
    head_rate: float | None = _setting(None, "largest rate of the head", kind=float)
    momentum: float = _setting(0.9, "of SGD")
    weight_decay: float = _setting(0.0, "decoupled, not on biases and norms")
    l2_sp: float = _setting(0.0, "pull towards the weights at the start (L2-SP)")
    layer_decay: float = _setting(1.0, "rate of a stage over that of the next one")
    schedule: str = _setting("one-cycle", "of the rate", choices=SCHEDULES)
    warmup: float = _setting(0.3, "share of the steps with a growing rate")
    step_epochs: int = _setting(7, "schedule step: epochs until the rate falls")
    gamma: float = _setting(0.1, "schedule step: what the rate is multiplied by")
    loss: str = _setting("cross-entropy", "what is made small", choices=LOSSES)
    label_smoothing: float = _setting(0.0, "share of the target spread over all classes")
    focal_gamma: float = _setting(2.0, "loss focal: how much sure hits count less")
    mixup: float = _setting(0.0, "alpha of mixup; 0 is without")
    cutmix: float = _setting(0.0, "alpha of CutMix; 0 is without")
    ema: float = _setting(0.0, "decay of the weights' moving average; 0 is without")
    clip: float = _setting(1.0, "largest norm of the gradient; 0 is without")
    patience: int = _setting(0, "stop after so many epochs without a better one; 0 never")
    unfreeze: float = _setting(0.0, "epochs in which the head alone learns, before the body does")
    batchnorm: str | None = _setting(
        None, "BatchNorm where layers learn", choices=BATCHNORM, kind=str
    )
    augment: str = _setting("auto", "auto: by a test on held-out images", choices=AUGMENTATIONS)
    crop_scale: str | None = _setting(
        None, "smallest and largest share of the picture in a crop: 0.08,1", kind=str
    )
    degrees: float | None = _setting(None, "largest rotation", kind=float)
    horizontal_flip: float | None = _setting(None, "its probability", kind=float)
    vertical_flip: float | None = _setting(None, "its probability", kind=float)
    views: int | None = _setting(
        None, "augmented views per image (head, partial); computed once", kind=int
    )
    image_size: int | None = _setting(None, "side of the network's input", kind=int)
    start_size: int | None = _setting(None, "full: side in the first two thirds", kind=int)
    mean: str | None = _setting(None, "of RGB in 0..1, three numbers: 0.5,0.5,0.5", kind=str)
    std: str | None = _setting(None, "of RGB in 0..1, three numbers", kind=str)
    init_head: str = _setting("probe", "where the head starts", choices=("probe", "random"))
    hidden: str = _setting("", "widths of a hidden layer or more before the last: 256")
    dropout: float = _setting(0.4, "after each hidden layer")
    keep: str = _setting("last", "what tells the best epoch, on held-out images", choices=KEEPS)
    select_fraction: float = _setting(0.1, "share of train that is held out to choose")
    interpolate: bool = _setting(True, "try the way from the start to the learnt weights (WiSE-FT)")
    average_last: int = _setting(3, "try the average of so many last epochs")
    refit: bool = _setting(False, "learn again on all of train with what was chosen")
    precision: str = _setting("auto", "arithmetic", choices=("auto", "fp32", "bf16", "fp16"))
    compile: bool = _setting(False, "torch.compile (slower on CPUs in all that we measured)")
    workers: int | None = _setting(None, "threads that prepare pictures", kind=int)
    budget_gib: float = _setting(4.0, "disk for activations and decoded pictures")
    tracker: str = _setting("", "tensorboard, wandb, ...: as Accelerate names them")

    def __post_init__(self) -> None:
        for f in fields(self):
            value, choices = getattr(self, f.name), f.metadata["choices"]
            if choices and value is not None and value not in choices:
                near = difflib.get_close_matches(str(value), choices, n=1)
                cure = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(choices)}"
                raise ConfigError(f"{f.name} has no choice {value!r}", cure=cure)
            if isinstance(value, float) and not math.isfinite(value):
                raise ConfigError(f"{f.name} must be finite, got {value}")
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ConfigError(f"{name} must be in {low:g} to {high:g}, got {value:g}")
        self.hidden_widths, self.numbers("crop_scale", 2)
        self.numbers("mean", 3), self.numbers("std", 3)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, place: str = "") -> TrainingSettings:
        """From JSON or options; unknown names are answered with near ones."""
        kinds = {f.name: f.metadata["kind"] for f in fields(cls)}
        for name, value in values.items():
            if name not in kinds:
                near = difflib.get_close_matches(name, kinds, n=1)
                cure = f"did you mean {near[0]!r}?" if near else f"settings: {', '.join(kinds)}"
                raise ConfigError(f"training has no setting {name!r}", place=place, cure=cure)
            if value is not None and not _is_of(value, kinds[name]):
                what = kinds[name].__name__
                raise ConfigError(f"{name!r} must be {what}, got {value!r}", place=place)
        recipe = values.get("recipe", "default")
        return cls(**{**(TUTORIAL if recipe == "tutorial" else {}), **values})

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


_RANGES: tuple[tuple[str, float, float], ...] = (
    ("epochs", 0, 100_000),
    ("batch_size", 1, 65_536),
    ("accumulate", 1, 65_536),
    ("learning_rate", 0, 100),
    ("head_rate", 0, 100),
    ("momentum", 0, 0.9999),
    ("weight_decay", 0, 10),
    ("l2_sp", 0, 100),
    ("layer_decay", 0.01, 1),
    ("warmup", 0, 1),
    ("step_epochs", 1, 100_000),
    ("gamma", 0, 1),
    ("label_smoothing", 0, 0.99),
    ("focal_gamma", 0, 20),
    ("mixup", 0, 100),
    ("cutmix", 0, 100),
    ("ema", 0, 0.99999),
    ("clip", 0, 1e6),
    ("patience", 0, 100_000),
    ("unfreeze", 0, 100_000),
    ("degrees", 0, 180),
    ("horizontal_flip", 0, 1),
    ("vertical_flip", 0, 1),
    ("views", 1, 1000),
    ("image_size", 16, 4096),
    ("start_size", 16, 4096),
    ("dropout", 0, 0.99),
    ("select_fraction", 0.01, 0.5),
    ("average_last", 1, 50),
    ("workers", 0, 256),
    ("budget_gib", 0, 1e6),
)

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


def _is_of(value: Any, kind: Any) -> bool:
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)
