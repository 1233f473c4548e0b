"""Each finding is raised where it belongs, once, and not on clean data."""

import re
from dataclasses import replace

import numpy as np
import pytest

from regraft.checks import (
    find_duplicates,
    find_outliers,
    find_problems,
    find_table_problems,
    left_out,
)
from regraft.checks.finding import Finding, in_order
from regraft.data.table import ImageTable, Rejected, Skipped, column
from regraft.images.facts import FileFacts
from regraft.images.facts_table import FactsTable

N = 60  # images: 20 of each class in train, 10 in val


def clean_table():
    paths = [f"data/{label}/{n:02d}.jpg" for label in ("ants", "bees") for n in range(N // 2)]
    labels = ["ants"] * (N // 2) + ["bees"] * (N // 2)
    splits = (["train"] * 20 + ["val"] * 10) * 2
    return ImageTable.from_paths(paths, labels).with_splits(splits)


def clean_facts():
    rng = np.random.default_rng(0)
    return [
        FileFacts(
            digest=bytes([n]) * 32,
            n_bytes=1000,
            format="JPEG",
            mode="RGB",
            width=int(rng.integers(300, 500)),
            height=int(rng.integers(300, 500)),
            brightness=120.0,
            contrast=50.0,
            thumb=rng.integers(0, 256, 256, np.uint8).tobytes(),
        )
        for n in range(N)
    ]


def clean_features():
    rng = np.random.default_rng(1)
    centres = np.repeat(rng.normal(0, 1, (2, 32)), N // 2, axis=0)
    return (centres + rng.normal(0, 0.3, (N, 32))).astype(np.float32)


def problems(table, facts, final=None):
    thumbs = np.stack([np.frombuffer(fact.thumb, np.uint8) for fact in facts])
    found = find_duplicates([fact.digest for fact in facts], thumbs, final)
    return find_problems(table, FactsTable.of(facts), found, final)


def kinds(findings):
    return [finding.kind for finding in findings]


def relabelled(table, **columns):
    return replace(table, **{name: column(values) for name, values in columns.items()})


def test_clean_data_has_no_findings():
    assert problems(clean_table(), clean_facts(), clean_features()) == []


# ---- table ----------------------------------------------------------------------------------


def without(table, label, split):
    return table.select((table.labels != label) | (table.splits != split))


def changed_table(kind):
    table = clean_table()
    every = np.arange(N)
    first = [True] + [False] * (N - 1)
    groups = [f"g{n}" for n in range(N)]
    groups[19] = groups[20] = "plant"
    return {
        "unreadable": lambda: replace(table, rejected=(Rejected("a.jpg", "cut off", "copy it"),)),
        "class-not-in-train": lambda: without(table, "bees", "train"),
        "class-not-scored": lambda: without(table, "bees", "val"),
        "class-not-in-val": lambda: relabelled(
            table,
            splits=[
                "test" if s == "val" else "val" if i % 9 == 1 and k == "ants" else s
                for i, (s, k) in enumerate(zip(table.splits, table.labels, strict=True))
            ],
        ),
        "class-in-one-group": lambda: replace(
            relabelled(
                table, groups=[k if k == "bees" else f"g{i}" for i, k in enumerate(table.labels)]
            ),
            splits=np.full(N, None, object),
        ),
        "one-class": lambda: table.select(table.labels == "ants"),
        "few-images": lambda: table.select((every < 30) | (every >= 43)),
        "imbalance": lambda: relabelled(
            table, labels=["ants"] * 29 + ["bees"] + ["ants"] * 28 + ["bees"] * 2
        ).with_splits(["train"] * 58 + ["val"] * 2),
        "groups-across-splits": lambda: relabelled(table, groups=groups),
        "similar-class-names": lambda: relabelled(
            table, labels=["Sea lion"] * 15 + ["sea_lion"] * 15 + ["bees"] * 30
        ).with_splits((["train"] * 10 + ["val"] * 5) * 4),
        "unlabelled": lambda: relabelled(table, labels=np.where(first, None, table.labels)),
        "stray-folder": lambda: replace(
            table, skipped=(Skipped("extra", "stray-folder", ""), Skipped("b", "hidden", ""))
        ),
    }[kind]()


SEVERITIES = {
    "unreadable": "warning",
    "class-not-in-train": "error",
    "class-not-scored": "warning",
    "class-not-in-val": "warning",
    "class-in-one-group": "warning",
    "one-class": "error",
    "few-images": "note",
    "imbalance": "warning",
    "groups-across-splits": "warning",
    "similar-class-names": "warning",
    "unlabelled": "note",
    "stray-folder": "warning",
}


@pytest.mark.parametrize("kind", SEVERITIES)
def test_a_table_problem_is_raised_once(kind):
    found = find_table_problems(changed_table(kind))
    of_kind = [finding for finding in found if finding.kind == kind]
    assert [finding.severity for finding in of_kind] == [SEVERITIES[kind]]


@pytest.mark.parametrize(
    ("large", "small", "severity"),
    [(176, 22, "warning"), (60, 12, "note"), (61, 12, "warning"), (36, 12, None)],
)
def test_uneven_classes_are_said_from_three_to_one_on(large, small, severity):
    labels = ["ants"] * large + ["bees"] * small
    table = ImageTable.from_paths([f"{i}.jpg" for i in range(large + small)], labels)
    found = [f for f in find_table_problems(table) if f.kind == "imbalance"]
    assert [finding.severity for finding in found] == ([severity] if severity else [])
    if found:
        assert f"{large} images" in found[0].message
        assert f"only {small}" in found[0].message
        assert "--class-weight balanced" in found[0].mend


def test_a_class_not_in_train_names_the_near_one():
    table = clean_table()
    labels = np.where((table.splits == "val") & (table.labels == "bees"), "Bees", table.labels)
    finding = find_table_problems(relabelled(table, labels=labels))[0]
    assert finding.kind == "class-not-in-train"
    assert "'Bees'" in finding.message
    assert "'bees'" in finding.mend
    assert len(finding.paths) == 10


def test_serious_findings_come_first():
    table = replace(changed_table("class-not-in-train"), skipped=(Skipped("x", "hidden", ""),))
    severities = [finding.severity for finding in find_table_problems(table)]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    assert severities[-1] == "note"


def test_skipped_entries_are_counted_by_kind():
    skipped = tuple(Skipped(f"{n}.tmp", "leftover", "") for n in range(8))
    finding = find_table_problems(replace(clean_table(), skipped=skipped))[0]
    assert finding.message.startswith("8 files left by programs")
    assert len(finding.paths) == 8


def test_an_unlabelled_folder_is_no_problem():
    assert find_table_problems(ImageTable.from_paths(["1.jpg", "2.jpg"])) == []


def test_paths_are_shown_as_the_user_knows_them():
    table = replace(
        ImageTable.from_paths(["/cache/a.jpg", "/cache/b.jpg"], ["ant", None]),
        source="photos.zip",
        root="/cache",
    )
    found = {finding.kind: finding for finding in find_table_problems(table)}
    assert found["unlabelled"].paths == ("photos.zip/b.jpg",)


# ---- pictures -------------------------------------------------------------------------------


def changed_facts(kind):
    facts = clean_facts()
    flat = bytes([250] * 200 + list(range(56)))
    one = {
        "exact-duplicates": {"digest": facts[1].digest, "thumb": facts[1].thumb},
        "near-duplicates": {"thumb": facts[1].thumb},
        "duplicates-across-splits": {"thumb": facts[25].thumb},
        "conflicting-labels": {"thumb": facts[35].thumb},
        "wrong-extension": {"format": "PNG"},
        "tiny": {"width": 20, "height": 400},
        "huge": {"width": 10_000, "height": 9_000},
        "odd-shape": {"width": 2000, "height": 400},
        "blank": {"contrast": 0.5},
        "dark": {"brightness": 5.0},
        "bright": {"brightness": 250.0},
        "placeholder": {"format": "GIF", "mode": "P", "thumb": flat},
    }
    many = {
        "format-tells-class": {"format": "PNG"},
        "mode-tells-class": {"mode": "L"},
        "size-tells-class": {"width": 2000, "height": 1500},
    }
    if kind in one:
        return [replace(facts[0], **one[kind]), *facts[1:]]
    return [replace(fact, **many[kind]) for fact in facts[:30]] + facts[30:]


PICTURE_KINDS = {
    **dict.fromkeys(
        ["exact-duplicates", "near-duplicates", "wrong-extension", "tiny", "huge", "odd-shape"],
        "note",
    ),
    **dict.fromkeys(["blank", "dark", "bright", "placeholder"], "note"),
    **dict.fromkeys(["duplicates-across-splits", "conflicting-labels"], "warning"),
    **dict.fromkeys(["format-tells-class", "mode-tells-class", "size-tells-class"], "warning"),
}


@pytest.mark.parametrize("kind", PICTURE_KINDS)
def test_a_picture_problem_is_raised_once(kind):
    found = problems(clean_table(), changed_facts(kind))
    of_kind = [finding for finding in found if finding.kind == kind]
    assert [finding.severity for finding in of_kind] == [PICTURE_KINDS[kind]]
    assert of_kind[0].message
    assert of_kind[0].why
    assert of_kind[0].mend


def test_a_score_that_is_mostly_memory_is_an_error():
    facts = clean_facts()
    copied = [replace(facts[n], thumb=facts[n - 10].thumb) for n in range(20, 30)]
    found = problems(clean_table(), [*facts[:20], *copied, *facts[30:]])
    assert (found[0].kind, found[0].severity) == ("duplicates-across-splits", "error")
    assert "10 of the 20 images of val" in found[0].message


def test_a_picture_of_another_class_is_an_outlier():
    final = clean_features()
    final[3] = final[45] + 0.1
    found = problems(clean_table(), clean_facts(), final)
    assert kinds(found) == ["outliers"]
    assert found[0].paths == ("data/ants/03.jpg",)


def test_a_copy_does_not_hide_an_outlier():
    final, labels = clean_features(), clean_table().labels
    final[3] = final[45]
    final[4] = final[3]
    unit = np.arange(N)
    unit[4] = 3
    assert find_outliers(final, labels, unit)[[3, 4]].all()


def test_flat_pictures_are_placeholders_only_where_they_are_rare():
    flat = bytes([250] * 200 + list(range(56)))
    facts = [replace(fact, thumb=flat) for fact in changed_facts("placeholder")]
    assert "placeholder" not in kinds(problems(clean_table(), facts))


def test_a_name_alone_makes_no_placeholder():
    table = clean_table()
    paths = ["data/ants/no_image.jpg", *table.paths[1:]]
    assert kinds(problems(relabelled(table, paths=paths), clean_facts())) == []


def test_findings_are_json_with_lists():
    finding = problems(clean_table(), changed_facts("tiny"))[-1]
    assert finding.to_dict()["paths"] == ["data/ants/00.jpg"]
    assert {"kind", "severity", "paths", "message", "mend"} <= set(finding.to_dict())


def test_rows_that_do_not_fit_together_are_refused():
    table, facts = clean_table(), clean_facts()
    found = find_duplicates([b"a"], np.zeros((1, 256), np.uint8))
    with pytest.raises(ValueError, match="60 images, 60 facts, 1 units"):
        find_problems(table, FactsTable.of(facts), found)


# ---- in the number of what is found ---------------------------------------------------------


def of_table(kind, n):
    """The clean table with `n` images, classes or entries of a problem."""
    table = clean_table()
    first = np.arange(N) < n
    names = [f"c{i}" for i in range(n)]
    more = ImageTable.from_paths([f"{c}/{i}.jpg" for c in names for i in range(4)], np.repeat(
        names, 4).tolist())  # fmt: skip
    return {
        "unreadable": lambda: replace(table, rejected=(Rejected("a.jpg", "cut", "copy it"),) * n),
        "class-unreadable": lambda: replace(
            table, rejected=tuple(Rejected("a.jpg", "cut", "copy it", name) for name in names)
        ),
        "class-not-in-train": lambda: joined(table, more, "val"),
        "class-not-scored": lambda: joined(table, more, "train"),
        "few-images": lambda: joined(table, more, "train"),
        "unlabelled": lambda: relabelled(table, labels=np.where(first, None, table.labels)),
        "in-no-split": lambda: relabelled(table, splits=np.where(first, None, table.splits)),
        "ungrouped": lambda: relabelled(
            table, groups=np.where(first, None, np.array([f"g{i}" for i in range(N)], object))
        ),
        "named-unlabelled": lambda: joined(
            table,
            ImageTable.from_paths(
                ["x/1.jpg", "y/2.jpg"][:n], ["unlabelled", "unsup"][:n]
            ), "train"),
        "named-like-nothing": lambda: joined(
            table, ImageTable.from_paths(["x/1.jpg", "y/2.jpg"][:n], ["nan", "None"][:n]), "train"
        ),
    }[kind]()  # fmt: skip


def joined(table, more, split):
    return ImageTable.from_paths(
        [*table.paths, *more.paths], [*table.labels, *more.labels]
    ).with_splits([*table.splits, *[split] * len(more)])


ONE = re.compile(r"\b(it|its)\b")
SEVERAL = re.compile(r"\b(they|them|their|these|those)\b")


def assert_in_number(finding, n):
    """The message counts; consequence and cure speak of as many."""
    said = f"{finding.why}. {finding.mend}"
    assert not re.search(r"[\[\]|]", said), said
    assert re.search(rf"\b{n}\b", finding.message), finding.message
    if n == 1:
        assert not re.search(r"\b1 (?!class\b)\w+s\b", finding.message)
        assert not SEVERAL.search(said), said
    else:
        assert not re.search(r"\b2 \w+ (?:is|has)\b", finding.message)
        assert not ONE.search(said), said


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize(
    "kind",
    ["unreadable", "class-unreadable", "class-not-in-train", "class-not-scored", "few-images",
     "unlabelled", "in-no-split", "ungrouped", "named-unlabelled", "named-like-nothing"],
)  # fmt: skip
def test_a_table_problem_is_said_in_its_number(kind, n):
    found = find_table_problems(of_table(kind, n))
    (finding,) = [one for one in found if one.kind == kind]
    if kind.endswith("unreadable"):  # its cure is the files' own
        finding = replace(finding, mend="")
    assert_in_number(finding, n)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("kind", sorted(left_out._SKIPPED))
def test_what_is_left_out_is_said_in_its_number(kind, n):
    entries = [Skipped(f"{i}", kind, "") for i in range(n)]
    (finding,) = left_out.findings_of(entries)
    if kind != "same-class":  # two folders are meant of each
        assert_in_number(finding, n)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("wrong-extension", {"format": "PNG"}),
        ("tiny", {"width": 20, "height": 400}),
        ("huge", {"width": 10_000, "height": 9_000}),
        ("odd-shape", {"width": 2000, "height": 400}),
        ("blank", {"contrast": 0.5}),
        ("dark", {"brightness": 5.0}),
        ("bright", {"brightness": 250.0}),
        ("faulty-file", {"note": "has bytes left over"}),
        ("several-frames", {"format": "GIF", "n_frames": 3}),
        ("little-range", {"mode": "I;16", "peak": 4095.0, "white": 65535.0}),
    ],
)
def test_a_picture_problem_is_said_in_its_number(kind, change, n):
    facts = [replace(fact, **change) if i < n else fact for i, fact in enumerate(clean_facts())]
    found = {finding.kind: finding for finding in problems(clean_table(), facts)}
    finding = found[kind]
    if kind in ("little-range", "several-frames", "faulty-file"):  # of the model, of channels
        finding = replace(finding, mend="")
    assert_in_number(finding, n)


def test_previews_in_a_photograph_are_no_pages():
    facts = [replace(fact, format="MPO", n_frames=2) for fact in clean_facts()]
    assert "several-frames" not in kinds(problems(clean_table(), facts))


def test_a_class_of_one_patient_is_told_with_its_group():
    (told,) = [
        one
        for one in find_table_problems(changed_table("class-in-one-group"))
        if one.kind == "class-in-one-group"
    ]
    assert "'bees' (group 'bees')" in told.message
    assert "from another group" in told.mend
    assert len(told.paths) == np.sum(clean_table().labels == "bees")


def test_a_class_of_one_patient_that_is_not_scored_needs_another_patient():
    """To move some of its images would tear the group apart, which is refused as a leak."""
    table = without(clean_table(), "bees", "val")
    table = relabelled(table, groups=[k if k == "bees" else f"g{i}"
                                      for i, k in enumerate(table.labels)])  # fmt: skip
    (told,) = [one for one in find_table_problems(table) if one.kind == "class-not-scored"]
    assert "'bees' is in one group" in told.mend
    assert "add images of another group to val" in told.mend


def test_what_makes_labels_wrong_comes_first():
    """A screen shows four: of warnings, those of wrong labels must be among them."""
    kinds = ["size-tells-class", "stray-folder", "imbalance", "few-images", "similar-class-names",
             "conflicting-labels"]  # fmt: skip
    found = in_order([Finding(kind, "warning", "", "", "") for kind in kinds])
    assert [one.kind for one in found[:2]] == ["conflicting-labels", "similar-class-names"]
    assert [one.kind for one in found[2:]] == kinds[:4]
