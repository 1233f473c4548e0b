"""The trackers that can be told of every epoch, as Accelerate names them, and what each needs."""

from __future__ import annotations

import importlib.util

from regraft.errors import UsageError
from regraft.wording import near_names

# Any one of these packages; the first is the one to install.
PACKAGES = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
    "comet_ml": ("comet_ml",),
    "aim": ("aim",),
    "clearml": ("clearml",),
    "dvclive": ("dvclive",),
    "swanlab": ("swanlab",),
    "trackio": ("trackio",),
}


def require_tracker(name: str) -> None:
    """Refuse a tracker that is unknown or not installed.

    Raises
    ------
    UsageError
        With the command that installs it.

    Examples
    --------
    >>> require_tracker("")
    >>> require_tracker("tensorbord")
    Traceback (most recent call last):
        ...
    regraft.errors.UsageError: no tracker is called 'tensorbord'
      cure:  did you mean 'tensorboard'?
    """
    if not name:
        return
    if name not in PACKAGES:
        near = near_names(name, PACKAGES, n=1)
        cure = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(PACKAGES)}"
        raise UsageError(f"no tracker is called {name!r}", cure=cure)
    packages = PACKAGES[name]
    if not any(importlib.util.find_spec(package) for package in packages):
        raise UsageError(
            f"the tracker {name!r} needs the package {packages[0]}, which is not installed",
            cure=f"pip install {packages[0]}; or leave out --tracker (log.jsonl has every epoch)",
        )
