"""Which column of a manifest has the paths, the labels, the splits, the groups.

By its name, if that is one of the usual; else by a less usual name or by what is in the first row,
which is told; else it is refused or left out with the option to type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from regraft.data.cells import name_of
from regraft.data.image_files import has_image_name
from regraft.data.labelling_programs import why_of_columns
from regraft.data.pixel_tables import why_pixels
from regraft.data.table import SPLIT_NAMES, NoLabels, Reading, quoted
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
# Names that mean it too where none of the usual is there, in the order of how surely they do.
_LESS_USUAL = {
    "path": (("filepaths", "filenames", "paths", "files", "images", "imgname", "imgfile"),),
    "label": (
        (
            "labels",
            "classname",
            "labelname",
            "classlabel",
            "categoryname",
            "targetname",
            "species",
            "breed",
            "diagnosis",
            "dx",
            "choice",
            "annotation",
            "tag",
            "classification",
            "truelabel",
            "groundtruth",
            "findinglabels",
        ),
        ("classid", "labelid", "categoryid", "targetid", "classindex"),
    ),
    "split": (("dataset", "fold", "type", "usage", "phase", "purpose", "datatype"),),
    "group": (),
}
# What may hold names of images without their extension; only if such images are there.
ID_NAMES = (
    "id", "imageid", "imgid", "name", "picture", "photo", "key", "uid", "idcode", "isicid",
    "photoid", "pictureid", "sampleid", "fileid", "stem", "basename", "imageuid",
)  # fmt: skip
# Up to so many columns are offered each for the label.
_FEW = 3
_INDEX_NAMES = ("", "unnamed0", "index", "rowid", "row")


@dataclass
class Columns:
    """What each column of a manifest is.

    Attributes
    ----------
    names : list of str
        Of all columns; their numbers from 1 if no line names them.
    places : dict of str to int
        Role ('path', 'label', 'split', 'group') to the column's place.
    readings : list of Reading
        What was understood by a less usual name, or by content.
    """

    names: list[str]
    places: dict[str, int]
    readings: list[Reading] = field(default_factory=list)

    @property
    def free(self) -> list[int]:
        """Places of the columns that play no role, and do not just number the rows."""
        taken = self.places.values()
        return [
            place
            for place, name in enumerate(self.names)
            if place not in taken and _plain(name) not in _INDEX_NAMES
        ]

    def require_path(self, source: str, first: Sequence[object] = ()) -> None:
        """Refuse a manifest without a column of paths; `first` is its first row."""
        if "path" in self.places:
            return
        if pixels := why_pixels(self.names, first):
            raise TableError(pixels[0], place=source, cure=pixels[1])
        _refuse_columns(source, self.names, "there is no column of paths")

    def why_no_labels(self) -> NoLabels:
        """What to say if no column says the label: which was looked for, which there are."""
        if known := why_of_columns(self.names):
            return known
        free = [self.names[place] for place in self.free]
        if not free:
            cure = "add a column named label; or put the images of each class into its own folder"
            return NoLabels(self._looked_for(), cure)
        named = [f"--label-column {_typed(name)}" for name in free]
        option = " or ".join(named) if len(named) <= _FEW else "--label-column NAME"
        return NoLabels(self._looked_for(), f"{option} says which column has the labels")

    def _looked_for(self) -> str:
        usual = COLUMN_NAMES["label"]
        return (
            f"no column is named {', '.join(usual[:-1])} or {usual[-1]}; "
            f"the columns are {quoted(self.names, at_most=10)}"
        )


def is_known_column(name: str) -> bool:
    """Whether a cell is the name of a column that Regraft knows.

    Examples
    --------
    >>> is_known_column("File Name"), is_known_column("lbl")
    (True, False)
    """
    plain = _plain(name)
    return any(
        plain in tier for role in COLUMN_NAMES for tier in (_usual(role), *_LESS_USUAL[role])
    )


def is_id_column(name: str) -> bool:
    """Whether a column may hold names of images without their extension."""
    return _plain(name) in ID_NAMES


def choose_columns(
    source: str,
    header: Sequence[str],
    wanted: Mapping[str, str | None],
    *,
    first: Sequence[object] = (),
    has_header: bool = True,
) -> Columns:
    """Which column plays which of the wanted roles; any may be missing.

    Parameters
    ----------
    source : str
    header : sequence of str
    wanted : mapping
        Roles, each with the column that the user named, or None.
    first : sequence
        The first row, whose cells tell where names do not.
    has_header : bool

    Raises
    ------
    TableError
        A column that is named is not there, or several could be meant.

    Examples
    --------
    >>> header, first = ["id", "filepaths", "data set"], ["1", "ants/1.jpg", "train"]
    >>> wanted = dict.fromkeys(("path", "label", "split"))
    >>> choose_columns("birds.csv", header, wanted, first=first).places
    {'path': 1, 'split': 2}
    """
    names = [name_of(one) or "" for one in header]
    cells = [str(cell or "").strip() for cell in first]
    cells += [""] * (len(names) - len(cells))
    columns, told = Columns(names, {}), dict[str, str]()
    for role, asked in wanted.items():
        found = (
            _usually(role, columns, cells)
            if asked is None
            else _as_asked(source, names, name_of(asked) or "")
        )
        if not found and (found := _otherwise(role, columns, cells, has_header)):
            told[role] = names[found[0]]
        if len(found) > 1:
            _refuse_several(source, names, role, [names[place] for place in found])
        columns.places.update({role: found[0]} if found else {})
    columns.readings += _told(source, told, has_header)
    return columns


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def _usual(role: str) -> tuple[str, ...]:
    return tuple(map(_plain, COLUMN_NAMES[role]))


def _as_asked(source: str, names: list[str], asked: str) -> list[int]:
    found = [place for place, name in enumerate(names) if name == asked]
    if not found:
        _refuse_columns(source, names, f"there is no column {asked!r}", asked)
    return found


def _usually(role: str, columns: Columns, cells: Sequence[str]) -> list[int]:
    """Columns of a usual name; of several for the path, those that hold names of images."""
    found = [p for p, name in enumerate(columns.names) if _plain(name) in _usual(role)]
    if role == "path" and len(found) > 1:
        return [place for place in found if has_image_name(cells[place])] or found
    return found


def _otherwise(role: str, columns: Columns, cells: Sequence[str], has_header: bool) -> list[int]:
    """Columns that may play a role by a less usual name, or by what is in the first row."""
    free = [p for p in range(len(columns.names)) if p not in columns.places.values()]
    for tier in _LESS_USUAL[role]:
        found = [place for place in free if _plain(columns.names[place]) in tier]
        if role == "split":
            found = [place for place in found if _is_split(cells[place])]
        if found:
            return found
    if role == "path":
        found = [place for place in free if has_image_name(cells[place])]
        return found if len(found) == 1 else []
    if has_header or role == "group":
        return []
    if role == "split":
        found = [place for place in free if _is_split(cells[place])]
        return found if len(columns.names) > 2 and len(found) == 1 else []
    words = [
        place for place in free if not _is_number(cells[place]) and not _is_split(cells[place])
    ]
    return words if len(words) == 1 else free if len(columns.names) == 2 else []


def _is_split(cell: str) -> bool:
    return cell.strip().lower() in SPLIT_NAMES


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"-?\d*\.?\d*(e-?\d+)?", cell, re.IGNORECASE) is not None


def _told(source: str, told: Mapping[str, str], has_header: bool) -> list[Reading]:
    if not told:
        return []
    words = f"{source}: " + ", ".join(
        f"{'' if has_header else 'column '}{name!r} is read as the {role}"
        for role, name in told.items()
    )
    if not has_header:
        words += ", for no line names the columns"
    options = ", ".join(f"--{role}-column" for role in told)
    says = "says" if len(told) == 1 else "say"
    return [Reading("columns", words, f"{options} {says} which, if another is meant")]


def _refuse_several(source: str, names: list[str], role: str, found: list[str]) -> NoReturn:
    typed = " or ".join(f"--{role}-column {_typed(name)}" for name in dict.fromkeys(found))
    rule = f"{quoted(found)} could all be the {role} column"
    cure = f"say which it is: {typed}" if len(set(found)) > 1 else "give the columns other names"
    _refuse_columns(source, names, rule, cure=cure)


def _typed(name: str) -> str:
    return name if re.fullmatch(r"[\w.-]+", name) else f"'{name}'"


def _refuse_columns(
    source: str, header: Sequence[str], rule: str, name: str = "", *, cure: str = ""
) -> NoReturn:
    near = near_names(name, header)
    raise TableError(
        f"{rule}. The columns are {quoted(header, at_most=10)}",
        place=source,
        cure=f"did you mean {quoted(near)}?"
        if near
        else cure
        or "say which column it is (--path-column, --label-column, --split-column, "
        "--group-column), or let the first line name it, as path,label",
        columns=list(header),
        near=near,
    )
