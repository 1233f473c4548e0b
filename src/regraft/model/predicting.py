"""A saved model answers: labels and probabilities of files, folders and archives, through the pass.

With the engine built, nothing here imports torch, timm or scikit-learn.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from regraft.data.listings import Listings
from regraft.data.source_forms import ARCHIVE_SUFFIXES, MANIFEST_SUFFIXES
from regraft.data.sources import read_images
from regraft.data.table import ImageTable, Rejected, Skipped
from regraft.errors import ArchiveError, TableError, UsageError
from regraft.evaluation.blocks import called, first
from regraft.features import extract
from regraft.features.elsewhere import HERE, Elsewhere
from regraft.features.extraction import Extraction
from regraft.images import pictures, several
from regraft.images.pictures import InMemory
from regraft.listener import SILENT, Listener
from regraft.machine import blas
from regraft.model import tested_promises
from regraft.model.loading import opened
from regraft.probe.classifier import Classifier
from regraft.probe.doubts import Doubts, Levels

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
        Of the files that were read.
    classes : tuple of K str
    proba : (N, K)
    rejected : tuple of Rejected
        Folders and archives that could not be looked into are among them.
    skipped : tuple of Skipped
        Files that are no images, hidden ones, and rows of a manifest that say the same again.
    doubts : Doubts
        Sets, "none of these" and what may stand alone, where these were asked for.
    levels : Levels
        What was asked for.
    missed : mapping from 'coverage', 'reject' or 'precision'
        What came of the promises asked for on the images that tested the model, where they were
        missed.
    """

    paths: list[str]
    classes: tuple[str, ...]
    proba: NDArray[Any]
    rejected: tuple[Rejected, ...]
    skipped: tuple[Skipped, ...] = ()
    doubts: Doubts = field(default_factory=Doubts)
    levels: Levels = field(default_factory=Levels)
    missed: Mapping[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> list[str | None]:
        """The most probable class of each image; None for one that is none of them, where
        `reject` was asked for."""
        best = [self.classes[i] for i in called(self.proba)] if len(self.paths) else []
        if self.doubts.is_none is None:
            return [*best]
        return [None if no else one for one, no in zip(best, self.doubts.is_none, strict=True)]

    def rows(self, top: int = 3) -> Iterator[dict[str, Any]]:
        """What ``--json`` prints: one object per image, then one per rejected file."""
        for row, (path, label) in enumerate(zip(self.paths, self.labels, strict=True)):
            p = self.proba[row]
            ranked = [[self.classes[i], round(float(p[i]), 6)] for i in first(p, top)]
            yield {
                "path": path, "label": label, "probability": ranked[0][1], "top": ranked,
                **self.doubts.to_dict(row, self.classes, p),
            }  # fmt: skip
        for bad in self.rejected:
            yield {"path": bad.path, "error": bad.reason, "mend": bad.mend}


@blas.one_thread
def predict(
    model: str | os.PathLike[str] | Classifier,
    images: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    coverage: float | str | None = None,
    reject: float | str | None = None,
    precision: float | str | None = None,
    per_class: bool = False,
    path_column: str | None = None,
    uses_store: bool = True,
    offline: bool = False,
    listener: Listener = SILENT,
    elsewhere: Elsewhere = HERE,
) -> Predictions:
    """Labels and probabilities of files and folders: what `regraft predict` does.

    What the store knows is not computed again. Pictures in memory: `Classifier.predict`.

    Every image of a folder is labelled, at any depth and whatever its folders are called; of a
    manifest only the paths are read. What is left out is named.

    Parameters
    ----------
    model : path, Classifier or fitted ImageClassifier
    images : path, or sequence of paths
        Files, folders, manifests or archives.
    coverage, reject, precision, per_class
        Sets of answers, "none of these", answers that may stand alone: as `Classifier.answer`.
    path_column : str, optional
        Of the manifests, where its name does not tell.
    uses_store : bool
        Otherwise every image is read, and no trace of it is left on disk.
    offline : bool
        Do not access the internet.
    listener : Listener
        Told what is done; says nothing by default.
    elsewhere : Elsewhere
        Who else does the pass over the images.

    Raises
    ------
    ArtefactError
        The model is damaged, foreign or newer.
    TableError
        There is nothing to predict.
    UsageError
        A level outside (0, 1), or one that this model cannot give.
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
    levels = Levels.of(coverage=coverage, reject=reject, precision=precision, per_class=per_class)
    classifier = opened(model)
    classifier.require(levels)
    with unpacked_into(uses_store) as archives:
        table = all_images(
            paths_of(images), path_column=path_column, archive_folder=archives,
            listings=elsewhere.listings_for(listener),
        )  # fmt: skip
        extraction = features_of(
            classifier, table, uses_store=uses_store, offline=offline, listener=listener,
            elsewhere=elsewhere,
        )  # fmt: skip
    proba, doubts = classifier.answers_of(extraction.X, levels)
    return Predictions(
        [table.shown(path) for path in extraction.table.paths],
        classifier.classes,
        proba,
        table.as_shown(extraction.table.rejected),
        table.as_shown(table.skipped),
        doubts,
        levels,
        tested_promises.missed(classifier.card, levels),
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
    uses_store: bool = True,
    offline: bool = False,
    listener: Listener = SILENT,
    elsewhere: Elsewhere = HERE,
) -> Extraction:
    """Features of a table's images for a classifier, through the store if it is used."""
    built = classifier.built(sample=pictures.sample(table.paths), offline=offline, say=listener.say)
    return extract.through_store(
        table,
        built,
        uses_store=uses_store,
        listener=listener,
        runner=elsewhere.runner_for(listener),
    )


@contextlib.contextmanager
def unpacked_into(uses_store: bool) -> Iterator[Path | None]:
    """Where archives go: into the cache (None), or into a folder that is gone after the block."""
    if uses_store:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="regraft-") as folder:
        yield Path(folder)


def all_images(
    sources: list[str], *, path_column: str | None = None, archive_folder: Path | None = None,
    listings: Listings | None = None,
) -> ImageTable:  # fmt: skip
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
            tables.append(_read(source, path_column, archive_folder, listings))
        except (TableError, ArchiveError) as error:
            refused.append((error, Rejected(source, _why_refused(source, error), error.cure)))
    if refused and not tables:
        raise refused[0][0]
    if not tables:
        raise TableError("no images were named", cure="give files, folders, manifests or archives")
    return _joined(tables, tuple(bad for _, bad in refused))


def _read(
    source: str, path_column: str | None, archive_folder: Path | None, listings: Listings | None
) -> ImageTable:
    """Of what is left out, that which may hold pictures goes to the rejected."""
    column = path_column if _is_manifest(source) else None
    table = read_images(
        source, path_column=column, archive_folder=archive_folder, listings=listings
    )
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
