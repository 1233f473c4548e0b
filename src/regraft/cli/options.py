"""Options that several commands share, each said once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def _together(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


backbone = _together(
    click.option(
        "--backbone",
        default="default",
        show_default=True,
        metavar="NAME",
        help="default, lite1, lite2, a timm name, local-dir:FOLDER or hf-hub:OWNER/REPO.",
    ),
    click.option(
        "--weights",
        metavar="FILE",
        help="Weights for the backbone's architecture (.safetensors, or a .pth of tensors).",
    ),
    click.option("--offline", is_flag=True, help="Use no network, even if a backbone needs it."),
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda", "mps"]),
        default="auto",
        show_default=True,
        help="Where the network runs; auto takes an NVIDIA GPU if there is one.",
    ),
)

columns = _together(
    click.option("--path-column", metavar="NAME", help="Manifest: column of the image paths."),
    click.option("--label-column", metavar="NAME", help="Manifest: column of the labels."),
    click.option("--split-column", metavar="NAME", help="Manifest: column of the splits."),
    click.option(
        "--group-column",
        metavar="NAME",
        help="Manifest: images that must stay together (a patient, a plant).",
    ),
)

seed = click.option("--seed", default=0, show_default=True, help="Of splits and samples.")

output = _together(
    click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout."),
    click.option("-q", "--quiet", is_flag=True, help="No progress; only the result."),
)
