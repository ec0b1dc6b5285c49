"""Lesson 1: x ~ N(theta, 1), J(theta) = E[x^2], and two estimators of its gradient (8.14, 8.15)."""

from polyak.lessons.reparameterization.experiment import SAMPLES, Result, Row, run
from polyak.lessons.reparameterization.formulas import (
    gradient,
    pathwise_terms,
    pathwise_variance,
    policy_pathwise_terms,
    policy_pathwise_variance,
    policy_score_function_terms,
    policy_score_function_variance,
    score_function_kurtosis,
    score_function_terms,
    score_function_variance,
    standard_error_of_variance,
    variance_ratio,
)
from polyak.lessons.reparameterization.page import page, tables

__all__ = [
    "SAMPLES",
    "Result",
    "Row",
    "gradient",
    "page",
    "pathwise_terms",
    "pathwise_variance",
    "policy_pathwise_terms",
    "policy_pathwise_variance",
    "policy_score_function_terms",
    "policy_score_function_variance",
    "run",
    "score_function_kurtosis",
    "score_function_terms",
    "score_function_variance",
    "standard_error_of_variance",
    "tables",
    "variance_ratio",
]
