"""`RunConfig`: everything that decides what a run does; ``run.json`` holds it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from regraft.backbones import catalog, side_by_side
from regraft.backbones.catalog import Source
from regraft.data.label_sources import LABEL_SOURCES
from regraft.errors import ConfigError, UsageError
from regraft.images.scale import AS_STORED, white_of
from regraft.machine import allowed, json_values
from regraft.training.methods import METHODS, method_named
from regraft.training.settings import TrainingSettings
from regraft.training.usage import settings_for
from regraft.wording import printable

# Of the data's name in a run's: with method and digest it must fit on any disk.
MOST_LETTERS = 200


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides what a run does; ``run.json`` holds it and re-runs it.

    Attributes
    ----------
    data : path
        Folder, manifest or archive; kept as text.
    method : {'probe', 'head', 'partial', 'full', 'scratch'}
    backbone : str
        'default', 'lite1', 'lite2', a timm name, 'local-dir:FOLDER', 'hf-hub:OWNER/REPO'; for the
        probe several of them with a plus between, 'default+lite2'.
    look : {'plain', 'flip'}
        'flip': the probe sees a picture's features and its mirror image's, averaged.
    weights : path or None
        A weights file for the backbone's architecture.
    taps : list of str or None
        None: measured and chosen.
    head : {'auto', 'lda', 'ridge', 'logistic', 'svm', 'ncm', 'knn'}
    class_weight : {'balanced'} or None
    path_column, label_column, split_column, group_column : str or None
        Of a manifest.
    label_from : {'folder', 'top', 'parent', 'name'}
        What says the labels: the folders (or a manifest) as understood, the first folder, the
        folder that holds the image, or the name of the file.
    scale : str
        Which value is white in pictures of more than 8 bits (:mod:`regraft.images.scale`).
    test_fraction : float between 0 and 1
        Where the data come without splits.
    seed : int
        Of the division, of training, of everything left to chance.
    device : {'auto', 'cpu', 'cuda', 'mps'}
    training : dict or None
        Settings of the methods that learn by gradients, and of the network's input, by the names
        of the command's options
        (:class:`regraft.training.settings.TrainingSettings`).

    Raises
    ------
    ConfigError
        A setting is unknown, of another type, out of range, or not used by this method.

    Examples
    --------
    >>> config = RunConfig("photos", method="head", training={"epochs": 5})
    >>> config.settings.epochs, config.default_name[:12]
    (5, 'photos-head-')
    >>> RunConfig("photos", head="forest")
    Traceback (most recent call last):
        ...
    regraft.errors.ConfigError: no head is called 'forest'
      cure:  the choices: auto, lda, ridge, logistic, svm, ncm, knn
    """

    data: str
    method: str = "probe"
    backbone: str = "default"
    look: str = catalog.PLAIN
    weights: str | None = None
    taps: list[str] | None = None
    head: str = "auto"
    class_weight: str | None = None
    path_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    group_column: str | None = None
    label_from: str = LABEL_SOURCES[0]
    scale: str = AS_STORED
    test_fraction: Annotated[float, Meta(gt=0, lt=1)] = 0.2
    seed: Annotated[int, Meta(ge=0)] = 0
    device: str = "auto"
    training: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            object.__setattr__(self, name, _plain(value))
        json_values.check(vars(self), type(self), what="a run")
        method_named(self.method)  # refuses a name that is none
        self._refuse_unknown_label_source()
        self._refuse_unknown_head()
        white_of(self.scale)
        self._refuse_unknown_look()
        self._refuse_what_learns_on_one_network()
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

    @property
    def source(self) -> Source:
        """The network of the pass. Methods that train settle its input by what the pass tells."""
        source = side_by_side.resolve(self.backbone, weights=self.weights)
        if METHODS[self.method].trains:
            return source
        return replace(self.settings.shown_to(source), look=self.look)

    @classmethod
    def of(cls, given: RunConfig | str | os.PathLike[str]) -> RunConfig:
        """A configuration as it is; of a path alone, with the defaults.

        Examples
        --------
        >>> RunConfig.of(Path("photos")) == RunConfig.of(RunConfig("photos"))
        True
        """
        if isinstance(given, RunConfig):
            return given
        if isinstance(given, (str, os.PathLike)):
            return cls(os.fsdecode(given))
        raise TypeError(
            f"a run is asked for by a RunConfig, or by the path of its data, got "
            f"{type(given).__name__}; arrays and lists of pictures: ImageClassifier().fit(X, y)"
        )

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
            raise ConfigError(
                error.rule, place=place or error.place, cure=error.cure, **error.facts
            ) from error

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
                f"'label_from' has no choice {self.label_from!r}",
                cure=allowed.choice_meant(self.label_from, LABEL_SOURCES)
                + '; "name" reads labels in the names of files, as cat.12.jpg; "parent" takes the '
                'folder that holds an image, "top" the first folder',
                setting="label_from",
            )

    def _refuse_unknown_head(self) -> None:
        from regraft.probe import probe  # with NumPy, which --help does without

        probe.require_head(self.head)
        probe.require_class_weight(self.class_weight)

    def _refuse_unknown_look(self) -> None:
        if self.look not in catalog.LOOKS:
            cure = allowed.choice_meant(self.look, catalog.LOOKS)
            raise ConfigError(f"no look is called {self.look!r}", cure=cure)

    def _refuse_what_learns_on_one_network(self) -> None:
        """Several networks, or a look, are ways to see; what learns by gradients moves one."""
        if not METHODS[self.method].trains:
            return
        names = catalog.names_in(self.backbone)
        if len(names) > 1:
            raise ConfigError(
                f"method {self.method!r} learns on one network, {self.backbone!r} names "
                f"{len(names)}",
                cure=f"--method probe; or one of them: --backbone {' or '.join(names)}",
            )
        if self.look != catalog.PLAIN:
            raise ConfigError(
                f"method {self.method!r} learns from views of its own and does not use "
                f"--look {self.look}",
                cure="--method probe; or leave out --look (--horizontal-flip 0.5 shows mirror "
                "images while it learns)",
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

    @property
    def same_data_options(self) -> str:
        """What another command on the same data needs again, each after a blank.

        Examples
        --------
        >>> RunConfig("photos.csv", label_column="kind of bird").same_data_options
        " --label-column 'kind of bird'"
        """
        options = {
            "--backbone": None if self.backbone == "default" else self.backbone,
            "--look": None if self.look == catalog.PLAIN else self.look,
            "--weights": self.weights,
            "--label-from": None if self.label_from == LABEL_SOURCES[0] else self.label_from,
            "--path-column": self.path_column,
            "--label-column": self.label_column,
            "--split-column": self.split_column,
            "--group-column": self.group_column,
            "--scale": None if self.scale == AS_STORED else self.scale,
        }
        given = {name: shlex.quote(printable(value)) for name, value in options.items() if value}
        return "".join(f" {name} {value}" for name, value in given.items())

    def goes_on_from(self, earlier: RunConfig) -> bool:
        """Whether this is the same run, or the same for more (or fewer) epochs."""
        return self._without_epochs() == earlier._without_epochs()

    def _without_epochs(self) -> dict[str, Any]:
        training = {k: v for k, v in (self.training or {}).items() if k != "epochs"}
        return {**self.to_dict(), "training": training}

    @property
    def default_name(self) -> str:
        """``<data>-<method>-<digest>``, safe as a folder's name."""
        return f"{self.stem}-{self.digest}"

    @property
    def stem(self) -> str:
        """``<data>-<method>``, which the default name begins with."""
        path = Path(os.path.abspath(self.data))
        data = path.name.split(".")[0]
        if "{" in path.name:  # shards: what they share, else their folder
            shared = re.sub(r"\{.*?\}", "", path.name).split(".")[0].strip("-_")
            data = shared or path.parent.name
        data = data or "data"
        safe = re.sub(r"[^A-Za-z0-9_-]+", "_", data.encode("ascii", "replace").decode())
        return f"{safe.strip('_')[:MOST_LETTERS] or 'data'}-{self.method}"


def _plain(value: Any) -> Any:
    """What JSON has for it: a path as text, a tuple as a list, a number of NumPy as Python's."""
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    return value.item() if hasattr(value, "dtype") and hasattr(value, "item") else value
