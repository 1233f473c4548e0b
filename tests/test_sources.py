"""Folders, manifests, archives and single files become the same table, and nothing is lost."""

from __future__ import annotations

import inspect
import io
import os
import socket
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from regraft.data.folders import read_folder
from regraft.data.known_classes import unknown_classes
from regraft.data.manifests import read_manifest
from regraft.data.sources import read_table
from regraft.errors import RegraftError, TableError, UsageError

JPEG = b"\xff\xd8\xff\xe0" + bytes(40)


def plant(root, *names):
    for name in names:
        path = Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(JPEG)
    return Path(root)


def rows(table, root):
    return [
        (os.path.relpath(path, root), label, split)
        for path, label, split in zip(table.paths, table.labels, table.splits, strict=True)
    ]


def named(table, root):
    return {os.path.relpath(entry.path, root): entry.kind for entry in table.skipped}


# Layouts of folders.


def test_class_folders_become_labels_without_splits(tmp_path):
    plant(tmp_path, "bees/2.jpg", "bees/deep/er/1.PNG", "ants/1.jpg")
    table = read_table(tmp_path)
    assert rows(table, tmp_path) == [
        ("ants/1.jpg", "ants", None),
        ("bees/2.jpg", "bees", None),
        ("bees/deep/er/1.PNG", "bees", None),
    ]
    assert not table.has_splits
    assert table.groups is None
    assert table.skipped == table.rejected == ()
    assert (table.source, table.root) == (str(tmp_path), str(tmp_path))


def test_split_folders_are_known_by_all_their_names(tmp_path):
    names = {"Training": "train", "train": "train", "VAL": "val", "valid": "val"}
    names |= {"validation": "val", "dev": "val", "Test": "test", "testing": "test"}
    plant(tmp_path, *(f"{name}/ants/1.jpg" for name in names))
    table = read_table(tmp_path)
    assert {row[0].split("/")[0]: row[2] for row in rows(table, tmp_path)} == names
    assert table.classes == ["ants"]


def test_folders_beside_the_splits_are_named_as_strays(tmp_path):
    plant(tmp_path, "train/ants/1.jpg", "val/ants/2.jpg", "notes/3.jpg", "4.jpg")
    (tmp_path / "labels.txt").write_text("ants")
    table = read_table(tmp_path)
    assert len(table) == 2
    assert named(table, tmp_path) == {
        "notes": "stray-folder", "4.jpg": "unlabelled", "labels.txt": "not-an-image"
    }  # fmt: skip


def test_a_test_folder_alone_is_a_split_and_its_inside_is_classes(tmp_path):
    plant(tmp_path, "test/ants/1.jpg", "test/bees/1.jpg")
    assert {split for *_, split in rows(read_table(tmp_path), tmp_path)} == {"test"}
    inside = read_table(tmp_path / "test")
    assert inside.classes == ["ants", "bees"]
    assert not inside.has_splits


def test_a_class_named_like_a_split_is_a_class_beside_other_classes(tmp_path):
    plant(tmp_path, "train/1.jpg", "car/1.jpg", "bus/1.jpg")
    table = read_table(tmp_path)
    assert table.classes == ["bus", "car", "train"]
    assert not table.has_splits


def test_a_flat_folder_has_images_without_labels(tmp_path):
    plant(tmp_path, "2.jpg", "1.jpg")
    assert rows(read_table(tmp_path), tmp_path) == [("1.jpg", None, None), ("2.jpg", None, None)]


def test_flat_test_images_beside_labelled_train_are_named(tmp_path):
    plant(tmp_path, "train/ants/1.jpg", "test/1.jpg")
    table = read_table(tmp_path)
    assert len(table) == 1
    assert named(table, tmp_path) == {"test/1.jpg": "unlabelled"}


