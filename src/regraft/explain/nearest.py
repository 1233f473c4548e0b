"""The images of train that look most alike to a model: explanation by example.

A model keeps the shortened digests of what it learnt from; the feature store may still have these
images' features and paths. Nothing is computed again, so an answer may be missing.

Array letters: N images asked about, M of train, D represented features.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from regraft.evaluation.metrics import unit_rows
from regraft.features.engine import EngineInfo
from regraft.features.store import Store
from regraft.features.strips import Strip, stored_rows, strips_of
from regraft.model import learnt_from
from regraft.probe.base import Floats
from regraft.probe.classifier import Classifier
from regraft.wording import count

# Rows of train held at once.
CHUNK_ROWS = 2048


class Neighbour(NamedTuple):
    """An image of train: the first of its paths that is still there, and the cosine to it."""

    path: str
    similarity: float


@dataclass(frozen=True, eq=False)
class Nearest:
    """For every image the nearest ones of train.

    Attributes
    ----------
    neighbours : list of N lists of Neighbour
        The nearest first. An image itself is not among its own.
    n_known, n_learnt_from : int
        Images of train whose features the store has, of how many.
    n_incomplete : int
        Images with fewer neighbours than asked for, though the store has the features of more.
    """

    neighbours: list[list[Neighbour]]
    n_known: int
    n_learnt_from: int
    n_incomplete: int = 0

    @property
    def note(self) -> str:
        """What is missing, in one sentence; empty if nothing is."""
        if not self.n_learnt_from:
            return "the model does not say which images it learnt from: no nearest ones"
        if self.n_known < self.n_learnt_from:
            learnt = count(self.n_learnt_from, "image")
            return (
                f"the feature store has {self.n_known} of the {learnt} that the model learnt from; "
                "the nearest are sought among these"
            )
        if self.n_incomplete:
            have = count(self.n_incomplete, "image has", "images have")
            return (
                f"{have} fewer nearest ones than were asked for: the others' files are not where "
                "they were seen last"
            )
        return ""


def find(
    model: Classifier,
    X: Floats,
    digests: Sequence[bytes],
    store: Store,
    *,
    info: EngineInfo,
    k: int,
) -> Nearest:
    """The k nearest images of train, by the cosine of what the head sees.

    Parameters
    ----------
    X : (N, D0) float32
        Rows as the pass leaves them.
    digests : sequence of N bytes
        Of the images' contents.
    info : EngineInfo
        Of the engine by which the rows were made.
    k : int
    """
    learnt = learnt_from.from_text(model.card.get("learnt_from"))
    strips = strips_of(info)
    stored = _stored_whole(store, strips) if learnt and k else []
    known = [digest for digest in stored if digest[: learnt_from.DIGEST_BYTES] in learnt]
    row_of = {digest: row for row, digest in enumerate(known)}
    asked = unit_rows(model.representation(np.asarray(X, np.float32)))
    similar = np.full((len(asked), len(known)), -np.inf, np.float32)
    for start in range(0, len(known), CHUNK_ROWS):
        chunk = known[start : start + CHUNK_ROWS]
        rows = np.empty((len(chunk), X.shape[1]), np.float32)
        found = stored_rows(store, chunk, strips, rows).all(axis=1)
        Z = unit_rows(model.representation(rows[found]))
        similar[:, start + np.flatnonzero(found)] = asked @ Z.T
    for i, digest in enumerate(digests):
        if digest in row_of:
            similar[i, row_of[digest]] = -np.inf
    best = np.argsort(-similar, axis=1, kind="stable")[:, : k + _SPARE]
    paths = store.paths_of({known[row] for row in np.unique(best)} if best.size else set())
    there = {d: _best_path(found, _source(model)) for d, found in paths.items()}
    neighbours = [
        [
            Neighbour(path, float(similar[i, row]))
            for row in best[i]
            if np.isfinite(similar[i, row]) and (path := there.get(known[row]))
        ][:k]
        for i in range(len(asked))
    ]
    least = min(k, len(known) - 1)  # one may be the image itself
    n_incomplete = sum(len(found) < least for found in neighbours)
    return Nearest(neighbours, len(known), len(learnt), n_incomplete)


def _stored_whole(store: Store, strips: Sequence[Strip]) -> list[bytes]:
    """Contents whose features are stored, by every network where there are several."""
    first, *others = (store.digests_with_features(strip.digest) for strip in strips)
    rest = [set(digests) for digests in others]
    return [digest for digest in first if all(digest in known for known in rest)]


# Nearest images whose file is gone give way to the next ones, up to so many.
_SPARE = 20


def _source(model: Classifier) -> str:
    """The folder that the model learnt from, as it lay then; empty if it does not say."""
    source = model.card.get("source")
    return os.path.abspath(source) if isinstance(source, str) and source else ""


def _best_path(paths: Sequence[str], source: str) -> str | None:
    """Of the places where one picture lies, that within the model's own data if there is one."""
    there = [path for path in paths if os.path.exists(path)]
    own = [path for path in there if source and os.path.abspath(path).startswith(source + os.sep)]
    return next(iter([*own, *there]), None)
