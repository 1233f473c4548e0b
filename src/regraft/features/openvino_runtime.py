"""OpenVINO without its converter, which reports every import to its makers over the network.

``import openvino`` imports ``openvino.tools.ovc`` if it is there, and that sends an event through
the package openvino-telemetry, asked or not. Regraft uses no network that nobody asked for; and
without it the import takes half the time (45 ms instead of 100).
"""

from __future__ import annotations

import sys
import threading
from importlib import import_module
from typing import Any

_CONVERTER = "openvino.tools.ovc"
_importing = threading.Lock()
# While OpenVINO reads, compiles or writes a graph it sets the locale of the process to "C", and
# then back to what it found; two threads at once would leave "C", in which Python reads ASCII only.
graph_work = threading.Lock()


def import_openvino() -> Any:
    """The package `openvino`; whoever calls its ``convert_model`` gets the converter then.

    Examples
    --------
    >>> import_openvino().Core().available_devices[0]
    'CPU'
    """
    with _importing:
        if "openvino" in sys.modules:
            return import_module("openvino")
        # Python's sign for: not installed.
        sys.modules[_CONVERTER] = None  # type: ignore[assignment]
        try:
            openvino: Any = import_module("openvino")
        finally:
            del sys.modules[_CONVERTER]
        openvino.convert_model = _convert_model
        return openvino


def _convert_model(*args: Any, **kwargs: Any) -> Any:
    return import_module(_CONVERTER).convert_model(*args, **kwargs)
