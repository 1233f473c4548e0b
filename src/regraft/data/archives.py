"""Unpacking an archive of photographs so that it cannot write elsewhere or fill the disk.

Nothing is extracted by the libraries: each member is checked, then copied byte by byte into a
fresh folder while the bytes that really come out are counted, for headers can lie. Whatever is no
plain file or folder is refused, so that no link ever exists that a later member could go through.
"""

from __future__ import annotations

import bz2
import functools
import gzip
import hashlib
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO, Any

from regraft.data.zip_names import refuse_garbled
from regraft.errors import ArchiveError
from regraft.machine import atomic

MAX_ENTRIES = 500_000
MAX_BYTES = 50 * 2**30
MAX_DISK_SHARE = 0.9
# Photographs hardly shrink; blank bitmaps do, so below the floor any ratio is harmless and passes.
MAX_RATIO = 200
RATIO_FLOOR_BYTES = 64 * 2**20

_CHUNK_BYTES = 2**20
_STALE_S = 24 * 3600
_UNPACK_YOURSELF = "if you trust the archive, unpack it yourself and give the folder"
_PACK_AGAIN = "pack the images again with plain relative names, or unpack it yourself"
_GET_AGAIN = "copy or download the archive again and compare its size with the original's"
# What zipfile, tarfile and the decompressors raise on damaged input, in practice.
_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError,
    OSError, ValueError, OverflowError, LookupError, TypeError, RuntimeError,
)  # fmt: skip


def unpack(archive: str | os.PathLike[str], folder: str | os.PathLike[str]) -> Path:
    """Unpack a zip or tar archive into a folder of its own, once.

    The result is `folder`/<first 16 hex digits of the archive's SHA-256>. It is built under
    another name and renamed when whole, so that it is either complete or not there; a second call
    finds it and only reads the archive for the digest. Archives inside are kept packed, as files.

    Parameters
    ----------
    archive : path
        .zip, or .tar plain or compressed by gzip, bzip2 or xz; told apart by content.
    folder : path
        Made if missing.

    Returns
    -------
    unpacked : Path

    Raises
    ------
    ArchiveError
        If a member has a name that leads outside (absolute, '..', drive letter, backslash, NUL)
        or that occurs twice, is a link or device, or is encrypted; if there are more than
        `MAX_ENTRIES` members, more than `MAX_BYTES` or `MAX_DISK_SHARE` of the free disk to be
        written, or more than `MAX_RATIO` bytes from one; or if the archive is damaged.
        ``error.archive`` is the path, ``error.member`` the name in the archive, '' if none.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as tmp:
    ...     with zipfile.ZipFile(f"{tmp}/photos.zip", "w") as new:
    ...         new.writestr("ants/1.jpg", b"...")
    ...     unpacked = unpack(f"{tmp}/photos.zip", f"{tmp}/cache")
    ...     sorted(path.name for path in unpacked.rglob("*"))
    ['1.jpg', 'ants']
    """
    archive, folder = Path(archive), Path(folder)
    try:
        with archive.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        unpacked = folder / digest
        if unpacked.is_dir():
            return unpacked
        with atomic.working_folder(folder) as part:
            _unpack_into(part, archive)
            atomic.publish(part, unpacked, is_whole=unpacked.is_dir)
    except (OSError, ValueError) as error:
        raise _cannot_be_unpacked(archive, "", error) from error
    return unpacked


def _unpack_into(part: Path, archive: Path) -> None:
    writer = _Writer(part, archive)
    try:
        with archive.open("rb") as file:
            is_zip = file.read(2) == b"PK"
        (_unpack_zip if is_zip else _unpack_tar)(archive, writer)
    except _DAMAGE as error:
        raise _cannot_be_unpacked(archive, writer.member, error) from error


