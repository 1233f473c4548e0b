"""The table keeps what it was given, names what was left out, and knows unknown classes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from regraft.data.known_classes import check_known_classes, unknown_classes
from regraft.data.table import ImageTable, folder_of_classes, no_labels_error
from regraft.errors import TableError
from regraft.wording import near_names


@pytest.fixture
def table() -> ImageTable:
    paths = [f"p/{i}.jpg" for i in range(5)]
    labels = ["ants", "bees", "ants", "Ants", None]
    return ImageTable.from_paths(paths, labels).with_splits(["train", "train", "val", "val", None])


def test_counts_have_a_zero_for_a_class_that_a_split_lacks(table):
    assert table.counts() == {
        "train": {"Ants": 0, "ants": 1, "bees": 1},
        "val": {"Ants": 1, "ants": 1, "bees": 0},
    }
    assert table.n_unlabelled == 1


def test_selection_by_mask_and_by_index_agree(table):
    by_mask = table.select(table.labels == "ants")
    by_index = table.select([0, 2])
    assert by_mask.paths.tolist() == by_index.paths.tolist() == ["p/0.jpg", "p/2.jpg"]
    assert by_mask.splits.tolist() == ["train", "val"]
    assert len(table.select([])) == 0


def test_selection_keeps_groups_and_what_was_left_out(table):
    grouped = replace(table, groups=np.array(list("abcde"), dtype=object), source="x")
    chosen = grouped.select([1])
    assert chosen.groups is not None
    assert chosen.groups.tolist() == ["b"]
    assert chosen.source == "x"


def test_columns_of_another_length_are_a_programming_mistake(table):
    with pytest.raises(ValueError, match="need 5 values"):
        table.with_splits(["train"])
    with pytest.raises(ValueError, match="train, val, test"):
        table.with_splits(["teach"] * 5)


def test_paths_given_as_bytes_or_path_keep_their_order(tmp_path):
    table = ImageTable.from_paths([tmp_path / "b", b"a\xff"])
    assert table.paths.tolist() == [str(tmp_path / "b"), "a\udcff"]
    assert not table.has_splits
    assert table.classes == []


def test_a_differently_cased_class_is_unknown_and_its_near_name_is_told(table):
    assert unknown_classes(table) == {"Ants": ["ants"]}
    assert unknown_classes(table.with_splits([None] * 5)) == {}


def test_unknown_classes_raise_with_place_near_names_and_cure():
    with pytest.raises(TableError) as caught:
        check_known_classes(["ants", "Ants", "wasp", None], ["ants", "wasps"], "photos/val")
    error = caught.value
    assert error.labels == ["Ants", "wasp"]
    assert error.near["Ants"][0] == "ants"
    assert "wasps" in error.near["wasp"]
    assert "photos/val" in str(error)
    assert "rename the class" in error.cure


def test_many_unknown_classes_are_counted_and_the_first_five_told():
    with pytest.raises(TableError, match=r"40 classes are unknown.*and 35 more"):
        check_known_classes([f"class {i}" for i in range(40)], ["x"], "here")


def test_near_names_ignore_case_but_not_everything():
    assert near_names("DANDELION", ["dandelion", "rose"]) == ["dandelion"]
    assert near_names("zebra", ["dandelion", "rose"]) == []


def test_paths_outside_the_root_are_shown_as_they_are(table):
    unpacked = replace(table, source="photos.zip", root="/c/3f")
    assert unpacked.shown("/c/3f/a.jpg") == "photos.zip/a.jpg"
    assert unpacked.shown("/c/3f") == "photos.zip"
    assert unpacked.shown("/c/3fa.jpg") == "/c/3fa.jpg"
    assert table.shown("p/0.jpg") == "p/0.jpg"


def test_one_class_alone_is_answered_with_the_folder_above(tmp_path: Path) -> None:
    for name in ("ants", "bees"):
        (tmp_path / "photos" / name).mkdir(parents=True)
    one = os.path.join(tmp_path, "photos", "ants")
    assert folder_of_classes(one) == os.path.join(tmp_path, "photos")
    assert folder_of_classes(one + os.sep) == os.path.join(tmp_path, "photos")
    assert folder_of_classes(os.path.join(tmp_path, "photos")) == ""
    assert folder_of_classes(os.path.join(tmp_path, "photos", "list.csv")) == ""
    refused = no_labels_error(replace(ImageTable.from_paths(["1.jpg"]), source=one))
    assert refused.cure.endswith(
        f"is itself one class, give the folder above: {os.path.join(tmp_path, 'photos')}"
    )
