"""The pictures as training sees them: augmented views, plain ones, and which augmentation fits.

Each file is decoded once, at the size that training needs; a view is a pure function of the
picture's place and the view's number.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regraft.data.table import ImageTable
from regraft.evaluation.influence import standard_error
from regraft.features import pixels
from regraft.features.engines import BuiltEngine
from regraft.images import DECODER_VERSION, pictures
from regraft.images.augment import Augmentation
from regraft.images.geometry import Preprocess
from regraft.images.resize import resizer
from regraft.listener import Listener
from regraft.machine.processor import available_cores
from regraft.training.settings import TrainingSettings

if TYPE_CHECKING:
    from regraft.probe.classifier import Classifier

# Pictures are kept this much larger than the network's input, for crops to choose from.
ROOM_FOR_CROPS = 1.25
# Images that tell whether a mirror or a turn makes a class into another one.
MOST_TO_TEST = 128
Picture = NDArray[np.uint8]


class Views:
    """Views of the N pictures of a table.

    Parameters
    ----------
    table : ImageTable
    digests : list of N bytes
    preprocess : Preprocess
        The evaluation view, at the size of the network's input.
    settings : TrainingSettings
        Resolved.
    n_augmented : int, optional
        The first so many are ever augmented: only these are decoded for it. All by default.
    """

    def __init__(
        self,
        table: ImageTable,
        digests: Sequence[bytes],
        preprocess: Preprocess,
        settings: TrainingSettings,
        *,
        seed: int,
        listener: Listener,
        n_augmented: int | None = None,
    ) -> None:
        self.table, self.digests, self.preprocess = table, digests, preprocess
        self.settings, self.seed, self.listener = settings, seed, listener
        self.augmentation = augmentation_of(settings)
        self.n_augmented = len(table.paths) if n_augmented is None else n_augmented

    def augmented(self, row: int, number: int, size: int | None = None) -> Picture:
        """View `number` of a picture, ``(H, W, 3)`` uint8."""
        if self.augmentation.name == "none":
            return self.plain(row)
        height, width = (size, size) if size else self.preprocess.input_px
        return self.augmentation(
            self._decoded[row],
            size_px=(height, width),
            interpolation=self.preprocess.interpolation,
            seed=self.seed,
            epoch=number,
            index=row,
        )

    def decode(self) -> None:
        """Read all pictures now, as far as views need them, instead of when the first is asked."""
        if self.augmentation.name != "none":
            self._decoded  # noqa: B018

    def plain(self, row: int) -> Picture:
        """What the pass shows the network."""
        return pictures.plain(self.table.paths[row], self.preprocess)

    def all_plain(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """``(n, H, W, 3)`` plain pictures of some rows, decoded side by side."""
        with ThreadPoolExecutor(available_cores()) as pool:
            return np.stack(list(pool.map(lambda row: self.plain(int(row)), rows)))

    def recipe(self, rows: NDArray[np.intp]) -> str:
        """What decides the numbers of augmented views, beside the engine."""
        content = {
            "digests": self.digest(rows),
            "augmentation": self.augmentation.to_dict(),
            "preprocess": self.preprocess.to_dict(),
            "seed": self.seed,
            "decoder": f"{DECODER_VERSION} {resizer()}",
            "side": self._side,
        }
        return json.dumps(content, sort_keys=True)

    def digest(self, rows: NDArray[np.intp]) -> str:
        """Of the content of these images, in this order."""
        return hashlib.sha256(b"".join(self.digests[int(row)] for row in rows)).hexdigest()

    @property
    def _side(self) -> int:
        if self.settings.recipe == "tutorial":
            return 10**6  # as they are: the tutorials crop from the whole picture
        return side_for_crops(self.preprocess)

    @cached_property
    def _decoded(self) -> pixels.Pixels:
        found = pixels.decoded(
            list(self.table.paths[: self.n_augmented]),
            self.digests[: self.n_augmented],
            min_side_px=self._side,
            budget_bytes=int(self.settings.budget_gib * 2**30),
            white=self.preprocess.white,
            progress=functools.partial(self.listener.progress, "pictures"),
        )
        if found.note:
            self.listener.say(found.note)
        return found


def side_for_crops(preprocess: Preprocess) -> int:
    """Pixels that pictures keep on their shorter side, for crops to choose from."""
    return round(ROOM_FOR_CROPS * max(preprocess.input_px))


def augmentation_of(settings: TrainingSettings) -> Augmentation:
    """The preset that the settings name, with what they change of it."""
    return Augmentation.preset(settings.augment, **settings.augmentation_changes)


def measured_augmentation(
    table: ImageTable,
    y: NDArray[Any],
    X: NDArray[np.float32],
    built: BuiltEngine,
    probe: Classifier,
    units: NDArray[Any],
) -> str:
    """The preset that 'auto' means here: may these pictures be mirrored, may they be turned?

    The probe, which did not learn from these rows, is shown them mirrored and turned by 90
    degrees. If it then names fewer of them rightly, by more than two standard errors of the paired
    difference, what is shown has become another thing: a digit, a sign, a letter.

    Parameters
    ----------
    table : ImageTable of N rows
    y : (N,) codes
    X : (N, D) float32
        Of the plain pictures.
    probe : Classifier
        Fitted without these rows.
    units : (N,) int
        Rows of one unit count as one.
    """
    rows = np.arange(len(table))[:: max(1, -(-len(table) // MOST_TO_TEST))]
    if len(np.unique(units[rows])) < 2:
        return "light"
    preprocess, engine = built.info.preprocess, built.engine()
    with ThreadPoolExecutor(available_cores()) as pool:
        plain = list(
            pool.map(lambda row: pictures.plain(str(table.paths[int(row)]), preprocess), rows)
        )
        mirrored = list(pool.map(lambda p: engine.run(p[None, :, ::-1].copy())[0], plain))
        turned = list(pool.map(lambda p: engine.run(np.rot90(p)[None].copy())[0], plain))
    right = probe.proba_of(X[rows]).argmax(1) == y[rows]

    def suffers(changed: list[NDArray[np.float32]]) -> bool:
        loss = right.astype(float) - (probe.proba_of(np.stack(changed)).argmax(1) == y[rows])
        return bool(loss.mean() > 2 * standard_error(loss, units[rows]))

    if suffers(mirrored):
        return "upright"
    return "light" if suffers(turned) else "orientation-free"
