"""What other tools call an option of ours, for those who come from them."""

from __future__ import annotations

from collections.abc import Mapping

# timm's train.py, PyTorch's reference scripts, ultralytics, fastai and the tutorials.
OURS: Mapping[str, str] = {
    "--arch": "--backbone",
    "--batch": "--batch-size",
    "--bs": "--batch-size",
    "--class-weights": "--class-weight",
    "--cpu": "--device cpu",
    "--crop": "--image-size",
    "--cuda": "--device cuda",
    "--dropout-rate": "--dropout",
    "--epoch": "--epochs",
    "--freeze": "--split-point",
    "--gpu": "--device cuda",
    "--img": "--image-size",
    "--img-size": "--image-size",
    "--imgsz": "--image-size",
    "--input-size": "--image-size",
    "--labels": "--label-column",
    "--lr": "--learning-rate",
    "--mixed-precision": "--precision",
    "--model": "--backbone",
    "--name": "--run",
    "--network": "--backbone",
    "--num-workers": "--workers",
    "--opt": "--optimizer",
    "--output": "--out",
    "--output-dir": "--out",
    "--random-state": "--seed",
    "--sched": "--schedule",
    "--scheduler": "--schedule",
    "--smoothing": "--label-smoothing",
    "--split": "--test-fraction, or --split-column of a table",
    "--test": "--test-fraction, or --split-column of a table",
    "--test-size": "--test-fraction",
    "--test-split": "--test-fraction",
    "--val": "--test-fraction, or --split-column of a table",
    "--val-split": "--test-fraction",
    "--validation-split": "--test-fraction",
    "--wd": "--weight-decay",
}


def ours_for(name: str, possible: frozenset[str]) -> str:
    """Our option for what others call `name`, if the command at hand has it; else nothing.

    Examples
    --------
    >>> ours_for("--lr", frozenset({"--learning-rate", "--epochs"}))
    '--learning-rate'
    >>> ours_for("--lr", frozenset({"--out"}))
    ''
    """
    ours = OURS.get(name, "")
    first = ours.replace(",", " ").partition(" ")[0]
    return ours if first in possible else ""
