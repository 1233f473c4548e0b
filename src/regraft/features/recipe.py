"""What identifies a feature besides the image: every ingredient that changes its value.

Two features of one image are the same number exactly when their recipes have the same digest.
What only changes how fast a feature is made (batch size, workers, device count) has no place here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

STORE_DTYPES = ("float32", "float16")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Every ingredient of a feature but the image itself.

    Attributes
    ----------
    weights_digest : str
        SHA-256 of the backbone's weights, in hex.
    taps : tuple of str
        Stages whose activations are kept, in the order of the columns.
    pooling : tuple of str
        How a map becomes a vector, such as ('mean', 'max').
    preprocess : mapping
        ``Preprocess.to_dict()``: size, crop, interpolation, mean, std, scaled decoding.
    precision : str
        Arithmetic of the engine, such as 'bf16' or 'fp32'.
    engine : str
        Engine with its version, such as 'openvino 2026.4.1'.
    decoder : str
        Version of our own rules for turning bytes into pixels, and who resizes them.
    view : str
        Which part of the picture; 'centre' is the one that the backbone was made for.
    store_dtype : str
        'float32' or 'float16': how the numbers are kept.

    Examples
    --------
    >>> recipe = Recipe(weights_digest="ab12", taps=("final",), pooling=("mean",),
    ...                 preprocess={"size": 224}, precision="fp32", engine="torch 2.14.1",
    ...                 decoder="1")
    >>> recipe.digest[:12]
    'c16cc1eeedfc'
    >>> recipe == Recipe.from_json(recipe.to_json())
    True
    """

    weights_digest: str
    taps: tuple[str, ...]
    pooling: tuple[str, ...]
    preprocess: Mapping[str, Any] = field(hash=False)
    precision: str
    engine: str
    decoder: str
    view: str = "centre"
    store_dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.store_dtype not in STORE_DTYPES:
            raise ValueError(f"store_dtype must be one of {STORE_DTYPES}, got {self.store_dtype!r}")
        # Lists (from JSON, or from a caller) would compare unequal to tuples of the same names.
        object.__setattr__(self, "taps", tuple(self.taps))
        object.__setattr__(self, "pooling", tuple(self.pooling))

    @property
    def digest(self) -> str:
        """SHA-256 of :meth:`to_json`, in hex; the same in every process and on every machine."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces, ASCII only, no NaN."""
        ingredients = asdict(self) | {"preprocess": dict(self.preprocess)}
        return json.dumps(ingredients, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Recipe that `to_json` wrote."""
        return cls(**json.loads(text))
