"""`ImageClassifier`: scikit-learn's contract over the same story that the command line tells."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from regraft import model
from regraft.choosing.budget import seconds_of
from regraft.data.labels import LabelType, groups_of, labels_of
from regraft.data.table import ImageTable
from regraft.errors import ConfigError, DataError
from regraft.evaluation import Estimate, Evaluation
from regraft.explain.in_memory import Explained, explain_images
from regraft.features import engines, extract, side_by_side
from regraft.features.extraction import Extraction
from regraft.images import pictures, several
from regraft.images.pictures import Picture
from regraft.machine import devices, extras
from regraft.model import learnt_from
from regraft.probe.answers import Answers, unreadable
from regraft.probe.classifier import Classifier
from regraft.record.configuration import RunConfig
from regraft.workflows import auto, fitting
from regraft.workflows.auto import BUDGET_S
from regraft.workflows.preparation import white_for

with extras.needed_for("ImageClassifier", otherwise="regraft.run and regraft.load without it"):
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils.validation import check_is_fitted

# One picture, or many: see `Classifier.predict_proba`.
Images = Picture | Iterable[Picture]
# What a model was taught with, in its card.
PARAMS, CONFIG = "params", "config"
AUTO = "auto"


class ImageClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier of images by transfer learning.

    Parameters
    ----------
    method : {'probe', 'head', 'partial', 'full', 'scratch', 'auto'}
        'probe': the network stays as it is, a head learns on its features in closed form. 'head':
        the same by gradients. 'partial': the layers from `split_point` on learn too. 'full': every
        layer learns. 'scratch': every layer, from random weights. 'auto': what is best within
        `budget`, found by measuring, as `regraft auto` does; ``search_`` says what was tried.
    budget : float or str
        For 'auto': seconds, or a time such as '2m'. Two minutes if not given.
    backbone : str
        'default', 'lite1', 'lite2', a timm name, 'local-dir:FOLDER', 'hf-hub:OWNER/REPO'; several
        with a plus between them, 'default+lite2', stand side by side (method 'probe').
    look : {'plain', 'flip'}
        'flip': features of a picture and of its mirror image, averaged (method 'probe').
    weights : path, optional
        Weights file for the backbone's architecture.
    taps : list of str, optional
        Stages whose features are used; measured and chosen if not given.
    head : {'auto', 'lda', 'ridge', 'logistic', 'svm', 'ncm', 'knn'}
    class_weight : {'balanced'}, optional
    scale : str
        Which value is white in pictures of more than 8 bits: 'file' (as each file says), '8bit',
        '10bit', '12bit', '14bit', '16bit', a number such as '3000', or 'auto-per-set', which holds
        all values that `fit` is given.
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
        Of everything left to chance; PyTorch's, NumPy's and Python's own states are not used.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels as they were given: text, integers, booleans, ...
    classifier_ : Classifier
        What was learnt; ``classifier_.learnt`` has the measured choices.
    search_ : dict
        Of 'auto': what was tried, what was not and why, and what was taken.
    test_score_ : Estimate or None
        Of a loaded model that a run has tested: accuracy and its interval.

    Examples
    --------
    >>> from pathlib import Path
    >>> paths = sorted(Path("photos/train").rglob("*.jpg"))
    >>> y = [path.parent.name == "discs" for path in paths]
    >>> classifier = ImageClassifier().fit(paths, y)
    >>> classifier.predict("photos/test/discs/discs_test_000.jpg").dtype
    dtype('bool')
    >>> folder = classifier.save("saved")
    >>> loaded = ImageClassifier.load(folder)
    >>> bool((loaded.predict(paths) == classifier.predict(paths)).all())
    True
    """

    search_: dict[str, Any]

    def __init__(
        self,
        method: str = "probe",
        *,
        backbone: str = "default",
        look: str = "plain",
        weights: str | None = None,
        taps: list[str] | None = None,
        head: str = "auto",
        class_weight: str | None = None,
        scale: str = "file",
        split_point: str | None = None,
        epochs: int | None = None,
        training: dict[str, Any] | None = None,
        device: str = "auto",
        offline: bool = False,
        random_state: int = 0,
        budget: float | str | None = None,
    ) -> None:
        self.method = method
        self.backbone = backbone
        self.look = look
        self.weights = weights
        self.taps = taps
        self.head = head
        self.class_weight = class_weight
        self.scale = scale
        self.split_point = split_point
        self.epochs = epochs
        self.training = training
        self.device = device
        self.offline = offline
        self.random_state = random_state
        self.budget = budget

    def fit(self, X: Iterable[Picture], y: Any = None, *, groups: Any = None) -> Self:
        """Learn from images; if that fails, what was learnt before stays whole.

        Parameters
        ----------
        X : N pictures
            Paths, bytes, binary files, PIL images, arrays or tensors: (H, W), (H, W, 1),
            (H, W, 3) or (H, W, 4), uint8 or float in [0, 1]; in a list, an array, a column, a
            table of one column or a generator.
        y : N labels
            Text, integers, booleans, floats or bytes, all of one kind, in anything that holds one
            value a row; `predict` gives values of the same kind, also after `save` and `load`.
        groups : N values, optional
            Images of one group are left out together when settings are chosen. None, NaN and
            blank: in no group. Where too few images can be left out with something left of their
            class, usual settings are taken, with a warning; ``classifier_.learnt.judged`` has
            the numbers.

        Raises
        ------
        DataError
            Images cannot be read (``error.rejected`` names all, ``error.rows`` says where they
            stand), or there is one class only.
        ConfigError, BackboneError
            A parameter cannot be meant.
        TypeError, ValueError
            X, y or groups are not what is described above.
        """
        began, budget_s, config = time.monotonic(), self._budget_s(), self._config()
        table = ImageTable.from_paths(_taught(X))
        labels, of_groups = labels_of(y, n_rows=len(table)), groups_of(groups, n_rows=len(table))
        if not len(table):
            raise ValueError("X holds no images; give some, and their labels")
        names, codes = np.unique(labels, return_inverse=True)
        if len(names) < 2:
            raise DataError(
                f"training needs images of at least 2 classes, got 1: {names.tolist()[0]!r}",
                cure="give images of another class too, each with its label in y",
            )
        kept = LabelType.of(names)
        built = side_by_side.locate(
            replace(config.source, white=white_for(self.scale, table.paths)),
            sample=pictures.sample(table.paths),
            device=self.device,
            offline=self.offline,
        )
        extraction = _features(table, built)
        if self.method == AUTO:
            learnt, search = auto.search_all(
                config, extraction, built, codes, classes=kept.texts(names), groups=of_groups,
                budget_s=budget_s, began=began, offline=self.offline,
            )  # fmt: skip
        else:
            learnt, search = (
                fitting.fit_all(
                    config, extraction, built, codes, classes=kept.texts(names), groups=of_groups
                ),
                None,
            )
        card = {
            PARAMS: _as_json(self.get_params()),
            "learnt_from": learnt_from.to_text(extraction.digests),
        }
        self.classifier_ = replace(learnt, label_type=kept, card={**learnt.card, **card})
        self.classes_ = names
        if hasattr(self, "search_"):
            del self.search_
        if search is not None:
            self.search_ = search
        _warn_of_what_was_not_measured(learnt)
        return self

    def _config(self) -> RunConfig:
        """The parameters as a run has them; refused before any image is read."""
        seed: Any = self.random_state
        if not isinstance(seed, (int, np.integer)) or seed < 0:
            raise ConfigError(f"random_state must be an integer >= 0, got {seed!r}")
        if not isinstance(self.training, Mapping | None):
            raise ConfigError(
                f"training must be a dict, got {type(self.training).__name__}",
                cure='training={"learning_rate": 0.01}',
            )
        devices.require_device(self.device)
        config = RunConfig(
            data="",
            method="probe" if self.method == AUTO else self.method,
            backbone=self.backbone,
            look=self.look,
            weights=self.weights,
            taps=[self.taps] if isinstance(self.taps, str) else self.taps,
            head=self.head,
            class_weight=self.class_weight,
            scale=self.scale,
            seed=int(seed),
            device=self.device,
            training=self._training(),
        )
        fitting.require_linear_head(config)
        return config

    def _budget_s(self) -> float:
        """Seconds that 'auto' may take; a budget that no other method would look at is refused."""
        if self.method == AUTO:
            return seconds_of(BUDGET_S if self.budget is None else self.budget, place="budget")
        if self.budget is not None:
            raise ConfigError(
                f"budget is for method 'auto', got method {self.method!r}",
                cure=f"ImageClassifier(method='auto', budget={self.budget!r}), or leave it out",
            )
        return 0.0

    def _training(self) -> dict[str, Any] | None:
        """All settings of training, as `RunConfig` has them."""
        own = {"split_point": self.split_point, "epochs": self.epochs}
        given = {name: value for name, value in own.items() if value is not None}
        return {**(self.training or {}), **given} or None

    def predict_proba(self, X: Images) -> NDArray[np.float64]:
        """``(N, n_classes)`` calibrated probabilities, in the order of ``classes_``.

        One picture or many of any kind: see :meth:`regraft.Classifier.predict_proba`.
        """
        return self._fitted().predict_proba(X)

    def predict(self, X: Images) -> NDArray[Any]:
        """The most probable label of each image, of the kind that was taught."""
        return self._fitted().predict(X)

    def answer(
        self,
        X: Images,
        *,
        coverage: float | str | None = None,
        reject: float | str | None = None,
        precision: float | str | None = None,
        per_class: bool = False,
    ) -> Answers:
        """Labels and probabilities, which pictures cannot be read and why, and what is asked for
        beside: sets, "none of these", answers that may stand alone.

        See :meth:`regraft.Classifier.answer`.
        """
        return self._fitted().answer(
            X, coverage=coverage, reject=reject, precision=precision, per_class=per_class
        )

    def predict_set(
        self, X: Images, *, coverage: float | str = 0.95, per_class: bool = False
    ) -> list[NDArray[Any]]:
        """The labels that each picture may have; see :meth:`regraft.Classifier.predict_set`."""
        return self._fitted().predict_set(X, coverage=coverage, per_class=per_class)

    def typical(self, X: Images) -> NDArray[np.float64]:
        """How like the training images each picture is; see :meth:`regraft.Classifier.typical`."""
        return self._fitted().typical(X)

    def score(self, X: Images, y: Any, sample_weight: Any = None) -> float:
        """The share of right answers. A label that was never taught counts as a wrong answer;
        labels of another kind than those that were taught are refused.

        `evaluate` gives it with its interval.
        """
        return self._fitted().score(X, y, sample_weight)

    def evaluate(self, X: Images, y: Any = None, *, groups: Any = None) -> Evaluation:
        """Every metric with its interval, on images that were not learnt from.

        See :meth:`regraft.Classifier.evaluate`.
        """
        return self._fitted().evaluate(X, y, groups=groups)

    def explain(self, X: Images, *, label: Any = None, method: str = "auto") -> Explained:
        """Where it looks: a map for every picture; see :func:`regraft.explain_images`."""
        return explain_images(self._fitted(), X, label=label, method=method)

    @property
    def test_score_(self) -> Estimate | None:
        """The accuracy with its interval on the test images of the run that made this model.

        None after `fit`, which keeps none apart.
        """
        return self._fitted().test_score

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the model; :meth:`load`, `regraft.load`, `regraft predict` and `evaluate` read
        it."""
        return model.save(self._fitted(), folder)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> ImageClassifier:
        """A saved model, ready to predict, with the parameters and labels that it was taught."""
        found = model.load(folder)
        classifier = cls(**_params_of(found, set(cls().get_params())))
        classifier.classes_, classifier.classifier_ = found.labels, found
        return classifier

    def _fitted(self) -> Classifier:
        check_is_fitted(self, "classes_")
        return self.classifier_

    def __sklearn_tags__(self) -> Any:
        """Pictures are no table of numbers, and are checked by what reads them."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.no_validation = True
        return tags

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


