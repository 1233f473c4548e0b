"""The version of an installed package, by the name of the folder that pip writes beside it.

`importlib.metadata` says the same and imports email, zipfile and what these need: 10 ms of a run
that takes a second. It is asked where the folder is not as pip writes it.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path


@functools.cache
def version_of(package: str, module: str = "") -> str:
    """As packages know it, without a build's hash; 'none' if it is not installed.

    Parameters
    ----------
    package : str
        As it is installed.
    module : str
        As it is imported, where that is another name.

    Examples
    --------
    >>> from importlib.metadata import version
    >>> version_of("pillow", "PIL") == version("pillow"), version_of("no_such_package")
    (True, 'none')
    """
    spec = importlib.util.find_spec(module or package)
    if spec is None:
        return "none"
    folders = [Path(place).parent for place in spec.submodule_search_locations or ()]
    found = [one for folder in folders for one in folder.glob(f"{package}-[0-9]*.dist-info")]
    if len(found) == 1:
        return found[0].name.removesuffix(".dist-info").partition("-")[2]
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
