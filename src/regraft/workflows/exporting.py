"""`regraft export`: a model written for another runtime, compared on the run's own images."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from regraft.data.cells import name_of
from regraft.data.label_sources import LABEL_SOURCES
from regraft.data.sources import read_table
from regraft.data.table import ImageTable
from regraft.errors import RegraftError, TableError, UsageError
from regraft.listener import SILENT, Listener
from regraft.machine import blas
from regraft.model import export_docker, exporting, predicting
from regraft.model.export_int8 import FEWEST_CALIBRATING, N_CALIBRATING
from regraft.model.export_reference import RealPictures
from regraft.model.exporting import Exported
from regraft.model.loading import opened
from regraft.model.place import run_of
from regraft.probe.classifier import Classifier
from regraft.record.configuration import RunConfig
from regraft.record.run_folder import PREDICTIONS, config_in
from regraft.wording import count
from regraft.workflows.preparation import table_of

# At least this many real images tell, as far as there are so many.
FEWEST = 64
# How many are taken where nobody says: in fp32 a wrong graph is wrong on each of them; what 8-bit
# integers cost is a matter of a few in a thousand.
N_IMAGES, N_IMAGES_INT8 = 128, 1000
# Of the images of `--data`, those that are asked about to find the least sure ones.
MOST_ASKED = 1000


@blas.one_thread
def export_model(
    model: str | os.PathLike[str] | Classifier,
    out: str | os.PathLike[str],
    *,
    to: str = "onnx",
    data: str | os.PathLike[str] | None = None,
    int8: bool = False,
    max_drop: float = exporting.MAX_DROP,
    images: int | None = None,
    columns: Mapping[str, Any] | None = None,
    offline: bool = False,
    listener: Listener = SILENT,
) -> Exported:
    """Write a model for another runtime, if it answers there as here: what `regraft export` does.

    Parameters
    ----------
    model : path, Classifier or fitted ImageClassifier
    out : path
        Folder: new, empty, or an earlier export, which is then replaced.
    to : {'onnx', 'openvino', 'torch', 'docker'}
        'docker': a folder that an image of `regraft serve` is built from; nothing is compared.
    data : path, optional
        Images that the two are compared on: folder, manifest or archive. By default those of the
        run that the model belongs to.
    int8 : bool
        In 8-bit integers.
    max_drop : float
        Points of accuracy that these may cost.
    images : int, optional
        How many images are compared, the least sure first; 128 by default, 1,000 with `int8`.
    columns : mapping, optional
        Of a manifest: ``path_column``, ``label_column``, ``split_column``, ``group_column``.
    offline : bool
        Do not access the internet.
    listener : Listener
        Told what is done; says nothing by default.

    Raises
    ------
    ArtefactError
        It answers otherwise than the model; nothing is left of it.
    UsageError
        Its head is no graph, a package is missing, or an option would change nothing.
    TableError
        There are no images to compare it on.

    Examples
    --------
    >>> exported = export_model("model", "exported", to="openvino", data="photos")
    >>> exported.compared["flips"], exported.compared["max_difference"] <= 1e-4
    (0, True)
    >>> exported.input, exported.outputs
    ('uint8 (N, 224, 224, 3)', ['probabilities', 'features', 'oddness'])
    """
    _require_used(
        to, data=data, int8=int8, max_drop=max_drop, images=images, columns=_named(columns or {})
    )
    classifier = opened(model)
    if to == "docker":
        return export_docker.export(classifier, out, listener=listener)
    exporting.require_possible(classifier, to, out, int8=int8)
    wanted = images or (N_IMAGES_INT8 if int8 else N_IMAGES)
    if data is None:
        found = _of_run(classifier, wanted, teaches=int8)
    else:
        table = read_table(os.fsdecode(data), **(columns or {}))
        found = _of_table(
            classifier, table, wanted, teaches=int8, offline=offline, listener=listener
        )
    if len(found.real) < FEWEST:
        listener.say(
            f"only {count(len(found.real), 'image is', 'images are')} there to compare it on; "
            f"{FEWEST} or more would tell more (--data DATA)"
        )
    return exporting.export(
        classifier, out, to=to, real=found.real, teaching=found.teaching, int8=int8,
        max_drop=max_drop, listener=listener,
    )  # fmt: skip


def _named(columns: Mapping[str, Any]) -> bool:
    """Whether anything is said of a table beyond what holds for all of them."""
    return any(value and value != LABEL_SOURCES[0] for value in columns.values())


def _require_used(to: str, *, max_drop: float, **given: Any) -> None:
    """Refuse an option that would change nothing."""
    comparing = [f"--{name}" for name in ("data", "int8", "images") if given[name]]
    if to == "docker" and comparing:
        raise UsageError(
            f"{', '.join(comparing)} with --to docker: the image answers with the model as it is, "
            "so nothing is compared and nothing made smaller",
            cure=f"leave out {' and '.join(comparing)}",
        )
    if max_drop != exporting.MAX_DROP and not given["int8"]:
        raise UsageError(
            f"--max-drop {max_drop:g} is what 8-bit integers may cost, and these are not asked for",
            cure=f"--int8 --max-drop {max_drop:g}, or leave it out",
        )
    if given["columns"] and not given["data"]:
        raise UsageError(
            "a column is named, and no table: the images of the run are compared",
            cure="--data TABLE, or leave the column out",
        )


@dataclass(frozen=True, eq=False)
class Found:
    """Images to compare on, and others that teach the ranges of 8-bit integers."""

    real: RealPictures
    teaching: list[str]


def _of_run(classifier: Classifier, wanted: int, *, teaches: bool) -> Found:
    """The images that the run reported, the least sure first; then others of its data, of which
    some are left where they have to teach ranges."""
    run = run_of(Path(classifier.folder)) if classifier.folder else None
    config = config_in(run) if run else None
    if run is None or config is None:
        raise TableError(
            "this model lies in no run, whose images it could be compared on",
            place=classifier.folder,
            cure="--data DATA: some real images, of the kind that it is for",
        )
    table = _table_of(config, run)
    rows = {table.shown(path): row for row, path in enumerate(table.paths)}
    reported = [rows[name] for name in _least_sure(run / PREDICTIONS) if name in rows]
    chosen, others = reported[:wanted], _without(range(len(table)), reported)
    which = "the run's reported images, the least sure first"
    if len(chosen) < FEWEST:
        n_spare = len(others) - (_n_teaching(len(others)) if teaches else 0)
        chosen += _spread(others, min(n_spare, FEWEST - len(chosen)))
        others, which = _without(others, chosen), f"{which}, then others of its data"
    return Found(_real(table, chosen, which, classifier), [table.paths[row] for row in others])


def _table_of(config: RunConfig, run: Path) -> ImageTable:
    try:
        return table_of(config)
    except RegraftError as error:
        raise TableError(
            f"the images of the run are not where they were: {error.rule}",
            place=str(run),
            cure="--data DATA: where they are now, or other real images",
        ) from error


def _least_sure(predictions: Path) -> Iterator[str]:
    """Paths in a run's predictions, the least probable label first."""
    try:
        with open(predictions, newline="", encoding="utf-8") as lines:
            rows = [(float(row["probability"]), row["path"]) for row in csv.DictReader(lines)
                    if row["probability"]]  # fmt: skip
    except (OSError, ValueError, KeyError):
        return
    yield from (path for _, path in sorted(rows))


