"""What a report shows beyond metrics.json, gathered while features and files are at hand.

It is kept in the run's folder, so that the report can be drawn again from that folder alone: the
photographs may have moved, the store may be empty.

Array letters: N images of the table, R of the reported split, K classes, M on the map.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.backbones import tensor_file
from regraft.backbones.tensor_file import Stored
from regraft.checks.duplicates import Duplicates
from regraft.checks.finding import Finding
from regraft.data.splits import Roles
from regraft.data.table import ImageTable
from regraft.errors import UsageError
from regraft.evaluation import blocks
from regraft.evaluation.label_issues import find_label_issues
from regraft.evaluation.metrics import unit_rows
from regraft.images.facts_table import FactsTable
from regraft.machine import atomic
from regraft.record import run_folder
from regraft.report.pictures import Album, sprite
from regraft.report.projection import project
from regraft.report.said import Said

CONTENT, TENSORS = run_folder.EVIDENCE
# Raised when the meaning of a field changes.
VERSION = 1
N_MISTAKES, N_UNSURE, N_NEAREST, N_LABEL_ISSUES = 12, 6, 3, 30
N_PAIRS, N_OF_FINDING, N_CONTACT, MOST_OF_CLASS = 12, 6, 100, 8
MOST_SIZES = 2_000
# Images on the map: above it, as many of each class as its share.
MOST_ON_MAP = 1_000
# Of more, a few columns are kept: the run need not be gigabytes.
MOST_PROBABILITIES = 2**24
TILE_PX, MAP_PX, MAP_COLUMNS, HEAT_PX = 112, 48, 32, 160

Picture = NDArray[np.uint8]
Heat = Callable[[list[str], NDArray[np.intp]], "list[tuple[Picture, Picture | None] | None]"]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What was gathered.

    Attributes
    ----------
    content : dict
        Plain values, as in evidence.json; `picture` fields are numbers in the album.
    y : (R,) int
        True codes of the reported images.
    proba : (R, K) float32, or None
        None of many images and classes, of which `said` has what the pages need.
    digests : (R, 8) uint8
        Short content digests of the reported images, by which runs are compared.
    album : Album
    said : Said or None
    """

    content: dict[str, Any]
    y: NDArray[np.intp]
    proba: NDArray[np.float32] | None
    digests: NDArray[np.uint8]
    album: Album
    said: Said | None = None

    def save(self, folder: Path) -> None:
        """Into a run's folder; what is read back is whole or not there."""
        data, ends = self.album.to_arrays()
        arrays: dict[str, NDArray[Any]] = {
            "y": self.y.astype(np.int32),
            **({} if self.proba is None else {"proba": self.proba.astype(np.float32)}),
            **({} if self.said is None else self.said.to_arrays()),
            "digests": self.digests,
            "pictures": data,
            "picture_ends": ends,
        }
        temporary = folder / f".{TENSORS}"
        tensor_file.write(temporary, {name: Stored.from_array(a) for name, a in arrays.items()})
        temporary.replace(folder / TENSORS)
        atomic.write_json(folder / CONTENT, self.content)

    @classmethod
    def load(cls, folder: Path) -> Evidence | None:
        """What `save` wrote; None if it is not there.

        Raises
        ------
        UsageError
            It is damaged.
        """
        if not (folder / CONTENT).exists() or not (folder / TENSORS).exists():
            return None
        try:
            content = json.loads((folder / CONTENT).read_text(encoding="utf-8"))
            if content["version"] != VERSION:
                return None
            tensors = tensor_file.read(folder / TENSORS)
            arrays = {name: stored.to_array() for name, stored in tensors.items()}
            album = Album.from_arrays(arrays["pictures"], arrays["picture_ends"])
            y = arrays["y"].astype(np.intp)
            proba = arrays.get("proba")
            said = Said.from_arrays(arrays) if proba is None else None
            return cls(content, y, proba, arrays["digests"], album, said)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"what the report is drawn from is damaged: {error}",
                place=str(folder),
                cure=f"remove {CONTENT} and {TENSORS}; regraft report gathers them again",
            ) from error


@dataclass(frozen=True, eq=False)
class Sources:
    """What evidence is gathered from.

    Attributes
    ----------
    table : ImageTable of N images
    facts : FactsTable of N rows
    duplicates : Duplicates
    findings : list of Finding
    features : callable(rows) -> (n, D)
        What the head (or the probe that training began from) sees of these rows.
    roles : Roles
    y : (N,) codes
    classes : list of K str
    proba : (R, K)
        Of the reported rows; may lie on disk.
    temperature : float
        By which they were made to mean what they say.
    curves : list of int
        Codes of the classes whose curves are drawn.
    oof_rows, oof_proba : (n,) int, (n, K)
        Left-out probabilities of rows of the table that taught.
    heat : callable(paths, codes) -> pairs, or None
        The picture as the network sees it, and with what speaks for this class laid over it:
        ``(H, W, 3)`` uint8 each, the second None where the map says little; None for a file that
        cannot be read.
    white : int
        By which pictures of more than 8 bits are read (`images.decode.decode`).
    """

    table: ImageTable
    facts: FactsTable
    duplicates: Duplicates
    findings: Sequence[Finding]
    features: Callable[[NDArray[np.intp]], NDArray[Any]]
    roles: Roles
    y: NDArray[np.intp]
    classes: Sequence[str]
    proba: NDArray[Any]
    temperature: float
    curves: Sequence[int]
    oof_rows: NDArray[np.intp]
    oof_proba: NDArray[Any]
    heat: Heat | None = None
    seed: int = 0
    white: int = 0


