"""`RunConfig`: everything that decides what a run does; ``run.json`` holds it."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from regraft.data.label_sources import LABEL_SOURCES
from regraft.errors import ConfigError, UsageError
from regraft.machine import json_values
from regraft.training.methods import METHODS, method_named
from regraft.training.settings import TrainingSettings
from regraft.training.usage import settings_for

# Of the data's name in a run's: with method and digest it must fit on any disk.
MOST_LETTERS = 200


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides what a run does; ``run.json`` holds it and re-runs it.

    Attributes
    ----------
    data : str
        Folder, manifest or archive.
    method : str
    backbone : str
    weights : str or None
        A weights file for the backbone's architecture.
    taps : list of str or None
        None: measured and chosen.
    head : str
    class_weight : str or None
    path_column, label_column, split_column, group_column : str or None
        Of a manifest.
    label_from : 'folder' or 'name'
        Whether folders (or a manifest) say the labels, or the names of the files.
    test_fraction : float
        Where the data come without splits.
    seed : int
    device : str
    training : dict or None
        Settings of the methods that learn by gradients
        (:class:`regraft.training.settings.TrainingSettings`).
    """

    data: str
    method: str = "probe"
    backbone: str = "default"
    weights: str | None = None
    taps: list[str] | None = None
    head: str = "ridge"
    class_weight: str | None = None
    path_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    group_column: str | None = None
    label_from: str = LABEL_SOURCES[0]
    test_fraction: float = 0.2
    seed: Annotated[int, Meta(ge=0)] = 0
    device: str = "auto"
    training: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        method_named(self.method)  # refuses a name that is none
        self._refuse_unknown_label_source()
        self._refuse_unused_taps(self.settings)

    @property
    def settings(self) -> TrainingSettings:
        """Those of `training`, and of its recipe.

        Raises
        ------
        ConfigError
            One is unknown, of another type, out of range, or not used by this method.
        """
        return settings_for(self.method, self.training or {})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, place: str = "") -> RunConfig:
        """From JSON; unknown keys are answered with near names.

        Examples
        --------
        >>> RunConfig.from_dict({"data": "photos", "backbon": "lite1"})
        Traceback (most recent call last):
            ...
        regraft.errors.ConfigError: a run has no setting 'backbon'
          cure:  did you mean 'backbone'?
        """
        json_values.check(values, cls, what="a run", place=place)
        if "data" not in values:
            raise ConfigError("a run needs 'data'", place=place, cure='"data": "photos/"')
        try:
            return cls(**values)
        except ConfigError as error:
            raise ConfigError(error.rule, place=place or error.place, cure=error.cure) from error

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> RunConfig:
        """From a ``run.json`` of a finished run, or from a JSON file of settings alone."""
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"cannot read {str(path)!r}: {error.strerror}") from error
        except ValueError as error:
            raise ConfigError(f"not JSON: {error}", place=str(path)) from error
        if isinstance(content, dict) and isinstance(content.get("config"), dict):
            content = content["config"]
        if not isinstance(content, dict):
            raise ConfigError("the configuration must be a JSON object", place=str(path))
        return cls.from_dict(content, place=str(path))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def _refuse_unknown_label_source(self) -> None:
        if self.label_from not in LABEL_SOURCES:
            raise ConfigError(
                f"label_from must be {' or '.join(map(repr, LABEL_SOURCES))}, "
                f"got {self.label_from!r}",
                cure='"label_from": "name" reads labels in the names of files, as cat.12.jpg',
            )

    def _refuse_unused_taps(self, settings: TrainingSettings) -> None:
        """A head that starts at random sees the final features, as the tutorials' do."""
        method = METHODS[self.method]
        is_random = method.starts_anew or settings.init_head == "random"
        final = all(name.strip() in ("final", "codes") for name in self.taps or ())
        if not method.trains or final or not is_random:
            return
        raise ConfigError(
            "a head that starts from random numbers sees the final features; it does not use "
            f"--taps {','.join(self.taps or ())}",
            cure="leave out --taps"
            + ("" if method.starts_anew else "; or --init-head probe, which starts from them"),
        )

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits that differ where any setting does."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]

    def goes_on_from(self, earlier: RunConfig) -> bool:
        """Whether this is the same run, or the same for more (or fewer) epochs."""
        return self._without_epochs() == earlier._without_epochs()

    def _without_epochs(self) -> dict[str, Any]:
        training = {k: v for k, v in (self.training or {}).items() if k != "epochs"}
        return {**self.to_dict(), "training": training}

    @property
    def default_name(self) -> str:
        """``<data>-<method>-<digest>``, safe as a folder's name."""
        data = Path(os.path.abspath(self.data)).name.split(".")[0] or "data"
        safe = re.sub(r"[^A-Za-z0-9_-]+", "_", data.encode("ascii", "replace").decode())
        return f"{safe.strip('_')[:MOST_LETTERS] or 'data'}-{self.method}-{self.digest}"
