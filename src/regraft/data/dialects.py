"""A text table as rows of cells, whatever its encoding and separator, with a first line or without.

Commas, semicolons, tabs, bars; UTF-8 or UTF-16; lists of ``path label``; one JSON object a line.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO

from regraft.data.cells import name_of
from regraft.data.columns import is_known_column
from regraft.data.image_files import IMAGE_SUFFIXES, has_image_name
from regraft.data.json_tables import records_of
from regraft.data.pixel_tables import why_pixels

JSON_LINES = (".jsonl", ".ndjson")
JSON = ".json"
LISTS = (".txt", ".lst")
_MAX_LINE = 2**20
_COMMENT = "#"  # at the start of a line of a list
_SEPARATORS = ",;\t|"
_LISTED = re.compile(
    rf"(?P<path>\S.*?(?:{'|'.join(re.escape(one) for one in sorted(IMAGE_SUFFIXES))}))"
    r"(?:\s+(?P<label>\S.*?))?\s*",
    re.IGNORECASE,
)

Row = tuple[int, list[str]]


class TextTable:
    """Rows of a text table.

    Attributes
    ----------
    header : list of str
        Names of the columns; their numbers from 1 if no line names them.
    has_header : bool
    first : list of str
        The first row of cells.

    Iterating gives every row with its number as the user counts lines.
    """

    def __init__(self, rows: Iterator[Row], *, has_header: bool | None = None) -> None:
        self._rows = (row for row in rows if any(map(str.strip, row[1])))  # spreadsheets: ",,,"
        first = next(self._rows, (0, []))
        self.has_header = _names_columns(first[1]) if has_header is None else has_header
        self._ahead = [] if self.has_header else [first]
        self.header = [name.strip() for name in first[1]]
        if not self.has_header:
            self.header = [str(i) for i in range(1, len(first[1]) + 1)]
        else:
            self._ahead += [row for row in [next(self._rows, None)] if row is not None]
        self.first = self._ahead[0][1] if self._ahead else []
        is_numbered = len(self.first) == len(self.header) + 1 > 2 and self.first[0].isdigit()
        if self.has_header and is_numbered:
            self.header.insert(0, "")  # R's write.table numbers the rows without naming the column

    def __iter__(self) -> Iterator[Row]:
        yield from self._ahead
        yield from self._rows


@contextmanager
def opened(source: str) -> Iterator[TextTable]:
    """The table in a text file; may raise an OSError, a ValueError or a csv.Error.

    Examples
    --------
    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     source = os.path.join(folder, "list.txt")
    ...     with open(source, "w") as file:
    ...         _ = file.write("my ants/1.jpg ants\\n")
    ...     with opened(source) as table:
    ...         print(table.header, table.first, table.has_header)
    ['1', '2'] ['my ants/1.jpg', 'ants'] False
    """
    # Bytes that are not UTF-8 are kept: a path is bytes to the file system.
    encoding = _encoding(source)
    on_error = "surrogateescape" if encoding == "utf-8-sig" else "strict"
    with open(source, encoding=encoding, errors=on_error, newline="") as text:
        first_line = text.readline(_MAX_LINE)
        if len(first_line) == _MAX_LINE:
            raise ValueError("its first line does not end; it is no text table")
        while first_line.startswith(_COMMENT) and source.lower().endswith(LISTS):
            first_line = text.readline(_MAX_LINE)
        text.seek(0)
        yield _table(source, text, first_line)


def lists_images(source: str) -> bool:
    """Whether a text file is a table of images: a first row of an image, or of known names."""
    try:
        with opened(source) as table:
            header = table.header if source.lower().endswith(JSON) else table.header[1:]
            return not table.has_header or any(map(is_known_column, header))
    except (OSError, ValueError, csv.Error, RecursionError):
        return False


def why_no_table_of_images(source: str) -> tuple[str, str] | None:
    """What a text table holds in place of images, and the way to them; None if it is no such."""
    try:
        with opened(source) as table:
            return why_pixels(table.header, table.first)
    except (OSError, ValueError, csv.Error, RecursionError):
        return None


def _encoding(source: str) -> str:
    with open(source, "rb") as file:
        start = file.read(4)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    # UTF-16 without its mark, as some programs write it: every other byte of ASCII is zero.
    zeros = bytes(byte == 0 for byte in start)
    return {b"\0\1\0\1": "utf-16-le", b"\1\0\1\0": "utf-16-be"}.get(zeros, "utf-8-sig")


def _table(source: str, text: TextIO, first_line: str) -> TextTable:
    name = source.lower()
    if name.endswith(JSON):
        return TextTable(_json_records(text), has_header=True)
    if name.endswith(JSON_LINES):
        return TextTable(_json_rows(text), has_header=True)
    skipped = 0
    if excel := re.fullmatch(r"sep=(.)\s*", first_line.lstrip("\ufeff")):
        text.readline()
        separator, skipped = excel[1], 1
    elif name.endswith(".tsv"):
        separator = "\t"
    else:
        separator = max(_SEPARATORS, key=first_line.count)
        if separator not in first_line and _is_listed(first_line):
            return TextTable(_listed(text), has_header=False)
    is_spaced = separator + " " in first_line  # path, label: then "a, b" may be quoted
    reader = csv.reader(text, delimiter=separator, strict=True, skipinitialspace=is_spaced)
    return TextTable((reader.line_num + skipped, row) for row in reader)


def _names_columns(cells: list[str]) -> bool:
    """Whether a first line names columns: it has a known name, or no cell is an image's."""
    return any(map(is_known_column, cells)) or not any(has_image_name(c.strip()) for c in cells)


