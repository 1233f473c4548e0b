"""A part on disk: one file that is whole or not there.

It is a safetensors file: the features lie in it as one matrix that is mapped, not read, and the
house reads and writes this format already; Arrow would need polars or pyarrow for a matrix of one
kind of number. Beside the matrix stand the facts, a stamp of each file, and an index in JSON that
says which images, by which recipe, and what could not be read. A checksum covers all of it.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.backbones import tensor_file
from regraft.backbones.tensor_file import Stored, TensorFileError
from regraft.errors import ArtefactError
from regraft.features.part import Part
from regraft.features.recipe import Recipe
from regraft.features.shard import Shard
from regraft.images.facts import FileFacts
from regraft.images.facts_table import FactsTable
from regraft.machine import atomic, mapped

# Raised when the meaning of the file changes.
LAYOUT = 1
_MAKE_AGAIN = "make it again: regraft features DATA --shard {shard} --out {folder}"


def write(part: Part, folder: Path) -> Path:
    """Keep a part; it is whole under its name, or not there.

    Raises
    ------
    ArtefactError
        It cannot be written, as on a full disk.
    """
    path = folder / part.file_name
    try:
        with atomic.file(path, sync=True, shared=True) as made:
            made.unlink()
            tensor_file.write(made, _sealed(part))
    except OSError as error:
        raise ArtefactError(
            f"the part of {part.X.nbytes:,} bytes and more cannot be written: "
            f"{error.strerror or error}",
            place=str(path),
            cure="make room, or give another --out; without --no-store the same command goes on "
            "with what was computed",
        ) from error
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
        part = _from(tensors)
        mapped.let_go(part.X)
        return part
    except (TensorFileError, OSError, ValueError, KeyError, TypeError) as error:
        reason = f"{error!r} is missing" if isinstance(error, KeyError) else str(error)
        raise ArtefactError(
            f"the part cannot be used: {reason}",
            place=str(path),
            cure=_MAKE_AGAIN.format(shard=shard, folder=shlex.quote(str(path.parent))),
        ) from error


def _sealed(part: Part) -> dict[str, Stored]:
    facts, words, layout = part.facts.to_columns()
    index = {
        "layout": LAYOUT,
        "recipe": json.loads(part.recipe.to_json()),
        "shard": [part.shard.number, part.shard.of],
        "names": list(part.names),
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
    names = _Names(tensors["index"].data, len(index["names"]))
    return Part(
        Recipe(**index["recipe"]), names, _view(tensors["stamps"], np.int64), facts,
        _view(tensors["X"], np.float32), rejected, Shard(*index["shard"]),
    )  # fmt: skip


class _Names(Sequence[str]):
    """The names of a part, read when they are asked for: not those of all parts at once."""

    def __init__(self, index: bytes | memoryview, n: int) -> None:
        self._index, self._n = index, n

    def __len__(self) -> int:
        return self._n

    def __iter__(self) -> Iterator[str]:
        return iter(json.loads(bytes(self._index))["names"])

    def __getitem__(self, place: Any) -> Any:
        return list(self)[place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)


def _facts_of(index: Mapping[str, Any]) -> dict[str, Any]:
    return {"words": index["facts"]["words"], "layout": index["facts"]["layout"]}


def _view(stored: Stored, kind: Any) -> NDArray[Any]:
    """The numbers where they lie in the file."""
    expected = Stored.from_array(np.zeros(0, kind)).kind
    if stored.kind != expected:
        raise ValueError(f"numbers of kind {stored.kind} where {expected} belong")
    return np.frombuffer(stored.data, np.dtype(kind).newbyteorder("<")).reshape(stored.shape)
