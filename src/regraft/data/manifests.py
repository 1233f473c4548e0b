"""A manifest as a table: a file that lists images, one per row, with what it says of each.

Its dialect, its columns and its files are found elsewhere (`dialects`, `columns`, `located`); here
they become rows. Text is read by the csv module, not by polars: it keeps the line numbers that
messages need and names that are not UTF-8, and it streams. Parquet: see `parquet_tables`.
"""

from __future__ import annotations

import csv
import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from regraft.data import parquet_tables
from regraft.data.addresses import require_plain
from regraft.data.boxes import why_boxes_alone
from regraft.data.cells import Names, is_missing
from regraft.data.columns import COLUMN_NAMES, Columns, choose_columns, is_id_column
from regraft.data.dialects import JSON, LISTS, TextTable, lists_images, opened
from regraft.data.image_files import why_not_a_file
from regraft.data.located import Finder, beside_their_table, located
from regraft.data.one_hot import OneHot
from regraft.data.remote import is_address
from regraft.data.several_labels import refuse_several
from regraft.data.source_forms import MANIFEST_SUFFIXES, refuse_source
from regraft.data.table import SPLIT_NAMES, ImageTable, NoLabels, Reading, column, first_few, quoted
from regraft.data.texts import MANY, Texts
from regraft.data.tidying import check_text, in_order, without_missing, without_repeats
from regraft.data.unread_columns import says_division, unsaid
from regraft.errors import TableError


