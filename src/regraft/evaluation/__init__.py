"""How good a classifier is, and how sure that is: metrics, intervals, calibration, comparison."""

from regraft.evaluation.baseline import (
    majority_baseline,
    nearest_neighbour_baseline,
    nearest_neighbour_hits,
)
from regraft.evaluation.calibration import fit_temperature, softmax
from regraft.evaluation.evaluate import ClassScores, Evaluation, evaluate, score_in_words
from regraft.evaluation.intervals import Estimate, wilson_interval
from regraft.evaluation.left_out import LeftOut
from regraft.evaluation.metrics import Reliability
from regraft.evaluation.paired import PairedComparison, compare_paired, mcnemar_p_value

__all__ = [
    "ClassScores",
    "Estimate",
    "Evaluation",
    "LeftOut",
    "PairedComparison",
    "Reliability",
    "compare_paired",
    "evaluate",
    "fit_temperature",
    "majority_baseline",
    "mcnemar_p_value",
    "nearest_neighbour_baseline",
    "nearest_neighbour_hits",
    "score_in_words",
    "softmax",
    "wilson_interval",
]
