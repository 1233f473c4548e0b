"""`ImageClassifier`: scikit-learn's contract over the same story that the command line tells."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from regraft import model
from regraft.backbones import catalog
from regraft.data.table import ImageTable
from regraft.features import engines, extract
from regraft.images import pictures
from regraft.machine import devices
from regraft.probe.classifier import unreadable
from regraft.record.configuration import RunConfig
from regraft.workflows import fitting

Images = Sequence[Any]


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
        ``augment``, ``batchnorm``, ...: :class:`regraft.training.settings.TrainingSettings`).
    device : {'auto', 'cpu', 'cuda', 'mps'}
    offline : bool
        Do not access the internet, even if the backbone has to be downloaded.
    random_state : int

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    classifier_ : Classifier
        What was learnt; ``classifier_.learnt`` has the measured choices.

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
        X : sequence of N pictures
            Paths, bytes, binary files, PIL images or arrays: (H, W), (H, W, 1), (H, W, 3) or
            (H, W, 4), uint8 or float in [0, 1].
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
        devices.require_device(self.device)
        without = sum(label is None or label != label for label in y)
        if without:
            raise ValueError(
                f"{without} of {len(y)} labels are missing (None or NaN); leave those images out, "
                "or give them a label"
            )
        labels = np.asarray(y)
        names, codes = np.unique(labels, return_inverse=True)
        source = catalog.resolve(self.backbone, weights=self.weights)
        table = ImageTable.from_paths(_held(X))
        built = engines.locate(
            source,
            sample=pictures.sample(table.paths),
            device=self.device,
            offline=self.offline,
        )
        extraction = _features(table, built)
        classifier = fitting.fit_all(
            config, extraction, built, codes, classes=[str(name) for name in names], groups=groups
        )
        self.classes_, self.classifier_ = names, classifier
        return self

    def _training(self) -> dict[str, Any] | None:
        """All settings of training, as `RunConfig` has them."""
        own = {"split_point": self.split_point, "epochs": self.epochs}
        given = {name: value for name, value in own.items() if value is not None}
        return {**(self.training or {}), **given} or None

    def predict_proba(self, X: Images) -> NDArray[np.float64]:
        """``(N, n_classes)`` calibrated probabilities, in the order of ``classes_``.

        One picture or many of any kind: see :meth:`regraft.Classifier.predict_proba`.
        """
        check_is_fitted(self, "classes_")
        return self.classifier_.predict_proba(X)

    def predict(self, X: Images) -> NDArray[Any]:
        """The most probable label of each image."""
        check_is_fitted(self, "classes_")
        best: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return best

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the model; :meth:`load`, `regraft.load`, `regraft predict` and `evaluate` read
        it."""
        check_is_fitted(self, "classes_")
        return model.save(self.classifier_, folder)

    # Both are scikit-learn's, which shows the parameters; notebooks ask for the second.
    def _repr_html_inner(self) -> str:
        shown = str(super()._repr_html_inner())
        if not hasattr(self, "classes_"):
            return shown
        from regraft.report import notebook

        found = self.classifier_
        own = notebook.of_classifier(
            self.method,
            found.source.name if found.source else "",
            list(self.classes_),
            found.representation.taps,
            found.head.kind,
        )
        return own + shown

    def _repr_mimebundle_(self, **options: Any) -> dict[str, str]:
        shown: dict[str, str] = super()._repr_mimebundle_(**options)
        return shown | ({"text/html": self._repr_html_inner()} if "text/html" in shown else {})

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> ImageClassifier:
        """A saved model, ready to predict; its labels are strings."""
        found = model.load(folder)
        classifier = cls(method=found.method)
        classifier.classes_, classifier.classifier_ = np.array(found.classes), found
        return classifier


def _features(table: ImageTable, built: engines.BuiltEngine) -> extract.Extraction:
    """Of every image; one that cannot be read is an error, because rows must stay in line."""
    extraction = extract.through_store(table, built)
    if rejected := extraction.table.rejected:
        raise unreadable(rejected, len(table))
    return extraction


def _held(X: Images) -> list[str]:
    """Paths as they are, and pictures in memory by name; all take one way."""
    if pictures.is_one(X):
        raise TypeError("X must be a sequence of images, got a single one; write [image]")
    return [
        os.fsdecode(image)
        if isinstance(image, (str, os.PathLike))
        else pictures.InMemory(image, number)
        for number, image in enumerate(X)
    ]
