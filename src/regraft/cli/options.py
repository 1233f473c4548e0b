"""Options that several commands share, each said once."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from regraft.backbones import catalog
from regraft.data.image_files import has_image_name
from regraft.data.label_sources import LABEL_SOURCES
from regraft.errors import UsageError
from regraft.machine import devices
from regraft.machine.name_length import require_short_names
from regraft.training.methods import METHODS

if TYPE_CHECKING:
    from regraft.features.elsewhere import Elsewhere
    from regraft.record.configuration import RunConfig

PICTURES = (".png", ".svg", ".pdf")
# Tables in other formats than the one that predictions are written in.
OTHER_TABLES = (".xls", ".xlsx", ".ods", ".parquet", ".feather", ".json", ".jsonl", ".ndjson")
F = TypeVar("F", bound=Callable[..., Any])


def _together(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _offline(ctx: click.Context, parameter: click.Parameter, value: bool) -> bool:
    """Said to the reader of addresses too, here and in processes that work for this one."""
    if value:
        os.environ["REGRAFT_OFFLINE"] = "1"
    return value


offline = click.option(
    "--offline", is_flag=True, callback=_offline, help="Do not access the internet."
)

device = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    show_default=True,
    help="Where the network runs; auto takes an NVIDIA GPU if there is one.",
)

class_weight = click.option(
    "--class-weight",
    type=click.Choice(["none", "balanced"]),
    default="none",
    show_default=True,
    help="balanced: every class counts the same, however many images it has.",
)

backbone = _together(
    click.option(
        "--backbone",
        default="default",
        show_default=True,
        metavar="NAME",
        help="default, lite1, lite2, a timm name, local-dir:FOLDER or hf-hub:OWNER/REPO; several "
        "side by side for the probe: default+lite2.",
    ),
    click.option(
        "--weights",
        metavar="FILE",
        help="Weights for the backbone's architecture (.safetensors, or a .pth of tensors).",
    ),
    offline,
    device,
)

look = click.option(
    "--look",
    type=click.Choice(catalog.LOOKS),
    default=catalog.PLAIN,
    show_default=True,
    help="flip: the features of a picture and of its mirror image, averaged (probe).",
)

path_column = click.option(
    "--path-column", metavar="NAME", help="Manifest: column of the image paths."
)


def _level(context: click.Context, parameter: click.Parameter, given: str | None) -> Any:
    from regraft.evaluation.levels import level_of  # with NumPy, which --help does without

    return None if given is None else level_of(given, parameter.opts[0])


promises = _together(
    click.option(
        "--coverage",
        metavar="SHARE",
        callback=_level,
        help="Also give each image a set of classes, which holds the right one in so many of "
        "100: 95%.",
    ),
    click.option(
        "--reject",
        metavar="SHARE",
        callback=_level,
        help="Call none of the classes what is less like the training images than all but this "
        "share of their own: 2%.",
    ),
    click.option(
        "--precision",
        metavar="SHARE",
        callback=_level,
        help="Mark the answers that may stand alone, of which at least so many are right: 99%; "
        "the rest is for a person.",
    ),
    click.option("--per-class", is_flag=True, help="Let --coverage hold in every class."),
)

columns = _together(
    click.option(
        "--label-from",
        type=click.Choice(LABEL_SOURCES),
        default=LABEL_SOURCES[0],
        show_default=True,
        help="What says the labels: the folders (or a manifest) as understood; the top folder; the "
        "parent folder, which holds the image; or the name of the file: what stands before the "
        "last number, as in cat.12.jpg.",
    ),
    path_column,
    click.option("--label-column", metavar="NAME", help="Manifest: column of the labels."),
    click.option("--split-column", metavar="NAME", help="Manifest: column of the splits."),
    click.option(
        "--group-column",
        metavar="NAME",
        help="Manifest: images that must stay together (a patient, a plant); one with an empty "
        "cell is on its own.",
    ),
)

scale = click.option(
    "--scale",
    default="file",
    show_default=True,
    metavar="RULE",
    help="Which value is white in pictures of more than 8 bits: as each file says (file), 8bit, "
    "10bit, 12bit, 14bit, 16bit, a number, or auto-per-set, which holds all values of the set. "
    "The model keeps it.",
)

head = _together(
    click.option(
        "--taps",
        metavar="A,B,...",
        help="Stages whose features the head sees: names as in `regraft layers`, final, codes, "
        "source, all. Default: measured on train.",
    ),
    click.option(
        "--head",
        type=click.Choice(["auto", "lda", "ridge", "logistic", "svm", "ncm", "knn"]),
        default="auto",
        show_default=True,
        help="What learns on the features; auto: lda, ridge or both as one, measured on train.",
    ),
    class_weight,
)


def _keep(ctx: click.Context, parameter: click.Parameter, folder: str | None) -> None:
    """Said to the reader of addresses, here and in processes that work for this one."""
    if folder is not None:
        try:
            require_room(folder)
        except UsageError as error:
            raise UsageError(error.rule, cure="choose another with --keep-files") from error
        os.environ["REGRAFT_KEEP"] = os.path.abspath(folder)


keep = click.option(
    "--keep-files",  # of train, --keep says which epoch is kept
    metavar="DIR",
    expose_value=False,
    callback=_keep,
    help="Keep what is fetched from addresses (s3://, https://) in DIR; by default nothing is.",
)

runner = click.option(
    "--runner",
    default="threads",
    show_default=True,
    metavar="WHO",
    help="Who reads the images and runs the network: threads, processes:N, ray, ray://HOST:PORT "
    "or dask://HOST:PORT. The numbers are the same.",
)

no_store = click.option(
    "--no-store",
    is_flag=True,
    help="Leave no trace of the images in the cache; nothing is looked up or kept there.",
)

test_fraction = click.option(
    "--test-fraction",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    help="Part that is kept for the test if the data come without splits.",
)

seed = click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Random seed of splits and samples.",
)

doors = _together(
    click.option(
        "--host",
        default="127.0.0.1",
        show_default=True,
        help="Where to listen; 127.0.0.1 is this machine alone, 0.0.0.0 its network.",
    ),
    click.option(
        "--port", default=8000, show_default=True, type=click.IntRange(0, 65535),
        help="Port to listen on; 0 takes any that is free.",
    ),
    click.option(
        "--token",
        envvar="REGRAFT_TOKEN",
        metavar="SECRET",
        help="Password that is asked of every request; also read from REGRAFT_TOKEN. Beyond "
        "127.0.0.1 one is made where none is given; '' asks nobody.",
    ),
    click.option(
        "--allow-host", "allowed_hosts", multiple=True, metavar="NAME",
        help="A further name that the server is called by, as behind a proxy.",
    ),
)  # fmt: skip
quiet = click.option(
    "-q", "--quiet", is_flag=True, help="No progress; only the result, and what must be known."
)

output = _together(
    click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout."), quiet
)


def require_usable(config: RunConfig) -> None:
    """Refuse, before any work, what can be written in a configuration but not be done here."""
    devices.require_device(config.device)
    catalog.require_known(config.backbone)
    if METHODS[config.method].trains:
        from regraft.training.trackers import require_tracker

        require_tracker(config.settings.tracker)


def elsewhere_of(runner: str, parts: str | None = None) -> Elsewhere:
    """Who does the pass; refused, before any work, if it cannot be."""
    from regraft.features.elsewhere import Elsewhere

    if runner != "threads":
        from regraft.features.runners.named import require_runner

        require_runner(runner)
    return Elsewhere(runner, parts)


def require_folder_of(file: str) -> None:
    """Refuse, before any work, a file whose folder does not exist or that is a folder itself."""
    require_short_names(file, "--out")
    parent = os.path.dirname(file) or "."
    if not os.path.isdir(parent):
        raise UsageError(
            f"cannot write {file!r}: there is no folder {parent!r}",
            cure="make that folder, or choose another file with --out",
        )
    if os.path.isdir(file):
        raise UsageError(f"{file!r} is a folder, not a file", cure="name a file with --out")


def require_own_table(file: str) -> None:
    """Refuse to write predictions over a file that holds something else, or as what they are not.

    They are CSV, and a spreadsheet that is called predictions.xlsx would not open.
    """
    if (ending := os.path.splitext(file)[1].lower()) in OTHER_TABLES:
        raise UsageError(
            f"predictions are written as CSV, and {file!r} is called {ending}",
            cure=f"--out {shlex.quote(os.path.splitext(file)[0] + '.csv')}",
        )
    from regraft.model import predictions_file  # with NumPy, which --help does without

    if predictions_file.is_another(file):
        raise UsageError(
            f"{file!r} is there already and holds no predictions; it is not overwritten",
            cure="another name with --out, or remove that file",
        )


def require_picture(file: str) -> None:
    """Refuse, before any work, a picture that could not be written."""
    if not file.lower().endswith(PICTURES):
        raise UsageError(
            f"the picture {file!r} has none of the endings {', '.join(PICTURES)}",
            cure="--out picture.svg",
        )
    require_folder_of(file)


def require_room(folder: str) -> None:
    """Refuse, before any work, a folder that can be neither made nor written; makes nothing."""
    if not folder.strip():
        raise UsageError("--out names no folder", cure="--out DIR")
    require_short_names(folder, "--out")
    there = os.path.abspath(folder)
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    try:
        with tempfile.TemporaryDirectory(prefix=".regraft-", dir=there):
            pass
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        what = (
            f"the folder {folder!r} cannot be written"
            if os.path.lexists(folder)
            else f"the folder {folder!r} does not exist and cannot be created"
        )
        raise UsageError(f"{what}: {reason}", cure="choose another with --out") from error


def require_folder_of_its_own(folder: str, *, marked_by: str) -> None:
    """Refuse a folder with other things in it: what is written there would pass for photographs."""
    if has_image_name(folder) and not os.path.isdir(folder):
        raise UsageError(
            f"--out {folder!r} is a folder here, and is called like a picture",
            cure=f"--out {os.path.splitext(folder)[0]!r}",
        )
    there = os.listdir(folder) if os.path.isdir(folder) else []
    if there and marked_by not in there:
        raise UsageError(
            f"the folder {folder!r} holds other files, such as {min(there)!r}; what is written "
            "there would be taken for photographs by the next command",
            cure="give a folder that does not exist yet, or is empty: --out DIR",
        )


def require_model_first(command: str, model: str, others: tuple[str, ...]) -> None:
    """Refuse the model after the images: 'photos is no model' would send people elsewhere."""
    if _is_model(model) or not others or not _is_model(others[-1]):
        return
    swapped = shlex.join([others[-1], model, *others[:-1]])
    raise UsageError(
        f"{others[-1]!r} is the model, and {model!r} is not: MODEL comes first, then what it is "
        "asked about",
        cure=f"regraft {command} {swapped}",
    )


def _is_model(path: str) -> bool:
    from pathlib import Path

    from regraft.model.config_file import CONFIG
    from regraft.model.place import model_in

    return os.path.isfile(model_in(Path(path)) / CONFIG)