def named(table: ImageTable, path: str) -> str:
    """A file's name within the data: without the folder that the user typed."""
    shown = table.shown(path)
    return shown.removeprefix(table.source.rstrip("/") + "/") or shown


def gather(sources: Sources) -> Evidence:
    """Everything that a report shows of single images; reads some hundred files, small."""
    album = Album(white=sources.white)
    table, reported = sources.table, np.flatnonzero(sources.roles.reports)
    with ThreadPoolExecutor(1) as beside:  # the map keeps one core busy, files and network the rest
        placed = beside.submit(_map, sources)
        content: dict[str, Any] = {
            "version": VERSION,
            "classes": list(sources.classes),
            "counts": _counts(table),
            "sizes": _sizes(sources),
            "reported_paths": [named(table, path) for path in table.paths[reported]],
            "shown": _shown_images(sources, reported, album),
            "label_issues": _label_issues(sources, album),
            "pairs": _pairs(sources, album),
            "findings": _findings(sources, album),
            "contact": _contact(sources, album),
        }
        album.develop()
        content["map"] = placed.result()
    content["map"]["sprite"] = _sprite(sources, content["map"].pop("rows"), album)
    digests = sources.facts.select(reported).column("digest")
    first_bytes = np.frombuffer(digests.tobytes(), np.uint8).reshape(-1, 32)[:, :8]
    proba = said = None
    if sources.proba.size <= MOST_PROBABILITIES:
        proba = np.asarray(sources.proba, np.float32)
    else:
        said = Said.of(sources.proba, temperature=sources.temperature, codes=sources.curves)
    return Evidence(content, sources.y[reported], proba, first_bytes, album, said)


def _counts(table: ImageTable) -> dict[str, dict[str, int]]:
    """Images of each class in each split."""
    found = Counter(zip(table.labels.tolist(), table.splits.tolist(), strict=True))
    counts: dict[str, dict[str, int]] = {}
    for (label, split), n in found.items():
        if label is not None:
            counts.setdefault(str(label), {})[str(split)] = n
    return dict(sorted(counts.items()))


