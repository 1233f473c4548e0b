"""A way to make a classifier: a method on a backbone, at a size of picture, for some epochs."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from regraft.errors import ConfigError
from regraft.record.configuration import RunConfig
from regraft.training.methods import METHODS, method_named
from regraft.training.settings import is_used
from regraft.wording import count

# What is tried unless it is said: cheap ones first. `scratch` is for comparison alone.
METHODS_TRIED = ("probe", "partial", "full")
BACKBONES_TRIED = ("default", "lite1", "lite2", "default+lite2", "default+lite1+lite2")


@dataclass(frozen=True)
class Way:
    """One way; what is None is chosen for the data.

    Attributes
    ----------
    method : str
    backbone : str
        As `--backbone` takes it.
    image_size, epochs : int or None
    look : str
        As `--look` takes it; empty for the plain one.

    Examples
    --------
    >>> way = Way("partial", "lite1", epochs=4)
    >>> way.name, way.command("my photos")
    ('partial, lite1, 4 epochs', "regraft train 'my photos' --method partial --backbone lite1 --epochs 4")
    """  # noqa: E501

    method: str = "probe"
    backbone: str = "default"
    image_size: int | None = None
    epochs: int | None = None
    look: str = ""

    @property
    def name(self) -> str:
        """In a few words."""
        parts = [self.method, self.backbone]
        parts += [f"look {self.look}"] * bool(self.look)
        parts += [f"{self.image_size} px"] * bool(self.image_size)
        parts += [count(self.epochs, "epoch")] if self.epochs else []
        return ", ".join(parts)

    @property
    def trains(self) -> bool:
        """By gradients."""
        return METHODS[self.method].trains

    @property
    def n_looks(self) -> int:
        """How often the network sees each picture."""
        return 2 if self.look else 1

    @property
    def probe(self) -> Way:
        """The probe that this way begins from, and is measured against."""
        return replace(self, method="probe", epochs=None)

    def config(self, base: RunConfig, settings: Mapping[str, Any] | None = None) -> RunConfig:
        """A run of this way, on the data and by the seed of another.

        `settings` are of training, for those ways that look at them.
        """
        own = {"image_size": self.image_size, "epochs": self.epochs}
        given = {name: value for name, value in own.items() if value is not None}
        method = METHODS[self.method]
        shared = {n: v for n, v in (settings or {}).items() if is_used(n, method)}
        training = {**(base.training or {}), **shared, **given} or None
        changed: dict[str, Any] = {"look": self.look} if self.look else {}
        return replace(
            base, method=self.method, backbone=self.backbone, training=training, **changed
        )

    def command(self, data: str, options: str = "") -> str:
        """That runs it; `options` are those which the data need, each after a blank."""
        own = {
            "--method": None if self.method == "probe" else self.method,
            "--backbone": None if self.backbone == "default" else self.backbone,
            "--look": self.look or None,
            "--image-size": self.image_size,
            "--epochs": self.epochs,
        }
        typed = "".join(f" {name} {shlex.quote(str(v))}" for name, v in own.items() if v)
        return f"regraft train {shlex.quote(data)}{typed}{options}"


def ways_of(methods: Sequence[str], backbones: Sequence[str]) -> list[Way]:
    """Every method on every backbone, the probes first; what learns by gradients moves one
    network, so several side by side are for probes.

    Examples
    --------
    >>> [way.name for way in ways_of(["partial", "probe"], ["default"])]
    ['probe, default', 'partial, default']
    """
    order = list(METHODS)
    methods = sorted(dict.fromkeys(methods), key=order.index)
    ways = [Way(method, name) for method in methods for name in dict.fromkeys(backbones)]
    return [way for way in ways if not (way.trains and is_several(way.backbone))]


def is_several(backbone: str) -> bool:
    """Whether a name stands for several networks side by side."""
    from regraft.backbones import catalog

    return len(catalog.names_in(backbone)) > 1


def names_in(text: str, *, option: str) -> list[str]:
    """Names with commas between them, each once.

    Raises
    ------
    ConfigError
        There is none, or one is empty.
    """
    names = [part.strip() for part in text.split(",")]
    if not all(names):
        raise ConfigError(
            f"{option} must be names with commas between them, got {text!r}",
            cure=f"{option} a,b",
        )
    return list(dict.fromkeys(names))


def methods_in(text: str) -> list[str]:
    """Methods with commas between them; an unknown one is answered with near names."""
    names = names_in(text, option="--ways")
    for name in names:
        method_named(name)
    return names


def known_backbones(names: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Of these, the ones that can be tried offline, and why the others cannot.

    A name whose weights would have to be looked for in the network is not judged here: it is
    tried, and an arm that fails is lost alone.
    """
    from regraft.backbones import catalog
    from regraft.errors import BackboneError

    found, missing = [], {}
    for name in names:
        try:
            for part in catalog.names_in(name):
                source = catalog.resolve(part)
                if source.kind == "pinned":
                    catalog.weights_file(part if part in catalog.PINNED else "default")
        except BackboneError as error:
            missing[name] = f"{error.rule}: {error.cure}" if error.cure else error.rule
        else:
            found.append(name)
    return found, missing
