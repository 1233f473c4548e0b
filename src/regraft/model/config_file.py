"""``config.json`` of a model: timm's keys and a ``regraft`` object, written and read back here.

Every key is checked for its kind and its range before anything is made of it; the digest that
the file holds of itself tells a changed class name or temperature from the saved one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as field_of
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

from msgspec import Meta, Struct, field

from regraft.data.labels import LabelType
from regraft.errors import ArtefactError, RegraftError
from regraft.features.engine import FINAL, EngineInfo, stage_of
from regraft.features.side_by_side import joined
from regraft.images.geometry import Preprocess
from regraft.machine import json_values

# Raised when an older Regraft would misread the file; new keys alone do not. 2: several networks
# side by side, or a look; what has neither is written as 1, which an older Regraft reads.
FORMAT = 2
CONFIG, NETWORK, LEARNT = "config.json", "model.safetensors", "regraft.safetensors"
ANEW = "copy the folder again from where it was saved, or train the model again"

_MAX_CONFIG_BYTES = 32 * 2**20

T = TypeVar("T")
Text = Annotated[str, Meta(min_length=1)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Count = Annotated[int, Meta(ge=0, lt=2**31)]
# Far above what any network takes; below what would exhaust the memory.
Side = Annotated[int, Meta(ge=1, le=16_384)]
Byte = Annotated[int, Meta(ge=0, le=255)]
# What is no number in float's range would fail later, where nobody expects it.
Number = Annotated[float, Meta(ge=-1e300, le=1e300)]
Triple = tuple[Number, Number, Number]


class _Files(Struct):
    config: Sha256 = field(name=CONFIG)
    network: Sha256 = field(name=NETWORK)
    learnt: Sha256 = field(name=LEARNT)


class _Versioned(Struct):
    format: Annotated[int, Meta(ge=1)]
    files: _Files


class _Envelope(Struct):
    """What is asked first, of any format."""

    regraft: _Versioned


class _Head(Struct):
    kind: Text


class _Representation(Struct):
    taps: Annotated[list[Text], Meta(min_length=1)]
    blocks: list[tuple[str, int, int, bool]]  # tap, start, stop, is_normalised


class _Preprocess(Struct):
    """The numbers; their meaning is checked by `Preprocess` itself."""

    input_px: tuple[Side, Side]
    resize_px: Side
    fill: tuple[Byte, Byte, Byte]
    mean: Triple
    std: Triple
    interpolation: Text
    crop_mode: Text
    white: Count = 0


class _Backbone(Struct):
    name: Text
    digest: Sha256
    licence: str
    origin: str
    num_classes: Count
    architecture: str = ""  # where timm could not express the head; older models have no such key
    variant: str = ""  # what was changed of its own input; older models have no such key
    look: Annotated[str, Meta(pattern=r"^(plain|flip)\Z")] = "plain"


class _Labels(Struct):
    """What kind of values the classes' names stand for; older models have text alone."""

    type: Annotated[str, Meta(pattern=r"^(str|int|float|bool|bytes)\Z")] = "str"
    dtype: Annotated[str, Meta(pattern=r"^(|u?int(8|16|32|64)|float(16|32|64))\Z")] = ""


class _Engine(Struct):
    runtime: Text
    precision: Annotated[str, Meta(pattern=r"^(bf16|fp32)\Z")]


class _Unknown(Struct):
    """What calibrated sets and "none of these"; its numbers are the tensors ``unknown.*``."""

    calibrated_on: Text
    guarantee: Annotated[str, Meta(pattern=r"^(1 - alpha|1 - 2 alpha|none)\Z")]


class _Pretrained(Struct):
    input_size: tuple[Count, Side, Side]
    mean: Triple
    std: Triple


Widths = list[tuple[str, Annotated[int, Meta(ge=1, lt=2**31)]]]  # stage, width


class _Network(Struct):
    """One of several that stand side by side."""

    backbone: _Backbone
    widths: Widths
    preprocess: _Preprocess
    engine: _Engine
    pretrained_cfg: _Pretrained


class _Ours(_Versioned):
    classes: Annotated[list[Text], Meta(min_length=2)]
    method: Text
    head: _Head
    representation: _Representation
    temperature: Annotated[float, Meta(gt=0, le=1e300)]
    widths: Widths
    preprocess: _Preprocess
    backbone: _Backbone
    engine: _Engine
    timm: bool
    labels: _Labels = field(default_factory=_Labels)
    unknown: _Unknown | None = None  # older models have no such key
    networks: list[_Network] = field(default_factory=list)


