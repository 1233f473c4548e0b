"""A saved model answers: labels and probabilities of files, folders and archives, through the pass.

With the engine built, nothing here imports torch, timm or scikit-learn.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.data.sources import read_table
from regraft.data.table import ImageTable, Rejected
from regraft.errors import TableError
from regraft.features import extract
from regraft.images import pictures
from regraft.listener import SILENT, Listener
from regraft.machine import blas
from regraft.model.loading import load
from regraft.probe.classifier import Classifier

# Images that stand beside class folders have no class, but predict wants them all the same.
_UNLABELLED = "unlabelled"


@dataclass(frozen=True, eq=False)
class Predictions:
    """Probabilities for images, and the files that could not be read.

    Attributes
    ----------
    paths : list of N str
    classes : tuple of K str
    proba : (N, K)
    rejected : tuple of Rejected
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
    images: Sequence[str | os.PathLike[str]],
    *,
    uses_store: bool = True,
    offline: bool = False,
    listener: Listener = SILENT,
) -> Predictions:
    """Labels and probabilities of images; what the store knows is not computed again.

    Parameters
    ----------
    model : path or Classifier
    images : sequence of paths
        Files, folders, manifests or archives.
    uses_store : bool
        Otherwise every image is read, and no trace of it is left on disk.

    Raises
    ------
    ArtefactError
        The model is damaged, foreign or newer.
    TableError
        There is nothing to predict.
    """
    classifier = model if isinstance(model, Classifier) else load(model)
    with unpacked_into(uses_store) as archives:
        table = all_images([os.fsdecode(image) for image in images], archive_folder=archives)
        extraction = features_of(
            classifier, table, uses_store=uses_store, offline=offline, listener=listener
        )
    return Predictions(
        [table.shown(path) for path in extraction.table.paths],
        classifier.classes,
        classifier.proba_of(extraction.X),
        extraction.table.rejected,
    )


def features_of(
    classifier: Classifier,
    table: ImageTable,
    *,
    uses_store: bool = True,
    offline: bool = False,
    listener: Listener = SILENT,
) -> extract.Extraction:
    """Features of a table's images for a classifier, through the store if it is used."""
    built = classifier.built(sample=pictures.sample(table.paths), offline=offline, say=listener.say)
    return extract.through_store(table, built, uses_store=uses_store, listener=listener)


@contextlib.contextmanager
def unpacked_into(uses_store: bool) -> Iterator[Path | None]:
    """Where archives go: into the cache (None), or into a folder that is gone after the block."""
    if uses_store:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="regraft-") as folder:
        yield Path(folder)


def all_images(sources: list[str], *, archive_folder: Path | None = None) -> ImageTable:
    """One table of all images below these sources, without labels, each path once.

    A source that is missing or no images is a rejected row beside the others, and an error alone.
    """
    tables, refused = [], []
    for source in sources:
        try:
            tables.append(read_table(source, archive_folder=archive_folder))
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
        raise TableError(f"no images in {', '.join(map(repr, sources))}", cure="give image files")
    joined = ImageTable.from_paths(list(paths))
    only = tables[0] if len(tables) == 1 else None
    return replace(
        joined,
        source=only.source if only else "",
        root=only.root if only else "",
        rejected=rejected,
    )
