"""A saved model answers: labels and probabilities of files, folders and archives, through the pass.

With the engine built, nothing here imports torch, timm or scikit-learn.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from regraft.data.source_forms import ARCHIVE_SUFFIXES, MANIFEST_SUFFIXES
from regraft.data.sources import read_images
from regraft.data.table import ImageTable, Rejected, Skipped
from regraft.errors import ArchiveError, TableError, UsageError
from regraft.features import extract
from regraft.images import pictures
from regraft.listener import SILENT, Listener
from regraft.machine import blas
from regraft.model.loading import load
from regraft.probe.classifier import Classifier

OnePath: TypeAlias = str | bytes | os.PathLike[str]
Paths: TypeAlias = OnePath | Sequence[OnePath]

# What may hold pictures that are asked about but is not looked into, with what to do about it.
_CLOSED, _PACKED = "give read permission", "unpack it, or name it beside the others"
# A folder without images leaves none out.
_NOTHING_LOST = "empty-folder"


@dataclass(frozen=True, eq=False)
class Predictions:
    """Probabilities for images, the files that could not be read, and what was no image.

    Attributes
    ----------
    paths : list of N str
    classes : tuple of K str
    proba : (N, K)
    rejected : tuple of Rejected
        Folders and archives that could not be looked into are among them.
    skipped : tuple of Skipped
        Files that are no images, hidden ones, and rows of a manifest that say the same again.
    """

    paths: list[str]
    classes: tuple[str, ...]
    proba: NDArray[Any]
    rejected: tuple[Rejected, ...]
    skipped: tuple[Skipped, ...] = ()

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
    images: Paths,
    *,
    path_column: str | None = None,
    offline: bool = False,
    listener: Listener = SILENT,
) -> Predictions:
    """Labels and probabilities of images; what the store knows is not computed again.

    Every image of a folder is labelled, at any depth and whatever its folders are called; of a
    manifest only the paths are read. What is left out is named.

    Parameters
    ----------
    model : path or Classifier
    images : path or sequence of paths
        Files, folders, manifests or archives.
    path_column : str, optional
        Of the manifests, where its name does not tell.

    Raises
    ------
    ArtefactError
        The model is damaged, foreign or newer.
    TableError
        There is nothing to predict.
    """
    classifier = model if isinstance(model, Classifier) else load(model)
    table = all_images(listed(images), path_column=path_column)
    extraction = features_of(classifier, table, offline=offline, listener=listener)
    return Predictions(
        [table.shown(path) for path in extraction.table.paths],
        classifier.classes,
        classifier.proba_of(extraction.X),
        table.as_shown(extraction.table.rejected),
        table.as_shown(table.skipped),
    )


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


def listed(images: Paths) -> list[str]:
    """The paths as text, be it one or several.

    Examples
    --------
    >>> listed("new/"), listed(["a.jpg", b"b.jpg"])
    (['new/'], ['a.jpg', 'b.jpg'])
    """
    several = [images] if isinstance(images, (str, bytes, os.PathLike)) else images
    return [os.fsdecode(image) for image in several]


def all_images(sources: list[str], *, path_column: str | None = None) -> ImageTable:
    """One table of all images below these sources, without labels, each path once.

    A source that is missing or no images is a rejected row beside the others, and an error alone.
    `path_column` is for those that are manifests.
    """
    if path_column and not any(map(_is_manifest, sources)):
        raise UsageError(
            "a column can be named for a manifest only", place=sources[0], cure="leave it out"
        )
    tables, refused = [], []
    for source in sources:
        try:
            tables.append(_read(source, path_column))
        except (TableError, ArchiveError) as error:
            refused.append((error, Rejected(source, _why_refused(source, error), error.cure)))
    if refused and not tables:
        raise refused[0][0]
    if not tables:
        raise TableError("no images were named", cure="give files, folders, manifests or archives")
    return _joined(tables, tuple(bad for _, bad in refused))


def _read(source: str, path_column: str | None) -> ImageTable:
    """Of what is left out, that which may hold pictures goes to the rejected."""
    table = read_images(source, path_column=path_column if _is_manifest(source) else None)
    kept, unread = [], []
    for entry in table.skipped:
        if mend := _mend_of(entry):
            unread.append(Rejected(entry.path, entry.reason, mend))
        elif entry.kind != _NOTHING_LOST:
            kept.append(entry)
    return replace(table, skipped=tuple(kept), rejected=(*table.rejected, *unread))


def _is_manifest(source: str) -> bool:
    return source.lower().endswith(MANIFEST_SUFFIXES) and not os.path.isdir(source)


def _mend_of(entry: Skipped) -> str:
    """What to do so that the pictures in it are seen; empty where it can hold none."""
    if entry.kind == "unreadable-folder":
        return _CLOSED
    return _PACKED if entry.path.lower().endswith(ARCHIVE_SUFFIXES) else ""


def _why_refused(source: str, error: TableError | ArchiveError) -> str:
    reason = error.rule.removeprefix(f"{source!r} ")
    return "no such file" if reason == "does not exist" else reason


def _joined(tables: list[ImageTable], refused: tuple[Rejected, ...]) -> ImageTable:
    """The images of several tables, each path once."""
    paths = dict.fromkeys(path for table in tables for path in table.paths)
    first, *others = tables
    return replace(
        ImageTable.from_paths(list(paths)),
        source=first.source,
        root=first.root,
        joined=tuple((table.root, table.source) for table in others),
        skipped=tuple(dict.fromkeys(entry for table in tables for entry in table.skipped)),
        rejected=(*dict.fromkeys(bad for table in tables for bad in table.rejected), *refused),
    )
