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
    from regraft.experiment import run
    from regraft.runs import RunConfig
    from regraft.serving import evaluate_model, predict
    from regraft.survey import check

__version__ = "0.1.0"

_HOMES = {
    "ImageClassifier": "regraft.estimator",
    "ImageTable": "regraft.data.table",
    "RegraftError": "regraft.errors",
    "RunConfig": "regraft.runs",
    "check": "regraft.survey",
    "evaluate_model": "regraft.serving",
    "predict": "regraft.serving",
    "run": "regraft.experiment",
}

__all__ = [
    "ImageClassifier",
    "ImageTable",
    "RegraftError",
    "RunConfig",
    "check",
    "evaluate_model",
    "predict",
    "run",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'regraft' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
