"""`regraft explain`: where a saved model looks."""

from __future__ import annotations

import os
from collections.abc import Iterable

from regraft.explain import explanations
from regraft.listener import SILENT, Listener
from regraft.machine import blas
from regraft.model import predicting
from regraft.model.loading import opened
from regraft.probe.classifier import Classifier


@blas.one_thread
def explain(
    model: str | os.PathLike[str] | Classifier,
    images: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    out: str | os.PathLike[str] = "explained",
    method: str = "auto",
    label: str | None = None,
    top: int = 3,
    path_column: str | None = None,
    uses_store: bool = True,
    offline: bool = False,
    listener: Listener = SILENT,
) -> explanations.Explanations:
    """Where a saved model looks: for each image a map, drawn into a folder and in numbers.

    Parameters
    ----------
    model : path, Classifier or fitted ImageClassifier
    images : path, or sequence of paths
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
    uses_store : bool
        Otherwise every image is read, and no trace of it is left but what is drawn into `out`.

    Raises
    ------
    ArtefactError
        The model is damaged, foreign or newer.
    TableError
        There is nothing to explain.
    UsageError
        No such class, or the model does not allow this method.
    """
    classifier = opened(model)
    code = explanations.code_of(label, classifier.classes)
    with predicting.unpacked_into(uses_store) as archives:
        table = predicting.all_images(
            predicting.paths_of(images), path_column=path_column, archive_folder=archives
        )
        extraction = predicting.features_of(
            classifier, table, uses_store=uses_store, offline=offline, listener=listener
        )
        return explanations.explain(
            classifier, extraction, out=out, method=method, code=code, top=top, listener=listener
        )
