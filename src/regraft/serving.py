"""A saved model at work: predict, evaluate, explain, by the decoder, engine and head of training.

With the engine built, nothing here imports torch, timm or scikit-learn (but for explanations by
gradients).
"""

from __future__ import annotations

import csv
import functools
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regraft import artefact, blas, record
from regraft.data.sources import read_table
from regraft.data.table import ImageTable, Rejected, check_known_classes
from regraft.errors import TableError, UsageError
from regraft.features import engines, extract
from regraft.features.store import Store
from regraft.images import DECODER_VERSION
from regraft.listener import SILENT, Listener
from regraft.wording import percent, printable

if TYPE_CHECKING:
    from regraft.explain.explanations import Explanations

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

    def write(self, *, out: str | None, as_json: bool, top: int) -> None:
        """To a CSV file if one is named, and to stdout."""
        if out is not None:
            self._write_csv(out, top)
        if as_json:
            for row in self.rows(top):
                print(json.dumps(row))
        elif out is None:
            self._print_lines(top)
        if not as_json and out is not None:
            images = "image" if len(self.paths) == 1 else "images"
            print(f"{len(self.paths)} {images} labelled, {len(self.rejected)} rejected: {out}")
        if self.rejected:
            n_all = len(self.paths) + len(self.rejected)
            print(f"{len(self.rejected)} of {n_all} could not be read", file=sys.stderr)

    def _print_lines(self, top: int) -> None:
        width = min(48, max([len(printable(p)) for p in self.paths], default=0))
        for row in self.rows(top):
            if "error" in row:
                continue
            others = "  ".join(
                f"{printable(name)} {percent(p)}" for name, p in row["top"][1:] if p >= 0.001
            )
            best = f"{printable(row['label'])} {percent(row['probability'])}"
            print(f"{printable(row['path']):{width}}  {best}   {others}".rstrip())
        for bad in self.rejected:
            print(f"{printable(bad.path)}: not read: {bad.reason}", file=sys.stderr)

    def _write_csv(self, out: str, top: int) -> None:
        try:
            stream = open(out, "w", newline="", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
        except OSError as error:
            raise UsageError(
                f"cannot write {out!r}: {error.strerror}", cure="--out FILE"
            ) from error
        with stream:
            writer = csv.writer(stream)
            ranks = [name for i in range(2, top + 1) for name in (f"label_{i}", f"probability_{i}")]
            writer.writerow(["path", "label", "probability", *ranks, "error"])
            for row in self.rows(top):
                if "error" in row:
                    writer.writerow([row["path"], "", "", *[""] * len(ranks), row["error"]])
                    continue
                others = [value for pair in row["top"][1:] for value in pair]
                padding = [""] * (len(ranks) - len(others))
                writer.writerow(
                    [row["path"], row["label"], row["probability"], *others, *padding, ""]
                )


@dataclass(frozen=True, eq=False)
class Scored:
    """A saved model's score on labelled images.

    Attributes
    ----------
    evaluation : Evaluation
    table : ImageTable
        The images that were scored.
    n_unlabelled : int
        Images left out because nothing says their class.
    n_learnt_from : int
        Images, told by their content, that the model has learnt from. They are left out of the
        score unless there are no others, or they were asked for (`split` 'train' or 'all').
    counts_them : bool
        Whether they are in the score all the same.
    """

    model: str
    data: str
    evaluation: Any
    table: ImageTable
    n_unlabelled: int
    n_learnt_from: int = 0
    counts_them: bool = False

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "schema": 1,
            "model": self.model,
            "data": {
                "source": self.data,
                "images": len(self.table),
                "unlabelled": self.n_unlabelled,
                "learnt_from": self.n_learnt_from,
                "learnt_from_are_scored": self.counts_them,
                "rejected": [r._asdict() for r in self.table.rejected],
            },
            "evaluation": self.evaluation.to_dict(),
        }


@blas.one_thread
def predict(
    model: str | os.PathLike[str] | artefact.Artefact,
    images: Sequence[str | os.PathLike[str]],
    *,
    offline: bool = False,
    listener: Listener = SILENT,
) -> Predictions:
    """Labels and probabilities of images.

    Parameters
    ----------
    model : path or Artefact
    images : sequence of paths
        Files, folders, manifests or archives.

    Raises
    ------
    ArtefactError
        The model is damaged, foreign or newer.
    TableError
        There is nothing to predict.
    """
    loaded = model if isinstance(model, artefact.Artefact) else artefact.load(model)
    table = _all_images([os.fsdecode(image) for image in images])
    extraction = features_for(loaded, table, offline=offline, listener=listener)
    return Predictions(
        [table.shown(path) for path in extraction.table.paths],
        loaded.classes,
        loaded.predict_proba(extraction.X),
        extraction.table.rejected,
    )


