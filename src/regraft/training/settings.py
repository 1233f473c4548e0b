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
from regraft.machine import allowed, json_values
from regraft.probe.method import Method

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
        "default",
        "Defaults of these options; tutorial: SGD 1e-3, StepLR(7, 0.1), batch 4",
        choices=RECIPES,
    )
    split_point: str | None = _setting(
        None, "First module that learns, such as blocks.5 or layer4", used_by="splits"
    )
    epochs: Epochs | None = _setting(None, "Passes over the images")
    batch_size: Images = _setting(32, "Images per step")
    accumulate: Images = _setting(1, "Batches whose gradients are added up for one step")
    optimizer: str = _setting("sgd", "Optimiser", choices=OPTIMIZERS)
    learning_rate: UpTo100 | None = _setting(
        None, "Largest learning rate of the body, the network below the head"
    )
    head_rate: UpTo100 | None = _setting(None, "Largest learning rate of the head")
    momentum: Annotated[float, Meta(ge=0, le=0.9999)] = _setting(
        0.9, "Momentum of SGD", needs=("optimizer", "sgd")
    )
    weight_decay: Annotated[float, Meta(ge=0, le=10)] = _setting(
        0.0, "Decoupled weight decay, not on biases and norms"
    )
    l2_sp: UpTo100 = _setting(
        0.0, "Pull towards the weights at the start, L2-SP", used_by="moves_network"
    )
    layer_decay: Annotated[float, Meta(ge=0.01, le=1)] = _setting(
        1.0, "Learning rate of a stage over that of the next one", used_by="moves_network"
    )
    schedule: str = _setting("one-cycle", "How the learning rate changes", choices=SCHEDULES)
    warmup: Share = _setting(0.3, "Share of the steps in which the learning rate grows")
    step_epochs: Annotated[int, Meta(ge=1, le=100_000)] = _setting(
        7, "Epochs until the learning rate falls", needs=("schedule", "step")
    )
    gamma: Share = _setting(
        0.1, "What the learning rate is then multiplied by", needs=("schedule", "step")
    )
    loss: str = _setting("cross-entropy", "Loss function", choices=LOSSES)
    label_smoothing: Below1 = _setting(0.0, "Share of the target that is spread over all classes")
    focal_gamma: Annotated[float, Meta(ge=0, le=20)] = _setting(
        2.0, "How much less the loss counts images that are surely right", needs=("loss", "focal")
    )
    mixup: UpTo100 = _setting(0.0, "Alpha of mixup; 0 turns it off", used_by="moves_network")
    cutmix: UpTo100 = _setting(0.0, "Alpha of CutMix; 0 turns it off", used_by="sees_pictures")
    ema: Annotated[float, Meta(ge=0, le=0.99999)] = _setting(
        0.0, "Decay of the weights' moving average; 0 turns it off"
    )
    clip: Annotated[float, Meta(ge=0, le=1e6)] = _setting(
        1.0, "Largest norm of the gradient; 0 turns clipping off"
    )
    patience: Epochs = _setting(0, "Stop after so many epochs without a better one; 0: never")
    unfreeze: Annotated[float, Meta(ge=0, le=100_000)] = _setting(
        0.0, "Epochs in which the head alone learns, before the body does", used_by="moves_network"
    )
    batchnorm: str | None = _setting(
        None,
        "What BatchNorm does in the layers that learn",
        choices=BATCHNORM,
        used_by="moves_network",
    )
    augment: str = _setting(
        "auto",
        "Random changes of the pictures; auto: by a test on validation images",
        choices=AUGMENTATIONS,
    )
    crop_scale: str | None = _setting(
        None, "Smallest and largest share of the picture in a crop, such as 0.08,1"
    )
    degrees: Annotated[float, Meta(ge=0, le=180)] | None = _setting(
        None, "Largest rotation, in degrees"
    )
    horizontal_flip: Share | None = _setting(None, "Probability of a horizontal flip")
    vertical_flip: Share | None = _setting(None, "Probability of a vertical flip")
    views: Annotated[int, Meta(ge=1, le=1000)] | None = _setting(
        None, "Augmented views per image, computed once", used_by="has_views"
    )
    image_size: Side | None = _setting(
        None, "Side of the network's input, in pixels", used_by="shows_pictures"
    )
    start_size: Side | None = _setting(
        None, "Side in the first two thirds of the training, in pixels", used_by="sees_pictures"
    )
    mean: str | None = _setting(
        None, "Mean of red, green and blue, in 0..1, such as 0.5,0.5,0.5", used_by="shows_pictures"
    )
    std: str | None = _setting(
        None, "Standard deviation of red, green and blue, in 0..1", used_by="shows_pictures"
    )
    init_head: str = _setting(
        "probe",
        "Where the head starts",
        choices=("probe", "random"),
        used_by="starts_from_probe",
    )
    hidden: str = _setting("", "Widths of hidden layers before the last layer, such as 256")
    dropout: Below1 = _setting(0.4, "Dropout after each hidden layer", needs=("hidden", "WIDTHS"))
    keep: str = _setting(
        "last",
        "Which epoch is kept: the best on validation images by this score, or the last",
        choices=KEEPS,
    )
    select_fraction: Annotated[float, Meta(ge=0.01, le=0.5)] = _setting(
        0.1, "Share of train that is held out as validation images"
    )
    interpolate: bool = _setting(
        True,
        "Try the way from the start to the learnt weights, WiSE-FT",
        used_by="starts_from_probe",
    )
    average_last: Annotated[int, Meta(ge=1, le=50)] = _setting(
        3, "Try the average of so many last epochs"
    )
    refit: bool = _setting(False, "Learn again on all of train with what was chosen")
    precision: str = _setting(
        "auto", "Arithmetic of the training", choices=("auto", "fp32", "bf16", "fp16")
    )
    compile: str = _setting(
        "auto",
        "torch.compile; auto: on a GPU, if many steps are to come and a trial is faster",
        choices=("auto", "on", "off"),
        used_by="moves_network",
    )
    workers: Annotated[int, Meta(ge=0, le=256)] | None = _setting(
        None, "Threads that prepare pictures"
    )
    budget_gib: Annotated[float, Meta(ge=0, le=1e6)] = _setting(
        4.0, "Disk space for activations and decoded pictures, in GiB"
    )
    tracker: str = _setting(
        "", "Experiment tracker by Accelerate's name for it, such as tensorboard or wandb"
    )

    def __post_init__(self) -> None:
        json_values.check(vars(self), TrainingSettings, what="training")
        for f in fields(self):
            value, choices = getattr(self, f.name), f.metadata["choices"]
            if choices and value is not None and value not in choices:
                cure = allowed.choice_meant(value, choices)
                raise ConfigError(f"{f.name!r} has no choice {value!r}", cure=cure, setting=f.name)
        if not all(0 <= value <= 1 for value in self.numbers("mean", 3) or ()):
            raise ConfigError(
                f"'mean' must be of colours in 0..1, got {self.mean!r}",
                cure="of red, green and blue, such as 0.485,0.456,0.406",
                setting="mean",
            )
        if not all(0 < value <= 1 for value in self.numbers("std", 3) or ()):
            raise ConfigError(
                f"'std' must be of colours in 0..1 and above 0, got {self.std!r}",
                cure="of red, green and blue, such as 0.229,0.224,0.225",
                setting="std",
            )
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
                f"'hidden' must be widths with commas, got {self.hidden!r}",
                cure="such as 256 or 512,256",
                setting="hidden",
            ) from error
        if any(not 1 <= width <= 65_536 for width in widths):
            raise ConfigError(
                f"'hidden' must be widths from 1 to 65,536, got {self.hidden!r}",
                cure="such as 256 or 512,256",
                setting="hidden",
            )
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
            raise ConfigError(
                f"{name!r} must be {n} numbers with commas, got {text!r}",
                cure=f"such as {','.join(['0.5'] * n)}",
                setting=name,
            )
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
