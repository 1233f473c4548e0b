"""Tar shards as data: WebDataset's convention, read in place; what is broken is named (R10)."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regraft.backbones import catalog
from regraft.data.members import Member
from regraft.data.shards import expanded, is_shards, read_shards
from regraft.data.sources import read_images, read_table
from regraft.data.stored import read_stored
from regraft.data.tar_stream import Listing, members
from regraft.errors import DecodeError, RegraftError, TableError
from regraft.features import engines, extract
from regraft.features.store import Store
from regraft.images import DECODER_VERSION

BACKBONE = "random:test_efficientnet"
JPEG = b"\xff\xd8\xff\xe0" + bytes(40)
Content = Iterable[tuple[str, bytes]]


def tar(path: Path, content: Content, format: int = tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=format) as file:
        for name, data in content:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def pairs(n: int, start: int = 0) -> list[tuple[str, bytes]]:
    found = []
    for row in range(start, start + n):
        found += [
            (f"{row:06}.jpg", JPEG + bytes([row % 256])),
            (f"{row:06}.cls", b"%d" % (row % 2)),
        ]
    return found


def named(table: Any) -> dict[str, str]:
    return {entry.path.rpartition("/")[2]: entry.reason for entry in table.rejected}


# ---- what is read ---------------------------------------------------------------------------


def test_shards_are_one_table_with_labels(tmp_path: Path) -> None:
    for n in range(3):
        tar(tmp_path / f"{n:04}.tar", pairs(5, 5 * n))
    table = read_table(f"{tmp_path}/{{0000..0002}}.tar")
    assert len(table) == 15
    assert table.labels.tolist() == [str(n % 2) for n in range(15)]
    assert table.paths[7] == f"{tmp_path}/0001.tar/000007.jpg"
    assert [read_stored(path)[-1] for path in table.paths] == list(range(15))
    assert table.rejected == table.skipped == ()


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", ["1.jpg", "a/" * 40 + "1.jpg", "x" * 90 + ".jpg", "käfer/ß.jpg"])
def test_every_kind_of_tar_gives_the_same(tmp_path: Path, format: int, name: str) -> None:
    path = tar(tmp_path / "0.tar", [(name, JPEG), (name[:-4] + ".cls", b"bee\n")], format)
    table = read_shards(str(path))
    assert table.paths.tolist() == [f"{path}/{name}"]
    assert table.labels.tolist() == ["bee"]
    assert read_stored(table.paths[0]) == JPEG


@pytest.mark.parametrize(
    ("ending", "content", "label", "split"),
    [
        ("cls", b"7", "7", None), ("cls", b" bee \n", "bee", None), ("cls", b"", None, None),
        ("json", b'{"label": "ant"}', "ant", None), ("json", b'{"cls": 3}', "3", None),
        ("json", b'{"class": "ant", "split": "validation"}', "ant", "val"),
        ("json", b'{"caption": "an ant"}', None, None), ("json", b"not json", None, None),
        ("json", b'"ant"', "ant", None), ("json", b'{"label": [1, 2]}', None, None),
    ],
)  # fmt: skip
def test_labels_stand_beside_their_picture(
    tmp_path: Path, ending: str, content: bytes, label: str | None, split: str | None
) -> None:
    path = tar(tmp_path / "0.tar", [("1.jpg", JPEG), (f"1.{ending}", content)])
    table = read_shards(str(path))
    assert table.labels.tolist() == [label]
    assert table.splits.tolist() == [split]


def test_other_ways_to_say_the_label(tmp_path: Path) -> None:
    path = tar(tmp_path / "a" / "0.tar", [("ants/1.jpg", JPEG), ("bees/2.jpg", JPEG)])
    table = read_table(f"{path.parent}/{{0..0}}.tar")
    assert table.labels.tolist() == ["ants", "bees"]
    assert "folders inside the shards" in table.readings[0].words
    path = tar(tmp_path / "b" / "0.tar", [("1.jpg", JPEG), ("2.jpg", JPEG), ("3.jpg", JPEG)])
    (path.parent / "labels.csv").write_text("path,label,split\n1,ant,train\n2.jpg,bee,test\n")
    table = read_table(f"{path.parent}/{{0..0}}.tar")
    assert table.labels.tolist() == ["ant", "bee", None]
    assert table.splits.tolist() == ["train", "test", None]
    assert "1 picture is not in it: 3" in table.readings[0].words


def test_names_of_shards_say_the_split(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for n in range(2):
            tar(tmp_path / f"set-{split}-{n:03}.tar", pairs(2))
    table = read_table(f"{tmp_path}/set-{{train,val}}-{{000..001}}.tar")
    assert table.counts() == {"train": {"0": 2, "1": 2}, "val": {"0": 2, "1": 2}}


def test_one_tar_of_keys_is_a_shard_and_one_of_folders_an_archive(tmp_path: Path) -> None:
    assert is_shards(str(tar(tmp_path / "keys.tar", pairs(2))))
    plain = tar(tmp_path / "plain.tar", [("ants/1.jpg", JPEG), ("bees/2.jpg", JPEG)])
    assert not is_shards(str(plain))
    assert len(read_images(tmp_path / "keys.tar")) == 2
    assert read_table(plain).classes == ["ants", "bees"]


@pytest.mark.parametrize(
    ("pattern", "n", "first", "last"),
    [
        ("{0000..0063}.tar", 64, "0000.tar", "0063.tar"), ("{8..11}.tar", 4, "8.tar", "11.tar"),
        ("{a,b}/{0..1}.tar", 4, "a/0.tar", "b/1.tar"), ("plain.tar", 1, "plain.tar", "plain.tar"),
        ("s3://b/{00..09}.tar", 10, "s3://b/00.tar", "s3://b/09.tar"),
    ],
)  # fmt: skip
def test_braces_name_shards(pattern: str, n: int, first: str, last: str) -> None:
    found = expanded(pattern)
    assert (len(found), found[0], found[-1]) == (n, first, last)


@pytest.mark.parametrize("pattern", ["{5..3}.tar", "{0..999999999999}.tar"])
def test_braces_that_name_none_or_too_many_are_refused(pattern: str) -> None:
    with pytest.raises(TableError, match="it may be 1 to 100,000"):
        expanded(pattern)


def test_a_member_travels() -> None:
    one = Member("a/0.tar", "b/1.jpg", 512, 7, 9)
    other = pickle.loads(pickle.dumps(one))
    assert (other, other.shard, other.offset, other.n_bytes) == (one, "a/0.tar", 512, 7)


# ---- what is broken -------------------------------------------------------------------------


def test_a_cut_shard_gives_what_is_whole_and_is_named(tmp_path: Path) -> None:
    data = tar(tmp_path / "0.tar", pairs(6)).read_bytes()
    n_before = 0
    for length in range(0, len(data), 256):
        (tmp_path / "0.tar").write_bytes(data[:length])
        try:
            table = read_shards(str(tmp_path / "0.tar"))
        except TableError as error:
            n_good = 0
            assert "no image in 1 shard" in error.rule  # noqa: PT017
        else:
            n_good = len(table)
            assert [read_stored(path)[:44] for path in table.paths] == [JPEG] * n_good
            end = 12 * 1024 + 512  # members, and the first block of the end mark
            assert bool(table.rejected) == (length < end), length
        assert n_good >= n_before
        n_before = n_good
    assert n_before == 6


def test_the_other_shards_go_on_where_one_is_broken(tmp_path: Path) -> None:
    tar(tmp_path / "0.tar", pairs(3))
    (tmp_path / "1.tar").write_bytes(b"<html>not found</html>" * 100)
    (tmp_path / "2.tar").mkdir()
    (tmp_path / "4.tar").write_bytes(b"\x1f\x8b and more")
    (tmp_path / "5.tar").touch()
    table = read_table(f"{tmp_path}/{{0..5}}.tar")
    assert len(table) == 3
    found = named(table)
    assert found["1.tar"].startswith("damaged: byte 0 is no header; 0 images")
    assert found["2.tar"] == "the shard is a folder, not a file"
    assert found["3.tar"] == "the shard does not exist"
    assert "compressed" in found["4.tar"]
    assert "its end mark is missing" in found["5.tar"]


def test_keys_that_stand_for_several_pictures_are_named(tmp_path: Path) -> None:
    path = tar(tmp_path / "0.tar", [
        ("1.jpg", JPEG), ("1.cls", b"a"), ("2.jpg", JPEG), ("1.jpg", JPEG + b"other"),
        ("3.jpg", JPEG), ("3.png", JPEG), ("4.cls", b"b"),
    ])  # fmt: skip
    table = read_shards(str(path))
    assert table.paths.tolist() == [f"{path}/2.jpg"]
    assert named(table) == {
        "1.jpg": "the key '1' stands for 2 pictures in the shard",
        "3.png": "the key '3' stands for 2 pictures in the shard",
    }
    assert [entry.path for entry in table.skipped] == [f"{path}/4"]


HOSTILE = [
    "../evil.jpg", "/etc/evil.jpg", "a/../../evil.jpg", "C:\\evil.jpg", "a\\evil.jpg", "C:/x.jpg"
]  # fmt: skip


def test_names_that_lead_elsewhere_links_and_devices_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "0.tar"
    with tarfile.open(path, "w") as file:
        for name in [*HOSTILE, "good.jpg"]:
            info = tarfile.TarInfo(name)
            info.size = len(JPEG)
            file.addfile(info, io.BytesIO(JPEG))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo(f"kind{kind.decode()}.jpg")
            info.type, info.linkname = kind, "/etc/passwd"
            file.addfile(info)
    table = read_shards(str(path))
    assert table.paths.tolist() == [f"{path}/good.jpg"]
    assert len(table.skipped) == len(HOSTILE) + 4
    assert list(tmp_path.iterdir()) == [path]


def header_of(name: str, size: bytes, kind: bytes = b"0") -> bytes:
    block = bytearray(512)
    block[: len(name)] = name.encode()
    block[124 : 124 + len(size)] = size
    block[156:157] = kind
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    ("size", "kind"),
    [
        (b"77777777777", b"0"), (b"\x80" + b"\xff" * 11, b"0"), (b"\xff" * 12, b"0"),
        (b"junk", b"0"), (b"77777777777", b"L"), (b"77777777777", b"x"),
        (b"\x80" + b"\x7f" * 11, b"x"),
    ],
)  # fmt: skip
def test_headers_that_claim_anything_end_soon_and_take_no_memory(
    tmp_path: Path, size: bytes, kind: bytes
) -> None:
    good = tar(tmp_path / "good.tar", pairs(1)).read_bytes()[: 4 * 512]
    path = tmp_path / "0.tar"
    path.write_bytes(good + header_of("x.jpg", size, kind) + bytes(2048))
    table = read_shards(str(path))
    assert len(table) == 1
    assert len(table.rejected) == 1


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_bytes_make_it_crash_or_go_on_for_ever(data: st.DataObject) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as new:
        for name, content in pairs(3):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            new.addfile(info, io.BytesIO(content))
    changed = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, 3500))
        changed[at] = data.draw(st.integers(0, 255))
    listing = Listing([])
    for entry in members(lambda at, n: bytes(changed[at : at + n]), len(changed), listing):
        assert 0 <= entry.offset <= entry.offset + entry.n_bytes <= len(changed)


@pytest.mark.slow  # a hundred thousand members
def test_a_hundred_thousand_members_are_listed_in_bounded_time_and_memory(
    tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    path = tmp_path / "0.tar"
    with path.open("wb") as file:
        for row in range(50_000):
            file.write(header_of(f"{row:07}.jpg", b"00000000000"))
            file.write(header_of(f"{row:07}.cls", b"00000000001") + b"%d" % (row % 2) + bytes(511))
        file.write(bytes(1024))
    program = (
        "import re, sys\n"
        "from regraft.data.shards import read_shards\n"
        "table = read_shards(sys.argv[1])\n"
        # Of this program alone: ru_maxrss begins with what the process that starts it had.
        "peak = re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]\n"
        "print(len(table), int(peak) // 1024)\n"
    )
    start = time.monotonic()
    done = run_python("-c", program, path)
    assert done.returncode == 0, done.stderr
    n_images, mib = map(int, done.stdout.split())
    assert n_images == 50_000
    assert mib < 120  # of a million, a gigabyte
    assert time.monotonic() - start < 30


# ---- through everything ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def sharded(make_room: Callable[[str], Path], make_photos: Callable[..., Path]) -> Path:
    """``photos``, and the same in ``shards/{00..02}.tar``, one of them with a broken picture."""
    room = make_room("sharded")
    make_photos(room / "photos", splits={"train": 6, "test": 3}, size_px=48)
    files = sorted((room / "photos").rglob("*.jpg"))
    for n in range(3):
        content: list[tuple[str, bytes]] = []
        for path in files[n::3]:
            split, label = path.parts[-3:-1]
            content.append((path.name, path.read_bytes()))
            said = json.dumps({"label": label, "split": split})
            content.append((path.stem + ".json", said.encode()))
        if n == 1:
            content.append(("broken.jpg", JPEG))
        tar(room / "shards" / f"{n:02}.tar", content)
    return room


@pytest.mark.numerics
def test_features_are_those_of_the_files(
    sharded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(sharded / "cache"))
    built = engines.locate(catalog.resolve(BACKBONE), device="cpu", offline=True)
    with Store.nowhere() as nothing:
        plain = extract.run(read_table(sharded / "photos"), built, nothing)
        found = extract.run(read_table(f"{sharded}/shards/{{00..02}}.tar"), built, nothing)
    by_name = {
        path.rpartition("/")[2]: x.tobytes()
        for path, x in zip(plain.table.paths, plain.X, strict=True)
    }
    assert {
        path.rpartition("/")[2]: x.tobytes()
        for path, x in zip(found.table.paths, found.X, strict=True)
    } == by_name
    assert [bad.path.rpartition("/")[2] for bad in found.table.rejected] == ["broken.jpg"]
    with Store.open(tmp_path, decoder=DECODER_VERSION) as store:
        extract.run(found.table, built, store)
    time.sleep(0)
    with Store.open(tmp_path, decoder=DECODER_VERSION) as store:
        again = extract.run(found.table, built, store)
    assert again.computed == 0
    assert np.array_equal(again.X, found.X)


def test_every_command_takes_shards(sharded: Path, run_cli: Callable[..., Any]) -> None:
    data, env = f"{sharded}/shards/{{00..02}}.tar", {"REGRAFT_CACHE": str(sharded / "cache")}
    done = run_cli(
        "train", data, "--backbone", BACKBONE, "--json", "--runner", "processes:2", "--no-report",
        env=env,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout)
    assert metrics["data"]["splits"] == {"train": 18, "test": 9}
    assert metrics["data"]["rejected"] == 1
    for command in (("check", data), ("evaluate", metrics["model"], data),
                    ("predict", metrics["model"], data)):  # fmt: skip
        by = ["--no-store", "--runner", "processes:1"] if command[0] == "predict" else []
        done = run_cli(*command, "--json", *by, env=env)
        assert done.returncode == 0, done.stderr
        assert "broken.jpg" in done.stdout or command[0] == "evaluate"  # it has no label
    assert f"{sharded}/shards/00.tar/" in done.stdout
    drawn = run_cli(
        "report", metrics["run"], env=env
    )  # nothing was kept for it: they are read again
    assert drawn.returncode == 0, drawn.stderr


def test_a_shard_that_changes_under_way_is_no_other_picture(tmp_path: Path) -> None:
    path = tar(tmp_path / "0.tar", pairs(2))
    table = read_shards(str(path))
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(DecodeError, match="the shard ends early"):
        read_stored(table.paths[1])
    path.unlink()
    with pytest.raises(RegraftError, match="the shard cannot be read"):
        read_stored(table.paths[1])
    tar(path, pairs(2, 5))  # of the same length, with other keys where these were
    with pytest.raises(DecodeError, match="the shard was replaced after it was listed"):
        read_stored(table.paths[1])


# ---- labels that cannot be told for sure ----------------------------------------------------


def test_a_label_too_deep_to_read_costs_its_own_picture_only(tmp_path: Path) -> None:
    deep = [("9.jpg", JPEG), ("9.json", b"[" * 100_000)]
    table = read_shards(str(tar(tmp_path / "0.tar", [*pairs(4), *deep])))
    assert table.labels.tolist() == ["0", "1", "0", "1", None]


@pytest.mark.parametrize(
    ("ending", "content"), [("cls", b"\xef\xbb\xbfbee"), ("json", b'\xef\xbb\xbf{"label": "bee"}')]
)
def test_a_mark_of_bytes_in_order_is_no_part_of_a_label(
    tmp_path: Path, ending: str, content: bytes
) -> None:
    """As editors on Windows write it."""
    path = tar(tmp_path / "0.tar", [("1.jpg", JPEG), (f"1.{ending}", content)])
    assert read_shards(str(path)).labels.tolist() == ["bee"]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ([("9.cls", b"bee"), ("9.cls", b"ant")], "its labels contradict each other: 'bee' and"),
        ([("9.cls", b"bee"), ("9.label", b"ant")], "its labels contradict each other: 'bee' and"),
        ([("9.json", b'"bee"'), ("9.json", b'"ant"')], "its labels contradict each other"),
        ([("9.cls", "käfer".encode("latin-1"))], "its .cls is not UTF-8 text"),
        ([("9.json", b'{"label": "\\ud800"}')], "its .json is not UTF-8 text"),
    ],
)
def test_a_label_that_cannot_be_told_costs_its_own_picture_only(
    tmp_path: Path, said: Content, reason: str
) -> None:
    path = tar(tmp_path / "0.tar", [*pairs(4), ("9.jpg", JPEG), *said])
    table = read_shards(str(path))
    assert len(table) == 4
    assert named(table)["9.jpg"].startswith(reason)
    assert len(read_images(f"{tmp_path}/{{0..0}}.tar")) == 5  # who wants no labels has them all


def test_of_cls_and_json_the_cls_counts_in_either_order(tmp_path: Path) -> None:
    both = [("1.jpg", JPEG), ("1.cls", b"bee"), ("1.json", b'{"label": "ant", "split": "test"}')]
    for n, content in enumerate((both, both[::-1])):
        table = read_shards(str(tar(tmp_path / f"{n}.tar", content)))
        assert (table.labels.tolist(), table.splits.tolist()) == (["bee"], ["test"])
        assert "1 picture has another label in .json" in table.readings[0].words


def test_groups_are_those_of_json_and_of_the_table(tmp_path: Path) -> None:
    path = tar(
        tmp_path / "a" / "0.tar",
        [("1.jpg", JPEG), ("1.json", b'{"label": "ant", "group": 7}'), ("2.jpg", JPEG)],
    )
    assert read_shards(str(path)).groups.tolist() == ["7", None]  # type: ignore[union-attr]
    path = tar(tmp_path / "b" / "0.tar", [("1.jpg", JPEG), ("2.jpg", JPEG)])
    (path.parent / "labels.csv").write_text("path,label,group\n1,ant,x\n2,bee,y\n")
    assert read_shards(str(path)).groups.tolist() == ["x", "y"]  # type: ignore[union-attr]


def test_a_row_for_keys_of_several_shards_labels_none_of_them(tmp_path: Path) -> None:
    for n in range(2):
        tar(tmp_path / f"{n}.tar", [("1.jpg", JPEG), (f"only{n}.jpg", JPEG)])
    table_of = tmp_path / "labels.csv"
    table_of.write_text("path,label\n1,ant\nonly0,ant\nonly1,bee\n")
    table = read_shards(f"{tmp_path}/{{0..1}}.tar")
    assert table.labels.tolist() == ["ant", "bee"]
    assert [entry.path[-7:] for entry in table.rejected] == ["r/1.jpg", "r/1.jpg"]
    assert "2 shards have a picture of the key '1'" in table.rejected[0].reason
    table_of.write_text("path,label\n0.tar/1,ant\n1.tar/1.jpg,bee\nonly0,ant\nonly1,bee\n")
    assert read_shards(f"{tmp_path}/{{0..1}}.tar").labels.tolist() == ["ant", "ant", "bee", "bee"]


def test_a_table_that_contradicts_itself_or_names_no_split_is_told(tmp_path: Path) -> None:
    path = tar(tmp_path / "0.tar", [("1.jpg", JPEG), ("2.jpg", JPEG)])
    table_of = tmp_path / "labels.csv"
    table_of.write_text("path,label\n1,ant\n2,bee\n1,bee\n")
    table = read_shards(str(path))
    assert table.labels.tolist() == ["bee"]
    assert "labels.csv says different things of '1'" in table.rejected[0].reason
    table_of.write_text("path,label,split\n1,ant,trian\n2,bee,test\n")
    with pytest.raises(TableError, match="unknown split 'trian' in row 2"):
        read_shards(str(path))


# ---- tars that are not what they seem -------------------------------------------------------


def test_tars_joined_by_cat_are_named_and_not_taken_for_whole(tmp_path: Path) -> None:
    one, other = tar(tmp_path / "a.tar", pairs(2)), tar(tmp_path / "b.tar", pairs(3, 2))
    (tmp_path / "0.tar").write_bytes(one.read_bytes() + other.read_bytes())
    table = read_shards(f"{tmp_path}/{{0..0}}.tar")
    assert len(table) == 2
    assert "goes on after its end mark" in named(table)["0.tar"]
    assert "tar --concatenate" in table.rejected[0].mend


def test_sparse_members_are_named(tmp_path: Path) -> None:
    path = tmp_path / "0.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as file:
        for name, data in pairs(2):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
        info = tarfile.TarInfo("GNUSparseFile.0/9.jpg")
        info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.name": "9.jpg"}
        info.size = 512
        file.addfile(info, io.BytesIO(bytes(512)))
    table = read_shards(str(path))
    assert len(table) == 2
    assert {entry.path[-5:]: entry.reason for entry in table.skipped} == {
        "9.jpg": "is stored sparse, not as a file"
    }


def test_a_pattern_of_more_shards_than_memory_is_refused() -> None:
    with pytest.raises(TableError, match="names 10,000,000,000 shards"):
        expanded("{00000..99999}-{00000..99999}.tar")
