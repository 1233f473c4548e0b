"""Networks as timm builds them: loaded with their weights, and wrapped so that one forward pass
gives the pooled activations of every stage.

One of the few files that import torch and timm.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from regraft.backbones import catalog, hub, side_by_side, weights
from regraft.backbones.stages import find_stages
from regraft.backbones.taps import Normalised, StageTaps
from regraft.errors import BackboneError, RegraftError, WeightsError
from regraft.machine import chance, quiet


@dataclass(frozen=True)
class LoadedNetwork:
    """A network in eval mode, and what is known of its weights."""

    network: nn.Module
    architecture: str
    weights_digest: str
    licence: str
    origin: str
    config: dict[str, Any]


def load(source: catalog.Source, *, offline: bool = False) -> LoadedNetwork:
    """The network that `source` means, with its weights, in eval mode on the CPU.

    Raises
    ------
    BackboneError
        timm knows no such name, or the weights cannot be downloaded here.
    WeightsError
        The weights file is damaged or belongs to another architecture.
    """
    with quiet.no_warnings():
        network = _LOADERS[source.kind](source, offline)
    network.eval().requires_grad_(False)
    config = dict(network.pretrained_cfg)
    if source.changed:
        config = catalog.changed_by(config, source.changed)
        _take_size(network, config)
    return LoadedNetwork(
        network,
        architecture=str(config.get("architecture") or source.architecture),
        weights_digest=weights.digest_of_tensors(network.state_dict()),
        licence=_licence(source, config),
        origin=source.origin,
        config=config,
    )


def without_weights(source: catalog.Source, *, offline: bool = False) -> nn.Module:
    """The network that `source` means from random numbers (seed 0): no weights are read.

    Only of an hf-hub name the config is downloaded, unless it is on this disk.

    Raises
    ------
    BackboneError
        timm knows no such name, or the config cannot be downloaded here.

    Examples
    --------
    >>> sum(p.numel() for p in without_weights(catalog.resolve("resnet50")).parameters())
    25557032
    """
    with quiet.no_warnings():
        if source.kind == "hf-hub":
            network = _download(source, offline, pretrained=False)
        else:
            in_folder = source.path if source.kind == "local-dir" else None
            network = (
                _of_folder(in_folder, pretrained=False, seed=0)
                if in_folder
                else _create(source.architecture, seed=0)
            )
        if source.changed:
            _take_size(network, catalog.changed_by(dict(network.pretrained_cfg), source.changed))
    return network.eval()


def rebuild(path: Path, architecture: str, config: dict[str, Any]) -> LoadedNetwork:
    """A network from tensors that Regraft saved under timm's own names."""
    state = weights.read_tensors(path)
    network = rebuild_from(state, architecture, config, place=str(path))
    network.eval().requires_grad_(False)
    digest = weights.digest_of_tensors(state)
    return LoadedNetwork(network, architecture, digest, str(config.get("license")), "", config)


def rebuild_from(
    state: weights.State, architecture: str, config: dict[str, Any], *, place: str
) -> nn.Module:
    """A network of this architecture with these tensors, every one of them."""
    network = _create(architecture, num_classes=int(config.get("num_classes", 1000)))
    _take_size(network, config)
    network.load_state_dict(weights.fit_to(network, state, place=place))
    return network


class TappedNetwork(nn.Module):  # type: ignore[misc]
    """uint8 pictures in, the pooled activations of every stage out.

    Input ``(N, H, W, 3)`` uint8; output ``(N, D)`` float32: for each stage its mean over space,
    then its maximum, and last what the network's own classifier sees (pre_logits). The
    normalisation is part of the graph, so that pixels travel as bytes.
    """

    def __init__(self, network: nn.Module, stages: list[str], *, mean: Any, std: Any) -> None:
        super().__init__()
        self.network, self.stages = network, stages
        self.normalised = Normalised(mean=mean, std=std)
        self.taps = StageTaps(network, stages)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.pooled(self.network.forward_features(self.normalised(pixels)))

    def pooled(self, maps: torch.Tensor) -> torch.Tensor:
        """What a pass gives that has come as far as the last map."""
        final = self.network.forward_head(maps, pre_logits=True)
        pooled = [part for name in self.stages for part in self.taps.take(name)]
        return torch.cat([*pooled, final.flatten(1).float()], dim=1)