@pytest.mark.parametrize("inside", ["{}/train/ants/1.jpg", "{}/ants/1.jpg", "a/b/{}/val/x/1.jpg"])
def test_a_wrapper_folder_is_entered(inside, tmp_path):
    plant(tmp_path, inside.format("photos"), inside.format("photos").replace("1.", "2."))
    (tmp_path / "README.txt").write_text("hello")
    plant(tmp_path, "__MACOSX/photos/train/ants/._1.jpg")
    table = read_table(tmp_path)
    assert table.classes == [Path(inside).parent.name]
    assert table.has_splits == ("train" in inside or "val" in inside)
    assert named(table, tmp_path) == {"README.txt": "not-an-image", "__MACOSX": "leftover"}


def test_one_folder_of_images_is_a_class_of_its_own(tmp_path):
    plant(tmp_path, "ants/1.jpg", "ants/more/2.jpg")
    assert [row[1] for row in rows(read_table(tmp_path), tmp_path)] == ["ants", "ants"]


def test_classes_that_differ_in_case_stay_apart(tmp_path):
    plant(tmp_path, "train/Ants/1.jpg", "train/bees/1.jpg", "val/ants/1.jpg", "val/bees/2.jpg")
    table = read_table(tmp_path)
    assert table.classes == ["Ants", "ants", "bees"]
    assert unknown_classes(table) == {"ants": ["Ants"]}


# What is left out, and is named.


def test_leftovers_hidden_and_empty_things_are_named(tmp_path):
    plant(tmp_path, "a/1.jpg", "a/.hidden.jpg", "a/._1.jpg", "a/Thumbs.db", "a/.DS_Store")
    plant(tmp_path, ".cache/2.jpg", "a/.ipynb_checkpoints/1.jpg", "a/@eaDir/1.jpg")
    for empty in ("b", "a/c", "d/e/f", "a/x.jpg"):
        (tmp_path / empty).mkdir(parents=True)
    table = read_table(tmp_path)
    assert [row[0] for row in rows(table, tmp_path)] == ["a/1.jpg"]
    assert named(table, tmp_path) == {
        "a/.hidden.jpg": "hidden",
        "a/._1.jpg": "leftover",
        "a/Thumbs.db": "leftover",
        "a/.DS_Store": "leftover",
        ".cache": "hidden",
        "a/.ipynb_checkpoints": "leftover",
        "a/@eaDir": "leftover",
        "b": "empty-folder",
        "a/c": "empty-folder",
        "d": "empty-folder",
        "d/e/f": "empty-folder",
        "a/x.jpg": "empty-folder",
    }


def test_a_folder_named_like_an_image_is_walked(tmp_path):
    plant(tmp_path, "a/x.jpg/1.jpg")
    plant(tmp_path, "a/2.jpg")
    assert len(read_table(tmp_path)) == 2


def test_unknown_extensions_are_told_by_content(tmp_path):
    plant(tmp_path, "a/no_extension", "a/1.jpg_large", "a/1.jpg?size=2")
    contents = {
        "png": b"\x89PNG\r\n\x1a\n", "gif": b"GIF89a", "webp": b"RIFF\1\2\3\4WEBPVP8 ",
        "bmp": b"BM\1\2\3\4\0\0\0\0", "tif": b"II*\0", "heic": b"\0\0\0\x18ftypheic",
        "ppm": b"P6\n",
    }  # fmt: skip
    for name, content in contents.items():
        (tmp_path / f"a/{name}_").write_bytes(content + bytes(20))
    for name, content in {"a.txt": b"BMW and P6s", "b.html": b"<html>", "empty": b""}.items():
        (tmp_path / "a" / name).write_bytes(content)
    table = read_table(tmp_path)
    assert len(table) == 3 + len(contents)
    assert named(table, tmp_path) == dict.fromkeys(
        ["a/a.txt", "a/b.html", "a/empty"], "not-an-image"
    )


def test_images_that_the_decoder_may_refuse_are_rows(tmp_path):
    plant(tmp_path, "a/1.heic", "a/2.svg", "a/3.PSD", "a/4.avif", "a/5.cr2")
    assert len(read_table(tmp_path)) == 5


