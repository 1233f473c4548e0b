"""Heat maps on request, without PyTorch in the server.

The graph that gives them is built once, in a process of its own; what cannot have one is explained
by hiding places (occlusion), which needs nothing but the engine.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import threading
from concurrent.futures import Future

import numpy as np
from PIL import Image

from regraft.errors import UsageError
from regraft.explain import drawing
from regraft.explain.base import Explainer, stacked
from regraft.explain.cam import MAPS, ClassActivation
from regraft.explain.occlusion import Occlusion
from regraft.features import subgraphs
from regraft.images import pictures
from regraft.probe.classifier import Classifier
from regraft.probe.linear_head import LinearHead

# Building the graph takes some seconds; far more means that it hangs.
BUILD_S = 300.0
_BUILD = (
    "import sys, numpy, regraft\n"
    "regraft.load(sys.argv[1]).explain(numpy.zeros((64, 64, 3), numpy.uint8), method='cam')\n"
)


class HeatMaps:
    """Where one model looks; its explainer is found, or its graph built, at the first question."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier, self._lock = classifier, threading.Lock()
        self._prepared: Future[Explainer] | None = None

    def prepared(self) -> Future[Explainer]:
        """What explains, once it is there; a thread of its own sees to it, so no other waits."""
        with self._lock:
            if self._prepared is None:
                self._prepared = Future()
                threading.Thread(target=self._prepare, args=(self._prepared,), daemon=True).start()
            return self._prepared

    def png(self, data: bytes, code: int) -> tuple[bytes, str]:
        """The picture as the network sees it with what speaks for a class laid over it; and how.

        Raises
        ------
        DecodeError
            The picture cannot be read.
        """
        wanted = [one.preprocess for one in self._classifier.built().info.networks]
        seen = pictures.plain_for_each(data, wanted)
        explainer = self.prepared().result()
        heat = explainer.explain(stacked([seen]), np.array([code])).maps[0]
        file = io.BytesIO()
        Image.fromarray(drawing.overlay(seen[0], heat)).save(file, "PNG")
        return file.getvalue(), explainer.name

    def _prepare(self, found: Future[Explainer]) -> None:
        try:
            found.set_result(self._found())
        except Exception as error:
            found.set_exception(error)

    def _found(self) -> Explainer:
        model = self._classifier
        if isinstance(model.head, LinearHead) and self._has_graphs():
            sizes = [one.preprocess.input_px for one in model.built().info.networks]
            grey = [np.zeros((1, *size, 3), np.uint8) for size in sizes]
            with contextlib.suppress(UsageError):  # its final features are no pooled map
                return ClassActivation(model, example=grey)
        return Occlusion(model)

    def _has_graphs(self) -> bool:
        """Whether each network's graph is there, or could be built in a process of its own."""
        if self._are_built():
            return True
        if self._classifier.folder:
            command = [sys.executable, "-c", _BUILD, self._classifier.folder]
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(command, capture_output=True, timeout=BUILD_S, check=False)
        return self._are_built()

    def _are_built(self) -> bool:
        networks = self._classifier.built().networks
        return all(subgraphs.find(one, MAPS) is not None for one in networks)