class _File(Struct):
    architecture: Text
    pretrained_cfg: _Pretrained
    regraft: _Ours


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
    label_type : LabelType
    unknown : dict or None
        What `Unknown.from_saved` wants; None for a model that knows none.
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
    label_type: LabelType = field_of(default_factory=LabelType)
    unknown: dict[str, Any] | None = None

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
    if "regraft" not in raw:
        raise ArtefactError(
            "config.json has no 'regraft' object, so this is no model of Regraft",
            place=str(path),
            cure=f"to use it as a backbone: --backbone local-dir:{folder}",
        )
    _check_whole(raw, path)
    file = _fitted(raw, _File, path)
    ours = file.regraft
    _check_names(ours, path)
    info = _info(raw, file, path)
    return Config(
        raw=raw,
        classes=tuple(ours.classes),
        method=ours.method,
        head_kind=ours.head.kind,
        representation={"taps": ours.representation.taps, "blocks": ours.representation.blocks},
        temperature=ours.temperature,
        info=info,
        opens_with_timm=ours.timm,
        files={NETWORK: ours.files.network, LEARNT: ours.files.learnt},
        label_type=_label_type(ours, path),
        unknown=None if ours.unknown is None else raw["regraft"]["unknown"],
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


def prefix_of(number: int) -> str:
    """Before the names of the tensors of one of several networks.

    Examples
    --------
    >>> prefix_of(1) + "conv_stem.weight"
    'networks.1.conv_stem.weight'
    """
    return f"networks.{number}."


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
    return _fitted(raw, dict[str, Any], path)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _check_whole(raw: dict[str, Any], path: Path) -> None:
    """Whether the file is of a format that is known, and as it was saved."""
    ours = _fitted(raw, _Envelope, path).regraft
    if ours.format > FORMAT:
        raise ArtefactError(
            f"the model is of format {ours.format}, this Regraft reads up to format {FORMAT}",
            place=str(path),
            cure="pip install --upgrade regraft",
            found=ours.format,
            known=FORMAT,
        )
    found = digest_of(raw)
    if found != ours.files.config:
        raise _refusal(
            f"config.json was changed: the sha256 of its content is {found}, "
            f"saved was {ours.files.config}",
            path,
            "regraft.files",
        )


def _check_names(ours: _Ours, path: Path) -> None:
    """That no name stands twice, and that the last stage is the last."""
    stages = [stage for stage, _ in ours.widths]
    for key, names in (
        ("classes", ours.classes),
        ("representation.taps", ours.representation.taps),
        ("widths", stages),
    ):
        if twin := next((name for name in names if names.count(name) > 1), None):
            rule = f"names must be different, {twin!r} stands {names.count(twin)} times"
            raise _refusal(rule, path, f"regraft.{key}")
    _check_last(stages, path, "regraft.widths")
    for number, network in enumerate(ours.networks):
        own = [stage for stage, _ in network.widths]
        _check_last(own, path, f"regraft.networks[{number}].widths")


def _check_last(stages: list[str], path: Path, key: str) -> None:
    if [stage_of(stage) for stage in stages[-1:]] != [FINAL]:
        rule = f"'final' must be the last stage, found {json_values.shown(stages)}"
        raise _refusal(rule, path, key)


def _label_type(ours: _Ours, path: Path) -> LabelType:
    """Of what kind the labels are; every class must be the text of another one."""
    found = LabelType(ours.labels.type, ours.labels.dtype)
    if found == LabelType():
        return found  # text stands for itself
    try:
        labels = found.values(ours.classes)
    except (ValueError, OverflowError, TypeError) as error:
        raise _refusal(
            f"not every class is the text of {found}: {error}", path, "regraft.labels"
        ) from error
    if len(set(labels.tolist())) < len(ours.classes):
        raise _refusal(f"classes must be different as {found} too", path, "regraft.labels")
    return found


def _info(raw: dict[str, Any], file: _File, path: Path) -> EngineInfo:
    ours = file.regraft
    if not ours.networks:
        own = raw["regraft"] | {"pretrained_cfg": raw["pretrained_cfg"]}
        return _of_network(own, ours, file.architecture, path, "regraft")
    parts = [
        _of_network(own, network, "", path, f"regraft.networks[{number}]")
        for number, (own, network) in enumerate(
            zip(raw["regraft"]["networks"], ours.networks, strict=True)
        )
    ]
    found = joined(parts)
    for key, value, wanted in (
        ("widths", [list(pair) for pair in found.widths], [list(pair) for pair in ours.widths]),
        ("backbone.digest", found.weights_digest, ours.backbone.digest),
        ("backbone.look", {part.look for part in parts}, {ours.backbone.look}),
    ):
        if value != wanted:
            raise _refusal(
                f"the networks make it {value}, it says {wanted}", path, f"regraft.{key}"
            )
    return found


def _of_network(
    raw: Mapping[str, Any], ours: _Ours | _Network, architecture: str, path: Path, place: str
) -> EngineInfo:
    backbone = ours.backbone
    try:
        preprocess = Preprocess.from_dict(raw["preprocess"])
    except RegraftError as error:
        raise _refusal(error.rule, path, f"{place}.preprocess") from error
    return EngineInfo(
        name=backbone.name,
        architecture=backbone.architecture or architecture,
        weights_digest=backbone.digest,
        licence=backbone.licence,
        origin=backbone.origin,
        preprocess=preprocess,
        widths=tuple(ours.widths),
        runtime=ours.engine.runtime,
        precision=ours.engine.precision,
        # timm's pretrained_cfg as the original network had it: its number of source classes.
        config={**raw["pretrained_cfg"], "num_classes": backbone.num_classes},
        variant=backbone.variant,
        look=backbone.look,
    )


def _fitted(raw: Any, kind: type[T], path: Path) -> T:
    try:
        return json_values.fitted(raw, kind)
    except json_values.MisfitError as error:
        raise _refusal(error.rule, path, error.key) from error


def _refusal(rule: str, path: Path, key: str) -> ArtefactError:
    place = f"{path}, key {key!r}" if key else str(path)
    return ArtefactError(rule, place=place, cure=ANEW)
