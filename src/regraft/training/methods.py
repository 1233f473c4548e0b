"""The methods by name: one file each, one line here."""

from __future__ import annotations

from regraft.errors import ConfigError
from regraft.probe.method import PROBE, Method
from regraft.training.full import FULL
from regraft.training.head import HEAD
from regraft.training.partial import PARTIAL
from regraft.training.scratch import SCRATCH
from regraft.wording import near_names

METHODS: dict[str, Method] = {m.name: m for m in (PROBE, HEAD, PARTIAL, FULL, SCRATCH)}
# Those that learn by gradients.
TRAINED = tuple(name for name, method in METHODS.items() if method.trains)


def method_named(name: str) -> Method:
    """The method of a name.

    Raises
    ------
    ConfigError
        There is none; with near names.

    Examples
    --------
    >>> method_named("probe").trains
    False
    """
    if name not in METHODS:
        near = near_names(name, METHODS, n=1)
        cure = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(
            f"no method is called {name!r}", cure=f"{cure}methods: {', '.join(METHODS)}"
        )
    return METHODS[name]


def that(**marks: bool) -> tuple[str, ...]:
    """Names of the methods that have these marks.

    Examples
    --------
    >>> that(sees_pictures=True)
    ('full', 'scratch')
    """
    return tuple(
        name
        for name, method in METHODS.items()
        if all(getattr(method, mark) == value for mark, value in marks.items())
    )
