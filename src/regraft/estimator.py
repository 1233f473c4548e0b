"""`ImageClassifier`: scikit-learn's contract over the same story that the command line tells."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from regraft import artefact, experiment
from regraft.backbones import catalog
from regraft.data.table import ImageTable
from regraft.errors import DataError
from regraft.features import engines, extract
from regraft.features.store import Store
from regraft.images import DECODER_VERSION
from regraft.methods.probe import Probe
from regraft.runs import RunConfig

Images = Sequence[Any]

# Modes of pictures that these formats keep as they are; all others become RGB or RGBA.
PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"})
TIFF_MODES = frozenset({"CMYK", "F"})
# Modes whose colours are multiplied by their opacity.
UNMULTIPLIED = {"RGBa": "RGBA", "La": "LA"}


class ImageClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier of images by transfer learning.

    Parameters
    ----------
    method : {'probe', 'head', 'partial', 'full', 'scratch'}
        'probe': the network stays as it is, a head learns on its features in closed form. 'head':
        the same by gradients. 'partial': the layers from `split_point` on learn too. 'full': every
        layer learns. 'scratch': every layer, from random weights.
    backbone : str
        'default', 'lite1', 'lite2', a timm name, 'local-dir:FOLDER', 'hf-hub:OWNER/REPO'.
    weights : path, optional
        Weights file for the backbone's architecture.
    taps : list of str, optional
        Stages whose features are used; measured and chosen if not given.
    head : {'ridge', 'logistic', 'svm', 'ncm', 'knn'}
    class_weight : {'balanced'}, optional
    split_point : str, optional
        For 'partial': the first module that learns, such as 'blocks.5'; else chosen.
    epochs : int, optional
        Of the methods that learn by gradients; else chosen.
    training : dict, optional
        More of their settings, by the names of the command's options (``learning_rate``,
        ``augment``, ``batchnorm``, ...: :class:`regraft.methods.settings.TrainingSettings`).
    device : {'auto', 'cpu', 'cuda', 'mps'}
    offline : bool
        Use no network, even if the backbone needs it.
    random_state : int

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    method_ : Probe or FineTuning
        The fitted method, with its measured choices.

    Examples
    --------
    ::

        classifier = ImageClassifier().fit(paths, labels)
        classifier.predict_proba(["new.jpg"])
        classifier.save("model")
        ImageClassifier.load("model").score(test_paths, test_labels)
    """

    def __init__(
        self,
        method: str = "probe",
        *,
        backbone: str = "default",
        weights: str | None = None,
        taps: list[str] | None = None,
        head: str = "ridge",
        class_weight: str | None = None,
        split_point: str | None = None,
        epochs: int | None = None,
        training: dict[str, Any] | None = None,
        device: str = "auto",
        offline: bool = False,
        random_state: int = 0,
    ) -> None:
        self.method = method
        self.backbone = backbone
        self.weights = weights
        self.taps = taps
        self.head = head
        self.class_weight = class_weight
        self.split_point = split_point
        self.epochs = epochs
        self.training = training
        self.device = device
        self.offline = offline
        self.random_state = random_state

    def fit(self, X: Images, y: Sequence[Any], *, groups: Sequence[Any] | None = None) -> Self:
        """Learn from images.

        Parameters
        ----------
        X : sequence of N paths, PIL images or arrays
            Arrays are (H, W), (H, W, 3) or (H, W, 4), uint8 or float in [0, 1].
        y : sequence of N labels
        groups : sequence of N, optional
            Images of one group are left out together when settings are chosen.

        Raises
        ------
        DataError
            An image cannot be read (all such are named), or there is one class only.
        """
        if len(X) != len(y):
            raise ValueError(f"X and y must be equally long, got {len(X)} and {len(y)}")
        config = RunConfig(
            data="",
            method=self.method,
            backbone=self.backbone,
            weights=self.weights,
            taps=self.taps,
            head=self.head,
            class_weight=self.class_weight,
            seed=self.random_state,
            device=self.device,
            training=self._training(),
        )
        catalog.require_device(self.device)
        without = sum(label is None or label != label for label in y)
        if without:
            raise ValueError(
                f"{without} of {len(y)} labels are missing (None or NaN); leave those images out, "
                "or give them a label"
            )
        labels = np.asarray(y)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        source = catalog.resolve(self.backbone, weights=self.weights)
        with _as_paths(X) as paths:
            table = ImageTable.from_paths(paths)
            built = engines.locate(
                source,
                sample=extract.sample_pictures(table),
                device=self.device,
                offline=self.offline,
            )
            extraction = _features(table, built)
            self.method_ = experiment.fit_method(config, extraction, built, codes, groups=groups)
        self.built_ = getattr(self.method_, "built_", built)
        return self

    def _training(self) -> dict[str, Any] | None:
        """All settings of training, as `RunConfig` has them."""
        own = {"split_point": self.split_point, "epochs": self.epochs}
        given = {name: value for name, value in own.items() if value is not None}
        return {**(self.training or {}), **given} or None

    def predict_proba(self, X: Images) -> NDArray[np.float64]:
        """``(N, n_classes)`` calibrated probabilities, in the order of ``classes_``."""
        check_is_fitted(self, "classes_")
        with _as_paths(X) as paths:
            extraction = _features(ImageTable.from_paths(paths), self.built_)
        return np.asarray(self.method_.predict_proba(extraction.X))

    def predict(self, X: Images) -> NDArray[Any]:
        """The most probable label of each image."""
        proba = self.predict_proba(X)
        best: NDArray[Any] = self.classes_[proba.argmax(axis=1)]
        return best

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the model; :meth:`load`, `regraft predict` and `evaluate` read it."""
        check_is_fitted(self, "classes_")
        learnt: Any = self.method_
        if isinstance(learnt, artefact.Artefact):
            representation, head, temperature = (
                learnt.representation, learnt.head, learnt.temperature
            )  # fmt: skip
        else:
            representation, head, temperature = (
                learnt.representation_, learnt.head_, learnt.temperature_
            )  # fmt: skip
        return artefact.save(
            Path(folder),
            classes=tuple(str(name) for name in self.classes_),
            representation=representation,
            head=head,
            temperature=temperature,
            info=self.built_.info,
            weights_path=self.built_.weights_path,
            method=self.method,
            extra={},
        )

    # Both are scikit-learn's, which shows the parameters; notebooks ask for the second.
    def _repr_html_inner(self) -> str:
        shown = str(super()._repr_html_inner())
        if not hasattr(self, "classes_"):
            return shown
        from regraft.report import notebook

        learnt: Any = self.method_
        is_loaded = isinstance(learnt, artefact.Artefact)
        representation = learnt.representation if is_loaded else learnt.representation_
        head = learnt.head if is_loaded else learnt.head_
        own = notebook.of_classifier(
            self.method,
            self.built_.source.name,
            list(self.classes_),
            representation.taps,
            head.kind,
        )
        return own + shown

    def _repr_mimebundle_(self, **options: Any) -> dict[str, str]:
        shown: dict[str, str] = super()._repr_mimebundle_(**options)
        return shown | ({"text/html": self._repr_html_inner()} if "text/html" in shown else {})

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> ImageClassifier:
        """A saved model, ready to predict; its labels are strings."""
        loaded = artefact.load(folder)
        classifier = cls(method=loaded.method)
        classifier.classes_ = np.array(loaded.classes)
        classifier.method_ = cast(Probe, loaded)  # the same predict_proba, nothing left to fit
        classifier.built_ = engines.locate(loaded.source)
        return classifier


def _features(table: ImageTable, built: engines.BuiltEngine) -> extract.Extraction:
    """Of every image; one that cannot be read is an error, because rows must stay in line."""
    with Store.open(decoder=DECODER_VERSION) as store:
        extraction = extract.run(table, built, store)
    rejected = extraction.table.rejected
    if rejected:
        first = "; ".join(f"{bad.path}: {bad.reason}" for bad in rejected[:5])
        mend = rejected[0].mend or "leave them out"
        if not os.path.lexists(rejected[0].path):
            mend = f"give paths that exist; relative ones begin at {os.getcwd()!r}"
        raise DataError(
            f"{len(rejected)} of {len(table)} images cannot be read: {first}",
            cure=mend,
            rejected=rejected,
        )
    return extraction


@contextmanager
def _as_paths(X: Images) -> Iterator[list[str]]:
    """Paths as they are; pictures in memory as lossless files, so that all take one way."""
    if isinstance(X, (str, bytes, os.PathLike)):
        raise TypeError("X must be a sequence of images, got one path; write [path]")
    with tempfile.TemporaryDirectory(prefix="regraft-") as folder:
        yield [
            os.fsdecode(image)
            if isinstance(image, (str, bytes, os.PathLike))
            else _written(image, Path(folder) / f"{number}.png")
            for number, image in enumerate(X)
        ]


def _written(image: Any, file: Path) -> str:
    from PIL import Image, ImageOps

    picture = image if isinstance(image, Image.Image) else Image.fromarray(_as_bytes(image))
    turned = ImageOps.exif_transpose(picture)
    is_wide = turned.mode == "I" and not _fits_16_bits(turned)
    if turned.mode in TIFF_MODES or is_wide:
        file = file.with_suffix(".tif")
        turned.save(file, format="TIFF")
        return str(file)
    if turned.mode not in PNG_MODES:
        turned = turned.convert(UNMULTIPLIED.get(turned.mode, "RGB"))
    turned.save(file, compress_level=1)
    return str(file)


def _fits_16_bits(picture: Any) -> bool:
    low, high = picture.getextrema()
    return bool(low >= 0 and high < 2**16)


def _as_bytes(image: Any) -> NDArray[np.uint8]:
    array = np.asarray(image)
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if not is_picture or not array.size:
        raise ValueError(f"an image must be (H, W), (H, W, 3) or (H, W, 4), got {array.shape}")
    if array.dtype == np.uint8:
        return array
    if np.issubdtype(array.dtype, np.floating) and array.min() >= 0 and array.max() <= 1:
        return np.round(array * 255).astype(np.uint8)
    raise ValueError(
        f"an image array must be uint8, or float in [0, 1]; got {array.dtype} "
        f"in [{array.min()}, {array.max()}]"
    )
