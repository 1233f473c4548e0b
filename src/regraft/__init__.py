"""Regraft: a folder of photographs becomes a tested image classifier by transfer learning.

Public names are loaded when they are first used, so that importing the package costs nothing.

>>> import regraft
>>> regraft.__version__
'0.1.0'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regraft.data.table import ImageTable
    from regraft.errors import RegraftError
    from regraft.estimator import ImageClassifier
    from regraft.explain.in_memory import explain_images
    from regraft.model.loading import load
    from regraft.model.predicting import predict
    from regraft.model.saving import save
    from regraft.model.scoring import evaluate_model
    from regraft.probe.classifier import Classifier
    from regraft.record.configuration import RunConfig
    from regraft.workflows.experiment import run
    from regraft.workflows.exporting import export_model
    from regraft.workflows.survey import check

__version__ = "0.1.0"

_HOMES = {
    "Classifier": "regraft.probe.classifier",
    "ImageClassifier": "regraft.estimator",
    "ImageTable": "regraft.data.table",
    "RegraftError": "regraft.errors",
    "RunConfig": "regraft.record.configuration",
    "check": "regraft.workflows.survey",
    "evaluate_model": "regraft.model.scoring",
    "explain_images": "regraft.explain.in_memory",
    "export_model": "regraft.workflows.exporting",
    "load": "regraft.model.loading",
    "predict": "regraft.model.predicting",
    "run": "regraft.workflows.experiment",
    "save": "regraft.model.saving",
}

__all__ = [
    "Classifier",
    "ImageClassifier",
    "ImageTable",
    "RegraftError",
    "RunConfig",
    "check",
    "evaluate_model",
    "explain_images",
    "export_model",
    "load",
    "predict",
    "run",
    "save",
]


# What the commands are called here, where a function of their name would be looked for.
_COMMANDS = {
    "train": "run",
    "evaluate": "evaluate_model",
    "explain": "explain_images",
    "export": "export_model",
    "fit": "ImageClassifier().fit",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    hint = f"; it is regraft.{_COMMANDS[name]}" if name in _COMMANDS else ""
    raise AttributeError(f"module 'regraft' has no attribute {name!r}{hint}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
