"""From what is typed after `--runner` to a runner; refused before any work if it cannot be."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable

from regraft.errors import UsageError
from regraft.features.one_pass import Runner

_FORMS = "threads, processes:N, ray, ray://HOST:PORT or dask://HOST:PORT"
MOST_PROCESSES = 1024


def require_runner(name: str) -> None:
    """Refuse a runner that is none, or whose package is not installed.

    Examples
    --------
    >>> require_runner("processes:2")
    >>> require_runner("proceses:2")
    Traceback (most recent call last):
    regraft.errors.UsageError: no runner is called 'proceses:2'
      cure:  --runner threads, processes:N, ray, ray://HOST:PORT or dask://HOST:PORT
    """
    if name == "threads":
        return
    if match := re.fullmatch(r"processes:(\d+)", name):
        if not 1 <= int(match[1]) <= MOST_PROCESSES:
            raise UsageError(
                f"processes must be 1 to {MOST_PROCESSES}, got {match[1]}",
                cure="--runner processes:2",
            )
    elif name == "ray" or re.fullmatch(r"ray://[^\s/]+", name):
        _require_package("ray", name)
    elif re.fullmatch(r"dask://[^\s/]+:\d+", name):
        _require_package("distributed", name)
    else:
        raise UsageError(f"no runner is called {name!r}", cure=f"--runner {_FORMS}")


def runner_named(name: str, *, say: Callable[[str], None] = lambda text: None) -> Runner:
    """The runner of this name, not started yet."""
    require_runner(name)
    kind, _, rest = name.partition(":")
    if kind == "processes":
        from regraft.features.runners.processes import Processes

        return Processes(int(rest), say=say)
    if kind == "ray":
        from regraft.features.runners.on_ray import OnRay

        return OnRay("" if name == "ray" else name, say=say)
    from regraft.features.runners.on_dask import OnDask

    return OnDask(f"tcp:{rest}", say=say)


def _require_package(package: str, name: str) -> None:
    extra = name.partition(":")[0]
    if importlib.util.find_spec(package) is None:
        raise UsageError(
            f"--runner {name} needs the package {package}, which is not installed",
            cure=f"pip install 'regraft[{extra}]'; or --runner processes:2, which needs nothing",
        )