def _is_listed(line: str) -> bool:
    found = _LISTED.fullmatch(line.strip().lstrip("\ufeff"))
    return found is not None and (found["label"] is not None or has_image_name(found["path"]))


def _listed(text: Iterable[str]) -> Iterator[Row]:
    """Lines of a path and a label with blanks between them; a path may hold blanks itself."""
    is_pair = None
    for number, line in enumerate(text, 1):
        if not line.strip() or line.startswith(_COMMENT):
            continue
        found = _LISTED.fullmatch(line.strip())
        cells = [] if found is None else [cell for cell in found.groups() if cell is not None]
        is_pair = len(cells) == 2 if is_pair is None else is_pair
        if len(cells) != 1 + is_pair:
            meant = "a path and a label" if is_pair else "a path alone, as the first row is"
            raise ValueError(f"row {number} is not {meant}: {line.strip()!r}")
        yield number, cells


def _json_rows(text: Iterable[str]) -> Iterator[Row]:
    """One JSON object a line; the keys of the first say the columns."""
    header: list[str] | None = None
    for number, line in enumerate(text, 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except ValueError as error:
            raise ValueError(f"row {number} is no JSON object: {error}") from error
        if not isinstance(content, dict):
            raise ValueError(f"row {number} is no JSON object")
        if header is None:
            header = [str(key) for key in content]
            yield 0, header
        if unknown := [key for key in content if key not in header]:
            raise ValueError(f"row {number} has the key {unknown[0]!r}, the first row has not")
        yield number, [_cell(content.get(key)) for key in header]


def _json_records(text: TextIO) -> Iterator[Row]:
    """One row for each image of a JSON file (see ``json_tables``)."""
    content = records_of(json.load(text))
    header = list(dict.fromkeys(str(key) for one in content for key in one))
    yield 0, header
    for number, one in enumerate(content, 1):
        yield number, [_cell(one.get(key)) for key in header]


def _cell(value: object) -> str:
    """As CSV has it: JSON's true is True there, and its NaN an empty cell."""
    if isinstance(value, str):
        return value
    return (name_of(value) or "") if _is_plain(value) else json.dumps(value)


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (bool, int, float))
