"""A part: what the pass made of one shard of the images, in one file that is whole or not there.

It is a safetensors file: the features lie in it as one matrix that is mapped, not read, and the
house reads and writes this format already; Arrow would need polars or pyarrow for a matrix of one
kind of number. Beside the matrix stand the facts, a stamp of each file, and an index in JSON that
says which images, by which recipe, and what could not be read. A checksum covers all of it.

Letters: N images of a shard, G of them readable, D features.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.backbones import tensor_file
from regraft.backbones.tensor_file import Stored, TensorFileError
from regraft.data.table import first_few
from regraft.errors import ArtefactError
from regraft.features.recipe import Recipe
from regraft.features.shard import Shard
from regraft.images.facts import FileFacts
from regraft.images.facts_table import FactsTable
from regraft.machine import atomic

# Raised when the meaning of the file changes.
LAYOUT = 1
SUFFIX = ".safetensors"
UNKNOWN = (-1, -1)
# As in the store: a file changed within the same tick of its clock keeps its time.
_RACY_NS = 2_000_000_000
_MAKE_AGAIN = "make it again: regraft features DATA --shard {shard} --out {folder}"


def stat_of(path: str) -> os.stat_result | None:
    """Of the file that holds a picture; None where there is no such file here."""
    try:
        return os.stat(path)
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
    names : list of N str
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
    names: list[str]
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


def write(part: Part, folder: Path) -> Path:
    """Keep a part; it is whole under its name, or not there."""
    path = folder / part.file_name
    with atomic.file(path, sync=True, shared=True) as made:
        made.unlink()
        tensor_file.write(made, _sealed(part))
    return path


def read(path: Path) -> Part:
    """A part, its checksum compared; the features stay on disk.

    Raises
    ------
    ArtefactError
        It is cut off, damaged, of a newer layout, or none.
    """
    shard = Shard.of_file(path.name)
    try:
        tensors = tensor_file.read(path)
        if bytes(tensors["seal"].data) != _seal_of(tensors):
            raise ValueError("its checksum is wrong")
        return _from(tensors)
    except (TensorFileError, OSError, ValueError, KeyError, TypeError) as error:
        reason = f"{error!r} is missing" if isinstance(error, KeyError) else str(error)
        raise ArtefactError(
            f"the part cannot be used: {reason}",
            place=str(path),
            cure=_MAKE_AGAIN.format(shard=shard, folder=path.parent),
        ) from error


def _sealed(part: Part) -> dict[str, Stored]:
    facts, words, layout = part.facts.to_columns()
    index = {
        "layout": LAYOUT,
        "recipe": json.loads(part.recipe.to_json()),
        "shard": [part.shard.number, part.shard.of],
        "names": part.names,
        "facts": {"layout": layout, "words": words},
        "rejected": [
            [place, bad.digest.hex(), bad.n_bytes, bad.rejected, bad.mend]
            for place, bad in sorted(part.rejected.items())
        ],
    }
    tensors = {
        "X": Stored.from_array(part.X),
        "facts": Stored.from_array(facts),
        "index": Stored.from_array(np.frombuffer(json.dumps(index).encode(), np.uint8)),
        "stamps": Stored.from_array(part.stamps),
    }
    return {**tensors, "seal": Stored("U8", (32,), _seal_of(tensors))}


def _seal_of(tensors: Mapping[str, Stored]) -> bytes:
    digest = hashlib.sha256()
    for name in ("index", "stamps", "facts", "X"):
        kind, shape, data = tensors[name]
        digest.update(f"{name} {kind} {shape} ".encode())
        digest.update(data)
    return digest.digest()


def _from(tensors: Mapping[str, Stored]) -> Part:
    index = json.loads(bytes(tensors["index"].data))
    if index["layout"] != LAYOUT:
        raise ValueError(f"it has layout {index['layout']}; this Regraft reads {LAYOUT}")
    rejected = {
        int(place): FileFacts(bytes.fromhex(digest), n_bytes, rejected=reason, mend=mend)
        for place, digest, n_bytes, reason, mend in index["rejected"]
    }
    facts = FactsTable.from_columns(_view(tensors["facts"], np.uint8), **_facts_of(index))
    return Part(
        Recipe(**index["recipe"]), index["names"], _view(tensors["stamps"], np.int64), facts,
        _view(tensors["X"], np.float32), rejected, Shard(*index["shard"]),
    )  # fmt: skip


def _facts_of(index: Mapping[str, Any]) -> dict[str, Any]:
    return {"words": index["facts"]["words"], "layout": index["facts"]["layout"]}


def _view(stored: Stored, kind: Any) -> NDArray[Any]:
    """The numbers where they lie in the file."""
    expected = Stored.from_array(np.zeros(0, kind)).kind
    if stored.kind != expected:
        raise ValueError(f"numbers of kind {stored.kind} where {expected} belong")
    return np.frombuffer(stored.data, np.dtype(kind).newbyteorder("<")).reshape(stored.shape)


def _short(value: Any) -> str:
    text = str(value) if isinstance(value, (str, Sequence)) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
