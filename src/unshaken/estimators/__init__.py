"""Estimators of ``∂ E[f(z)] / ∂ log α`` for binary masks z, all of one interface."""

from unshaken.estimators.base import Estimator, Function, exact
from unshaken.estimators.control import Rebar, Relax, fit
from unshaken.estimators.pathwise import GumbelSoftmax, HardConcretePath, StraightThrough
from unshaken.estimators.score import Reinforce

__all__ = [
    "Estimator",
    "Function",
    "GumbelSoftmax",
    "HardConcretePath",
    "Rebar",
    "Reinforce",
    "Relax",
    "StraightThrough",
    "exact",
    "fit",
]
