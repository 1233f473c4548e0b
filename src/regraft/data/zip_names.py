"""Names in zip archives that are not UTF-8: in which code page they are is not said, so it is told.

The standard means code page 437, Windows writes the one of its country. Names that make sense in
437 are read so, which is told; others are refused with what they would be in other code pages.
"""

from __future__ import annotations

import os
import unicodedata
import zipfile
from collections.abc import Iterable

from regraft.data.table import Reading, first_few
from regraft.errors import ArchiveError

_UTF8_FLAG = 0x800
_CODE_PAGES = ("cp1252", "cp1251", "cp866", "shift_jis", "gbk", "cp949", "cp1253", "cp1254")


def refuse_garbled(archive: str, zipped: zipfile.ZipFile) -> None:
    """Refuse names that are no words in code page 437, with an ArchiveError.

    Parameters
    ----------
    archive : str
    zipped : ZipFile
        Opened without an encoding.
    """
    foreign = _foreign(zipped)
    if all(map(_is_latin, foreign)):
        return
    raw = [name.encode("cp437") for name in foreign]
    readable = [page for page in _CODE_PAGES if all(_is_word(name, page) for name in raw)]
    shown = first_few((f"{_decoded(raw[0], p)!r} in {p}" for p in readable), at_most=3)
    raise ArchiveError(
        "its names are neither UTF-8 nor code page 437"
        + (f"; {raw[0]!r} would be {shown}" if shown else f": {raw[0]!r}"),
        place=archive,
        cure="unpack it with the right code page, and give the folder: "
        + _command(archive, readable[0] if readable else "CODEPAGE"),
        archive=archive,
        member=foreign[0],
    )


def names_read(archive: str) -> list[Reading]:
    """That names were read in code page 437, if some were.

    Examples
    --------
    >>> import io, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with zipfile.ZipFile(f"{folder}/photos.zip", "w") as new:
    ...         new.writestr("ants/1.jpg", b"...")
    ...     names_read(f"{folder}/photos.zip")
    []
    """
    if not zipfile.is_zipfile(archive):
        return []
    try:
        with zipfile.ZipFile(archive, metadata_encoding="utf-8"):
            return []
    except UnicodeDecodeError:
        with zipfile.ZipFile(archive) as zipped:
            foreign = _foreign(zipped)
    words = f"the names in {archive} are read in code page 437: {first_few(foreign, at_most=3)}"
    cure = f"if they are others, unpack it and give the folder: {_command(archive, 'CODEPAGE')}"
    return [Reading("zip-names", words, cure)]


def _foreign(zipped: zipfile.ZipFile) -> list[str]:
    """Parts of names that are not ASCII and not said to be UTF-8, each once."""
    names = (m.filename for m in zipped.infolist() if not m.flag_bits & _UTF8_FLAG)
    parts: Iterable[str] = (part for name in names for part in name.split("/"))
    return list(dict.fromkeys(part for part in parts if not part.isascii()))


def _is_latin(name: str) -> bool:
    letters = [letter for letter in name if not letter.isascii()]
    return all(unicodedata.name(letter, "").startswith("LATIN ") for letter in letters)


def _is_word(name: bytes, page: str) -> bool:
    decoded = _decoded(name, page)
    return decoded != "" and all(c.isascii() or c.isalpha() for c in decoded)


def _decoded(name: bytes, page: str) -> str:
    try:
        return name.decode(page)
    except UnicodeDecodeError:
        return ""


def _command(archive: str, page: str) -> str:
    folder = os.path.splitext(archive)[0]
    return f"python -m zipfile --metadata-encoding {page} -e {archive} {folder}"