def test_an_archive_inside_is_named(tmp_path):
    plant(tmp_path, "a/1.jpg", "a/more.zip")
    (tmp_path / "a/more.zip").write_bytes(b"PK\3\4")
    (entry,) = read_table(tmp_path).skipped
    assert "not unpacked" in entry.reason


def test_links_are_followed_and_loops_are_named(tmp_path):
    plant(tmp_path, "photos/a/1.jpg", "photos/b/2.jpg", "elsewhere/3.jpg")
    photos = tmp_path / "photos"
    (photos / "b/more").symlink_to(tmp_path / "elsewhere")
    (photos / "a/self").symlink_to(photos)
    (photos / "a/up").symlink_to(tmp_path)
    table = read_table(photos)
    found = [row[0] for row in rows(table, photos)]
    assert found == ["a/1.jpg", "a/up/elsewhere/3.jpg", "b/2.jpg", "b/more/3.jpg"]
    assert named(table, photos) == {"a/self": "link-loop", "a/up/photos": "link-loop"}


def test_what_cannot_be_opened_is_rejected_with_a_mend(tmp_path, monkeypatch):
    plant(tmp_path, "a/1.jpg")
    (tmp_path / "a/broken.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "a/loop.jpg").symlink_to(tmp_path / "a/loop.jpg")
    (tmp_path / "a/loop").symlink_to(tmp_path / "a/loop")
    os.mkfifo(tmp_path / "a/pipe.jpg")
    os.mkfifo(tmp_path / "a/pipe")
    with socket.socket(socket.AF_UNIX) as sock:
        monkeypatch.chdir(tmp_path / "a")
        sock.bind("socket.jpg")
    table = read_table(tmp_path)
    assert len(table) == 1
    reasons = {os.path.basename(entry.path): entry.reason for entry in table.rejected}
    assert reasons == {
        "broken.jpg": "is a link to a file that does not exist",
        "loop.jpg": "is a link that leads back to itself",
        "pipe.jpg": "is a pipe, socket or device, not a file",
        "socket.jpg": "is a pipe, socket or device, not a file",
    }
    assert all(entry.mend for entry in table.rejected)
    assert named(table, tmp_path) == {"a/loop": "not-an-image", "a/pipe": "not-an-image"}


def test_unreadable_folders_and_files_are_named(tmp_path, monkeypatch):
    plant(tmp_path, "a/1.jpg", "a/unknown", "b/1.jpg")
    real_scandir, real_open = os.scandir, open

    def forbid(real, ending):
        def guarded(path, *args, **options):
            if str(path).endswith(ending):
                raise PermissionError(13, "Permission denied")
            return real(path, *args, **options)

        return guarded

    monkeypatch.setattr(os, "scandir", forbid(real_scandir, "/b"))
    monkeypatch.setattr("builtins.open", forbid(real_open, "unknown"))
    table = read_table(tmp_path)
    assert len(table) == 1
    assert named(table, tmp_path) == {"b": "unreadable-folder"}
    assert "Permission denied" in table.skipped[0].reason
    assert "Permission denied" in table.rejected[0].reason


def test_folders_nested_deeper_than_python_recurses_are_walked(tmp_path):
    plant(tmp_path, "a/1.jpg", "a/" + "d/" * 300 + "2.jpg")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        assert len(read_table(tmp_path)) == 2
    finally:
        sys.setrecursionlimit(limit)


# Names.

HOSTILE = ["new\nline.jpg", "emoji 😀.jpg", "-rf.jpg", " lead.jpg", "a,b\"'.jpg", "<script>.jpg"]


def test_hostile_names_come_through_unchanged(tmp_path):
    folder = os.fsencode(tmp_path / "ants")
    os.mkdir(folder)
    names = sorted([*map(os.fsencode, HOSTILE), b"\xff\xfe latin.jpg"])
    for name in names:
        with open(os.path.join(folder, name), "wb") as file:
            file.write(JPEG)
    table = read_table(tmp_path)
    assert sorted(os.path.basename(os.fsencode(path)) for path in table.paths) == names
    assert all(os.path.exists(path) for path in table.paths)


def test_a_class_whose_name_is_no_text_is_refused(tmp_path):
    os.mkdir(os.path.join(os.fsencode(tmp_path), b"caf\xe9"))
    with open(os.path.join(os.fsencode(tmp_path), b"caf\xe9", b"1.jpg"), "wb"):
        pass
    with pytest.raises(TableError, match="not UTF-8 text") as caught:
        read_table(tmp_path)
    str(caught.value).encode()


def test_paths_are_the_source_as_typed(tmp_path, monkeypatch):
    plant(tmp_path, "photos/ants/1.jpg")
    monkeypatch.chdir(tmp_path)
    for typed in ("photos", "photos/", "./photos", "../" + tmp_path.name + "/photos"):
        assert read_table(typed).paths[0] == os.path.join(typed, "ants/1.jpg")


# Sources that are refused.


def test_a_missing_source_tells_near_names(tmp_path):
    plant(tmp_path, "photos/ants/1.jpg")
    with pytest.raises(TableError, match="does not exist") as caught:
        read_table(tmp_path / "Fotos")
    assert str(tmp_path / "photos") in caught.value.cure
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("name", ["notes.txt", "empty", "table.xlsx"])
def test_a_file_of_another_kind_is_refused_with_the_forms(name, tmp_path):
    (tmp_path / name).write_bytes(b"hello")
    with pytest.raises(TableError, match="neither") as caught:
        read_table(tmp_path / name)
    assert ".parquet" in caught.value.cure


def test_a_pipe_is_refused_without_opening_it(tmp_path):
    for name in ("pipe", "pipe.csv", "pipe.zip", "pipe.jpg"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(TableError, match="pipe, socket or device"):
            read_table(tmp_path / name)


@pytest.mark.parametrize("source", ["", "\0", "x" * 5000, "a\nb", "\udcff"])
def test_sources_that_cannot_be_names_are_refused(source):
    with pytest.raises(TableError):
        read_table(source)


def test_a_folder_without_images_says_what_was_left_out(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(TableError, match=r"no image in it; left out: .*notes\.txt"):
        read_folder(tmp_path)
    with pytest.raises(TableError, match="is not a folder"):
        read_folder(tmp_path / "notes.txt")


def test_one_image_file_is_a_table_of_one(tmp_path):
    plant(tmp_path, "1.jpg", "no_extension")
    assert read_table(tmp_path / "1.jpg").paths.tolist() == [str(tmp_path / "1.jpg")]
    assert len(read_table(tmp_path / "no_extension")) == 1


def test_columns_are_refused_where_there_are_none(tmp_path):
    plant(tmp_path, "ants/1.jpg")
    with pytest.raises(UsageError, match="manifest only"):
        read_table(tmp_path, label_column="species")


# Archives.


def test_an_archive_is_read_and_shown_under_its_own_name(tmp_path):
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as new:
        for name in ("photos/train/ants/1.jpg", "photos/val/ants/2.jpg", "__MACOSX/x"):
            new.writestr(name, JPEG)
    table = read_table(archive, archive_folder=tmp_path / "cache")
    assert table.shown(table.paths[0]) == f"{archive}/photos/train/ants/1.jpg"
    assert table.shown(table.skipped[0].path) == f"{archive}/__MACOSX"
    assert table.splits.tolist() == ["train", "val"]
    assert Path(table.root).parent == tmp_path / "cache"


def test_archives_go_to_the_cache_folder_by_default(tmp_path, monkeypatch):
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "cache"))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as new:
        new.writestr("ants/1.jpg", JPEG)
    assert read_table(tmp_path / "a.zip").root.startswith(str(tmp_path / "cache" / "archives"))


# Manifests.


def write(tmp_path, text, name="m.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read_text(tmp_path, text, name="m.csv", **options):
    return read_manifest(write(tmp_path, text, name), check_files=False, **options)


@pytest.mark.parametrize(
    "text",
    [
        "path,label\na.jpg,007\nb.jpg,1.0\n",
        "\ufeffpath,label\r\na.jpg,007\r\nb.jpg,1.0",
        '"path","label"\n"a.jpg","007"\n"b.jpg","1.0"\n',
        "Label;FileName\n007;a.jpg\n1.0;b.jpg\n",
        " path , label \n./a.jpg,007\n\n,\nb.jpg,1.0\n,,\n".replace(",,", ","),
        "id\tclass\timage_path\n1\t007\ta.jpg\n2\t1.0\tb.jpg\n",
        "path,label\nb.jpg,1.0\na.jpg,007\n".encode("utf-16"),
    ],
)
def test_labels_are_text_as_written_in_every_dialect(text, tmp_path):
    table = read_text(tmp_path, text)
    assert table.paths.tolist() == [str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg")]
    assert table.labels.tolist() == ["007", "1.0"]
    assert table.root == ""
    assert table.shown(table.paths[0]) == table.paths[0]


def test_splits_groups_and_empty_cells(tmp_path):
    text = "path,class,subset,group\na,x,Training,p1\nb,,dev,\nc, ,,p1\nd,y, TEST ,p2\n"
    table = read_text(tmp_path, text)
    assert table.labels.tolist() == ["x", None, None, "y"]
    assert table.splits.tolist() == ["train", "val", None, "test"]
    assert table.groups is not None
    assert table.groups.tolist() == ["p1", None, "p1", "p2"]


def test_columns_can_be_named(tmp_path):
    text = "id,species,photo,fold,plant\n1,rose,a.jpg,train,p\n"
    table = read_text(
        tmp_path, text, path_column="photo", label_column="species", split_column="fold",
        group_column="plant",
    )  # fmt: skip
    assert (table.labels[0], table.splits[0]) == ("rose", "train")
    assert table.groups is not None
    with pytest.raises(TableError, match="no column 'specie'") as caught:
        read_text(tmp_path, text, path_column="photo", label_column="specie")
    assert "'species'" in caught.value.cure
    assert caught.value.columns == ["id", "species", "photo", "fold", "plant"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("id,label\n1,a\n", "no column of paths.*'id', 'label'"),
        ("path,label,class\na,1,x\n", "'label', 'class' could all be the label column"),
        ("path,path\na,b\n", "could all be the path column"),
        ("path,label\na.jpg,x\nb,c.jpg,x\n", "row 3 has 3 values, the first line names 2"),
        ("path,label\na.jpg\n", "row 2 has 1 values"),
        ('path,label\n"a.jpg,x\nb.jpg,x\n', "cannot be read"),
        ("path,label\n,x\n", "no path in row 2"),
        ("path,split\na,train\nb,trian\n", "unknown split 'trian' in row 3"),
        ("path,label\na,x\na,y\n", "different labels: .*'x', 'y'"),
        ("path,label,split\na,x,train\na,x,val\n", "different splits"),
        ("path,group\na,p\na,q\n", "different groups"),
        ("path,label\n", "no rows"),
        ("", "is empty"),
        ("\n\n", "is empty"),
        (b"\xff\xfea", "cannot be read"),
        (b"path,label\na.jpg,caf\xe9\n", "not UTF-8 text"),
        (b"\0" * (2**20 + 5), "first line does not end"),
        ("path,label\na," + "x" * 200_000 + "\n", "field larger than"),
    ],
)
def test_a_wrong_manifest_is_refused_with_place_and_cure(text, match, tmp_path):
    with pytest.raises(TableError, match=f"(?s){match}") as caught:
        read_text(tmp_path, text)
    assert str(tmp_path / "m.csv") in str(caught.value)
    assert caught.value.cure


def test_many_wrong_rows_are_one_error_with_the_first_five(tmp_path):
    text = "path,label\n" + "".join(f"{i},x\n{i},y\n" for i in range(30))
    with pytest.raises(TableError, match=r"30 repeated rows.*and 25 more") as caught:
        read_text(tmp_path, text)
    assert len(caught.value.paths) == 30


def test_a_repeated_row_is_kept_once_and_named(tmp_path):
    table = read_text(tmp_path, "path,label\na,x\nb,y\n./a,x\na,x\n")
    assert len(table) == 2
    assert [entry.kind for entry in table.skipped] == ["repeated-row"] * 2


def test_missing_files_are_rejected_and_the_rest_is_kept(tmp_path):
    plant(tmp_path, "img/a.jpg")
    (tmp_path / "img/folder").mkdir()
    text = (
        f"path,label\nimg/a.jpg,x\nimg/gone.jpg,x\nimg/folder,x\nimg/n\0l.jpg,x\n{tmp_path}/b,x\n"
    )
    table = read_manifest(write(tmp_path, text))
    assert table.paths.tolist() == [str(tmp_path / "img/a.jpg")]
    reasons = [entry.reason for entry in table.rejected]
    assert sorted(reasons) == [
        "cannot be opened: embedded null byte",
        "does not exist",
        "does not exist",
        "is a folder, not a file",
    ]


def test_when_all_files_are_missing_the_error_shows_what_was_tried(tmp_path):
    with pytest.raises(TableError, match="none of the 2 files") as caught:
        read_table(write(tmp_path, "path,label\nimg\\a.jpg,x\nimg\\b.jpg,x\n"))
    assert str(tmp_path) in caught.value.rule
    assert "instead of" in caught.value.cure
    assert len(caught.value.rejected) == 2


def test_names_that_are_not_utf8_are_kept_in_manifests(tmp_path):
    name = os.path.join(os.fsencode(tmp_path), b"\xe9.jpg")
    with open(name, "wb"):
        pass
    table = read_table(write(tmp_path, b"path,label\n\xe9.jpg,x\n"))
    assert os.fsencode(table.paths[0]) == name


def test_paths_are_relative_to_the_manifest_as_typed(tmp_path, monkeypatch):
    plant(tmp_path, "img/a.jpg")
    write(tmp_path, "path\nimg/a.jpg\n")
    monkeypatch.chdir(tmp_path)
    assert read_table("m.csv").paths.tolist() == ["img/a.jpg"]
    monkeypatch.chdir(tmp_path / "img")
    assert read_table("../m.csv").paths.tolist() == ["../img/a.jpg"]


def parquet(tmp_path, columns):
    import polars as pl

    path = tmp_path / "~m.parquet"
    pl.DataFrame(columns, strict=False).write_parquet(path)
    return path


def test_parquet_without_polars_says_what_to_type(tmp_path, monkeypatch):
    path = parquet(tmp_path, {"path": ["a"], "label": ["x"]})
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(TableError, match="polars, which is not installed") as caught:
        read_table(str(path))
    assert "pip install 'regraft[parquet]'" in caught.value.cure
    assert str(path) in caught.value.place


def test_parquet_is_read_like_text(tmp_path):
    path = parquet(
        tmp_path, {"file_name": ["b", "a", "c"], "label": [7, 8, None], "split": ["val", None, ""]}
    )
    table = read_manifest(path, check_files=False)
    assert table.labels.tolist() == ["8", "7", None]
    assert table.splits.tolist() == [None, "val", None]
    same = read_manifest(path, label_column="file_name", check_files=False)
    assert same.labels.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"path": [["a"]], "label": ["x"]}, "holds List"),
        ({"path": [b"a"], "label": ["x"]}, "holds the images themselves \\(Binary"),
        ({"image": [{"bytes": b"", "path": "a"}]}, "holds the images themselves \\(Struct"),
        ({"label": ["x"]}, "no column of paths"),
        ({"path": ["a", None], "label": ["x", "y"]}, "no path in row 2"),
        ({"path": []}, "no rows"),
    ],
)
def test_a_wrong_parquet_is_refused(columns, match, tmp_path):
    with pytest.raises(TableError, match=match):
        read_manifest(parquet(tmp_path, columns), check_files=False)


