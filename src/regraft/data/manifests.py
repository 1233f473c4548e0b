"""A manifest as a table: a CSV, TSV or Parquet file that lists images, one per row.

Text manifests are read by the csv module, not by polars: it keeps the line numbers that messages
need and names that are not UTF-8, and it streams. polars reads Parquet, where it is installed.
"""

from __future__ import annotations

import csv
import os
import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from regraft.data.cells import Names, is_missing, name_of
from regraft.data.image_files import why_not_a_file
from regraft.data.source_forms import refuse_source
from regraft.data.table import SPLIT_NAMES, ImageTable, column, first_few, quoted
from regraft.data.tidying import check_text, in_order, without_missing, without_repeats
from regraft.errors import TableError
from regraft.wording import near_names

COLUMN_NAMES = {
    "path": (
        "path", "file", "filename", "file_name", "filepath", "file_path", "image", "img",
        "image_path", "img_path", "image_name", "image_file",
    ),
    "label": ("label", "class", "target", "category"),
    "split": ("split", "set", "partition", "subset"),
    "group": ("group",),
}  # fmt: skip

_MAX_HEADER = 2**20


def read_manifest(
    manifest: str | os.PathLike[str],
    *,
    path_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    check_files: bool = True,
) -> ImageTable:
    """The images that a CSV, TSV or Parquet file lists, one per row.

    Columns are found by their names in any case (`COLUMN_NAMES`) or are given. Paths are relative
    to the manifest's folder or absolute. Labels are text as written ('007' stays '007'). Splits
    have the same names as folders have. What is a name and what is none is said once, in `cells`:
    blanks at the ends are no part of it, and an empty cell, blanks, null and NaN are None. Text is
    UTF-8 (or UTF-16 with its mark), separated by commas, semicolons or tabs.

    Parameters
    ----------
    manifest : path
    path_column, label_column, split_column, group_column : str, optional
    check_files : bool
        Look each file up on disk; those that are missing go to ``table.rejected``. Without it they
        show only when they are read.

    Raises
    ------
    TableError
        If the manifest cannot be read, a column is missing or ambiguous, a split is unknown, one
        path has two different labels, splits or groups, or no listed file exists.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "leaves.csv")
    ...     _ = file.write_text("file,class,set\\n1.jpg,007,training\\n2.jpg,008,\\n")
    ...     table = read_manifest(file, check_files=False)
    >>> table.labels, table.splits
    (array(['007', '008'], dtype=object), array(['train', None], dtype=object))
    """
    columns = {
        "path": path_column, "label": label_column, "split": split_column, "group": group_column,
    }  # fmt: skip
    source = os.fsdecode(manifest)
    table = _table_of(source, _read_rows(source, columns))
    return without_missing(table) if check_files else table


def read_paths(manifest: str | os.PathLike[str], *, path_column: str | None = None) -> ImageTable:
    """The images that a manifest lists, whatever its other columns say: no labels and no splits.

    Raises
    ------
    TableError
        As :func:`read_manifest`, but for what is wrong with labels, splits and groups.
    """
    source = os.fsdecode(manifest)
    return without_missing(_table_of(source, _read_rows(source, {"path": path_column})))


@dataclass
class _Rows:
    """Chosen columns of a manifest as lists of N values; `numbers` are rows as the user counts."""

    columns: dict[str, list[str | None]]
    numbers: Sequence[int]

    def __getitem__(self, role: str) -> list[str | None]:
        return self.columns.get(role) or [None] * len(self.numbers)


def _read_rows(source: str, columns: dict[str, str | None]) -> _Rows:
    if problem := why_not_a_file(source):
        refuse_source(source, problem[0])
    try:
        is_parquet = source.lower().endswith(".parquet")
        rows = (_read_parquet if is_parquet else _read_text)(source, columns)
    except (OSError, ValueError, csv.Error) as error:
        _refuse_manifest(source, str(error))
    if not rows.numbers:
        _refuse_manifest(source, "it has no rows")
    return rows


def _table_of(source: str, rows: _Rows) -> ImageTable:
    for role in ("label", "group"):
        check_text({value for value in rows[role] if value is not None}, role, source)
    table = ImageTable(
        column(_full_paths(source, rows)),
        column(rows["label"]),
        column(_known_splits(source, rows)),
        groups=column(rows["group"]) if "group" in rows.columns else None,
        source=source,
    )
    return without_repeats(in_order(table))


def _refuse_manifest(source: str, reason: str) -> NoReturn:
    raise TableError(
        f"the manifest cannot be read: {reason}",
        place=source,
        cure="save it as CSV in UTF-8 with a first line that names the columns, "
        "such as path,label (or as Parquet)",
        source=source,
    )


