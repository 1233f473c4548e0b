"""Chosen columns of a Parquet file, as the texts that the same table's CSV would have.

polars reads it, if installed; first in a process of its own, which a damaged file may fell.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from regraft.data.cells import Names
from regraft.data.columns import Columns
from regraft.data.images_in_parquet import holds_images, refuse_images_inside
from regraft.errors import TableError

Choose = Callable[[Sequence[str], Sequence[Any]], Columns]


def read(source: str, choose: Choose) -> tuple[Columns, dict[str, Sequence[Any]], int]:
    """The chosen columns, what they hold by their roles, and the number of rows.

    Parameters
    ----------
    source : str
    choose : callable(names, first row)
        Says which column plays which role.

    Raises
    ------
    TableError
        If polars is not installed, or a chosen column holds no text: pictures, lists, bytes.
    ValueError
        If the file is damaged or no Parquet.
    """
    try:
        import polars as pl
    except ImportError as error:
        raise TableError(
            "a Parquet manifest needs the package polars, which is not installed",
            place=source,
            cure="pip install 'regraft[parquet]'; or save the table as CSV",
        ) from error

    path = os.path.abspath(source)
    _require_that_reading_ends(path)
    try:
        schema = pl.read_parquet_schema(path)
        header = list(schema)
        known = choose(header, _first_row(path))
        chosen = {role: header[place] for role, place in known.places.items()}
        _require_texts(source, chosen, schema)
        frame = pl.read_parquet(path, columns=list(set(chosen.values())), glob=False)
        values = {role: _texts(frame[name], role) for role, name in chosen.items()}
    except TableError:
        raise
    except (Exception, pl.exceptions.PanicException) as error:  # a panic is no Exception
        raise ValueError(str(error) or type(error).__name__) from error
    return known, values, len(frame)


def _require_texts(source: str, chosen: dict[str, str], schema: Any) -> None:
    import polars as pl

    if holds_images(schema[chosen["path"]]):
        kind, label = schema[chosen["path"]], chosen.get("label")
        refuse_images_inside(source, chosen["path"], kind, label)
    for name in chosen.values():
        if schema[name].is_nested() or schema[name] == pl.Binary:
            _refuse_kind(source, name, schema[name])


def _refuse_kind(source: str, name: str, kind: Any) -> NoReturn:
    """A column of lists, or of bytes, with the lines that write it as text."""
    is_bytes = str(kind) == "Binary"
    as_text = "str.decode('utf-8')" if is_bytes else "str[0]"
    several = "" if is_bytes else ", if each has one value"
    raise TableError(
        f"column {name!r} holds {kind}, not text",
        place=source,
        cure=f"with pandas{several}: table[{name!r}] = table[{name!r}].{as_text}; "
        "table.to_parquet(NEW)",
        source=source,
    )


def _first_row(path: str) -> tuple[Any, ...]:
    import polars as pl

    head = pl.read_parquet(path, n_rows=1, glob=False)
    return head.row(0) if len(head) else ()


# Exit codes: 0 read, 3 refused by polars in words; anything else, the reader itself fell.
_TRIAL = """
import sys
import polars as pl
try:
    pl.read_parquet(sys.argv[1], glob=False)
except (Exception, pl.exceptions.PanicException):
    sys.exit(3)
"""


def _require_that_reading_ends(path: str) -> None:
    """Read a Parquet file once in a process that may fall: a damaged one can make polars ask for
    2 EiB of memory, which ends the process without an exception (found by tests/fuzz.py)."""
    import subprocess  # here, as polars is, because most manifests are text

    with open(path, "rb") as file:
        is_parquet = file.read(4) == b"PAR1"
    if not is_parquet or not sys.executable:
        return
    command = [sys.executable, "-I", "-c", _TRIAL, path]
    trial = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if trial.returncode not in (0, 3):
        raise ValueError(f"it is damaged: its reader fell (exit {trial.returncode})")


def _texts(values: Any, role: str) -> Sequence[Any]:
    """A column of Parquet as the same table's CSV, written by pandas, would have it."""
    import polars as pl

    if role == "path":
        return list(values.cast(pl.String))
    if values.dtype.is_float():
        values = values.fill_nan(None)
    if values.dtype not in (pl.Boolean, pl.Float64):  # these two are written as Python does
        values = values.cast(pl.String)
    names = Names()
    return [names[value] for value in values.to_list()]