fuzzed = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
CSV = b'\xef\xbb\xbfpath,label,split,group\r\n"a ""1"".jpg",x,train,p\r\nb.jpg,y,val,\r\n'


def reads_or_refuses(path):
    try:
        table = read_manifest(path, check_files=len(path.name) % 2 == 0)
    except RegraftError:
        return
    assert len(table) > 0
    assert all(label is None or label.encode() for label in table.labels)


@fuzzed
@given(st.binary(max_size=300), st.sampled_from(["f.csv", "f.tsv", "f.parquet"]))
@example(b"path\n\0\n", "f.csv")
@example(b"\xfe\xff\0p", "f.csv")
@example(b"PAR1PAR1", "f.parquet")
def test_any_bytes_as_a_manifest_are_read_or_refused(tmp_path, content, name):
    reads_or_refuses(write(tmp_path, content, name))


@fuzzed
@given(st.data(), st.sampled_from([CSV, CSV[3:].decode().encode("utf-16")]))
def test_a_mutated_csv_is_read_or_refused(tmp_path, data, content):
    reads_or_refuses(write(tmp_path, mutated(data, content)))


def small_parquet() -> bytes:
    import polars as pl

    file = io.BytesIO()
    pl.DataFrame({"path": ["a", "b"], "label": ["x", None]}).write_parquet(file)
    return file.getvalue()


