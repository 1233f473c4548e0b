"""The Regraft that is running here as a wheel, so that elsewhere the same code answers."""

from __future__ import annotations

import base64
import hashlib
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import regraft
from regraft.errors import UsageError

_NAME = "regraft"
# One time for all files: the same code gives the same wheel.
_TIME = (1980, 1, 1, 0, 0, 0)


def write(folder: Path) -> Path:
    """Write the wheel of this installation, also of one that is edited in place.

    Raises
    ------
    UsageError
        Regraft is not installed, but found by a path alone.
    """
    version = regraft.__version__
    info = f"{_NAME}-{version}.dist-info"
    path = folder / f"{_NAME}-{version}-py3-none-any.whl"
    rows = []
    with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in (*_code(), *((f"{info}/{n}", d) for n, d in _facts(version))):
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            rows.append(f"{name},sha256={digest},{len(data)}\n")
            _add(wheel, name, data)
        _add(wheel, f"{info}/RECORD", "".join([*rows, f"{info}/RECORD,,\n"]).encode())
    return path


def _code() -> Iterator[tuple[str, bytes]]:
    root = Path(regraft.__file__).parent
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield f"{_NAME}/{path.relative_to(root).as_posix()}", path.read_bytes()


def _facts(version: str) -> Iterator[tuple[str, bytes]]:
    source = Path(regraft.__file__).parents[2] / "pyproject.toml"
    described, entries = _of_source(source, version) if source.is_file() else _of_installed(version)
    tags = (
        "Wheel-Version: 1.0",
        "Generator: regraft",
        "Root-Is-Purelib: true",
        "Tag: py3-none-any",
    )
    yield "METADATA", described.encode()
    yield "WHEEL", "".join(f"{tag}\n" for tag in tags).encode()
    yield "entry_points.txt", entries.encode()


def _of_source(pyproject: Path, version: str) -> tuple[str, str]:
    """Of code that is edited in place: what was written down when it was installed may be old."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    lines = ["Metadata-Version: 2.1", f"Name: {_NAME}", f"Version: {version}"]
    lines += [f"Requires-Python: {project['requires-python']}"]
    lines += [f"Requires-Dist: {needed}" for needed in project["dependencies"]]
    for extra, needs in project["optional-dependencies"].items():
        lines += [f"Provides-Extra: {extra}", *(_of_extra(needed, extra) for needed in needs)]
    scripts = [f"{name} = {place}" for name, place in project["scripts"].items()]
    return "\n".join(lines) + "\n", "\n".join(["[console_scripts]", *scripts]) + "\n"


def _of_extra(needed: str, extra: str) -> str:
    name, _, condition = needed.partition(";")
    also = f"({condition.strip()}) and " if condition else ""
    return f"Requires-Dist: {name.strip()}; {also}extra == '{extra}'"


def _of_installed(version: str) -> tuple[str, str]:
    try:
        installed = metadata.distribution(_NAME)
    except metadata.PackageNotFoundError as error:
        raise UsageError(
            "the image gets the Regraft that is installed here, and none is",
            cure="pip install regraft",
        ) from error
    if installed.version != version:
        raise UsageError(
            f"Regraft {version} runs here, {installed.version} is installed",
            cure="pip install --upgrade regraft",
        )
    return installed.read_text("METADATA") or "", installed.read_text("entry_points.txt") or ""


def _add(wheel: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, _TIME)
    entry.external_attr = 0o644 << 16
    wheel.writestr(entry, data, zipfile.ZIP_DEFLATED)