def read_manifest(
    manifest: str | os.PathLike[str],
    *,
    path_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    check_files: bool = True,
    address: str = "",
) -> ImageTable:
    """The images that a CSV, TSV, JSON-lines or Parquet file or a text list holds, one per row.

    Columns are found by their names in any case (`COLUMN_NAMES`), by less usual names or what is in
    the first row, which is told in ``table.readings``, or are given; without a first line of names
    they are called 1, 2, 3. Paths are relative to the manifest's folder or absolute; files that are
    not there are looked for (see `located`). Labels are text as written ('007' stays '007'). Splits
    have the same names as folders have. What is a name and what is none is said once, in `cells`:
    blanks at the ends are no part of it, and an empty cell, blanks, null and NaN are None. Text is
    UTF-8 or UTF-16, separated by commas, semicolons, tabs or bars (see `dialects`).

    Parameters
    ----------
    manifest : path
    path_column, label_column, split_column, group_column : str, optional
    check_files : bool
        Look each file up on disk; those that are missing go to ``table.rejected``. Without it they
        show only when they are read. Those at addresses show then anyway.
    address : str
        Where the manifest really lies, if it was fetched; its paths are relative to that.

    Raises
    ------
    TableError
        If the manifest cannot be read, a column is missing or ambiguous, a split is unknown, a
        cell holds several labels, one path has two different labels, splits or groups, or no
        listed file exists.

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
    rows = read_rows(source, columns)
    table = _table_of(address or source, rows, check_files=check_files)
    return without_missing(table) if check_files else table


def is_manifest(source: str) -> bool:
    """Whether a source is read as a manifest: by its suffix, and .txt and .json only if they list
    images.

    Examples
    --------
    >>> is_manifest("leaves.csv"), is_manifest("no such file.txt")
    (True, False)
    """
    name = source.lower()
    by_content = name.endswith((*LISTS, JSON))
    return name.endswith(MANIFEST_SUFFIXES) and (not by_content or lists_images(source))


def read_paths(
    manifest: str | os.PathLike[str], *, path_column: str | None = None, address: str = ""
) -> ImageTable:
    """The images that a manifest lists, whatever its other columns say: no labels and no splits.

    Raises
    ------
    TableError
        As :func:`read_manifest`, but for what is wrong with labels, splits and groups.
    """
    source = os.fsdecode(manifest)
    rows = read_rows(source, {"path": path_column})
    return without_missing(_table_of(address or source, rows))


@dataclass
class Rows:
    """Chosen columns of a manifest.

    Attributes
    ----------
    columns : dict
        Role to N names (or paths), or None where there is none.
    numbers : sequence of N int
        Rows as the user counts them.
    known : Columns
    readings : list of Reading
    no_labels : NoLabels or None
        Why there are none, where that is not for want of a column.
    """

    columns: dict[str, Sequence[Any]]
    numbers: Sequence[int]
    known: Columns
    readings: list[Reading] = field(default_factory=list)
    no_labels: NoLabels | None = None

    def __getitem__(self, role: str) -> Sequence[Any]:
        return self.columns.get(role) or [None] * len(self.numbers)


def read_rows(source: str, columns: dict[str, str | None] | None = None) -> Rows:
    """What a manifest's cells say, as they are written.

    Parameters
    ----------
    source : str
    columns : dict, optional
        Roles, each with the column that the user named, or None; all of them by default.
    """
    columns = dict.fromkeys(COLUMN_NAMES) if columns is None else columns
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


def _table_of(source: str, rows: Rows, *, check_files: bool = True) -> ImageTable:
    for role in ("label", "group"):
        check_text({value for value in rows[role] if value is not None}, role, source)
    refuse_several(rows["label"], source)
    paths, readings = _full_paths(source, rows), [*rows.known.readings, *rows.readings]
    require_plain(paths, source)
    readings += unsaid(source, rows.known, rows["path"]) if "label" in rows.columns else []
    if check_files and not any(map(is_address, paths)):
        paths, found = located(source, rows["path"], paths)
        readings += found
    elif check_files and not is_address(source) and all(map(is_address, paths)):
        paths, found = beside_their_table(source, paths)
        readings += found
    table = ImageTable(
        paths if isinstance(paths, Texts) else column(paths),
        column(rows["label"]),
        column(known_splits(source, rows)),
        groups=column(rows["group"]) if "group" in rows.columns else None,
        source=source,
        readings=tuple(readings),
        no_labels=None if "label" in rows.columns else _why_no_labels(rows),
    )
    return without_repeats(in_order(table))


def _why_no_labels(rows: Rows) -> NoLabels:
    return rows.no_labels or why_boxes_alone(rows.known.names) or rows.known.why_no_labels()


def _refuse_manifest(source: str, reason: str) -> NoReturn:
    raise TableError(
        f"the manifest cannot be read: {reason}",
        place=source,
        cure="save it as CSV in UTF-8 with a first line that names the columns, "
        "such as path,label (or as Parquet)",
        source=source,
    )


def _read_text(source: str, wanted: dict[str, str | None]) -> Rows:
    with opened(source) as table:
        columns = _chosen(source, table.header, wanted, table.first, has_header=table.has_header)
        return _collect(source, table, columns, wants_labels="label" in wanted)


def _collect(source: str, table: TextTable, columns: Columns, *, wants_labels: bool) -> Rows:
    numbers, places = array("q"), columns.places
    values: dict[str, Any] = {role: [] for role in places}
    names, n_columns = Names(), len(table.header)
    picks = [(places[role], values[role]) for role in places if role != "path"]
    values["path"] = paths = Texts()  # the other columns share their few texts
    path_index = places["path"]
    hot = OneHot.maybe(columns.names, columns.free, table.first)
    hot.is_so = hot.is_so and wants_labels and "label" not in places
    for number, row in table:
        if len(row) != n_columns:
            _refuse_manifest(
                source, f"row {number} has {len(row)} values, the first line names {n_columns}"
            )
        numbers.append(number)
        paths.append(row[path_index])
        for index, taken in picks:
            taken.append(names[row[index]])
        if hot.is_so:
            hot.add(number, row)
    return _with_one_hot(source, Rows(values, numbers, columns), hot)


def _with_one_hot(source: str, rows: Rows, hot: OneHot) -> Rows:
    """Labels of one column per class, if that is what the table has."""
    if not hot.is_so:
        return rows
    if hot.others:
        return replace(rows, no_labels=hot.why_no_labels())
    rows.columns["label"] = hot.labels
    return replace(rows, readings=[*rows.readings, hot.reading(source)])


def _read_parquet(source: str, wanted: dict[str, str | None]) -> Rows:
    known, values, n_rows = parquet_tables.read(
        source, lambda header, first: _chosen(source, header, wanted, first)
    )
    return Rows(values, range(1, n_rows + 1), known)


def _chosen(
    source: str,
    header: Sequence[str],
    wanted: dict[str, str | None],
    first: Sequence[Any] = (),
    *,
    has_header: bool = True,
) -> Columns:
    """Which column plays which role; only the path is needed."""
    if not header:
        _refuse_manifest(source, "it is empty")
    columns = choose_columns(source, header, wanted, first=first, has_header=has_header)
    if not has_header and says_division(source) and not wanted.get("label"):
        columns.places.pop("label", None)  # list_eval_partition.txt: its numbers are no classes
    if "path" not in columns.places:
        _find_names(source, columns, first)
    columns.require_path(source, first)
    return columns


def _find_names(source: str, columns: Columns, first: Sequence[Any]) -> None:
    """Take a column of ids for the path, if there are images of such names."""
    places = [place for place in columns.free if is_id_column(columns.names[place])]
    if not places or len(first) != len(columns.names):
        return
    finder = Finder.below(os.path.dirname(source))
    found = [place for place in places if finder.find(str(first[place]))]
    if len(found) == 1:
        columns.places["path"] = found[0]
        words = f"{source}: {columns.names[found[0]]!r} is read as the path, for images have it"
        columns.readings.append(Reading("columns", words, "--path-column NAME if another is meant"))


def _full_paths(source: str, rows: Rows) -> Sequence[str]:
    nameless = [n for n, path in zip(rows.numbers, rows["path"], strict=True) if is_missing(path)]
    if nameless:
        _refuse_manifest(source, f"no path in {_in_rows(nameless)}")
    folder = os.path.dirname(source)
    paths = (_on_disk(folder, path) for path in rows["path"] if path)
    return Texts.of(paths) if len(rows.numbers) >= MANY else list(paths)


def _on_disk(folder: str, path: str) -> str:
    """A path as it is written; without the blanks around it, unless there is a file with them."""
    bare = path.strip()
    if is_address(bare):
        return bare
    if is_address(folder):
        return f"{folder}/{bare.removeprefix('./')}"
    written = os.path.join(folder, path.removeprefix("./"))
    is_as_written = len(bare) == len(path) or os.path.lexists(written)
    return written if is_as_written else os.path.join(folder, bare.removeprefix("./"))


def known_splits(source: str, rows: Rows) -> list[str | None]:
    """The splits that its rows name; one that is none is refused."""
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
