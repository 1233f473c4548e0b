"""Augmented copies and channels of one picture, by their names: kept together, and told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from regraft.data.one_picture import is_told, kept_together
from regraft.data.table import ImageTable, column


def table_of(*paths: str) -> ImageTable:
    return kept_together(ImageTable.from_paths(paths, [path.split("/")[0] for path in paths]))


def groups_of(*paths: str) -> list[str | None]:
    groups = table_of(*paths).groups
    return [None] * len(paths) if groups is None else groups.tolist()


@pytest.mark.parametrize(
    "copies",
    [
        ["cat/7.png", "cat/7_rot90.png", "cat/7_flip_lr.png"],
        ["cat/7.png", "cat/7-aug1.png", "cat/7_aug_2.png"],
        ["cat/7.png", "cat/7 (rotated 90).png", "cat/7_flip_rot180.png"],
        ["cat/7.png", "cat/7_bright_0.8.png", "cat/7_zoom1.25.png", "cat/7_rot-15.png"],
        ["cat/7.png", "cat/aug_7.png", "cat/flipped-7.png"],
        ["cat/7.png", "cat/augmented/7.png", "cat/flipped/7_flip.png"],
        ["cat/7_jpg.rf.0123456789abcdef0123.jpg", "cat/7_jpg.rf.fedcba98765432109876.jpg"],
    ],
    ids=["suffix", "number", "words", "decimals", "prefix", "folders", "Roboflow"],
)
def test_copies_of_one_picture_are_one_group_and_told(copies: list[str]) -> None:
    others = ["cat/8.png", "cat/9.png", "cat/10.png", "dog/8.png", "dog/9.png"]
    table = table_of(*copies, *others)
    assert table.groups is not None
    of_copies, of_others = table.groups[: len(copies)], table.groups[len(copies) :]
    assert len({*of_copies}) == 1
    assert of_copies[0] is not None
    assert [*of_others] == [None] * len(others)
    assert is_told(table)
    (told,) = [one for one in table.readings if one.kind == "augmented"]
    assert f"{len(copies)} images are 1 picture" in told.words


def test_what_keras_made_of_each_picture_is_one_group() -> None:
    of_seven = [f"cat/7_0_{chance}.jpeg" for chance in (1834, 9120, 5577)]
    of_eight = [f"cat/8_0_{chance}.jpeg" for chance in (312, 8841, 4096)]
    groups = groups_of(*of_seven, *of_eight, "dog/1.png", "dog/2.png")
    assert [len({*groups[:3]}), len({*groups[3:6]})] == [1, 1]
    assert None not in groups[:6]
    assert groups[0] != groups[3]
    assert groups[6:] == [None, None]


@pytest.mark.parametrize(
    "names",
    [
        ["film_1_1.png", "film_1_2.png", "film_1_3.png"],
        ["shot_0_101.png", "shot_0_102.png", "shot_0_103.png"],
        ["IMG_20240101_101112.png", "IMG_20240101_101455.png"],
        ["crop.png", "noise.png", "flip.png"],
        ["scan_224.png", "scan_448.png"],
    ],
    ids=["frames", "late frames", "a camera's hours", "words alone", "sizes"],
)
def test_numbers_that_are_no_copies_are_left_as_they_are(names: list[str]) -> None:
    paths = [f"cat/{name}" for name in names] + ["dog/1.png", "dog/2.png"]
    assert groups_of(*paths) == [None] * len(paths)


@pytest.mark.parametrize(
    "channels",
    [
        ["cell/a_ch1.tif", "cell/a_ch2.tif"],
        ["cell/a_w1.tif", "cell/a_w2.tif", "cell/a_w3.tif"],
        ["cell/a_DAPI.tif", "cell/a_GFP.tif"],
    ],
)
def test_channels_in_files_of_their_own_are_told_with_the_line_that_joins_them(
    channels: list[str],
) -> None:
    more = [path.replace("/a", "/b") for path in channels]
    table = table_of(*channels, *more, *[path.replace("cell", "dust") for path in channels])
    assert table.groups is not None
    assert len({*table.groups[: len(channels)]}) == 1
    assert table.groups[0] != table.groups[len(channels)]
    (told,) = [one for one in table.readings if one.kind == "channels"]
    assert "Image.merge('RGB'" in told.mend


@pytest.mark.parametrize("word", ["rot", "crop", "noise", "blur", "aug"])
@pytest.mark.parametrize(
    "form", ["{kind}/{plant}_{word}_{i}.jpg", "{kind}/{plant} {word} ({i}).jpg"]
)
def test_a_word_that_is_the_subjects_own_makes_no_copies(word: str, form: str) -> None:
    """A class whose every image is called so would be one group, and could not be divided."""
    own = [form.format(kind=f"grape_{word}", plant="grape", word=word, i=i) for i in range(9)]
    two = [
        form.format(kind="ill", plant=plant, word=word, i=i)
        for plant in ("apple", "pear")
        for i in range(20)
    ]
    others = [f"sound/leaf_{i}.jpg" for i in range(20)]
    assert groups_of(*own, *two, *others) == [None] * len([*own, *two, *others])


def test_few_copies_without_their_original_are_one_group() -> None:
    groups = groups_of(*[f"cat/{i}_aug{k}.jpg" for i in range(4) for k in (1, 2)], "dog/1.jpg")
    assert groups == [f"cat/{i}" for i in range(4) for _ in (1, 2)] + [None]


def test_what_the_user_groups_stays() -> None:
    paths = ["cat/1.png", "cat/1_flip.png", "dog/2.png"]
    table = ImageTable.from_paths(paths, ["cat", "cat", "dog"])
    given = replace(table, groups=column(["x", "y", "z"]))
    together = kept_together(given).groups
    assert together is not None
    assert together.tolist() == ["x", "y", "z"]


def test_copies_that_no_name_explains_are_told() -> None:
    table = table_of("cat/1.png", "cat/augmented/a.png", "dog/2.png", "dog/augmented/b.png")
    assert [one.kind for one in table.readings] == ["copies-unsaid"]