class _Writer:
    """Writes members below one folder, and stops at the limits by what it has really written."""

    def __init__(self, folder: Path, archive: Path) -> None:
        self.folder, self.archive = folder, archive
        self.packed_bytes = archive.stat().st_size
        free = shutil.disk_usage(folder).free
        self.max_bytes = min(MAX_BYTES, int(free * MAX_DISK_SHARE))
        self.n_entries = self.n_bytes = 0
        self.member = ""

    def refuse(self, rule: str, cure: str = _UNPACK_YOURSELF) -> ArchiveError:
        return _refusal(self.archive, self.member, rule, cure)

    def enter(self, name: str, raw_name: str = "") -> Path:
        """Where the next member goes; refuses names that lead elsewhere."""
        self.member = name
        self.n_entries += 1
        self.check_entries(self.n_entries)
        if rule := _why_unsafe(raw_name or name) or _why_unsafe(name):
            raise self.refuse(rule, _PACK_AGAIN)
        return self.folder / PurePosixPath(name)

    def check_entries(self, n_entries: int) -> None:
        if n_entries > MAX_ENTRIES:
            raise self.refuse(f"more than {MAX_ENTRIES:,} entries")

    def write(self, target: Path, source: IO[bytes], packed_bytes: int) -> None:
        """Copy one member; `packed_bytes` is what it takes up in the archive."""
        before = self.n_bytes
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = target.open("xb")
        except FileExistsError:
            raise self.refuse("occurs twice in the archive", _PACK_AGAIN) from None
        with file:
            while chunk := source.read(_CHUNK_BYTES):
                self.n_bytes += len(chunk)
                self.check_bytes(self.n_bytes - before, packed_bytes)
                file.write(chunk)

    def check_bytes(self, member_bytes: int, packed_bytes: int) -> None:
        if self.n_bytes > self.max_bytes:
            raise self.refuse(
                f"unpacks to more than {self.max_bytes:,} bytes, the limit here "
                f"(50 GiB, or {MAX_DISK_SHARE:.0%} of the free disk)"
            )
        for written, packed in ((member_bytes, packed_bytes), (self.n_bytes, self.packed_bytes)):
            if written > max(RATIO_FLOOR_BYTES, MAX_RATIO * packed):
                raise self.refuse(
                    f"unpacks to more than {MAX_RATIO} times its size ({written:,} bytes so far "
                    f"from {packed:,}), as bombs do and photographs do not"
                )


def _why_unsafe(name: str) -> str:
    parts = name.split("/")
    if "\0" in name:
        return "has a NUL byte in its name"
    if "\\" in name:
        return "has a backslash in its name"
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "has an absolute path for a name"
    if ".." in parts:
        return "has '..' in its name and would be written outside the folder"
    return "" if any(part not in ("", ".") for part in parts) else "has an empty name"


def _unpack_zip(archive: Path, writer: _Writer) -> None:
    with archive.open("rb") as file:
        writer.check_entries(_count_zip_entries(file))
        with _open_zip(file) as zipped:
            members = zipped.infolist()
            # All are checked before the first byte is written.
            targets = [_check_zip_member(member, writer) for member in members]
            for member, target in zip(members, targets, strict=True):
                writer.member = member.filename
                if member.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                with zipped.open(member) as source:
                    writer.write(target, source, member.compress_size)


def _open_zip(file: IO[bytes]) -> zipfile.ZipFile:
    try:  # macOS writes UTF-8 names without the flag that says so
        return zipfile.ZipFile(file, metadata_encoding="utf-8")
    except UnicodeDecodeError:
        zipped = zipfile.ZipFile(file)
        refuse_garbled(str(file.name), zipped)
        return zipped


def _check_zip_member(member: zipfile.ZipInfo, writer: _Writer) -> Path:
    target = writer.enter(member.filename, member.orig_filename)
    mode = stat.S_IFMT(member.external_attr >> 16)
    if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise writer.refuse("is a link or device, not a file", _PACK_AGAIN)
    if member.flag_bits & 0x1:
        raise writer.refuse("is encrypted", "unpack the archive with its password first")
    return target


