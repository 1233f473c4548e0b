"""What the network will really see: some pictures as they are, plain, and augmented.

The pictures come from the code that trains: the same decoder, the same resize, the same presets.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regraft.backbones import catalog, topology
from regraft.data.table import ImageTable, Rejected
from regraft.errors import DataError, DecodeError, UsageError
from regraft.features import engines, pixels
from regraft.images.geometry import Preprocess
from regraft.images.pictures import Content, content_of, decoded_for
from regraft.machine import devices, extras
from regraft.record.configuration import RunConfig
from regraft.report import grid
from regraft.wording import count, none_can
from regraft.workflows.preparation import read, white_for

Picture = NDArray[np.uint8]

# The first columns: the file's own picture, and the plain view, which is the preset 'none'.
ORIGINAL, PLAIN = "original", "none"
# Views where only one preset is asked for.
VIEWS_OF_ONE = 4
# The original is kept no larger than this: the picture has no more room for it.
ORIGINAL_PX = 512


@dataclass(frozen=True, eq=False)
class PreviewedImage:
    """One image, every way of seeing it.

    Attributes
    ----------
    path : str
        As the user knows it.
    label, split : str or None
    width, height : int
        Pixels of the upright picture in the file.
    shown_part : (top, left, bottom, right)
        What the plain view shows of it, as shares of its height and width.
    pictures : list of uint8 arrays (H, W, 3)
        One for each column.
    """

    path: str
    label: str | None
    split: str | None
    width: int
    height: int
    shown_part: tuple[float, float, float, float]
    pictures: list[Picture]


@dataclass(frozen=True, eq=False)
class Preview:
    """What some images of a table look like to a network.

    Attributes
    ----------
    backbone, source : str
    n_images : int
        Of the whole table.
    preprocess : Preprocess
    columns : list of (preset, number)
        'original' and 'none' first; then a preset and the number of its view, counted from 0.
    images : list of PreviewedImage
    rejected : list of Rejected
        Files that could not be read; each gave its place to another of its kind, if there is one.
    seed : int
    """

    backbone: str
    source: str
    n_images: int
    preprocess: Preprocess
    columns: list[tuple[str, int]]
    images: list[PreviewedImage]
    rejected: list[Rejected]
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "schema": 1,
            "source": self.source,
            "backbone": self.backbone,
            "images": self.n_images,
            "input_px": list(self.preprocess.input_px),
            "preprocess": self.preprocess.to_dict(),
            "seed": self.seed,
            "columns": [{"preset": preset, "view": view} for preset, view in self.columns],
            "rows": [
                {
                    "path": seen.path,
                    "label": seen.label,
                    "split": seen.split,
                    "width": seen.width,
                    "height": seen.height,
                    "shown_part": [round(share, 4) for share in seen.shown_part],
                }
                for seen in self.images
            ],
            "rejected": [bad._asdict() for bad in self.rejected],
        }


def look(
    config: RunConfig, *, n: int = 8, presets: Sequence[str] = (), offline: bool = False
) -> Preview:
    """Some images of the data, spread over classes and splits, as a network would see them.

    Parameters
    ----------
    config : RunConfig
        Its data, backbone and seed, which chooses the images and what is random in the views.
    n : int, at least 1
    presets : sequence of str
        Of `images.augment`. None: one view of each; one: several views of it.

    Raises
    ------
    ConfigError
        No such preset.
    DataError
        None of the images can be read.

    Examples
    --------
    ::

        preview = look(RunConfig("photos"), presets=["light"])
        draw(preview, "show.png")
    """
    columns = _columns(presets)
    table = read(config)
    white = white_for(config.scale, table.paths)
    preprocess = replace(preprocess_of(config, offline=offline), white=white)
    rejected = list(table.rejected)

    def seen(row: int) -> PreviewedImage | None:
        try:
            return _seen(table, row, preprocess, columns, config.seed)
        except DecodeError as error:
            rejected.append(Rejected(table.shown(table.paths[row]), error.rule, error.cure))
            return None

    images = _spread(table, n, config.seed, seen)
    if not images:
        raise DataError(
            none_can(len(rejected), "image", "be read"),
            place=f"{rejected[0].path}: {rejected[0].reason}",
            cure="regraft check lists every file with its reason",
        )
    order = {split: i for i, split in enumerate(("train", "val", "test", None))}
    images.sort(key=lambda image: (image.label or "", order[image.split], image.path))
    return Preview(
        backbone=config.backbone,
        source=config.data,
        n_images=len(table),
        preprocess=preprocess,
        columns=columns,
        images=images,
        rejected=rejected,
        seed=config.seed,
    )


def preprocess_of(config: RunConfig, *, offline: bool = False) -> Preprocess:
    """How the configured network wants its pictures, without its weights.

    A built engine knows it, or what comes along of a default backbone, at no cost; else timm does,
    in some seconds.
    """
    source = catalog.resolve(config.backbone, weights=config.weights)
    built = engines.find_built(source, devices.choose_device(config.device))
    if built is not None:
        return engines.locate(source, device=config.device).info.preprocess
    if (ready := topology.find(source.architecture)) is not None and source.kind == "pinned":
        return Preprocess.from_timm(catalog.changed_by(ready.config, source.changed))
    with extras.needed_for(f"the backbone {source.name}"):
        from regraft.backbones import network

    return Preprocess.from_timm(network.without_weights(source, offline=offline).pretrained_cfg)


def draw(preview: Preview, file: str | os.PathLike[str]) -> None:
    """The preview as a picture: PNG, SVG or PDF by the file's ending.

    Raises
    ------
    UsageError
        The file cannot be written.
    """
    height, width = preview.preprocess.input_px
    rows = [
        grid.Row(
            title=seen.label if seen.label is not None else "no label",
            subtitle=seen.split or "",
            pictures=seen.pictures,
            note=f"{seen.width} × {seen.height} px",
            frame=seen.shown_part,
        )
        for seen in preview.images
    ]
    caption = (
        f"{len(rows)} of {count(preview.n_images, 'image')} of {preview.source}; "
        f"seed {preview.seed}. Outlined: what the plain view shows. "
        f"Views are drawn as the network ({preview.backbone}) gets them, "
        f"{width} × {height} px."
    )
    try:
        grid.draw([_heading(*column) for column in preview.columns], rows, file, caption=caption)
    except OSError as error:
        raise UsageError(
            f"cannot write {os.fspath(file)!r}: {error.strerror or error}", cure="--out FILE"
        ) from error


def _columns(presets: Sequence[str]) -> list[tuple[str, int]]:
    first = [(ORIGINAL, 0), (PLAIN, 0)]
    if list(presets) == [PLAIN]:
        return first  # every view of it is the same
    from regraft.images.augment import Augmentation
    from regraft.images.augment_presets import PRESETS

    wanted = list(dict.fromkeys(presets or PRESETS))
    extras.require("torch", "augmented views", otherwise="--augment none")
    for name in wanted:
        Augmentation.preset(name)  # refuses a name that is none, with the near ones
    n_views = VIEWS_OF_ONE if len(wanted) == 1 else 1
    return first + [(name, view) for name in wanted if name != PLAIN for view in range(n_views)]


def _heading(preset: str, view: int) -> tuple[str, str]:
    if preset == ORIGINAL:
        return preset, "as decoded"
    return preset, "plain view" if preset == PLAIN else f"view {view + 1}"


def _spread(
    table: ImageTable, n: int, seed: int, seen: Callable[[int], PreviewedImage | None]
) -> list[PreviewedImage]:
    """Up to n images. Each next one is of the class, then of the split, that was taken least often
    so far; one that cannot be read gives its place to another of its kind.
    """
    waiting: dict[tuple[Any, Any], list[int]] = {}
    for row in np.random.default_rng(seed).permutation(len(table)).tolist():
        waiting.setdefault((table.labels[row], table.splits[row]), []).append(row)
    classes, splits, kinds = Counter[Any](), Counter[Any](), Counter[Any]()
    found: list[PreviewedImage] = []
    while waiting and len(found) < n:
        kind = min(waiting, key=lambda kind: (classes[kind[0]], kinds[kind], splits[kind[1]]))
        rows = waiting[kind]
        while rows:
            if (image := seen(rows.pop())) is not None:
                found.append(image)
                break
        for taken, of in ((classes, kind[0]), (splits, kind[1]), (kinds, kind)):
            taken[of] += 1
        if not rows:
            del waiting[kind]
    return found


def _seen(
    table: ImageTable,
    row: int,
    preprocess: Preprocess,
    columns: Sequence[tuple[str, int]],
    seed: int,
) -> PreviewedImage:
    """One image as each column shows it."""
    content = content_of(table.paths[row])
    decoded = content.decode(white=preprocess.white)
    height, width = decoded.pixels.shape[:2]
    top, left, bottom, right = preprocess.shown_part(height, width)
    as_network_sees = decoded_for(content, preprocess).pixels
    shown = [_thumbnail(decoded.pixels), preprocess(as_network_sees)]
    if table.splits[row] in (None, "train"):  # the others are never augmented
        shown += _views(content, preprocess, columns[len(shown) :], seed, row)
    return PreviewedImage(
        path=table.shown(table.paths[row]),
        label=table.labels[row],
        split=table.splits[row],
        width=decoded.width,
        height=decoded.height,
        shown_part=(top / height, left / width, bottom / height, right / width),
        pictures=shown,
    )


def _views(
    content: Content,
    preprocess: Preprocess,
    columns: Sequence[tuple[str, int]],
    seed: int,
    row: int,
) -> list[Picture]:
    """Augmented views, cut as training cuts them."""
    if not columns:
        return []
    from regraft.images.augment import Augmentation
    from regraft.training.views import side_for_crops

    picture = pixels.picture_of(content, side_for_crops(preprocess), preprocess.white)
    return [
        Augmentation.preset(preset)(
            picture,
            size_px=preprocess.input_px,
            interpolation=preprocess.interpolation,
            seed=seed,
            epoch=number,
            index=row,
        )
        for preset, number in columns
    ]


def _thumbnail(original: Picture) -> Picture:
    image = Image.fromarray(original)
    image.thumbnail((ORIGINAL_PX, ORIGINAL_PX), reducing_gap=3.0)
    return np.asarray(image)
