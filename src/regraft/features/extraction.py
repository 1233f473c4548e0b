"""What a pass over images leaves: facts, features, what was rejected, and how fast it was."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from regraft.data.digests import Digests
from regraft.data.table import ImageTable
from regraft.features.engine import EngineInfo
from regraft.features.recipe import Recipe
from regraft.images.facts import FileFacts
from regraft.images.facts_table import FactsTable


@dataclass(frozen=True)
class PassReport:
    """How fast the pass was, and how fast it could have been.

    Attributes
    ----------
    n_images : int
        Images that were decoded and run through the network.
    seconds : float
        Wall time of the pass.
    decode_ms, model_ms : float
        Core-milliseconds per image: reading, hashing, decoding, resizing and facts; the network.
    n_cores : int
    """

    n_images: int = 0
    seconds: float = 0.0
    decode_ms: float = 0.0
    model_ms: float = 0.0
    n_cores: int = 1

    @property
    def images_per_second(self) -> float:
        """What was reached."""
        return self.n_images / self.seconds if self.seconds else 0.0

    @property
    def limit(self) -> float:
        """Images per second if every core did nothing else than these two things."""
        cost_ms = self.decode_ms + self.model_ms
        return 1000 * self.n_cores / cost_ms if cost_ms else 0.0

    @property
    def share_of_limit(self) -> float:
        """1.0: no core waited."""
        return self.images_per_second / self.limit if self.limit else 0.0

    def to_dict(self) -> dict[str, float]:
        """For metrics.json."""
        return {
            "images": self.n_images,
            "seconds": round(self.seconds, 4),
            "images_per_second": round(self.images_per_second, 1),
            "decode_core_ms": round(self.decode_ms, 3),
            "model_core_ms": round(self.model_ms, 3),
            "limit_images_per_second": round(self.limit, 1),
            "share_of_limit": round(self.share_of_limit, 3),
        }


@dataclass(frozen=True, eq=False)
class Extraction:
    """What the pass left: the readable images, their facts and features, and what was rejected.

    Attributes
    ----------
    table : ImageTable
        The N readable rows, in the order of the table that was given; its ``rejected`` holds
        every file that cannot be used, with its reason.
    facts : FactsTable of N rows
    X : float32 array of shape (N, D)
        Memory-mapped if large.
    info : EngineInfo
    recipe : Recipe
    computed, known, from_store : int
        Images that went through the network; that were read but need not, because their content
        was known (copies, files under a new name); and that were not even read.
    report : PassReport
    from_parts : int
        Images that were not read because a part has their features.
    """

    table: ImageTable
    facts: FactsTable
    X: NDArray[np.float32]
    info: EngineInfo
    recipe: Recipe
    computed: int
    known: int
    from_store: int
    report: PassReport
    from_parts: int = 0

    @property
    def digests(self) -> Digests:
        """Content digest of each readable image."""
        return self.facts.digests


@dataclass(frozen=True, eq=False)
class Seen:
    """What is known of each of the N images so far.

    Attributes
    ----------
    X : (N, D) float32
    facts : FactsTable of N rows
        Of the good ones.
    rejected : dict
        From the row of a file that cannot be used to its facts, which say why.
    """

    X: NDArray[np.float32]
    facts: FactsTable
    rejected: dict[int, FileFacts] = field(default_factory=dict)

    def put(self, row: int, fact: FileFacts) -> None:
        """Facts of a good file, or of a rejected one."""
        if fact.rejected is None:
            self.facts[row] = fact
        else:
            self.rejected[row] = fact