@blas.one_thread
def evaluate_model(
    model: str | os.PathLike[str],
    data: str | os.PathLike[str],
    *,
    split: str | None = None,
    columns: Mapping[str, Any] | None = None,
    offline: bool = False,
    listener: Listener = SILENT,
) -> Scored:
    """Score of a saved model on a split of labelled images.

    Raises
    ------
    TableError
        A class that the model does not know, or nothing labelled.
    """
    from regraft.evaluation import evaluate

    loaded = artefact.load(model)
    table, name = _scored_part(read_table(os.fsdecode(data), **(columns or {})), split)
    is_labelled = np.array([label is not None for label in table.labels], bool)
    if not is_labelled.any():
        raise TableError(
            f"none of the {len(table)} images in {table.source!r} has a label",
            cure="one folder per class; `regraft predict` needs no labels",
        )
    labelled = table.select(is_labelled)
    check_known_classes([str(label) for label in labelled.labels], loaded.classes, table.source)
    extraction = features_for(loaded, labelled, offline=offline, listener=listener)
    if not len(extraction.table):
        raise TableError(f"none of the {len(labelled)} images can be read", place=table.source)
    learnt_from = _learnt_from(loaded, extraction)
    is_wanted = split in ("all", "train") or bool(learnt_from.all())
    counts_them = bool(learnt_from.any()) and is_wanted
    rows = np.ones(len(learnt_from), bool) if counts_them else ~learnt_from
    scored = extraction.table.select(rows)
    code = {label: i for i, label in enumerate(loaded.classes)}
    evaluation = evaluate(
        np.array([code[str(label)] for label in scored.labels]),
        loaded.predict_proba(extraction.X[rows]),
        classes=loaded.classes,
        split=name,
        groups=scored.groups,
    )
    return Scored(
        str(loaded.folder),
        table.source,
        evaluation,
        scored,
        int((~is_labelled).sum()),
        int(learnt_from.sum()),
        counts_them,
    )


@blas.one_thread
def explain(
    model: str | os.PathLike[str],
    images: Sequence[str | os.PathLike[str]],
    *,
    out: str | os.PathLike[str] = "explained",
    method: str = "auto",
    label: str | None = None,
    top: int = 3,
    offline: bool = False,
    listener: Listener = SILENT,
) -> Explanations:
    """Where a saved model looks: for each image a map, drawn into a folder and in numbers.

    Parameters
    ----------
    model : path
    images : sequence of paths
        Files, folders, manifests or archives.
    out : path
        Folder of the pictures and ``maps.json``.
    method : {'auto', 'cam', 'gradcam', 'occlusion'}
        See :mod:`regraft.explain`.
    label : str, optional
        The class asked about; the predicted one of each image if not given.
    top : int
        Nearest images of train that are named.

    Raises
    ------
    ArtefactError
        The model is damaged, foreign or newer.
    TableError
        There is nothing to explain.
    UsageError
        No such class, or the model does not allow this method.
    """
    from regraft.explain import explanations

    loaded = artefact.load(model)
    code = explanations.code_of(label, loaded.classes)
    table = _all_images([os.fsdecode(image) for image in images])
    extraction = features_for(loaded, table, offline=offline, listener=listener)
    return explanations.explain(
        loaded,
        engines.locate(loaded.source, offline=offline),
        extraction,
        out=out,
        method=method,
        code=code,
        top=top,
        listener=listener,
    )


def _learnt_from(loaded: artefact.Artefact, extraction: extract.Extraction) -> NDArray[np.bool_]:
    """Which images the model has learnt from, by their content."""
    known = record.digests_from_text(loaded.config["regraft"].get("extra", {}).get("learnt_from"))
    short = [digest[: record.DIGEST_BYTES] for digest in extraction.digests]
    return np.array([digest in known for digest in short], bool)


def features_for(
    loaded: artefact.Artefact,
    table: ImageTable,
    *,
    offline: bool = False,
    listener: Listener = SILENT,
) -> extract.Extraction:
    """Features of a table's images for a saved model, through the store."""
    built = engines.locate(
        loaded.source, sample=extract.sample_pictures(table), offline=offline, say=listener.say
    )
    progress = functools.partial(listener.progress, "images")
    with Store.open(decoder=DECODER_VERSION) as store:
        return extract.run(table, built, store, progress=progress)


def _all_images(sources: list[str]) -> ImageTable:
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
        raise TableError(f"no images in {', '.join(map(repr, sources))}", cure="give image files")
    joined = ImageTable.from_paths(list(paths))
    only = tables[0] if len(tables) == 1 else None
    return replace(
        joined,
        source=only.source if only else "",
        root=only.root if only else "",
        rejected=rejected,
    )


def _scored_part(table: ImageTable, split: str | None) -> tuple[ImageTable, str]:
    """The part of a table that is scored, and its name."""
    present = [name for name in ("test", "val", "train") if (table.splits == name).any()]
    if split == "all" or not present:
        if split not in (None, "all"):
            raise UsageError(f"{table.source!r} has no splits, so no {split!r}", cure="--split all")
        return table, "all"
    name = split or present[0]
    if name not in present:
        raise UsageError(
            f"{table.source!r} has no {name!r} split", cure=f"--split {' or '.join(present)}"
        )
    return table.select(table.splits == name), name