def _taught(X: Any) -> list[str]:
    """Paths as they are, and pictures in memory by name; all take one way."""
    if isinstance(X, (str, os.PathLike)) and os.path.isdir(X):
        raise TypeError(
            f"X must be a sequence of images, got the folder {os.fsdecode(X)!r}; "
            "regraft.run(FOLDER) learns from a folder with one folder per class"
        )
    if several.is_one(X):
        raise TypeError(
            f"X must be a sequence of images, got a single one: {pictures.kind_of(X)}; write "
            "[image], or of rows of flattened pixels X.reshape(-1, H, W)"
        )
    return list(several.named(X))


def _warn_of_what_was_not_measured(classifier: Classifier) -> None:
    judged = classifier.learnt.judged if classifier.learnt else None
    if judged is not None and not judged.is_enough:
        warnings.warn(judged.in_words(classifier.classes), stacklevel=3)


def _features(table: ImageTable, built: engines.BuiltEngine) -> Extraction:
    """Of every image; one that cannot be read is an error, because rows must stay in line."""
    extraction = extract.through_store(table, built)
    if rejected := extraction.table.rejected:
        raise unreadable(rejected, [str(path) for path in table.paths])
    return extraction


def _as_json(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as they are kept: paths as text, numbers of NumPy as Python's."""

    def plain(value: Any) -> Any:
        return os.fsdecode(value) if isinstance(value, os.PathLike) else value.item()

    kept: dict[str, Any] = json.loads(json.dumps(params, default=plain))
    return kept


def _params_of(found: Classifier, known: set[str]) -> dict[str, Any]:
    """The parameters that a model was taught with, as far as it says; older ones do not."""
    params, config = found.card.get(PARAMS), found.card.get(CONFIG)
    if isinstance(params, Mapping):
        return {name: value for name, value in params.items() if name in known}
    if not isinstance(config, Mapping):
        return {"method": found.method}
    own = dict(config.get("training") or {})
    return {
        **{name: config[name] for name in known & set(config) - {"training"}},
        "split_point": own.pop("split_point", None),
        "epochs": own.pop("epochs", None),
        "training": own or None,
        "random_state": config.get("seed", 0),
    }