# Few: each is read once in a process of its own.
@settings(fuzzed, max_examples=20)
@given(st.data())
def test_a_mutated_parquet_is_read_or_refused(tmp_path, data):
    reads_or_refuses(write(tmp_path, mutated(data, small_parquet()), "f.parquet"))


def test_a_parquet_that_would_end_the_process_is_refused(tmp_path):
    content = bytearray(small_parquet())
    content[154] = 0x6D  # found by tests/fuzz.py: polars asks for 2 EiB
    reads_or_refuses(write(tmp_path, bytes(content), "f.parquet"))


def mutated(data, content):
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(changed) - 1))
        if data.draw(st.booleans()):
            changed[at] = data.draw(st.integers(0, 255))
        else:
            changed[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    return bytes(changed or b"x")


def test_reading_a_folder_or_csv_needs_no_heavy_import(tmp_path):
    plant(tmp_path, "ants/1.jpg")
    write(tmp_path, "path,label\nants/1.jpg,x\n")
    script = f"""
        import sys
        from regraft.data.sources import read_table
        read_table({str(tmp_path)!r}), read_table({str(tmp_path / "m.csv")!r})
        heavy = {{"polars", "tarfile", "torch", "timm", "sklearn", "scipy", "PIL"}}
        sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_million_rows_stay_far_below_a_gibibyte(ending, tmp_path):
    path = tmp_path / f"m.{ending}"
    names = [f"photographs/class_{i % 1000:04d}/IMG_{i:09d}.jpg" for i in range(1_000_000)]
    labels = [name.split("/")[1] for name in names]
    if ending == "csv":
        lines = (f"{name},{label}\n" for name, label in zip(names, labels, strict=True))
        path.write_text("path,label\n" + "".join(lines))
    else:
        import polars as pl

        pl.DataFrame({"path": names, "label": labels}).write_parquet(path)
    script = f"""
        from pathlib import Path
        from regraft.data.manifests import read_manifest
        table = read_manifest({str(path)!r}, check_files=False)
        # Not ru_maxrss, which a process inherits from the one that started it.
        peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
        print(len(table), int(peak) // 1024)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], check=True, capture_output=True
    )
    n_rows, peak_mib = map(int, run.stdout.split())
    assert n_rows == 1_000_000
    assert peak_mib < 1024
