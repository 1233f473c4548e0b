"""Files of the Hugging Face hub: from its cache on this disk, or over the network, soon or not.

They are asked for by the arguments of `hf_hub_download`. timm, which would ask by itself, goes by
settings that belong to the whole process; it is handed the files.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import threading
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from regraft.machine import quiet

# Without network the first answer must come soon; huggingface_hub waits and tries again for long.
TIMEOUT_S = 4
# What huggingface_hub raises where it could not ask (their texts speak of its own settings).
NO_CONNECTION = {
    "LocalEntryNotFoundError",
    "OfflineModeIsEnabled",
    "ConnectError",
    "ConnectTimeout",
}
CONFIG, WEIGHTS = "config.json", "pytorch_model.bin"
# What a repository may hold in place of another file, without code in it; looked for first.
_SAFE = {
    WEIGHTS: ("model.safetensors",),
    "open_clip_pytorch_model.bin": ("open_clip_model.safetensors",),
}


def folder(repository: str, *, offline: bool, weights: bool = True) -> Path:
    """A folder with a network's configuration, and its weights if they are wanted.

    Parameters
    ----------
    repository : str
        'OWNER/NAME' or 'OWNER/NAME@REVISION'.
    """
    with quiet.no_words("huggingface_hub"):
        is_cut_off = offline or _is_cut_off()
        config = _first(repository, [CONFIG], is_cut_off)
        if weights:
            said = json.loads(config.read_text(encoding="utf-8"))
            name = said.get("pretrained_cfg", said).get("hf_hub_filename") or WEIGHTS
            _first(repository, safe_first(name), is_cut_off)
    return config.parent


def weights_file(repository: str, name: str, *, offline: bool) -> Path:
    """The weights that a repository keeps under this name, or the same as safetensors."""
    with quiet.no_words("huggingface_hub"):
        return _first(repository, safe_first(name), offline or _is_cut_off())


def safe_first(name: str) -> list[str]:
    """The names under which these weights may be, those first that can hold no code.

    Examples
    --------
    >>> safe_first("pytorch_model.bin"), safe_first("jx_vit.bin"), safe_first("model.safetensors")
    (['model.safetensors', 'pytorch_model.bin'], ['jx_vit.safetensors', 'jx_vit.bin'], \
['model.safetensors'])
    """
    other = (name.removesuffix(".bin") + ".safetensors",) if name.endswith(".bin") else ()
    return [*_SAFE.get(name, other), name]


def _first(repository: str, names: Sequence[str], is_cut_off: bool) -> Path:
    """The first of the files that the repository has."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import EntryNotFoundError

    repo_id, _, revision = repository.partition("@")
    *earlier, last = names
    ask = functools.partial(
        hf_hub_download,
        repo_id,
        revision=revision or None,
        etag_timeout=TIMEOUT_S,
        local_files_only=is_cut_off,
    )
    for name in earlier:
        with contextlib.suppress(EntryNotFoundError):
            return Path(ask(name))
    return Path(ask(last))


def is_unwanted() -> bool:
    """Whether the environment forbids to ask the hub, by huggingface_hub's own setting."""
    import huggingface_hub.constants as constants

    said = os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}
    return said or bool(constants.HF_HUB_OFFLINE)


def _is_cut_off() -> bool:
    """Whether nothing may be downloaded, or nothing can."""
    import huggingface_hub.constants as constants

    return is_unwanted() or not _is_reachable(constants.ENDPOINT)


def _is_reachable(endpoint: str) -> bool:
    """Whether a connection can be made within TIMEOUT_S, the look-up of the name included.

    Asked once before, because huggingface_hub asks each file six times, with growing pauses.
    Behind a proxy only huggingface_hub itself can tell.
    """
    if urllib.request.getproxies():
        return True
    address = urllib.parse.urlsplit(endpoint)
    reached = threading.Event()

    def connect() -> None:
        with contextlib.suppress(OSError):
            port = address.port or (80 if address.scheme == "http" else 443)
            socket.create_connection((address.hostname, port), TIMEOUT_S).close()
            reached.set()

    attempt = threading.Thread(target=connect, daemon=True)
    attempt.start()
    attempt.join(TIMEOUT_S)
    return reached.is_set()
