"""Whether a training became the model, or the probe that it began from was kept, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regraft.training.methods import METHODS


def keeps_probe(metrics: Mapping[str, Any]) -> bool:
    """Whether the model is the probe, since what was learnt did worse."""
    return bool((metrics.get("training") or {}).get("probe_kept"))


def method_in_words(metrics: Mapping[str, Any]) -> str:
    """The method of a run, and whether anything of it is in the model.

    Examples
    --------
    >>> method_in_words({"method": "partial", "training": {"probe_kept": True}})
    'partial (kept the probe)'
    """
    method = str(metrics["method"])
    return f"{method} (kept the probe)" if keeps_probe(metrics) else method


def network_in_words(metrics: Mapping[str, Any]) -> str:
    """What became of the network.

    Examples
    --------
    >>> network_in_words({"method": "probe"})
    'kept as it was, with a new last layer'
    """
    if keeps_probe(metrics):
        return f"{METHODS['probe'].network}: the probe, which {metrics['method']} made no better"
    name = str(metrics["method"])
    return METHODS[name].network if name in METHODS else name
