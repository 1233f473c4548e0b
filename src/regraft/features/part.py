"""A part: what the pass made of one shard of the images.

Letters: N images of a shard, G of them readable, D features.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.data.members import file_of
from regraft.data.table import first_few
from regraft.errors import ArtefactError
from regraft.features.recipe import Recipe
from regraft.features.shard import Shard
from regraft.images.facts import FileFacts
from regraft.images.facts_table import FactsTable

SUFFIX = ".safetensors"
UNKNOWN = (-1, -1)
# As in the store: a file changed within the same tick of its clock keeps its time.
_RACY_NS = 2_000_000_000


def stat_of(path: str) -> os.stat_result | None:
    """Of the file that holds a picture; None where there is no such file here."""
    try:
        return os.stat(file_of(path))
    except (OSError, ValueError):
        return None


def stamp_of(stat: os.stat_result | None) -> tuple[int, int]:
    """Size and time of change, (-1, -1) if they do not tell a file from what it becomes.

    Unlike the store's stamp it holds nothing of this machine's disk: parts travel.
    """
    if stat is None or stat.st_mtime_ns > time.time_ns() - _RACY_NS:
        return UNKNOWN
    return stat.st_size, stat.st_mtime_ns


@dataclass(frozen=True, eq=False)
class Part:
    """What the pass made of N images.

    Attributes
    ----------
    recipe : Recipe
    names : sequence of N str
        By which the images are known in their data, or their paths.
    stamps : (N, 2) int64
        Of each file, taken before it was read (:func:`stamp_of`).
    facts : FactsTable of G rows
    X : (G, D) float32
    rejected : dict
        From the place of an image that cannot be read to its facts, which say why.
    shard : Shard
    n_run, decode_s, model_s : int, float, float
        Images that went through the network, and the core-seconds that it took.

    Examples
    --------
    >>> part = Part(Recipe(weights_digest="ab", taps=("final",), pooling=("mean",), preprocess={},
    ...                    precision="fp32", engine="torch 2", decoder="1"),
    ...             ["1.jpg", "2.jpg"], np.zeros((2, 2), np.int64), FactsTable(1),
    ...             np.ones((1, 4), np.float32), {0: FileFacts(b"", 0, rejected="it is empty")})
    >>> part.row(0)[0].rejected, part.row(1)[1].tolist()
    ('it is empty', [1.0, 1.0, 1.0, 1.0])
    """

    recipe: Recipe
    names: Sequence[str]
    stamps: NDArray[np.int64]
    facts: FactsTable
    X: NDArray[np.float32]
    rejected: Mapping[int, FileFacts]
    shard: Shard = field(default_factory=Shard)
    n_run: int = 0
    decode_s: float = 0.0
    model_s: float = 0.0

    def __post_init__(self) -> None:
        is_good = np.ones(len(self.names), bool)
        is_good[list(self.rejected)] = False
        object.__setattr__(self, "good", np.flatnonzero(is_good))
        n_good = len(self.good)
        if not n_good == len(self.X) == len(self.facts) or len(self.stamps) != len(self.names):
            raise ValueError(f"{n_good} good images, {len(self.X)} features, {len(self.facts)}")

    good: NDArray[np.intp] = field(init=False, repr=False)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def unread(self) -> list[int]:
        """Places of the images that could not be read at all: another time they may be there."""
        return [place for place, bad in self.rejected.items() if not bad.digest]

    def row(self, place: int) -> tuple[FileFacts, NDArray[np.float32] | None]:
        """Facts of an image, and its features if it can be read."""
        if (bad := self.rejected.get(place)) is not None:
            return bad, None
        at = int(np.searchsorted(self.good, place))
        return self.facts[at], self.X[at]

    def require_recipe(self, recipe: Recipe, *, place: str = "") -> None:
        """Refuse features that were made in another way, with both.

        Raises
        ------
        ArtefactError
        """
        if self.recipe == recipe:
            return
        there, here = asdict(self.recipe), asdict(recipe)
        raise ArtefactError(
            "the features were made by another recipe: "
            + first_few(
                f"{name} {_short(there[name])}, here {_short(here[name])}"
                for name in here
                if there[name] != here[name]
            ),
            place=place or (f"on {self.shard}" if self.shard.of > 1 else ""),
            cure="give the same backbone and versions on every machine; REGRAFT_PRECISION=fp32 "
            "makes processors with and without bf16 alike",
        )

    @property
    def file_name(self) -> str:
        """By the shard, and by the recipe and the content of its images."""
        digest = hashlib.sha256(self.recipe.digest.encode())
        for name in self.names:
            digest.update(name.encode("utf-8", "surrogatepass") + b"\0")
        for content in self.facts.digests:
            digest.update(content)
        return f"{self.shard.stem}-{digest.hexdigest()[:12]}{SUFFIX}"


def _short(value: Any) -> str:
    text = str(value) if isinstance(value, (str, Sequence)) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
