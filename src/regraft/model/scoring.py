"""A saved model's score on labelled images, by the decoder, engine and head of training."""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.data.cells import name_of
from regraft.data.known_classes import check_known_classes
from regraft.data.sources import read_table
from regraft.data.table import ImageTable, Skipped, no_labels_error
from regraft.errors import TableError, UsageError
from regraft.evaluation import Evaluation, evaluate, left_out
from regraft.evaluation.intervals import Estimate
from regraft.features.elsewhere import HERE, Elsewhere
from regraft.features.engine import EngineInfo
from regraft.features.extraction import Extraction
from regraft.listener import SILENT, Listener
from regraft.machine import blas
from regraft.model import learnt_from, promises
from regraft.model.loading import opened
from regraft.model.predicting import all_images, features_of, unpacked_into
from regraft.probe.classifier import Classifier
from regraft.probe.doubts import EVERY
from regraft.wording import none_can


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
    other_splits : dict of str to int
        Images of the splits that were not scored; '' for those in no split.
    skipped : tuple of Skipped
        Folders beside the splits, images outside the class folders, and whatever else lies in the
        data and is not used.
    left_out : dict or None
        What images that were left out while the model learnt say beside this score, as in
        metrics.json; None for a model that does not know, or a score of what it learnt from.
    engine : EngineInfo or None
        What the network ran on, here.
    promises : dict
        What its sets, its "none of these" and its answers that stand alone came to here.
    strangers : dict or None
        Of the pictures of something else, where some were given.
    """

    model: str
    data: str
    evaluation: Any
    table: ImageTable
    n_unlabelled: int
    n_learnt_from: int = 0
    counts_them: bool = False
    other_splits: dict[str, int] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    left_out: dict[str, Any] | None = None
    engine: EngineInfo | None = None
    promises: dict[str, Any] = field(default_factory=dict)
    strangers: dict[str, Any] | None = None

    def __repr__(self) -> str:
        right = self.evaluation.accuracy
        return (
            f"<Scored {self.data!r}: accuracy {right.value:.3f} ({right.low:.3f} to "
            f"{right.high:.3f}) on {len(self.table)} images>"
        )

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "schema": 1,
            "model": self.model,
            "engine": self.engine
            and {"runtime": self.engine.runtime, "precision": self.engine.precision},
            "data": {
                "source": self.data,
                "images": len(self.table),
                "unlabelled": self.n_unlabelled,
                "learnt_from": self.n_learnt_from,
                "learnt_from_are_scored": self.counts_them,
                "rejected": [r._asdict() for r in self.table.as_shown(self.table.rejected)],
                "other_splits": self.other_splits,
                "left_out": [entry._asdict() for entry in self.skipped],
            },
            "evaluation": self.evaluation.to_dict(),
            "left_out": self.left_out,
            **self.promises,
            **({"strangers": self.strangers} if self.strangers is not None else {}),
        }


@blas.one_thread
def evaluate_model(
    model: str | os.PathLike[str] | Classifier,
    data: str | os.PathLike[str],
    *,
    split: str | None = None,
    unknown: str | os.PathLike[str] | None = None,
    columns: Mapping[str, Any] | None = None,
    uses_store: bool = True,
    offline: bool = False,
    listener: Listener = SILENT,
    elsewhere: Elsewhere = HERE,
) -> Scored:
    """Score of a model on a split of labelled images: what `regraft evaluate` does.

    Parameters
    ----------
    model : path, Classifier or fitted ImageClassifier
    data : path
        Folder, manifest or archive. Of pictures in memory: `Classifier.evaluate`.
    split : {'train', 'val', 'test', 'all'}, optional
        By default test, else val, else train, else all.
    unknown : path, optional
        Pictures that are none of the classes: how many of them are turned away.
    columns : mapping, optional
        Of a manifest: ``path_column``, ``label_column``, ``split_column``, ``group_column``.
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
    TableError
        A class that the model does not know, or nothing labelled.
    UsageError
        `unknown` is asked of a model that was saved before there was such a thing.

    Examples
    --------
    >>> scored = evaluate_model("model", "photos")
    >>> scored.evaluation.split, scored.evaluation.n, scored.n_learnt_from
    ('test', 6, 0)
    """
    classifier = opened(model)
    if unknown is not None:
        classifier.require(EVERY)
    with unpacked_into(uses_store) as archives:
        given = read_table(
            os.fsdecode(data), archive_folder=archives,
            listings=elsewhere.listings_for(listener), **(columns or {}),
        )  # fmt: skip
        given.tell(listener.say)
        features = functools.partial(
            features_of, classifier, uses_store=uses_store, offline=offline, listener=listener,
            elsewhere=elsewhere,
        )  # fmt: skip
        strange = None
        if unknown is not None:
            found = all_images([os.fsdecode(unknown)], archive_folder=archives)
            strange = (os.fsdecode(unknown), features(found))
        return _score(classifier, given, split, features, strange, uses_store=uses_store)


def _score(
    classifier: Classifier,
    given: ImageTable,
    split: str | None,
    features: Callable[[ImageTable], Extraction],
    strange: tuple[str, Extraction] | None = None,
    *,
    uses_store: bool = True,
) -> Scored:
    table, name = _scored_part(given, split)
    is_labelled = np.array([label is not None for label in table.labels], bool)
    if not is_labelled.any():
        raise no_labels_error(table)
    labelled = table.select(is_labelled)
    check_known_classes([str(label) for label in labelled.labels], classifier.classes, table.source)
    extraction = features(labelled)
    if not len(extraction.table):
        raise TableError(none_can(len(labelled), "image", "be read"), place=table.source)
    known = is_learnt_from(classifier, extraction)
    is_wanted = split in ("all", "train") or bool(known.all())
    counts_them = bool(known.any()) and is_wanted
    rows = np.ones(len(known), bool) if counts_them else ~known
    scored = extraction.table.select(rows)
    code = {name_of(label): i for i, label in enumerate(classifier.classes)}
    X, y = extraction.X[rows], np.array([code[label] for label in scored.labels])
    answers = promises.answers(classifier, X)
    evaluation = evaluate(
        y,
        answers[0],
        classes=classifier.classes,
        split=name,
        groups=scored.groups,
    )
    return Scored(
        classifier.folder,
        table.source,
        evaluation,
        scored,
        int((~is_labelled).sum()),
        int(known.sum()),
        counts_them,
        _other_splits(given, table, name),
        given.as_shown(given.skipped),
        None if counts_them else _left_out(classifier, evaluation),
        extraction.info,
        promises.kept(classifier, answers, y, scored.groups, uses_store=uses_store),
        None if strange is None else _strangers(classifier, X, *strange),
    )


def _strangers(
    classifier: Classifier, X: Any, source: str, extraction: Extraction
) -> dict[str, Any]:
    """Of the pictures that are none of the classes, beside those that were scored."""
    if not len(extraction.table):
        n = len(extraction.table.rejected)
        raise TableError(none_can(n, "image", "be read"), place=source)
    found = promises.strangers(classifier, X, extraction.X)
    return {"source": source, "rejected": len(extraction.table.rejected), **found}


def _left_out(classifier: Classifier, evaluation: Evaluation) -> dict[str, Any] | None:
    """How well it knew training images that were left out, if its card says so."""
    kept = classifier.card.get("left_out")
    if not isinstance(kept, dict):
        return None
    n, right = kept.get("n"), kept.get("right")
    if not (isinstance(n, list) and isinstance(right, list)):
        return None
    if not len(n) == len(right) == len(classifier.classes):
        return None
    if not sum(n):
        return None
    found = _as_trained(evaluation, kept, n) or left_out.beside_counts(evaluation, n, right)
    return None if found is None else {"by": kept.get("by", ""), **found.to_dict()}


def _as_trained(
    evaluation: Evaluation, kept: dict[str, Any], n: list[int]
) -> left_out.LeftOut | None:
    """With the intervals that training said; None of a card of an older Regraft, which has none."""
    try:
        accuracy = Estimate.from_dict(kept["accuracy"])
        recalls = [Estimate.from_dict(recall) for recall in kept["recall"]]
    except (KeyError, TypeError, ValueError):
        return None
    if len(recalls) != len(n):
        return None
    return left_out.beside_kept(evaluation, n, accuracy, recalls)


def is_learnt_from(classifier: Classifier, extraction: Extraction) -> NDArray[np.bool_]:
    """Which images the model has learnt from, by their content."""
    known = learnt_from.from_text(classifier.card.get("learnt_from"))
    short = [digest[: learnt_from.DIGEST_BYTES] for digest in extraction.digests]
    return np.array([digest in known for digest in short], bool)


def _other_splits(given: ImageTable, part: ImageTable, name: str) -> dict[str, int]:
    """Images of each split of the data that is not the part that was scored."""
    if len(part) == len(given):
        return {}
    return {str(split or ""): n for split, n in Counter(given.splits).items() if split != name}


def _scored_part(table: ImageTable, split: str | None) -> tuple[ImageTable, str]:
    """The part of a table that is scored, and its name."""
    present = [name for name in ("test", "val", "train") if (table.splits == name).any()]
    if split == "all" or not present:
        if split not in (None, "all"):
            raise UsageError(
                f"{table.source!r} has no splits, so no {split!r}",
                cure="leave out --split: then the images that the model has not learnt from are "
                "scored; or --split all",
            )
        return table, "all"
    name = split or present[0]
    if name not in present:
        raise UsageError(
            f"{table.source!r} has no {name!r} split", cure=f"--split {' or '.join(present)}"
        )
    return table.select(table.splits == name), name
