"""unshaken: train classifiers that small changes of their input do not shake."""

from unshaken import (
    adversaries,
    distributions,
    divergences,
    estimators,
    fields,
    masks,
    models,
    perturbations,
    sparsity,
)
from unshaken.alarm import AlarmWarning
from unshaken.methods import AT, MAT, MVAT, VAT, VMT, XAT, XVAT, Random
from unshaken.objective import Objective
from unshaken.regularizer import Regularizer
from unshaken.terms import ClassBalance, EntropyMinimization
from unshaken.worst import Worst

__version__ = "0.1.0"

__all__ = [
    "AT",
    "MAT",
    "MVAT",
    "VAT",
    "VMT",
    "XAT",
    "XVAT",
    "AlarmWarning",
    "ClassBalance",
    "EntropyMinimization",
    "Objective",
    "Random",
    "Regularizer",
    "Worst",
    "__version__",
    "adversaries",
    "distributions",
    "divergences",
    "estimators",
    "fields",
    "masks",
    "models",
    "perturbations",
    "sparsity",
]
