"""`regraft explain`: where a saved model looks."""

from __future__ import annotations

import os

from regraft.explain import explanations
from regraft.listener import SILENT, Listener
from regraft.machine import blas
from regraft.model import load, predicting


@blas.one_thread
def explain(
    model: str | os.PathLike[str],
    images: predicting.Paths,
    *,
    out: str | os.PathLike[str] = "explained",
    method: str = "auto",
    label: str | None = None,
    top: int = 3,
    path_column: str | None = None,
    offline: bool = False,
    listener: Listener = SILENT,
) -> explanations.Explanations:
    """Where a saved model looks: for each image a map, drawn into a folder and in numbers.

    Parameters
    ----------
    model : path
    images : path or sequence of paths
        Files, folders, manifests or archives.
    out : path
        Folder of the pictures and ``maps.json``.
    method : {'auto', 'cam', 'gradcam', 'occlusion'}
        See :mod:`regraft.explain`.
    label : str, optional
        The class asked about; the predicted one of each image if not given.
    top : int
        Nearest images of train that are named.
    path_column : str, optional
        Of manifests, where its name does not tell.

    Raises
    ------
    ArtefactError
        The model is damaged, foreign or newer.
    TableError
        There is nothing to explain.
    UsageError
        No such class, or the model does not allow this method.
    """
    classifier = load(model)
    code = explanations.code_of(label, classifier.classes)
    table = predicting.all_images(predicting.listed(images), path_column=path_column)
    extraction = predicting.features_of(classifier, table, offline=offline, listener=listener)
    return explanations.explain(
        classifier, extraction, out=out, method=method, code=code, top=top, listener=listener
    )
