"""Parquet that holds the images themselves, as Hugging Face's data sets: the line that writes them.

A table of paths is read (see ``manifests``); bytes within a table are not, but one line of Python
makes a folder of each class of them.
"""

from __future__ import annotations

import shlex
from typing import Any, NoReturn

from regraft.errors import TableError


def refuse_images_inside(source: str, name: str, kind: Any, label: str | None) -> NoReturn:
    """Refuse a column of images, with what writes them to files.

    Parameters
    ----------
    source : str
        The file.
    name : str
        The column.
    kind : polars.DataType
        Binary, or a struct with the field 'bytes'.
    label : str or None
        The column of the labels.
    """
    content = f"r[{name!r}]" + ("" if _is_binary(kind) else "['bytes']")
    folder = f"str(r[{label!r}])" if label else "'CLASS'"
    script = (
        "import polars as pl, pathlib as p; "
        f"[((d := p.Path('DATA', {folder})).mkdir(parents=True, exist_ok=True), "
        f"(d / f'{{i}}.png').write_bytes({content})) "
        f"for i, r in enumerate(pl.read_parquet({source!r}).iter_rows(named=True))]"
    )
    raise TableError(
        f"its column {name!r} holds the images themselves ({kind}), not their paths",
        place=source,
        cure=f"write them into class folders: python -c {shlex.quote(script)}; and give DATA "
        "(of several files, DATA/train and DATA/test)",
    )


def holds_images(kind: Any) -> bool:
    """Whether a column's type is that of encoded images: bytes, or bytes with a path.

    Examples
    --------
    >>> import polars as pl
    >>> holds_images(pl.Binary), holds_images(pl.String), holds_images(pl.List(pl.Int64))
    (True, False, False)
    >>> holds_images(pl.Struct({"bytes": pl.Binary, "path": pl.String}))
    True
    """
    fields = {field.name: field.dtype for field in getattr(kind, "fields", ())}
    return _is_binary(kind) or _is_binary(fields.get("bytes"))


def _is_binary(kind: Any) -> bool:
    return str(kind) == "Binary"
