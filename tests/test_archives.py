"""Archives cannot write outside their folder, fill the disk or pass for whole when they are not."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regraft.data import archives
from regraft.data.archives import unpack
from regraft.errors import ArchiveError

JPEG = b"\xff\xd8\xff\xe0" + os.urandom(400)


def make_zip(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as new:
        for name, content in members:
            new.writestr(name, content)
    return path


def make_tar(path, members, mode="w"):
    with tarfile.open(path, mode) as new:
        for name, content in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content)
            new.addfile(info, io.BytesIO(content))
    return path


def tar_link(kind, name="ants/1.jpg", target="/etc/passwd"):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def files_below(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def refuse(archive, folder, match):
    """Unpacking must raise, and leave nothing: no result, no part of it, no file outside."""
    with pytest.raises(ArchiveError, match=match) as caught:
        unpack(archive, folder)
    assert caught.value.archive == str(archive)
    assert caught.value.cure
    assert not folder.exists() or list(folder.iterdir()) == []
    assert sorted(os.listdir(folder.parent)) in (
        [archive.name],
        sorted([archive.name, folder.name]),
    )
    return caught.value


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz"])
def test_every_kind_is_unpacked_whole_and_only_once(ending, tmp_path, folder, monkeypatch):
    members = [("ants/1.jpg", JPEG), ("ants/deep/é\n😀.jpg", JPEG * 9), ("./bees/-2.jpg", b"")]
    mode = "w:" + {"tgz": "gz", "tar": ""}.get(ending, ending.removeprefix("tar."))
    make = make_zip if ending == "zip" else make_tar
    archive = make(tmp_path / f"photos.{ending}", members, *([] if ending == "zip" else [mode]))
    unpacked = unpack(archive, folder)
    assert unpacked.parent == folder
    assert len(unpacked.name) == 16
    assert files_below(unpacked) == ["ants/1.jpg", "ants/deep/é\n😀.jpg", "bees/-2.jpg"]
    assert (unpacked / "ants/deep/é\n😀.jpg").read_bytes() == JPEG * 9
    assert os.listdir(folder) == [unpacked.name]

    monkeypatch.setattr(archives, "_unpack_into", None)
    assert unpack(archive, folder) == unpacked


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("../evil.jpg", "'..'"),
        ("ants/../../evil.jpg", "'..'"),
        ("ants/..", "'..'"),
        ("/etc/evil.jpg", "absolute"),
        ("//evil.jpg", "absolute"),
        ("C:/evil.jpg", "absolute"),
        ("c:evil.jpg", "absolute"),
        ("..\\evil.jpg", "backslash"),
        ("ants\\1.jpg", "backslash"),
        ("./.", "empty name"),
    ],
)
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_names_that_lead_elsewhere_are_refused(make, name, match, tmp_path, folder):
    archive = make(tmp_path / "a", [("ants/good.jpg", JPEG), (name, JPEG)])
    error = refuse(archive, folder, match)
    assert error.member == name.removesuffix("/")
    assert str(archive) in str(error)


def test_a_nul_byte_in_a_zip_name_is_refused(tmp_path, folder):
    archive = make_zip(tmp_path / "a.zip", [("ants/1.jpgX.exe", JPEG)])
    archive.write_bytes(archive.read_bytes().replace(b"jpgX", b"jpg\0"))
    refuse(archive, folder, "NUL")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, b"Z"]
)
def test_links_and_devices_in_a_tar_are_refused(kind, tmp_path, folder):
    archive = make_tar(tmp_path / "a.tar", [("x/0.jpg", JPEG), (tar_link(kind), b"")])
    assert refuse(archive, folder, "link or device").member == "ants/1.jpg"


def test_a_link_in_a_zip_is_refused(tmp_path, folder):
    info = zipfile.ZipInfo("ants")
    info.external_attr = 0o120777 << 16
    archive = make_zip(tmp_path / "a.zip", [(info, "/etc"), ("ants/passwd", b"x")])
    refuse(archive, folder, "link or device")


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize("again", ["ants/1.jpg", "ants//1.jpg", "./ants/1.jpg"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_names_are_refused(make, again, tmp_path, folder):
    archive = make(tmp_path / "a", [("ants/1.jpg", JPEG), (again, b"other")])
    refuse(archive, folder, "twice")


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_a_file_used_as_a_folder_is_refused(make, tmp_path, folder):
    archive = make(tmp_path / "a", [("ants", JPEG), ("ants/1.jpg", JPEG)])
    refuse(archive, folder, "cannot be unpacked")


def test_an_encrypted_zip_is_refused(tmp_path, folder):
    archive = make_zip(tmp_path / "a.zip", [("ants/1.jpg", JPEG)])
    content = bytearray(archive.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    archive.write_bytes(content)
    assert "password" in refuse(archive, folder, "encrypted").cure


def zeros_zip(path, n_bytes, n_members=1):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for i in range(n_members):
            with new.open(f"ants/{i}.bmp", "w") as member:
                for _ in range(n_bytes // 2**20):
                    member.write(bytes(2**20))
    return path


def test_a_zip_bomb_is_refused_by_what_it_writes(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(archives, "RATIO_FLOOR_BYTES", 4 * 2**20)
    archive = zeros_zip(tmp_path / "a.zip", 8 * 2**20)
    refuse(archive, folder, "200 times")


def test_a_zip_whose_headers_understate_the_size_is_refused(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(archives, "RATIO_FLOOR_BYTES", 4 * 2**20)
    archive = zeros_zip(tmp_path / "a.zip", 8 * 2**20)
    lie = struct.pack("<L", 10)
    archive.write_bytes(archive.read_bytes().replace(struct.pack("<L", 8 * 2**20), lie))
    refuse(archive, folder, "times|CRC|cannot be unpacked")


def test_one_bomb_among_honest_photographs_is_refused(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(archives, "RATIO_FLOOR_BYTES", 4 * 2**20)
    archive = make_zip(tmp_path / "a.zip", [("ants/honest.jpg", os.urandom(2**20))])
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as more:
        more.writestr("ants/bomb.bmp", bytes(8 * 2**20))
    assert refuse(archive, folder, "200 times").member == "ants/bomb.bmp"


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_compressed_tar_bomb_is_refused(mode, tmp_path, folder, monkeypatch):
    monkeypatch.setattr(archives, "RATIO_FLOOR_BYTES", 4 * 2**20)
    archive = make_tar(tmp_path / "a", [(f"ants/{i}.bmp", bytes(2**20)) for i in range(8)], mode)
    refuse(archive, folder, "200 times")


def test_blank_bitmaps_below_the_floor_pass(tmp_path, folder):
    unpacked = unpack(zeros_zip(tmp_path / "a.zip", 2 * 2**20, 3), folder)
    assert len(files_below(unpacked)) == 3


def test_a_sparse_tar_member_counts_with_its_holes(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(archives, "RATIO_FLOOR_BYTES", 4 * 2**20)
    header = tarfile.TarInfo("ants/1.jpg")
    header.type = tarfile.GNUTYPE_SPARSE
    block = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    block[386:410] = b"00000000000\0" + b"00000000000\0"  # one piece: at 0, empty
    block[483:495] = b"%011o\0" % 2**40
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    archive = tmp_path / "a.tar"
    archive.write_bytes(bytes(block) + bytes(1024))
    refuse(archive, folder, "times|more than")


def test_a_header_that_claims_gigabytes_is_refused_before_it_is_read(tmp_path, folder):
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 8 * 2**30
    archive = tmp_path / "a.tar.gz"
    with gzip.open(archive, "wb") as new:
        new.write(header.tobuf(tarfile.GNU_FORMAT) + bytes(2**20))
    refuse(archive, folder, "claims")


def test_more_bytes_than_the_disk_share_are_refused(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    refuse(
        make_zip(tmp_path / "a.zip", [("ants/1.jpg", JPEG * 3)]), folder, "more than 1,000 bytes"
    )
    monkeypatch.undo()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1))
    refuse(tmp_path / "a.zip", folder, "more than 0 bytes")


def test_too_many_tar_entries_are_refused(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(archives, "MAX_ENTRIES", 20)
    archive = make_tar(tmp_path / "a.tar", [(f"ants/{i}.jpg", b"") for i in range(21)])
    refuse(archive, folder, "more than 20 entries")
    monkeypatch.setattr(archives, "MAX_ENTRIES", 21)
    assert len(files_below(unpack(archive, folder))) == 21


def test_a_million_zip_entries_are_refused_without_being_parsed(tmp_path, folder, monkeypatch):
    entry = bytearray(46)
    entry[:4] = b"PK\1\2"
    entry[28] = 1  # a name of one byte
    directory = (bytes(entry) + b"x") * 1_000_000
    end = b"PK\5\6" + struct.pack("<HHHHLLH", 0, 0, 9, 9, len(directory), 0, 0)  # "9 entries"
    archive = tmp_path / "a.zip"
    archive.write_bytes(directory + end)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    refuse(archive, folder, "more than 500,000 entries")


def test_entries_of_a_zip64_directory_are_counted_too(tmp_path):
    entries = b"PK\1\2" + bytes(42)
    end64 = b"PK\6\6" + struct.pack("<QHHLLQQQQ", 44, 45, 45, 0, 0, 7, 7, 46 * 7, 0)
    locator = b"PK\6\7" + struct.pack("<LQL", 0, 46 * 7, 1)
    end = b"PK\5\6" + b"\xff" * 16 + b"\0\0"
    path = tmp_path / "a.zip"
    path.write_bytes(entries * 7 + end64 + locator + end)
    with path.open("rb") as file:
        assert archives._count_zip_entries(file) == 7


def test_archives_inside_are_kept_packed(tmp_path, folder):
    inner = make_zip(tmp_path / "inner.zip", [("../evil.jpg", JPEG)]).read_bytes()
    (tmp_path / "inner.zip").unlink()
    unpacked = unpack(make_zip(tmp_path / "a.zip", [("ants/inner.zip", inner)]), folder)
    assert (unpacked / "ants/inner.zip").read_bytes() == inner


@pytest.mark.parametrize("keep", [0, 1, 2, 30, 400, 600, 1000, 1500, 2047, 2048, 2600, -1])
@pytest.mark.parametrize("mode", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
def test_a_truncated_archive_never_passes_for_whole(keep, mode, tmp_path, folder):
    members = [("ants/1.jpg", JPEG), ("ants/2.jpg", JPEG), ("ants/3.jpg", JPEG)]
    archive = tmp_path / "a"
    if mode == "zip":
        make_zip(archive, members)
    else:
        make_tar(archive, members, mode)
    content = archive.read_bytes()
    archive.write_bytes(content[:keep])
    if mode == "w" and keep == -1:  # only padding is gone
        assert len(files_below(unpack(archive, folder))) == 3
    elif len(archive.read_bytes()) < len(content):
        refuse(archive, folder, "cannot be unpacked")


def test_a_tar_damaged_in_a_later_header_is_refused(tmp_path, folder):
    archive = make_tar(tmp_path / "a.tar", [(f"ants/{i}.jpg", JPEG) for i in range(3)])
    content = bytearray(archive.read_bytes())
    content[1024] ^= 1
    archive.write_bytes(content)
    refuse(archive, folder, "end mark")


def test_two_tars_glued_together_are_refused(tmp_path, folder):
    archive = make_tar(tmp_path / "a.tar", [("ants/1.jpg", JPEG)])
    archive.write_bytes(archive.read_bytes() * 2)
    refuse(archive, folder, "after its end mark")


def test_a_flipped_byte_anywhere_is_found_or_harmless(tmp_path):
    members = [("ants/1.jpg", JPEG), ("ants/2.jpg", JPEG[::-1])]
    for mode in ("zip", "w:gz"):
        archive = tmp_path / "a"
        (make_zip if mode == "zip" else make_tar)(
            archive, members, *([] if mode == "zip" else [mode])
        )
        content = archive.read_bytes()
        for at in range(0, len(content), 7):
            archive.write_bytes(content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :])
            try:
                unpacked = unpack(archive, tmp_path / "cache")
            except ArchiveError:
                continue
            kept = sorted(path.read_bytes() for path in unpacked.rglob("*.jpg"))
            assert set(kept) <= {JPEG, JPEG[::-1]}
        archive.unlink()


def test_something_else_is_no_archive(tmp_path, folder):
    (tmp_path / "a.zip").write_bytes(b"<html>not found</html>" * 100)
    refuse(tmp_path / "a.zip", folder, "cannot be unpacked")


def test_a_missing_archive_and_an_unusable_folder_are_named(tmp_path):
    with pytest.raises(ArchiveError, match="No such file"):
        unpack(tmp_path / "none.zip", tmp_path)
    archive = make_zip(tmp_path / "a.zip", [("ants/1.jpg", JPEG)])
    with pytest.raises(ArchiveError) as caught:
        unpack(archive, archive / "below a file")
    assert "room" in caught.value.cure


def test_macos_names_are_read_as_utf8_without_the_flag(tmp_path, folder):
    name = "Äpfel/1.jpg"
    archive = make_zip(tmp_path / "a.zip", [("#" * len(name.encode()), JPEG)])
    archive.write_bytes(archive.read_bytes().replace(b"#" * len(name.encode()), name.encode()))
    assert files_below(unpack(archive, folder)) == [name]


def test_names_that_are_not_utf8_survive_in_a_tar(tmp_path, folder):
    unpacked = unpack(make_tar(tmp_path / "a.tar", [("ants/\udcff.jpg", JPEG)]), folder)
    assert os.listdir(os.fsencode(unpacked / "ants")) == [b"\xff.jpg"]


def test_a_killed_unpacking_leaves_no_half_result_and_is_swept_up_later(tmp_path, folder):
    archive = make_zip(tmp_path / "a.zip", [(f"ants/{i}.jpg", JPEG) for i in range(50)])
    script = f"""
        import os
        from regraft.data import archives
        write = archives._Writer.write
        def write_and_die(self, *args):
            write(self, *args)
            if self.n_bytes > 10_000:
                os.kill(os.getpid(), 9)
        archives._Writer.write = write_and_die
        archives.unpack({str(archive)!r}, {str(folder)!r})
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert killed.returncode == -9
    (part,) = folder.iterdir()
    assert part.name.startswith(".making-")
    os.utime(part, (0, 0))
    unpacked = unpack(archive, folder)
    assert len(files_below(unpacked)) == 50
    assert list(folder.iterdir()) == [unpacked]


@settings(
    max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.data())
def test_mutated_archives_unpack_or_are_refused(tmp_path, data):
    mode = data.draw(st.sampled_from(["zip", "w", "w:gz"]))
    archive = tmp_path / "a"
    if mode == "zip":
        make_zip(archive, [("ants/1.jpg", b"abc" * 50), ("bees/2.jpg", b"xyz")])
    else:
        make_tar(archive, [("ants/1.jpg", b"abc" * 50), ("bees/2.jpg", b"xyz")], mode)
    content = bytearray(archive.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    archive.write_bytes(content)
    try:
        unpacked = unpack(archive, tmp_path / "cache")
    except ArchiveError:
        return
    assert unpacked.is_dir()
    shutil.rmtree(unpacked)
