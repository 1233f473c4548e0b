"""What is wrong with the data: copies, leaks, slips of labelling, files that are not pictures."""

from regraft.checks.duplicates import (
    Duplicates,
    Pair,
    across_splits,
    conflicting,
    find_duplicates,
    leaked,
)
from regraft.checks.finding import Finding
from regraft.checks.findings import find_problems, find_table_problems
from regraft.checks.outliers import find_outliers

__all__ = [
    "Duplicates",
    "Finding",
    "Pair",
    "across_splits",
    "conflicting",
    "find_duplicates",
    "find_outliers",
    "find_problems",
    "find_table_problems",
    "leaked",
]
