"""``config.json`` of a model: timm's keys and a ``regraft`` object, written and read back here.

Every key is checked for its kind and its range before anything is made of it; the digest that
the file holds of itself tells a changed class name or temperature from the saved one.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from regraft.errors import ArtefactError, RegraftError
from regraft.features.engine import EngineInfo
from regraft.images.geometry import Preprocess

# Raised when an older Regraft would misread the file; new keys alone do not.
FORMAT = 1
CONFIG, NETWORK, LEARNT = "config.json", "model.safetensors", "regraft.safetensors"
ANEW = "copy the folder again from where it was saved, or train the model again"

_MAX_CONFIG_BYTES = 32 * 2**20
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Far above what any network takes; below what would exhaust the memory.
_MAX_SIDE_PX = 16_384


@dataclass(frozen=True, eq=False)
class Config:
    """A config that passed every check that needs no tensor.

    Attributes
    ----------
    raw : dict
        The whole JSON object.
    classes : tuple of K str
    method, head_kind : str
    representation : dict
        As `Representation.to_config` gives it.
    temperature : float
    info : EngineInfo
    opens_with_timm : bool
        Whether the network's own classifier is the learnt one.
    files : dict
        SHA-256 by file name.
    """

    raw: dict[str, Any]
    classes: tuple[str, ...]
    method: str
    head_kind: str
    representation: dict[str, Any]
    temperature: float
    info: EngineInfo
    opens_with_timm: bool
    files: dict[str, str]

    @property
    def card(self) -> dict[str, Any]:
        """What was kept beside the model."""
        extra = self.raw["regraft"].get("extra")
        return extra if isinstance(extra, dict) else {}


def read(folder: Path) -> Config:
    """Read and check ``config.json``.

    Raises
    ------
    ArtefactError
        Missing, damaged, changed, foreign or newer.
    """
    path = folder / CONFIG
    raw = _parse(path)
    top = _Object(raw, "", path)
    if "regraft" not in raw:
        raise ArtefactError(
            "config.json has no 'regraft' object, so this is no model of Regraft",
            place=str(path),
            cure=f"to use it as a backbone: --backbone local-dir:{folder}",
        )
    ours = top.object("regraft")
    _check_format(ours, path)
    files = ours.object("files")
    found = digest_of(raw)
    if found != files.sha256(CONFIG):
        files.refuse(
            f"config.json was changed: the sha256 of its content is {found}, "
            f"saved was {files.values[CONFIG]}"
        )
    return Config(
        raw=raw,
        classes=_classes(ours),
        method=ours.text("method"),
        head_kind=ours.object("head").text("kind"),
        representation=_representation(ours.object("representation")),
        temperature=_temperature(ours),
        info=_info(top, ours),
        opens_with_timm=ours.truth("timm"),
        files={name: files.sha256(name) for name in (NETWORK, LEARNT)},
    )


def to_text(raw: dict[str, Any]) -> str:
    """The text of a config, its own digest filled in; ValueError if it is no JSON."""
    raw["regraft"]["files"][CONFIG] = digest_of(raw)
    text = json.dumps(raw, indent=1, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # a class named by a folder whose name is no UTF-8
        return json.dumps(raw, indent=1, allow_nan=False)
    return text


def digest_of(raw: Mapping[str, Any]) -> str:
    """SHA-256 of a config's content without the digest itself, however it is laid out."""
    ours = raw["regraft"]
    files = {name: value for name, value in ours["files"].items() if name != CONFIG}
    content = {**raw, "regraft": {**ours, "files": files}}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _parse(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():
            folder = path.parent
            what = "there is no such folder"
            if folder.exists():
                what = "there is no config.json" if folder.is_dir() else "it is a file"
            cure = "give the folder `model` that a run has saved: runs/NAME/model"
            if (folder / "model" / path.name).is_file():
                what, cure = "it is a run", f"did you mean {str(folder / 'model')!r}?"
            raise ArtefactError(f"{what}, so this is no model", place=str(folder), cure=cure)
        if path.stat().st_size > _MAX_CONFIG_BYTES:
            raise ArtefactError(
                f"config.json takes {path.stat().st_size} bytes, at most {_MAX_CONFIG_BYTES} "
                "are read",
                place=str(path),
                cure=ANEW,
            )
        text = path.read_bytes().decode("utf-8")
        raw = json.loads(text, object_pairs_hook=_without_twins, parse_constant=_no_constant)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ArtefactError(f"config.json cannot be read: {reason}", place=str(path)) from error
    except (ValueError, RecursionError) as error:  # a path with a zero byte is a ValueError too
        raise ArtefactError(
            f"config.json is not JSON: {str(error)[:120]}", place=str(path), cure=ANEW
        ) from error
    if not isinstance(raw, dict):
        raise ArtefactError(
            f"config.json must hold an object, found {_shown(raw)}", place=str(path), cure=ANEW
        )
    return raw


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _check_format(ours: _Object, path: Path) -> None:
    version = ours.count("format")
    if version > FORMAT:
        raise ArtefactError(
            f"the model is of format {version}, this Regraft reads up to format {FORMAT}",
            place=str(path),
            cure="pip install --upgrade regraft",
            found=version,
            known=FORMAT,
        )


def _classes(ours: _Object) -> tuple[str, ...]:
    classes = ours.items("classes")
    if not all(isinstance(name, str) and name for name in classes):
        ours.refuse("'classes' must be names, none of them empty", "classes")
    if len(classes) < 2:
        ours.refuse(f"'classes' must be at least 2, found {len(classes)}", "classes")
    if len(set(classes)) < len(classes):
        twin = next(name for name in classes if classes.count(name) > 1)
        ours.refuse(f"class {twin!r} stands {classes.count(twin)} times", "classes")
    return tuple(classes)


def _temperature(ours: _Object) -> float:
    temperature = float(ours.number("temperature"))
    if not temperature > 0:
        ours.refuse(f"'temperature' must be above 0, found {temperature}", "temperature")
    return temperature


def _representation(ours: _Object) -> dict[str, Any]:
    taps, blocks = ours.items("taps"), ours.items("blocks")
    if not taps or not all(isinstance(tap, str) for tap in taps) or len(set(taps)) < len(taps):
        ours.refuse(f"'taps' must be different names of stages, found {_shown(taps)}", "taps")
    kinds = [str, int, int, bool]
    if not all(isinstance(b, list) and [type(part) for part in b] == kinds for b in blocks):
        ours.refuse("'blocks' must be [tap, start, stop, is_normalised] each", "blocks")
    return {"taps": taps, "blocks": blocks}


def _info(top: _Object, ours: _Object) -> EngineInfo:
    backbone, engine = ours.object("backbone"), ours.object("engine")
    architecture = top.text("architecture")
    if engine.text("precision") not in ("bf16", "fp32"):
        engine.refuse("'precision' must be bf16 or fp32", "precision")
    return EngineInfo(
        name=backbone.text("name"),
        architecture=architecture,
        weights_digest=backbone.sha256("digest"),
        licence=backbone.text("licence", may_be_empty=True),
        origin=backbone.text("origin", may_be_empty=True),
        preprocess=_preprocess(ours.object("preprocess")),
        widths=_widths(ours),
        runtime=engine.text("runtime"),
        precision=engine.text("precision"),
        config=_timm_config(top, backbone),
        variant=_variant(backbone),
    )


def _variant(backbone: _Object) -> str:
    """What was changed of the network's own input; older models have no such key."""
    return backbone.text("variant", may_be_empty=True) if "variant" in backbone.values else ""


def _widths(ours: _Object) -> tuple[tuple[str, int], ...]:
    widths = ours.items("widths")
    for pair in widths:
        if not isinstance(pair, list) or [type(part) for part in pair] != [str, int]:
            ours.refuse(f"'widths' must be [stage, width] each, found {_shown(pair)}", "widths")
        if not 1 <= pair[1] < 2**31:
            ours.refuse(f"the width of stage {pair[0]!r} is {pair[1]}", "widths")
    names = [name for name, _ in widths]
    if len(set(names)) < len(names) or names[-1:] != ["final"]:
        ours.refuse(f"'widths' must be different stages, 'final' the last; found {names}", "widths")
    return tuple((name, width) for name, width in widths)


def _preprocess(ours: _Object) -> Preprocess:
    """The numbers are checked here, their meaning by `Preprocess` itself."""
    sides = [*ours.numbers("input_px", 2), ours.number("resize_px"), *ours.numbers("fill", 3)]
    if not all(type(side) is int and 0 <= side <= _MAX_SIDE_PX for side in sides):
        ours.refuse(f"'input_px', 'resize_px', 'fill' must be whole numbers, found {sides}")
    ours.numbers("mean", 3), ours.numbers("std", 3)
    ours.text("interpolation"), ours.text("crop_mode")
    try:
        return Preprocess.from_dict(ours.values)
    except RegraftError as error:
        ours.refuse(error.rule)


def _timm_config(top: _Object, backbone: _Object) -> dict[str, Any]:
    """timm's pretrained_cfg as the original network had it: its number of source classes."""
    config = top.object("pretrained_cfg")
    _, height, width = config.numbers("input_size", 3)
    if not all(type(s) is int and 1 <= s <= _MAX_SIDE_PX for s in (height, width)):
        config.refuse(f"'input_size' must be channels, height, width; found {height}, {width}")
    config.numbers("mean", 3), config.numbers("std", 3)
    n_source = backbone.count("num_classes", least=0)
    return {**config.values, "num_classes": n_source}


@dataclass(frozen=True)
class _Object:
    """A JSON object and its place, so that each refusal names the key and what was found."""

    values: dict[str, Any]
    name: str
    path: Path

    def refuse(self, rule: str, key: str = "") -> NoReturn:
        at = ".".join(part for part in (self.name, key) if part)
        place = f"{self.path}, key {at!r}" if at else str(self.path)
        raise ArtefactError(rule, place=place, cure=ANEW)

    def _get(self, key: str, what: str, fits: Callable[[Any], bool]) -> Any:
        if key not in self.values:
            self.refuse("the key is missing", key)
        value = self.values[key]
        if not fits(value):
            self.refuse(f"{key!r} must be {what}, found {_shown(value)}", key)
        return value

    def object(self, key: str) -> _Object:
        found = self._get(key, "an object", lambda v: isinstance(v, dict))
        return _Object(found, f"{self.name}.{key}".lstrip("."), self.path)

    def items(self, key: str) -> list[Any]:
        found: list[Any] = self._get(key, "a list", lambda v: isinstance(v, list))
        return found

    def text(self, key: str, *, may_be_empty: bool = False) -> str:
        what = "a text" if may_be_empty else "a text that is not empty"
        fits = lambda v: isinstance(v, str) and (may_be_empty or bool(v))  # noqa: E731
        return str(self._get(key, what, fits))

    def sha256(self, key: str) -> str:
        fits = lambda v: isinstance(v, str) and bool(_SHA256.fullmatch(v))  # noqa: E731
        return str(self._get(key, "64 hexadecimal digits", fits))

    def truth(self, key: str) -> bool:
        return bool(self._get(key, "true or false", lambda v: isinstance(v, bool)))

    def count(self, key: str, *, least: int = 1) -> int:
        what = f"a whole number of at least {least}"
        return int(self._get(key, what, lambda v: type(v) is int and least <= v < 2**31))

    def number(self, key: str) -> Any:
        return self._get(key, "a finite number", _is_number)

    def numbers(self, key: str, n: int) -> list[Any]:
        found = self.items(key)
        if len(found) != n or not all(map(_is_number, found)):
            self.refuse(f"{key!r} must be {n} finite numbers, found {_shown(found)}", key)
        return found


def _is_number(value: object) -> bool:
    # An int beyond float's range would fail later, where nobody expects it.
    if type(value) is int:
        return abs(value) < 2**63
    return type(value) is float and math.isfinite(value)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
