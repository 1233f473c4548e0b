"""Where a classifier looks, for pictures of any kind, in memory: nothing is written.

Array letters: N pictures, h and w the map's rows and columns, H and W the picture's, K classes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regraft.explain import drawing
from regraft.explain.base import rows_of, stacked
from regraft.explain.explainer import explainer_for
from regraft.explain.explanations import code_of
from regraft.images import pictures, several
from regraft.images.pictures import Picture
from regraft.machine import blas
from regraft.model.loading import opened
from regraft.probe.classifier import Classifier

# Pictures that are explained together.
CHUNK = 16


@dataclass(frozen=True, eq=False)
class Explained:
    """Where a classifier looks in N pictures.

    Attributes
    ----------
    names : list of N str
    predicted : (N,) array
        The most probable label of each picture.
    proba : (N, K) float64
    labels : (N,) array
        The labels that the maps speak of.
    maps : (N, h, w) float32
        Positive: this place speaks for the label; negative: against it.
    pictures : (N, H, W, 3) uint8
        As the network sees them (the first, where there are several).
    method, why : str
        How the maps were made, and why so.
    """

    names: list[str]
    predicted: NDArray[Any]
    proba: NDArray[np.float64]
    labels: NDArray[Any]
    maps: NDArray[np.float32]
    pictures: NDArray[np.uint8]
    method: str
    why: str

    def overlay(self, number: int) -> Image.Image:
        """A picture in grey with what speaks for the label in colour over it."""
        return Image.fromarray(drawing.overlay(self.pictures[number], self.maps[number]))


@blas.one_thread
def explain_images(
    model: Classifier | str | os.PathLike[str],
    images: Picture | Iterable[Picture],
    *,
    label: Any = None,
    method: str = "auto",
) -> Explained:
    """Where a classifier looks: a map for every picture; nothing is written.

    Parameters
    ----------
    model : Classifier, or path of a model or run
    images : picture, or iterable of N
        Of every kind that `Classifier.predict_proba` takes.
    label : a label of the model, optional
        The class asked about; the predicted one of each picture if not given.
    method : {'auto', 'cam', 'gradcam', 'occlusion'}
        See :mod:`regraft.explain`.

    Raises
    ------
    DataError, TypeError, ValueError
        As `Classifier.predict_proba`; or there are no pictures.
    UsageError
        No such class, or the model does not allow this method.

    Examples
    --------
    >>> import regraft
    >>> file = "photos/test/discs/discs_test_000.jpg"
    >>> found = explain_images(regraft.load("model"), file, label="discs")
    >>> len(found.maps), found.labels.tolist(), found.names == [file]
    (1, ['discs'], True)
    >>> found.overlay(0).size == found.pictures.shape[1:3]
    True
    """
    asked = list(several.named(images))
    if not asked:
        raise ValueError("there are no images to explain; give one picture or many")
    model = opened(model)
    code = _code(model, label)
    proba = model.predict_proba(asked)
    codes = proba.argmax(axis=1) if code is None else np.full(len(asked), code)
    wanted = [one.preprocess for one in model.built().info.networks]
    seen = stacked([pictures.plain_for_each(picture, wanted) for picture in asked])
    explainer = explainer_for(model, example=rows_of(seen, slice(4)), method=method)
    chunks = [slice(start, start + CHUNK) for start in range(0, len(asked), CHUNK)]
    maps = [explainer.explain(rows_of(seen, chunk), codes[chunk]).maps for chunk in chunks]
    return Explained(
        [str(name) for name in asked],
        model.labels[proba.argmax(axis=1)],
        proba,
        model.labels[codes],
        np.concatenate(maps),
        seen[0],
        explainer.name,
        explainer.why,
    )


def _code(model: Classifier, label: Any) -> int | None:
    """The code of a class by its label, or by the text that stands for it."""
    if label is None:
        return None
    text = label if isinstance(label, str) else model.label_type.texts([label])[0]
    return code_of(text, model.classes)
