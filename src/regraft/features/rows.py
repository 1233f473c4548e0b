"""Some rows of a matrix, read when they are asked for: one that is mapped from disk stays there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Rows:
    """Rows (and columns) of a matrix that read like an array, a part at a time.

    NumPy's own ``X[rows]`` copies all of them into memory at once.

    Examples
    --------
    >>> X = np.arange(12.0).reshape(4, 3)
    >>> some = Rows(X, np.array([3, 1]), slice(1, 3))
    >>> some.shape, some[1:].tolist(), some[:, 1].tolist()
    ((2, 2), [[4.0, 5.0]], [11.0, 5.0])
    """

    def __init__(self, X: Any, rows: NDArray[Any], columns: slice = slice(None)) -> None:
        self._X, self._columns = X, range(X.shape[1])[columns]
        rows = np.asarray(rows)
        self._rows = np.flatnonzero(rows) if rows.dtype == bool else rows

    @property
    def shape(self) -> tuple[int, int]:
        """As of an array."""
        return len(self._rows), len(self._columns)

    ndim = 2

    @property
    def dtype(self) -> Any:
        """As of an array."""
        return self._X.dtype

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        chosen: Any = self._columns[columns]
        if isinstance(columns, slice):
            chosen = slice(chosen.start, chosen.stop, chosen.step)
        found: NDArray[Any] = self._X[self._rows[rows], chosen]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)


def rows_of(X: Any, rows: NDArray[Any], columns: slice = slice(None)) -> Any:
    """``X[rows, columns]``, copied if `X` lies in memory, else read when it is asked for."""
    is_on_disk = isinstance(X, np.memmap | Rows)
    return Rows(X, rows, columns) if is_on_disk else X[rows][:, columns]