def tap(loaded: LoadedNetwork) -> tuple[TappedNetwork, list[tuple[str, int]]]:
    """The network with its taps, and ``(stage, width)`` of each, the width counted once."""
    stages = find_stages(loaded.network)
    wrapped = TappedNetwork(
        loaded.network, stages, mean=loaded.config["mean"], std=loaded.config["std"]
    ).eval()
    widths: list[tuple[str, int]] = []
    outputs: dict[str, int] = {}
    hooks = [
        module.register_forward_hook(
            lambda m, a, out, name=name: outputs.__setitem__(
                name, wrapped.taps.pooled(out)[0].shape[1]
            )
        )
        for name, module in loaded.network.named_modules()
        if name in stages
    ]
    height, width = input_px(loaded.config)
    with torch.inference_mode():
        total = wrapped(torch.zeros(1, height, width, 3, dtype=torch.uint8)).shape[1]
    for hook in hooks:
        hook.remove()
    widths = [(name, outputs[name]) for name in stages]
    return wrapped, [*widths, ("final", total - 2 * sum(w for _, w in widths))]


def _take_size(network: nn.Module, config: dict[str, Any]) -> None:
    """Transformers hold their pictures' size (an embedding per position); timm resamples it, and
    leaves the size that the network's own config tells."""
    own = getattr(network, "pretrained_cfg", None) or {}
    is_other = "input_size" in own and input_px(config) != tuple(own["input_size"][1:])
    if is_other and hasattr(network, "set_input_size"):
        with chance.drawn_from(chance.FRESH), quiet.no_warnings():
            network.set_input_size(img_size=input_px(config))
        network.pretrained_cfg = catalog.changed_by(own, {"input_size": config["input_size"]})


def takes_any_size(loaded: LoadedNetwork) -> bool:
    """Whether pictures of another size need no change of the network (an embedding per place)."""
    is_fixed = loaded.config.get("fixed_input_size") or hasattr(loaded.network, "set_input_size")
    return not is_fixed


def untrained(loaded: LoadedNetwork, *, seed: int) -> nn.Module:
    """The same architecture from random numbers."""
    network = _create(loaded.architecture, seed=seed, num_classes=int(loaded.config["num_classes"]))
    _take_size(network, loaded.config)
    return network


def input_px(config: dict[str, Any]) -> tuple[int, int]:
    """Height and width that the weights were trained for."""
    _, height, width = config["input_size"]
    return int(height), int(width)


def list_names(pattern: str = "") -> list[str]:
    """timm's names with weights, those that match `pattern` (shell wildcards, or a part of it)."""
    wildcard = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
    return list(timm.list_models(wildcard, pretrained=True))


def _create(name: str, *, seed: int = chance.FRESH, **options: Any) -> nn.Module:
    """timm's network; what no weights replace is drawn from the seed."""
    try:
        with chance.drawn_from(seed):
            network: nn.Module = timm.create_model(name, **options)
    except RuntimeError as error:
        if "Unknown model" not in str(error) and "Invalid pretrained tag" not in str(error):
            raise
        raise catalog.unknown(name, timm.list_models()) from error
    return network


def _load_pinned(source: catalog.Source, offline: bool) -> nn.Module:
    path = catalog.proven_weights_file(source.name)
    network = _create(source.architecture)
    network.load_state_dict(weights.fit_to(network, weights.read_tensors(path), place=str(path)))
    return network


def _load_file(source: catalog.Source, offline: bool) -> nn.Module:
    assert source.path is not None
    network = _create(source.architecture)
    place = str(source.path)
    state = weights.fit_to(network, weights.read_tensors(source.path), place=place)
    own = network.state_dict()
    network.load_state_dict({**own, **{n: t for n, t in state.items() if t.shape == own[n].shape}})
    return network


def _load_timm(source: catalog.Source, offline: bool) -> nn.Module:
    return _download(source, offline)


def _load_hub(source: catalog.Source, offline: bool) -> nn.Module:
    return _download(source, offline)


def _load_folder(source: catalog.Source, offline: bool) -> nn.Module:
    assert source.path is not None
    _create(source.architecture)  # a name that timm does not know is answered as such
    try:
        return _of_folder(source.path, pretrained=True)
    except RegraftError:
        raise
    except Exception as error:
        raise WeightsError(
            f"{str(source.path)!r} cannot be loaded: {weights._first_line(error)}",
            place=str(source.path),
            cure="the folder needs config.json and model.safetensors of one architecture",
        ) from error


