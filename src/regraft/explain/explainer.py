"""Which way a classifier is explained, and why."""

from __future__ import annotations

from collections.abc import Callable

from regraft.backbones.catalog import PLAIN
from regraft.errors import UsageError
from regraft.explain.base import Explainer, Shown, by_network
from regraft.explain.cam import ClassActivation
from regraft.explain.occlusion import Occlusion
from regraft.machine import extras
from regraft.probe.classifier import Classifier

METHODS = ("cam", "gradcam", "occlusion")


def explainer_for(
    classifier: Classifier,
    *,
    example: Shown,
    method: str = "auto",
    say: Callable[[str], None] = lambda text: None,
) -> Explainer:
    """The way of explaining that was asked for; 'auto' takes the first that this model allows.

    Parameters
    ----------
    classifier : Classifier
    example : (n, H, W, 3) uint8
        A few pictures as the network sees them (four are enough), for what is found out or built
        now. Of several networks side by side a list of such, here and in ``explain``.
    method : {'auto', 'cam', 'gradcam', 'occlusion'}
    say : callable(text)
        Hears one line before anything that takes seconds.

    Raises
    ------
    UsageError
        The classifier does not allow this method; the message says why.

    Examples
    --------
    ::

        heat = explainer_for(model, example=pixels[:4]).explain(pixels, y)
        drawing.overlay(pixels[0], heat.maps[0])
    """
    if method == "auto":
        return _first_possible(classifier, example, say)
    if method not in METHODS:
        raise UsageError(
            f"no method of explaining is called {method!r}", cure=f"auto, {', '.join(METHODS)}"
        )
    return _made(method, classifier, example, say)


def _first_possible(
    classifier: Classifier, example: Shown, say: Callable[[str], None]
) -> Explainer:
    reasons: list[str] = []
    for method in METHODS:
        try:
            found = _made(method, classifier, example, say)
        except UsageError as error:
            reasons.append(f"no {method}: {error.rule}")
            continue
        found.why = "; ".join([found.why, *reasons])
        return found
    raise AssertionError("occlusion refuses nothing")


def _made(
    method: str,
    classifier: Classifier,
    example: Shown,
    say: Callable[[str], None],
) -> Explainer:
    if method == "cam":
        return ClassActivation(classifier, example=example, say=say)
    if method == "gradcam":
        _refuse_gradients(classifier)
        with extras.needed_for("the method gradcam", otherwise="--method occlusion"):
            from regraft.explain.gradcam import GradientMaps

        (only,) = by_network(example)
        return GradientMaps(classifier, example=only)
    return Occlusion(classifier)


def _refuse_gradients(classifier: Classifier) -> None:
    """There is one place to take a gradient at in one network that sees a picture once."""
    info = classifier.info
    if info is None or not (info.parts or info.look != PLAIN):
        return
    what = f"{len(info.parts)} networks side by side" if info.parts else f"the look {info.look!r}"
    raise UsageError(f"it is made of one network's last map, not of {what}", cure="--method auto")
