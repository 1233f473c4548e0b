"""The models that are served, by name: loaded, warm, described."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regraft.errors import UsageError
from regraft.model.loading import load
from regraft.model.tested_promises import missed_at_any
from regraft.probe.classifier import Classifier
from regraft.server.heat import HeatMaps
from regraft.server.refusals import Refusal
from regraft.wording import near_names

# A name stands in addresses.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# A picture that any decoder reads, to start everything once before the first request.
_GREY = b"P6 8 8 255 " + bytes([128] * 192)
VERSION = "1"


@dataclass(frozen=True, eq=False)
class Served:
    """One model under its name."""

    name: str
    classifier: Classifier
    heat: HeatMaps

    def describe(self) -> dict[str, Any]:
        """What may be known of it."""
        model = self.classifier
        info, score = model.info, model.test_score
        assert info is not None  # a model of features alone cannot be loaded
        return {
            "name": self.name,
            "classes": list(model.classes),
            "method": model.method,
            "backbone": info.name,
            "licence": info.licence,
            "origin": info.origin,
            "runtime": info.runtime,
            "precision": info.precision,
            "offers": ["sets", "reject"] if model.unknown is not None else [],
            "missed_promises": missed_at_any(model.card),
            "test_score": score and {
                "accuracy": score.value, "low": score.low, "high": score.high, "level": score.level
            },
        }  # fmt: skip


class Models:
    """All of them; the first is asked where a request names none."""

    def __init__(self, served: Sequence[Served]) -> None:
        self.by_name: Mapping[str, Served] = {one.name: one for one in served}

    @property
    def first(self) -> Served:
        """The one that is asked where none is named."""
        return next(iter(self.by_name.values()))

    def named(self, name: str | None) -> Served:
        """The model of this name, or the only one.

        Raises
        ------
        Refusal
            404: there is none of this name; 400: there are several and none was named.
        """
        names = ", ".join(self.by_name)
        if name is None:
            if len(self.by_name) > 1:
                raise Refusal(
                    400,
                    f"{len(self.by_name)} models are served and none was named",
                    cure=f"?model={self.first.name}; there are {names}",
                )
            return self.first
        if name not in self.by_name:
            near = near_names(name, list(self.by_name), n=1)
            meant = f"did you mean {near[0]}? " if near else ""
            raise Refusal(
                404, f"no model is called {name[:100]!r}", cure=f"{meant}there are {names}"
            )
        return self.by_name[name]


def opened(
    folders: Sequence[str | os.PathLike[str]],
    names: Sequence[str] = (),
    *,
    say: Callable[[str], None] = lambda text: None,
) -> Models:
    """Models loaded and warm: their engines run, and have answered once.

    Parameters
    ----------
    folders : sequence of path
        Of models, or of their runs.
    names : sequence of str
        One for each; by default that of the run.

    Raises
    ------
    UsageError
        Names that are no names, or not one for each model.
    ArtefactError
        As `load`.
    """
    called = _names(folders, names)
    return Models([_warm(name, load(f), say) for name, f in zip(called, folders, strict=True)])


def _warm(name: str, classifier: Classifier, say: Callable[[str], None]) -> Served:
    classifier.built(say=say)
    classifier.answer(_GREY)
    return Served(name, classifier, HeatMaps(classifier))


def _names(folders: Sequence[str | os.PathLike[str]], names: Sequence[str]) -> list[str]:
    if names and len(names) != len(folders):
        raise UsageError(
            f"{len(names)} names for {len(folders)} models",
            cure="--name NAME once for each model, or not at all",
        )
    called = list(names) or [_name_of(Path(folder)) for folder in folders]
    for name in called:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} cannot be a model's name: it stands in addresses",
                cure="--name with letters, digits, '.', '_' and '-'",
            )
    if twice := sorted({name for name in called if called.count(name) > 1}):
        raise UsageError(
            f"two models are called {twice[0]!r}", cure="--name NAME once for each model"
        )
    return called


def _name_of(folder: Path) -> str:
    """That of the run, for people to recognise.

    >>> _name_of(Path("runs/hymenoptera-probe-1a2b/model")), _name_of(Path("my model"))
    ('hymenoptera-probe-1a2b', 'my-model')
    """
    whole = Path(os.path.abspath(folder))
    name = whole.parent.name if whole.name == "model" else whole.name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._") or "model"
