"""One rule for what a value says, whichever door it comes by: CSV, Parquet, folders, Python."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regraft.checks.findings import find_table_problems
from regraft.data.cells import is_missing, name_of, names_for
from regraft.data.folders import read_folder
from regraft.data.known_classes import check_known_classes
from regraft.data.manifests import read_manifest
from regraft.data.splits import assign, check_groups_across
from regraft.data.table import ImageTable, column
from regraft.errors import TableError
from regraft.evaluation.influence import group_codes
from regraft.workflows.survey import check
from regraft.workflows.units import units_of

NAN = float("nan")
NFC, NFD = "caf\u00e9", "cafe\u0301"


class NAType:
    """As pandas.NA: compared with anything it is NA again, and it has no truth."""

    def __repr__(self) -> str:
        return "<NA>"

    def __ne__(self, other: object) -> Any:
        return self

    __eq__ = __ne__
    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise TypeError("boolean value of NA is ambiguous")


MISSING = [
    None,
    NAN,
    np.float32("nan"),
    np.datetime64("NaT"),
    np.ma.masked,
    NAType(),
    "",
    " \t\xa0",
]


@pytest.mark.parametrize("value", MISSING, ids=repr)
def test_what_is_missing_is_so_by_every_door_of_python(value: Any) -> None:
    assert is_missing(value)
    assert name_of(value) is None
    assert ImageTable.from_paths(["a.jpg", "b.jpg"], ["x", value]).labels.tolist() == ["x", None]
    table = ImageTable.from_paths(["a.jpg", "b.jpg"], ["x", "y"])
    assert table.with_splits(["train", value]).splits.tolist() == ["train", None]
    assert group_codes(["p", value, value, "p"], 4).tolist() == [0, 1, 2, 0]  # type: ignore[union-attr]


@pytest.mark.parametrize("value", [0, 0.0, False, "nan", "None", np.str_("x"), b"x"], ids=repr)
def test_what_is_there_is_not_missing(value: Any) -> None:
    assert not is_missing(value)


def csv_of(tmp_path: Path, columns: dict[str, Sequence[Any]]) -> Path:
    """As pandas writes it: nothing where a value is missing, True and False."""
    path = tmp_path / "m.csv"
    rows = zip(*columns.values(), strict=True)
    lines = [",".join("" if is_missing(cell) else str(cell) for cell in row) for row in rows]
    path.write_text("\n".join([",".join(columns), *lines]) + "\n", encoding="utf-8")
    return path


def parquet_of(tmp_path: Path, columns: dict[str, Sequence[Any]]) -> Path:
    import polars as pl

    path = tmp_path / "m.parquet"
    pl.DataFrame(columns).write_parquet(path)
    return path


COLUMNS: list[Sequence[Any]] = [
    [True, False, None], [1.0, 2.5, NAN], [1e20, 0.1, NAN], [1, 2, None], ["ants", "", None],
    [" ants", "bees ", "  "], [NFC, NFD, "x"], ["007", "7", "nan"], [NAN, NAN, NAN],
]  # fmt: skip


@pytest.mark.parametrize("values", COLUMNS, ids=repr)
@pytest.mark.parametrize("role", ["label", "group"])
def test_csv_and_parquet_say_the_same(values: Sequence[Any], role: str, tmp_path: Path) -> None:
    columns = {"path": ["1.jpg", "2.jpg", "3.jpg"], role: values}
    found = [
        read_manifest(write(tmp_path, columns), check_files=False) for write in (csv_of, parquet_of)
    ]
    text, binary = [table.labels if role == "label" else table.groups for table in found]
    assert text.tolist() == binary.tolist() == [name_of(value) for value in values]


def test_headers_labels_splits_and_paths_lose_their_blanks(tmp_path: Path) -> None:
    (tmp_path / " kept.jpg").touch()
    (tmp_path / "bare.jpg").touch()
    columns = {
        " path ": [" kept.jpg", "bare.jpg "],
        "label ": [" ants", "ants"],
        "set": [" Test", ""],
    }
    for write in (csv_of, parquet_of):
        table = read_manifest(write(tmp_path, columns))
        names = [Path(path).name for path in table.paths]
        assert names == [" kept.jpg", "bare.jpg"]
        assert table.labels.tolist() == ["ants", "ants"]
        assert table.splits.tolist() == ["test", None]
        assert table.rejected == ()


def test_a_blank_after_the_comma_may_stand_before_a_quote(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text('path, label\n1.jpg, "a, b"\n2.jpg, "ants"\n')
    assert read_manifest(path, check_files=False).labels.tolist() == ["a, b", "ants"]


def test_a_split_column_of_nan_alone_is_no_split(tmp_path: Path) -> None:
    path = parquet_of(tmp_path, {"path": ["1.jpg"], "label": ["x"], "split": [NAN]})
    assert not read_manifest(path, check_files=False).has_splits


def test_a_column_is_found_however_its_accent_is_stored(tmp_path: Path) -> None:
    path = csv_of(tmp_path, {"path": ["1.jpg"], NFD: ["x"]})
    assert read_manifest(path, label_column=NFC, check_files=False).labels.tolist() == ["x"]


def test_an_empty_column_name_is_not_what_was_meant(tmp_path: Path) -> None:
    path = csv_of(tmp_path, {"": ["0"], "lbl": ["x"]})
    with pytest.raises(TableError, match="no column of paths") as caught:
        read_manifest(path)
    assert "did you mean" not in str(caught.value)


# -- Groups --


def test_each_image_without_a_group_is_on_its_own() -> None:
    groups = np.array(["p", None, None, "p"], object)
    units = units_of(np.arange(4), groups, np.ones(4, bool))
    assert len(set(units.tolist())) == 3
    digests = [bytes([n]) * 32 for n in range(40)]
    labels = column(["x", "y"] * 20)
    alone = assign(labels, digests)
    assert (assign(labels, digests, groups=column([NAN] * 40)) == alone).all()


@pytest.mark.parametrize("groups", [["p"], ["p", "q", "r"]], ids=len)
def test_groups_too_short_or_too_long_are_refused_in_words(groups: list[str]) -> None:
    words = rf"groups has {len(groups)} values? for 2 images; give one for each"
    digests, labels = [b"1", b"2"], column(["x", "y"])
    with pytest.raises(ValueError, match=words):
        names_for(groups, 2, "groups")
    with pytest.raises(ValueError, match=words):
        assign(labels, digests, groups=column(groups))
    with pytest.raises(ValueError, match=words):
        check_groups_across(column(["train", "val"]), column(groups))
    with pytest.raises(ValueError, match=f"labels has {len(groups)} value"):
        ImageTable.from_paths(["a.jpg", "b.jpg"], groups)


def test_what_is_without_a_group_or_named_like_nothing_is_told(tmp_path: Path) -> None:
    text = "path,label,group\n1.jpg,ants,p\n2.jpg,nan,\n3.jpg,bees,None\n4.jpg,ants,\n"
    path = tmp_path / "m.csv"
    path.write_text(text)
    found = find_table_problems(read_manifest(path, check_files=False))
    told = {(f.kind, len(f.paths)) for f in found}
    assert ("ungrouped", 2) in told
    words = [f.message for f in found if f.kind == "named-like-nothing"]
    assert ["'nan'" in words[0], "'None'" in words[1]] == [True, True]


# -- Names that look the same --


def test_class_folders_are_one_class_however_the_accent_is_stored(tmp_path: Path) -> None:
    for folder in (f"train/{NFC}", f"val/{NFD}", "train/ants", "val/ants "):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "1.jpg").touch()
    table = read_folder(tmp_path)
    assert table.classes == ["ants", NFC]
    assert table.counts() == {"train": {"ants": 1, NFC: 1}, "val": {"ants": 1, NFC: 1}}
    assert table.skipped == ()


def test_two_folders_of_one_class_are_one_and_the_second_is_named(tmp_path: Path) -> None:
    for folder in (NFC, NFD, "x"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.jpg").touch()
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system tells no such names apart")
    table = read_folder(tmp_path)
    assert table.counts() == {None: {NFC: 2, "x": 1}}
    assert [entry.kind for entry in table.skipped] == ["same-class"]
    told = [f.message for f in find_table_problems(table) if f.kind == "same-class"]
    assert len(told) == 1
    assert unicodedata.is_normalized("NFC", table.classes[0])


def test_labels_are_known_to_a_model_however_its_accent_is_stored() -> None:
    check_known_classes([NFC, " ants", None], [NFD, "ants"], "here")


def test_letters_that_only_look_the_same_are_told_by_their_code_points() -> None:
    with pytest.raises(TableError, match=r"\(near: 'ants'; '\u0430' is U\+0430\)"):
        check_known_classes(["\u0430nts"], ["ants", "bees"], "here")


def test_json_means_what_the_same_csv_means(tmp_path: Path) -> None:
    """True is no other class than 'True' of pandas' CSV, and NaN, which Python writes, is none."""
    rows = [("1.jpg", True), ("2.jpg", False), ("3.jpg", NAN), ("4.jpg", None), ("5.jpg", 0.5)]
    (tmp_path / "m.jsonl").write_text(
        "\n".join(json.dumps({"path": path, "label": label}) for path, label in rows)
    )
    (tmp_path / "m.csv").write_text(
        "path,label\n1.jpg,True\n2.jpg,False\n3.jpg,\n4.jpg,\n5.jpg,0.5"
    )
    for name in {path for path, _ in rows}:
        (tmp_path / name).write_bytes(b"\xff\xd8\xff")
    of_json, of_csv = (read_manifest(str(tmp_path / name)) for name in ("m.jsonl", "m.csv"))
    assert of_json.labels.tolist() == of_csv.labels.tolist() == ["True", "False", None, None, "0.5"]


@pytest.mark.parametrize(
    ("value", "cure"), [(["ants"], r"if each has one value.*str\[0\]"), (b"ants", "decode")]
)
def test_parquet_of_lists_or_bytes_is_refused_with_the_line_that_mends_it(
    value: Any, cure: str, tmp_path: Path
) -> None:
    pl = pytest.importorskip("polars")
    path = tmp_path / "m.parquet"
    pl.DataFrame({"path": ["1.jpg", "2.jpg"], "label": [value, value]}).write_parquet(path)
    with pytest.raises(TableError, match="column 'label' holds") as caught:
        read_manifest(str(path))
    assert re.search(cure, caught.value.cure)


def test_a_second_row_without_a_label_is_no_error(tmp_path: Path) -> None:
    """`check` divided by the first two rows, and refused what `train` takes."""
    rows = ["1.jpg,ants", "2.jpg,", "3.jpg,bees", "4.jpg,ants"]
    (tmp_path / "m.csv").write_text("\n".join(["path,label", *rows]))
    for row in rows:
        (tmp_path / row.partition(",")[0]).write_bytes(b"\xff\xd8\xff")
    found = check(str(tmp_path / "m.csv"), quick=True).findings
    assert [one.kind for one in found if one.severity == "error"] == []
