"""`regraft export`."""

from __future__ import annotations

import click

from regraft.cli import options


@click.command(short_help="write a saved model for another runtime, compared on real images")
@click.argument("model")
@click.option(
    "--to",
    type=click.Choice(["onnx", "openvino", "torch", "docker"]),
    required=True,
    help="ONNX (onnxruntime, browsers, phones), OpenVINO's IR, a torch.export program; or a "
    "folder that an image of `regraft serve` is built from.",
)
@click.option(
    "--out",
    required=True,
    metavar="DIR",
    help="Folder to write to: new, empty, or an earlier export.",
)
@click.option(
    "--int8",
    is_flag=True,
    help="Write 8-bit integers (ONNX, OpenVINO): smaller; whether it is faster is measured.",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 100),
    default=0.5,
    show_default=True,
    metavar="POINTS",
    help="Points of accuracy that --int8 may cost on the images compared.",
)
@click.option(
    "--data",
    metavar="DATA",
    help="Images to compare on: folder, manifest or archive.  [default: those of the run]",
)
@click.option(
    "--images",
    type=click.IntRange(64),
    metavar="N",
    help="How many images are compared, the least sure first.  [default: 128; 1000 with --int8]",
)
@options.columns
@options.offline
@options.output
def command(
    model: str, to: str, out: str, int8: bool, max_drop: float, data: str | None,
    images: int | None, as_json: bool, quiet: bool, offline: bool, **columns: str | None,
) -> int:  # fmt: skip
    """Write MODEL, a run's model folder, for another runtime, if it answers there as it does here.

    The graph holds everything from uint8 pixels to calibrated probabilities. Beside it: the names,
    all facts, a preprocess.py in NumPy and Pillow, eight golden images with tensors and answers,
    and a README with ten lines that run it.

    Before it is yours it is compared in its own runtime on real images, from the tensor and from
    the file. Another label, or a probability off by more than 0.0001 (with --int8: more accuracy
    lost than --max-drop): exit code 5, the image that told is named, and nothing is left behind.

    \b
      regraft export runs/NAME --to onnx --out exported/
    """
    from regraft.console import progress
    from regraft.console.exported import show_exported
    from regraft.workflows import exporting

    options.require_room(out)
    with progress.listening(quiet=quiet, after="") as listener:
        exported = exporting.export_model(
            model, out, to=to, data=data, int8=int8, max_drop=max_drop, images=images,
            columns=columns, offline=offline, listener=listener,
        )  # fmt: skip
    show_exported(exported, as_json=as_json)
    return 0
