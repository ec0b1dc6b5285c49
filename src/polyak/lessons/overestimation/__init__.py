"""Lesson 3: why a maximum of noisy values is too high, and what TD3's minimum of two critics does (8.9 to 8.11)."""

from polyak.lessons.overestimation.experiment import run, value_by
from polyak.lessons.overestimation.formulas import (
    RULES,
    Rule,
    bias,
    bias_of_equal,
    choice_probabilities,
    expected_bias,
    fixed_point_bias,
    minimum_with_normal,
    wave_bias,
)
from polyak.lessons.overestimation.page import page, tables
from polyak.lessons.overestimation.results import Result

__all__ = [
    "RULES",
    "Result",
    "Rule",
    "bias",
    "bias_of_equal",
    "choice_probabilities",
    "expected_bias",
    "fixed_point_bias",
    "minimum_with_normal",
    "page",
    "run",
    "tables",
    "value_by",
    "wave_bias",
]
