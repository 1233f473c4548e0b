"""A saved model answers: labels and probabilities of files, folders and archives, through the pass.

With the engine built, nothing here imports torch, timm or scikit-learn.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.data.sources import read_table
from regraft.data.table import ImageTable, Rejected
from regraft.errors import TableError
from regraft.features import extract
from regraft.images import pictures, several
from regraft.images.pictures import InMemory
from regraft.listener import SILENT, Listener
from regraft.machine import blas
from regraft.model.loading import opened
from regraft.probe.classifier import Classifier

# Images that stand beside class folders have no class, but predict wants them all the same.
_UNLABELLED = "unlabelled"


@dataclass(frozen=True, eq=False)
class Predictions:
    """Probabilities for images, and the files that could not be read.

    Attributes
    ----------
    paths : list of N str
        Of the files that were read.
    classes : tuple of K str
    proba : (N, K)
    rejected : tuple of Rejected
        Files that could not be read: ``path``, ``reason``, ``mend``.
    """

    paths: list[str]
    classes: tuple[str, ...]
    proba: NDArray[Any]
    rejected: tuple[Rejected, ...]

    @property
    def labels(self) -> list[str]:
        """The most probable class of each image."""
        return [self.classes[i] for i in self.proba.argmax(1)] if len(self.paths) else []

    def rows(self, top: int = 3) -> Iterator[dict[str, Any]]:
        """What ``--json`` prints: one object per image, then one per rejected file."""
        for path, p in zip(self.paths, self.proba, strict=True):
            order = np.argsort(-p, kind="stable")[:top]
            ranked = [[self.classes[i], round(float(p[i]), 6)] for i in order]
            yield {"path": path, "label": ranked[0][0], "probability": ranked[0][1], "top": ranked}
        for bad in self.rejected:
            yield {"path": bad.path, "error": bad.reason, "mend": bad.mend}


@blas.one_thread
def predict(
    model: str | os.PathLike[str] | Classifier,
    images: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    offline: bool = False,
    listener: Listener = SILENT,
) -> Predictions:
    """Labels and probabilities of files and folders: what `regraft predict` does.

    What the store knows is not computed again. Pictures in memory: `Classifier.predict`.

    Parameters
    ----------
    model : path, Classifier or fitted ImageClassifier
    images : path, or sequence of paths
        Files, folders, manifests or archives.
    offline : bool
        Do not access the internet.
    listener : Listener
        Told what is done; says nothing by default.

    Raises
    ------
    ArtefactError
        The model is damaged, foreign or newer.
    TableError
        There is nothing to predict.
    TypeError
        It is no path.

    Examples
    --------
    >>> found = predict("model", "photos/test")
    >>> len(found.paths), found.classes, found.proba.shape, found.rejected
    (6, ('discs', 'stripes'), (6, 2), ())
    >>> found.labels[0] in found.classes, found.paths[0]
    (True, 'photos/test/discs/discs_test_000.jpg')
    """
    classifier = opened(model)
    table = all_images(paths_of(images))
    extraction = features_of(classifier, table, offline=offline, listener=listener)
    return Predictions(
        [table.shown(path) for path in extraction.table.paths],
        classifier.classes,
        classifier.proba_of(extraction.X),
        extraction.table.rejected,
    )


def paths_of(images: Any) -> list[str]:
    """One path or many, as text; what lies in memory has none and is refused.

    Examples
    --------
    >>> paths_of("new.jpg"), paths_of(("a.jpg", "b"))
    (['new.jpg'], ['a.jpg', 'b'])
    """
    paths = list(several.named(images))
    if held := next((path for path in paths if isinstance(path, InMemory)), None):
        raise TypeError(
            f"files, folders, manifests or archives are given by their paths, got {held}; "
            "for pictures in memory: regraft.load(MODEL).predict(pictures)"
        )
    return paths


def features_of(
    classifier: Classifier,
    table: ImageTable,
    *,
    offline: bool = False,
    listener: Listener = SILENT,
) -> extract.Extraction:
    """Features of a table's images for a classifier, through the store."""
    built = classifier.built(sample=pictures.sample(table.paths), offline=offline, say=listener.say)
    return extract.through_store(table, built, listener=listener)


def all_images(sources: list[str]) -> ImageTable:
    """One table of all images below these sources, without labels, each path once.

    A source that is missing or no images is a rejected row beside the others, and an error alone.
    """
    tables, refused = [], []
    for source in sources:
        try:
            tables.append(read_table(source))
        except TableError as error:
            is_there = os.path.lexists(source)
            reason = error.rule.removeprefix(f"{source!r} ") if is_there else "no such file"
            refused.append((error, Rejected(source, reason, error.cure)))
    if not tables and refused:
        raise refused[0][0]
    paths: dict[str, None] = {}
    for table in tables:
        paths.update(dict.fromkeys(table.paths))
        paths.update({s.path: None for s in table.skipped if s.kind == _UNLABELLED})
    rejected = tuple(bad for table in tables for bad in table.rejected)
    rejected += tuple(bad for _, bad in refused)
    if not paths and not rejected:
        where = f" in {', '.join(map(repr, sources))}" if sources else " are given"
        raise TableError(f"no images{where}", cure="give image files")
    joined = ImageTable.from_paths(list(paths))
    only = tables[0] if len(tables) == 1 else None
    return replace(
        joined,
        source=only.source if only else "",
        root=only.root if only else "",
        rejected=rejected,
    )