def _sizes(sources: Sources) -> list[list[int]]:
    """Width and height of some images, evenly taken."""
    step = max(1, -(-len(sources.facts) // MOST_SIZES))
    return [[fact.width, fact.height] for fact in sources.facts[::step]]


def _shown_images(
    sources: Sources, reported: NDArray[np.intp], album: Album
) -> dict[str, list[dict[str, Any]]]:
    """The surest mistakes and the least sure hits, each with its nearest training images."""
    y, proba = sources.y[reported], sources.proba
    called, first = blocks.called(proba), blocks.sureness(proba)
    wrong = np.flatnonzero(called != y)
    wrong = wrong[np.argsort(-first[wrong], kind="stable")][:N_MISTAKES]
    right = np.flatnonzero(called == y)
    right = right[np.argsort(first[right], kind="stable")][:N_UNSURE]
    rows = np.concatenate([wrong, right]).astype(np.intp)
    if not len(rows):
        return {"mistakes": [], "unsure": []}
    nearest = _nearest(sources, reported[rows], album)
    paths = [sources.table.paths[row] for row in reported[rows]]
    heats = sources.heat(paths, called[rows]) if sources.heat else [None] * len(rows)
    shown = []
    for place, row in enumerate(rows):
        pair, path = heats[place], paths[place]
        laid = None if pair is None else pair[1]
        shown.append(
            {
                "path": named(sources.table, path),
                "label": sources.classes[y[row]],
                "called": sources.classes[called[row]],
                "probability": round(float(first[row]), 4),
                "probability_of_label": round(float(proba[row, y[row]]), 4),
                "picture": album.add(path, HEAT_PX) if pair is None else album.add_pixels(pair[0]),
                "heat": None if laid is None else album.add_pixels(laid),
                "heat_says_little": pair is not None and laid is None,
                "nearest": nearest[place],
            }
        )
    return {"mistakes": shown[: len(wrong)], "unsure": shown[len(wrong) :]}


def _nearest(sources: Sources, rows: NDArray[np.intp], album: Album) -> list[list[dict[str, Any]]]:
    """For each row the most similar images of train, by the cosine of what the head sees."""
    table, train = sources.table, np.flatnonzero(sources.roles.train)
    wanted = unit_rows(sources.features(rows))
    similarity = np.concatenate(
        [
            wanted @ unit_rows(sources.features(train[i : i + 4096])).T
            for i in range(0, len(train), 4096)
        ],
        axis=1,
    )
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :N_NEAREST]
    return [
        [
            {
                "path": named(table, table.paths[train[place]]),
                "label": table.labels[train[place]],
                "similarity": round(float(similarity[i, place]), 3),
                "picture": album.add(table.paths[train[place]], TILE_PX),
            }
            for place in order[i]
        ]
        for i in range(len(rows))
    ]


def _label_issues(sources: Sources, album: Album) -> dict[str, Any]:
    """Training images whose label the others contradict."""
    table, rows = sources.table, sources.oof_rows
    found = find_label_issues(sources.oof_proba, sources.y[rows]) if len(rows) else []
    listed = [
        {
            "path": named(table, table.paths[rows[issue.row]]),
            "given": sources.classes[issue.given],
            "suggested": sources.classes[issue.suggested],
            "probability_of_given": round(issue.p_given, 4),
            "probability_of_suggested": round(issue.p_suggested, 4),
            "picture": album.add(table.paths[rows[issue.row]], TILE_PX),
        }
        for issue in found[:N_LABEL_ISSUES]
    ]
    return {"n": len(found), "of": len(rows), "first": listed}


def _pairs(sources: Sources, album: Album) -> dict[str, Any]:
    """Copies: those across splits first, then those with two labels."""
    table, pairs = sources.table, sources.duplicates.pairs
    is_across = [table.splits[p.i] != table.splits[p.j] for p in pairs]
    is_torn = [table.labels[p.i] != table.labels[p.j] for p in pairs]
    order = sorted(range(len(pairs)), key=lambda k: (not is_across[k], not is_torn[k], k))
    listed = []
    for k in order[:N_PAIRS]:
        sides = [
            {
                "path": named(table, table.paths[row]),
                "label": table.labels[row],
                "split": table.splits[row],
                "picture": album.add(table.paths[row], TILE_PX),
            }
            for row in (pairs[k].i, pairs[k].j)
        ]
        listed.append(
            {"kind": pairs[k].kind, "similarity": float(pairs[k].similarity), "sides": sides}
        )
    return {"n": len(pairs), "across": sum(is_across), "torn": sum(is_torn), "first": listed}


def _findings(sources: Sources, album: Album) -> list[dict[str, Any]]:
    """Each finding with a few of its pictures."""
    table = sources.table
    wanted = {path for finding in sources.findings for path in finding.paths[:N_OF_FINDING]}
    row_of = {
        shown: row for row, path in enumerate(table.paths) if (shown := table.shown(path)) in wanted
    }
    return [
        {
            **finding.to_dict(),
            "paths": list(finding.paths[:N_OF_FINDING]),
            "n": len(finding.paths),
            "pictures": [
                {"path": path, "picture": album.add(table.paths[row_of[path]], TILE_PX)}
                for path in finding.paths[:N_OF_FINDING]
                if path in row_of
            ],
        }
        for finding in sources.findings
    ]


def _contact(sources: Sources, album: Album) -> list[dict[str, Any]]:
    """Some training images of each class, evenly taken."""
    table = sources.table
    each = max(1, min(MOST_OF_CLASS, N_CONTACT // max(1, len(sources.classes))))
    sheet = []
    for code, name in enumerate(sources.classes[:N_CONTACT]):
        rows = np.flatnonzero(sources.roles.train & (sources.y == code))
        taken = rows[np.linspace(0, len(rows) - 1, min(each, len(rows))).round().astype(int)]
        tiles = [
            {"path": named(table, path), "picture": album.add(path, TILE_PX)}
            for path in table.paths[taken]
        ]
        sheet.append({"label": name, "n": len(rows), "pictures": tiles})
    return sheet


def _map(sources: Sources) -> dict[str, Any]:
    """Two coordinates of some images, in which like ones lie together."""
    table = sources.table
    rows = np.flatnonzero(np.array([label is not None for label in table.labels], bool))
    if len(rows) > MOST_ON_MAP:
        rng = np.random.default_rng(sources.seed)
        rows = np.sort(rng.choice(rows, MOST_ON_MAP, replace=False))
    xy = project(np.asarray(sources.features(rows), np.float32), seed=sources.seed)
    called = np.full(len(table), -1)
    called[sources.roles.reports] = blocks.called(sources.proba)
    return {
        "rows": rows.tolist(),
        "n_of": len(table),
        "points": [
            {
                "x": round(float(x), 3),
                "y": round(float(y), 3),
                "code": int(sources.y[row]),
                "split": table.splits[row],
                "called": int(called[row]),
                "path": named(table, table.paths[row]),
            }
            for (x, y), row in zip(xy, rows, strict=True)
        ],
    }


def _sprite(sources: Sources, rows: list[int], album: Album) -> dict[str, Any]:
    """The pictures of the map's points, in their order, as one."""
    paths = [sources.table.paths[row] for row in rows]
    album.jpegs.append(sprite(paths, MAP_PX, MAP_COLUMNS, sources.white))
    return {"picture": len(album.jpegs) - 1, "tile_px": MAP_PX, "columns": MAP_COLUMNS}