def _of_table(
    classifier: Classifier, table: ImageTable, wanted: int, *, teaches: bool, offline: bool,
    listener: Listener,
) -> Found:  # fmt: skip
    """Of some images spread over a table those that the model is least sure of."""
    asked = table.select(np.array(_spread(list(range(len(table))), MOST_ASKED), np.intp))
    extraction = predicting.features_of(classifier, asked, offline=offline, listener=listener)
    read = extraction.table
    order = np.argsort(classifier.proba_of(extraction.X).max(axis=1, initial=0), kind="stable")
    if teaches:
        wanted = min(wanted, len(order) - _n_teaching(len(order)))
    chosen = [int(row) for row in order[:wanted]]
    which = "the images of --data, the least sure first"
    others = [read.paths[int(row)] for row in order[wanted:]]
    return Found(_real(read, chosen, which, classifier), others)


def _n_teaching(n: int) -> int:
    """Of so many images, those that teach the ranges of 8-bit integers and are not compared."""
    return min(N_CALIBRATING, max(n // 4, min(FEWEST_CALIBRATING, n // 2)))


def _real(table: ImageTable, rows: list[int], which: str, classifier: Classifier) -> RealPictures:
    known = set(map(name_of, classifier.classes))
    labels = [table.labels[row] for row in rows]
    return RealPictures(
        [table.paths[row] for row in rows],
        [table.shown(table.paths[row]) for row in rows],
        [label if label in known else None for label in labels],
        which,
    )


def _without(rows: Iterable[int], taken: Iterable[int]) -> list[int]:
    gone = set(taken)
    return [row for row in rows if row not in gone]


def _spread(rows: list[int], n: int) -> list[int]:
    """At most n of them, evenly."""
    if len(rows) <= n:
        return rows
    return [rows[int(place)] for place in np.linspace(0, len(rows) - 1, n)]
