"""Packages that are not part of the core: whether they are here, and the line that brings them.

`pip install regraft` is all of the way from a folder to a tested classifier, and to its answers.
PyTorch and what belongs to it come with `regraft[train]`: for methods that learn by gradients,
other backbones, and GPUs.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from regraft.errors import MissingPackageError

_TRAIN = "pip install 'regraft[train]'"
_EXPORT = "pip install 'regraft[export]'"
# From a package as it is imported to its name for people, and the line that brings it.
EXTRAS = {
    "torch": ("PyTorch", _TRAIN),
    "torchvision": ("torchvision", _TRAIN),
    "timm": ("timm", _TRAIN),
    "accelerate": ("accelerate", _TRAIN),
    "onnx": ("onnx", _EXPORT),
    "onnxruntime": ("onnxruntime", _EXPORT),
    "openvino": ("OpenVINO", "pip install openvino"),
    # It comes along; only one class needs it, and all else works where somebody left it out.
    "sklearn": ("scikit-learn", "pip install scikit-learn"),
}


def has(package: str) -> bool:
    """Whether a package can be imported; it is not.

    Examples
    --------
    >>> has("numpy"), has("no_such_package")
    (True, False)
    """
    if package in sys.modules:
        return sys.modules[package] is not None
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def require(package: str, what: str, *, otherwise: str = "") -> None:
    """Refuse what needs a package that is not here.

    Parameters
    ----------
    package : str
        A key of `EXTRAS`.
    what : str
        What needs it: the beginning of the sentence.
    otherwise : str
        What can be done without it.

    Raises
    ------
    MissingPackageError
    """
    if not has(package):
        raise _missing(package, what, otherwise)


@contextmanager
def needed_for(what: str, *, otherwise: str = "") -> Iterator[None]:
    """A block that imports what an extra brings: if it is not here, the line that brings it is
    said.

    Raises
    ------
    MissingPackageError

    Examples
    --------
    >>> with needed_for("--method full"):
    ...     raise ModuleNotFoundError("No module named 'torch'", name="torch")
    Traceback (most recent call last):
        ...
    regraft.errors.MissingPackageError: --method full needs PyTorch, which is not installed
      cure:  pip install 'regraft[train]'
    """
    try:
        yield
    except MissingPackageError:
        raise
    except ImportError as error:
        if (package := package_of(error)) is None:
            raise
        raise _missing(package, what, otherwise) from error


def told(error: ImportError) -> MissingPackageError | None:
    """The refusal that an import's failure amounts to; None if no package of an extra is at fault.

    For the end of a command: who imports says himself what for (`needed_for`).
    """
    package = package_of(error)
    return None if package is None else _missing(package, "this command", "")


def package_of(error: ImportError) -> str | None:
    """The package of an extra whose lack an error tells of, or None."""
    name = (error.name or "").partition(".")[0]
    if name:
        return name if name in EXTRAS else None
    words = str(error).replace("'", " ").split()
    return next((package for package in EXTRAS if package in words), None)


def _missing(package: str, what: str, otherwise: str) -> MissingPackageError:
    name, line = EXTRAS[package]
    return MissingPackageError(
        f"{what} needs {name}, which is not installed",
        cure=line + (f"; or {otherwise}" if otherwise else ""),
        package=package,
    )
