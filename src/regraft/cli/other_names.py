"""What other tools, or other commands of ours, call an option or a command."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping

import click

# Of timm's train.py, PyTorch's reference scripts, ultralytics, fastai, Keras and the tutorials, and
# of our own commands where two call one thing differently. Where several are named, it is the
# first that the command at hand has.
OURS: Mapping[str, tuple[str, ...]] = {
    "--arch": ("--backbone", "--backbones"),
    "--architecture": ("--backbone", "--backbones"),
    "--augmentation": ("--augment",),
    "--backbone": ("--backbones",),
    "--backbones": ("--backbone",),
    "--batch": ("--batch-size",),
    "--bs": ("--batch-size",),
    "--class-weights": ("--class-weight",),
    "--conf": ("--precision, or --reject",),
    "--confidence": ("--precision, or --reject",),
    "--cpu": ("--device cpu",),
    "--crop": ("--image-size",),
    "--csv": ("--out FILE.csv",),
    "--cuda": ("--device cuda",),
    "--dropout-rate": ("--dropout",),
    "--epoch": ("--epochs",),
    "--format": ("--to",),
    "--freeze": ("--split-point",),
    "--gpu": ("--device cuda",),
    "--img": ("--image-size", "--input"),
    "--img-size": ("--image-size", "--input"),
    "--imgsz": ("--image-size", "--input"),
    "--input-size": ("--image-size", "--input"),
    "--image-size": ("--input",),
    "--labels": ("--label-column",),
    "--limit": ("--n", "--images"),
    "--lr": ("--learning-rate",),
    "--method": ("--ways",),
    "--methods": ("--ways", "--method"),
    "--mixed-precision": ("--precision",),
    "--model": ("--backbone", "--backbones"),
    "--models": ("--backbones",),
    "--name": ("--run",),
    "--network": ("--backbone", "--backbones"),
    "--num-classes": ("--classes",),
    "--num-workers": ("--workers",),
    "--opt": ("--optimizer",),
    "--output": ("--out", "--folder"),
    "--output-dir": ("--out", "--folder"),
    "--out": ("--folder",),
    "--random-state": ("--seed", "--seeds"),
    "--sched": ("--schedule",),
    "--scheduler": ("--schedule",),
    "--smoothing": ("--label-smoothing",),
    "--split": ("--test-fraction, or --split-column of a table", "--split-column of a table"),
    "--test": ("--test-fraction, or --split-column of a table",),
    "--test-size": ("--test-fraction",),
    "--test-split": ("--test-fraction",),
    "--thresh": ("--precision, or --reject",),
    "--threshold": ("--precision, or --reject",),
    "--time": ("--budget",),
    "--time-limit": ("--budget",),
    "--top-k": ("--top",),
    "--topk": ("--top",),
    "--val": ("--test-fraction, or --split-column of a table",),
    "--val-split": ("--test-fraction",),
    "--validation-split": ("--test-fraction",),
    "--ways": ("--method",),
    "--wd": ("--weight-decay",),
    "-k": ("--top",),
    "-n": ("--n",),
    "-o": ("--out", "--folder"),
    "-p": ("--port",),
}
# What is no option here: an argument, by the names that it has in our commands.
ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("--checkpoint", "--ckpt"), ("model", "models")),
    **dict.fromkeys(("--model", "--models"), ("model", "models", "backbone")),
    **dict.fromkeys(("--run", "--runs"), ("runs", "model")),
    **dict.fromkeys(
        ("--data", "--data-dir", "--data-path", "--dataset", "--dir", "--folder", "--image",
         "--images", "--input", "--path", "--source", "--train-dir"),
        ("data", "images", "folder"),
    ),
    **dict.fromkeys(("--arch", "--backbone", "--network"), ("backbone",)),
}  # fmt: skip
# Where more than a name is to be said, by command and option.
WAYS: Mapping[tuple[str, str], str] = {
    ("check", "--split"): "It looks at every split at once.",
    ("evaluate", "--out"): "regraft predict MODEL IMAGES --out FILE.csv writes the answer of each "
    "image; --json gives the scores.",
    ("report", "--format"): "The page is HTML (--out FILE.html); a browser prints it as PDF.",
}
# Commands, as other tools call them.
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "advise": ("estimate", "recommend", "suggest"),
    "auto": ("automl", "optimize", "search", "tune"),
    "backbones": ("architectures", "list", "models", "networks", "zoo"),
    "cache": ("clean", "clear", "prune"),
    "check": ("info", "inspect", "lint", "stats"),
    "compare": ("bench", "benchmark"),
    "demo": ("example", "init", "quickstart", "start", "tutorial"),
    "evaluate": ("eval", "score", "test", "val", "validate"),
    "explain": ("cam", "gradcam", "heatmap", "interpret"),
    "export": ("convert", "onnx", "openvino"),
    "features": ("embed", "embeddings", "extract"),
    "lr-find": ("find-lr", "lr", "range-test"),
    "predict": ("classify", "detect", "infer", "inference", "label"),
    "report": ("page", "plot", "results"),
    "serve": ("api", "deploy", "server"),
    "show": ("augment", "preview", "view", "visualize"),
    "teach": ("annotate", "app", "gui", "ui", "web"),
    "train": ("fine-tune", "finetune", "fit", "learn", "run"),
}
MOST_COMMANDS = 3


def hint_for(name: str, context: click.Context) -> str:
    """A sentence on an option that the command does not have; '' if there is nothing to say."""
    command, called = context.command, context.info_name or ""
    way = WAYS.get((called, name), "")
    if way or (way := _as_argument(name, context)):
        return way
    if ours := ours_for(name, frozenset(_options_of(command))):
        return f"Here it is {ours}."
    from regraft.wording import near_names

    near = near_names(name, [o for o in _options_of(command) if o[:2] == "--"], n=1, cutoff=0.75)
    return f"Did you mean {near[0]!r}?" if near else _of_others(name, context)


def ours_for(name: str, possible: frozenset[str]) -> str:
    """Our option for what others call `name`, if the command at hand has it; else nothing.

    Examples
    --------
    >>> ours_for("--lr", frozenset({"--learning-rate", "--epochs"}))
    '--learning-rate'
    >>> ours_for("--method", frozenset({"--ways"})), ours_for("--lr", frozenset({"--out"}))
    ('--ways', '')
    """
    found = OURS.get(name, ())
    return next((ours for ours in found if first_word(ours) in possible), "")


def first_word(ours: str) -> str:
    """The option in what is said of it: '--device' of '--device cpu'."""
    return ours.replace(",", " ").partition(" ")[0]


def hint_for_command(args: list[str]) -> str:
    """A sentence on a command that there is not; '' if there is nothing to say.

    Examples
    --------
    >>> hint_for_command(["fit"]), hint_for_command(["help", "train"])
    ('Here it is regraft train.', 'Here it is regraft train --help.')
    """
    name, *rest = args
    if name in ("help", "version"):
        of = [rest[0]] if name == "help" and rest and rest[0] in COMMANDS else []
        return f"Here it is {shlex.join(['regraft', *of, '--' + name])}."
    if ours := next((ours for ours, others in COMMANDS.items() if name in others), ""):
        return f"Here it is regraft {ours}."
    return f"Did you mean {line!r}?" if (line := _meant_by_path(name)) else ""


def _meant_by_path(path: str) -> str:
    """The line for something that lies on the disk: photographs, a picture, a run."""
    if not os.path.exists(path):
        return ""
    from regraft.data.image_files import has_image_name
    from regraft.data.own_folders import own_kind

    if own_kind(path):
        return f"regraft predict {shlex.quote(path)} IMAGES"
    if has_image_name(path):
        return f"regraft predict MODEL {shlex.quote(path)}"
    return f"regraft train {shlex.quote(path)}"


def _as_argument(name: str, context: click.Context) -> str:
    arguments = [p.name for p in context.command.params if isinstance(p, click.Argument)]
    if not any(argument in arguments for argument in ARGUMENTS.get(name, ())):
        return ""
    pieces = " ".join(
        param.make_metavar(context)
        for param in context.command.params
        if isinstance(param, click.Argument)
    )
    return f"It is an argument: regraft {context.info_name} {pieces}"


def _of_others(name: str, here: click.Context) -> str:
    """Commands that have the option, if they are few."""
    found = [f"regraft {other}" for other in _others(here, name)]
    if not 0 < len(found) <= MOST_COMMANDS:
        return ""
    return f"It is an option of {' and '.join(found)}."


def _others(here: click.Context, option: str) -> Iterator[str]:
    root = here.find_root()
    if not isinstance(root.command, click.Group):
        return
    for other in root.command.list_commands(root):
        command = root.command.get_command(root, other)
        if other != here.info_name and command is not None and option in _options_of(command):
            yield other


def _options_of(command: click.Command) -> list[str]:
    return [name for p in command.params if isinstance(p, click.Option) for name in p.opts]