def _of_folder(folder: Path, *, pretrained: bool, seed: int = chance.FRESH) -> nn.Module:
    """The network in a folder as timm writes them, or in a model of ours.

    A model whose head timm cannot express names no architecture to timm (`model.saving`); beside
    the head lies the network that it stands on, whole.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    ours = config.get("regraft", {})
    if ours.get("timm", True):
        return _create(f"local-dir:{folder}", pretrained=pretrained, seed=seed)
    pretrained_cfg = config["pretrained_cfg"]
    architecture = ours["backbone"].get("architecture") or config["architecture"]
    if pretrained:
        state = weights.read_tensors(folder / "model.safetensors")
        network = rebuild_from(state, architecture, pretrained_cfg, place=str(folder))
    else:
        n_classes = int(pretrained_cfg.get("num_classes", 1000))
        network = _create(architecture, num_classes=n_classes, seed=seed)
    network.pretrained_cfg = {**pretrained_cfg, "architecture": architecture}
    return network


def _load_artefact(source: catalog.Source, offline: bool) -> nn.Module:
    """The original network inside a saved model: the learnt classifier gives way to its own."""
    assert source.path is not None
    config = json.loads((source.path / "config.json").read_text(encoding="utf-8"))
    state = weights.read_tensors(source.path / "model.safetensors")
    ours = side_by_side.network_in(config, source.prefix)
    if source.prefix:
        state = side_by_side.under(source.prefix, state)
    else:
        learnt = weights.read_tensors(source.path / "regraft.safetensors")
        state |= side_by_side.under("network.", learnt)
    found = weights.digest_of_tensors(state)
    if found != source.weights_digest:  # it would be kept as the engine of the named weights
        raise WeightsError(
            f"the network's digest is {found[:16]}…, its config.json says "
            f"{source.weights_digest[:16]}…",
            place=str(source.path),
            cure="train and save the model again",
        )
    n_classes = ours["backbone"]["num_classes"]
    pretrained = {**ours["pretrained_cfg"], "num_classes": n_classes}
    network = rebuild_from(state, source.architecture, pretrained, place=str(source.path))
    network.pretrained_cfg = {**pretrained, "architecture": source.architecture}
    return network


def _load_random(source: catalog.Source, offline: bool) -> nn.Module:
    return without_weights(replace(source, changed={}))


_LOADERS: dict[str, Callable[[catalog.Source, bool], nn.Module]] = {
    "pinned": _load_pinned,
    "file": _load_file,
    "timm": _load_timm,
    "hf-hub": _load_hub,
    "local-dir": _load_folder,
    "random": _load_random,
    "artefact": _load_artefact,
}


def _download(source: catalog.Source, offline: bool, *, pretrained: bool = True) -> nn.Module:
    """A network with weights from the Hugging Face hub, or from its cache on this disk."""
    if source.kind == "timm":
        described = _create(source.architecture)  # a typo is answered before anything is downloaded
    try:
        if source.kind == "timm":
            return _of_registry(source.architecture, described.pretrained_cfg, offline)
        return _of_repository(source.name.removeprefix("hf-hub:"), offline, pretrained)
    except RegraftError:
        raise
    except Exception as error:
        raise BackboneError(
            f"the weights of {source.name!r} were not downloaded to this computer before, and "
            + _why_not_now(error, offline),
            cure=("leave out --offline; or " if offline else "")
            + f"download model.safetensors of https://huggingface.co/{_hub_id(source)} elsewhere "
            f"and add --backbone {source.architecture or 'TIMM_NAME'} --weights "
            "model.safetensors; or use --backbone default, which needs no download",
        ) from error


def _why_not_now(error: Exception, offline: bool) -> str:
    """Why weights that are not here cannot be downloaded."""
    if offline:
        return "--offline forbids to download them"
    if hub.is_unwanted():
        return "HF_HUB_OFFLINE=1 in the environment forbids to download them"
    if type(error).__name__ in hub.NO_CONNECTION:
        return "there is no connection to huggingface.co to download them"
    return f"they cannot be downloaded: {weights._first_line(error)}"


def _of_registry(architecture: str, config: dict[str, Any], offline: bool) -> nn.Module:
    """A network that timm itself knows, with the weights that it names."""
    repository = config.get("hf_hub_id")
    if not repository:
        return _create(architecture, pretrained=True)
    path = hub.weights_file(
        repository, config.get("hf_hub_filename") or hub.WEIGHTS, offline=offline
    )
    # From the hub, timm has the network's own reader for one format only.
    given = {"file": str(path), "custom_load": config.get("custom_load") == "hf"}
    network = _create(architecture, pretrained=True, pretrained_cfg_overlay=given)
    network.pretrained_cfg = config
    return network


def _of_repository(repository: str, offline: bool, pretrained: bool) -> nn.Module:
    """A network by its repository on the hub, in which it is described as timm writes it."""
    folder = hub.folder(repository, offline=offline, weights=pretrained)
    seed = chance.FRESH if pretrained else 0
    network = _of_folder(Path(folder), pretrained=pretrained, seed=seed)
    config = {k: v for k, v in network.pretrained_cfg.items() if k != "file"}
    network.pretrained_cfg = {**config, "source": "hf-hub", "hf_hub_id": repository}
    return network


def _hub_id(source: catalog.Source) -> str:
    if source.kind == "hf-hub":
        return source.name.removeprefix("hf-hub:")
    config = timm.get_pretrained_cfg(source.architecture)
    return str(config.hf_hub_id or source.architecture) if config else source.architecture


def _licence(source: catalog.Source, config: dict[str, Any]) -> str:
    if source.kind in ("pinned", "random"):
        return source.licence
    return str(config.get("license") or "unknown")