def _count_zip_entries(file: IO[bytes]) -> int:
    """Entries in a zip's directory, counted without building a million objects first.

    The count in the header is no help: zipfile goes by the directory's size and ignores it.
    """
    n_bytes = file.seek(0, os.SEEK_END)
    file.seek(max(0, n_bytes - 2**17))
    tail = file.read()
    end = tail.rfind(b"PK\5\6")
    if end < 0:
        return 0  # no zip; zipfile says so
    size = int.from_bytes(tail[end + 12 : end + 16], "little")
    if tail[max(0, end - 20) : end].startswith(b"PK\6\7"):  # zip64: sizes of eight bytes
        end -= 76
        size = int.from_bytes(tail[max(0, end) + 40 : max(0, end) + 48], "little")
    file.seek(max(0, n_bytes - len(tail) + end - size))
    n_entries = 0
    while size > 0 and (chunk := file.read(min(size, _CHUNK_BYTES))):
        n_entries += chunk.count(b"PK\1\2")
        size -= len(chunk)
    return n_entries


def _unpack_tar(archive: Path, writer: _Writer) -> None:
    with _Unzipped(archive, writer) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:  # type: ignore[call-overload]
        while (member := tar.next()) is not None:
            _unpack_tar_member(tar, member, writer)
            tar.members.clear()  # or half a million of them stay in memory
        stream.check_end()


def _unpack_tar_member(tar: tarfile.TarFile, member: tarfile.TarInfo, writer: _Writer) -> None:
    if member.isdir() and PurePosixPath(member.name) == PurePosixPath("."):
        return
    target = writer.enter(member.name)
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    source = tar.extractfile(member) if member.isreg() else None
    if source is None:
        raise writer.refuse("is a link or device, not a file", _PACK_AGAIN)
    with source:
        writer.write(target, source, writer.packed_bytes)


_OPENERS: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZ": bz2.open,
    b"\xfd7": lzma.open,
}
_open_plain = functools.partial(open, mode="rb")


class _Unzipped:
    """The tar inside a compressed file, for tarfile to read; refuses to be read in huge pieces.

    tarfile reads extended headers whole, whatever size they claim, so a few kilobytes of gzip
    could otherwise fill the memory.
    """

    def __init__(self, archive: Path, writer: _Writer) -> None:
        with archive.open("rb") as file:
            opener = _OPENERS.get(file.read(2), _open_plain)
        self._file, self._writer, self._last = opener(archive), writer, b""

    def read(self, n_bytes: int) -> bytes:
        if n_bytes > RATIO_FLOOR_BYTES:
            raise self._writer.refuse(f"has a header that claims {n_bytes:,} bytes")
        self._last = self._file.read(n_bytes)
        return self._last

    def check_end(self) -> None:
        """Refuse what tarfile takes for an end: a cut, a garbled header, a second archive.

        Reading on to the last byte also lets gzip, bzip2 and xz compare their checksums.
        """
        if len(self._last) < tarfile.BLOCKSIZE or any(self._last):
            raise tarfile.ReadError("cut short or damaged: the end mark is missing")
        n_bytes = 0
        while chunk := self._file.read(_CHUNK_BYTES):
            n_bytes += len(chunk)
            if any(chunk) or n_bytes > RATIO_FLOOR_BYTES:
                raise tarfile.ReadError("it goes on after its end mark")

    def seek(self, offset: int) -> int:
        return int(self._file.seek(offset))

    def tell(self) -> int:
        return int(self._file.tell())

    def __enter__(self) -> _Unzipped:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _cannot_be_unpacked(archive: Path, member: str, error: Exception) -> ArchiveError:
    has_errno = getattr(error, "errno", None) is not None  # from the disk, not from the archive
    cure = "see that the disk has room and that both folders can be used" if has_errno else ""
    rule = f"cannot be unpacked: {error or type(error).__name__}"
    return _refusal(archive, member, rule, cure or _GET_AGAIN)


def _refusal(archive: Path, member: str, rule: str, cure: str) -> ArchiveError:
    subject = f"member {member!r} of the archive" if member else "the archive"
    return ArchiveError(
        f"{subject} {rule}", place=str(archive), cure=cure, archive=str(archive), member=member
    )
