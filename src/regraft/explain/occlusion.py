"""`occlusion`: what happens to the class when a part of the picture is hidden.

Works with whatever gives a probability, because it asks nothing of it but answers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from regraft.explain.base import Heat, Shown, by_network
from regraft.features import engine
from regraft.images.geometry import Triple
from regraft.probe.base import Codes, Floats
from regraft.probe.classifier import Classifier

# Squares along each side. Their side is twice the step, so each place is hidden up to four times.
GRID = 7


class Occlusion:
    """Loss of the class's log-odds by a square of the network's own grey, at 7 x 7 places.

    References
    ----------
    Zeiler, Fergus (2014), ECCV, "Visualizing and understanding convolutional networks".
    """

    name = "occlusion"
    why = f"it hides {GRID} x {GRID} places in turn and needs nothing but answers"

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.networks = classifier.built().networks

    def explain(self, shown: Shown, y: Codes) -> Heat:
        """``(N, H, W, 3)`` uint8 and ``(N,)`` codes to what is lost with each place."""
        pictures = zip(*by_network(shown), strict=True)
        maps = [self._one(picture, int(code)) for picture, code in zip(pictures, y, strict=True)]
        return Heat(np.stack(maps))

    def _one(self, picture: Sequence[NDArray[np.uint8]], code: int) -> NDArray[np.float32]:
        """The same place is hidden to every network."""
        hidden = [
            _each_hidden(own, network.info.preprocess.mean)
            for network, own in zip(self.networks, picture, strict=True)
        ]
        log_odds = self._log_odds(hidden, code)
        lost: NDArray[np.float32] = (log_odds[0] - log_odds[1:]).astype(np.float32)
        return lost.reshape(GRID, GRID)

    def _log_odds(self, hidden: Sequence[NDArray[np.uint8]], code: int) -> Floats:
        """Of the class against all others; unlike a probability, never so full that no loss
        shows."""
        known = self.classifier
        X = np.concatenate(
            [
                engine.run_on_cores(one.engine(), pixels, batch_size=one.info.batch_size)
                for one, pixels in zip(self.networks, hidden, strict=True)
            ],
            axis=1,
        )
        scores = known.head.scores(known.representation(X)).astype(np.float64) / known.temperature
        others = np.delete(scores, code, axis=1)
        most = others.max(axis=1)
        log_odds: Floats = scores[:, code] - most - np.log(np.exp(others.T - most).sum(axis=0))
        return log_odds


def _each_hidden(picture: NDArray[np.uint8], mean: Triple) -> NDArray[np.uint8]:
    """A picture as one network sees it, then with each place hidden in turn."""
    grey = np.round(255 * np.array(mean)).astype(np.uint8)
    places = np.ndindex(GRID, GRID)
    return np.stack([picture, *(_hidden(picture, grey, *place) for place in places)])


def _hidden(
    picture: NDArray[np.uint8], grey: NDArray[np.uint8], row: int, column: int
) -> NDArray[np.uint8]:
    rows, columns = (
        slice(max(0, round((at - 0.5) * n / GRID)), round((at + 1.5) * n / GRID))
        for at, n in zip((row, column), picture.shape[:2], strict=True)
    )
    hidden = picture.copy()
    hidden[rows, columns] = grey
    return hidden