def _read_text(source: str, columns: dict[str, str | None]) -> _Rows:
    with open(source, "rb") as file:
        is_utf16 = file.read(2) in (b"\xff\xfe", b"\xfe\xff")
    # Bytes that are not UTF-8 are kept: a path is bytes to the file system.
    encoding, on_error = ("utf-16", "strict") if is_utf16 else ("utf-8-sig", "surrogateescape")
    with open(source, encoding=encoding, errors=on_error, newline="") as text:
        first_line = text.readline(_MAX_HEADER)
        if len(first_line) == _MAX_HEADER:
            raise ValueError("its first line does not end; it is no text table")
        text.seek(0)
        tab_only = source.lower().endswith(".tsv")
        separator = "\t" if tab_only else max(",;\t", key=first_line.count)
        is_spaced = separator + " " in first_line  # path, label: then "a, b" may be quoted
        reader = csv.reader(text, delimiter=separator, strict=True, skipinitialspace=is_spaced)
        header = next(_filled(reader), [])
        chosen = _choose_columns(source, header, columns)
        return _collect(source, reader, header, chosen)


def _filled(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    return (row for row in reader if any(map(str.strip, row)))  # spreadsheets leave ",,,"


def _collect(source: str, reader: Any, header: list[str], chosen: dict[str, int]) -> _Rows:
    numbers = array("q")
    values: dict[str, list[str | None]] = {role: [] for role in chosen}
    names = Names()
    picks = [(chosen[role], values[role]) for role in chosen if role != "path"]
    path_index, paths = chosen["path"], values["path"]
    for row in _filled(reader):
        if len(row) != len(header):
            _refuse_manifest(
                source,
                f"row {reader.line_num} has {len(row)} values, the first line names {len(header)}",
            )
        numbers.append(reader.line_num)
        paths.append(row[path_index])
        for index, taken in picks:
            taken.append(names[row[index]])
    return _Rows(values, numbers)


def _read_parquet(source: str, columns: dict[str, str | None]) -> _Rows:
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
        chosen = {
            role: header[place] for role, place in _choose_columns(source, header, columns).items()
        }
        for name in chosen.values():
            if schema[name].is_nested() or schema[name] == pl.Binary:
                raise ValueError(f"column {name!r} holds {schema[name]}, not text")
        frame = pl.read_parquet(path, columns=list(set(chosen.values())), glob=False)
        values = {role: _texts(frame[name], role) for role, name in chosen.items()}
    except TableError:
        raise
    except (Exception, pl.exceptions.PanicException) as error:  # a panic is no Exception
        raise ValueError(str(error) or type(error).__name__) from error
    return _Rows(values, range(1, len(frame) + 1))


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


def _texts(values: Any, role: str) -> list[str | None]:
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


def _choose_columns(
    source: str, header: Sequence[str], wanted: dict[str, str | None]
) -> dict[str, int]:
    """The place of the column that plays each role; only the path is needed."""
    names = [name_of(one) or "" for one in header]
    if not names:
        _refuse_manifest(source, "it is empty")
    chosen: dict[str, int] = {}
    for role, asked in wanted.items():
        name = None if asked is None else name_of(asked) or ""
        found = [
            place
            for place, one in enumerate(names)
            if (one.lower() in COLUMN_NAMES[role] if name is None else one == name)
        ]
        if name is not None and not found:
            _refuse_columns(source, names, f"there is no column {name!r}", name)
        if len(found) > 1:
            all_found = quoted(names[place] for place in found)
            _refuse_columns(source, names, f"{all_found} could all be the {role} column")
        chosen.update({role: found[0]} if found else {})
    if "path" not in chosen:
        _refuse_columns(source, names, "there is no column of paths")
    return chosen


def _refuse_columns(source: str, header: list[str], rule: str, name: str = "") -> NoReturn:
    near = near_names(name, header)
    raise TableError(
        f"{rule}. The columns are {quoted(header, at_most=10)}",
        place=source,
        cure=f"did you mean {quoted(near)}?"
        if near
        else "say which column it is (--path-column, --label-column, --split-column, "
        "--group-column), or let the first line name it, as path,label",
        columns=header,
        near=near,
    )


def _full_paths(source: str, rows: _Rows) -> list[str]:
    nameless = [n for n, path in zip(rows.numbers, rows["path"], strict=True) if is_missing(path)]
    if nameless:
        _refuse_manifest(source, f"no path in {_in_rows(nameless)}")
    folder = os.path.dirname(source)
    return [_on_disk(folder, path) for path in rows["path"] if path]


def _on_disk(folder: str, path: str) -> str:
    """A path as it is written; without the blanks around it, unless there is a file with them."""
    bare = path.strip()
    written = os.path.join(folder, path.removeprefix("./"))
    is_as_written = len(bare) == len(path) or os.path.lexists(written)
    return written if is_as_written else os.path.join(folder, bare.removeprefix("./"))


def _known_splits(source: str, rows: _Rows) -> list[str | None]:
    found = {value: SPLIT_NAMES.get((value or "").lower()) for value in set(rows["split"])}
    unknown = {value for value, split in found.items() if split is None and value is not None}
    if unknown:
        where = [n for n, v in zip(rows.numbers, rows["split"], strict=True) if v in unknown]
        raise TableError(
            f"unknown split {quoted(sorted(map(str, unknown)))} in {_in_rows(where)}",
            place=source,
            cure=f"use {', '.join(SPLIT_NAMES)}; or leave it empty",
            splits=sorted(map(str, unknown)),
            rows=where,
        )
    return [found[value] for value in rows["split"]]


def _in_rows(numbers: Sequence[int]) -> str:
    return f"{'row' if len(numbers) == 1 else 'rows'} {first_few(map(str, numbers))}"
