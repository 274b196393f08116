"""unshaken: train classifiers that small changes of their input do not shake."""

from importlib import import_module
from typing import Any

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
from unshaken.auditing import Audit, audit
from unshaken.methods import (
    AT,
    MAT,
    MVAT,
    VAT,
    VMT,
    XAT,
    XVAT,
    CatGAN,
    ConcreteDropout,
    CoTraining,
    FeatureMatching,
    Ladder,
    MeanTeacher,
    Mixup,
    PiModel,
    Random,
    StochasticTransformations,
    TangentPropagation,
    TemporalEnsembling,
    VAdD,
    add_concrete_dropout,
)
from unshaken.objective import Objective
from unshaken.ramps import Ramp
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
    "Audit",
    "CatGAN",
    "ClassBalance",
    "CoTraining",
    "ConcreteDropout",
    "EntropyMinimization",
    "FeatureMatching",
    "Ladder",
    "MeanTeacher",
    "Mixup",
    "Objective",
    "PiModel",
    "Ramp",
    "Random",
    "Regularizer",
    "StochasticTransformations",
    "TangentPropagation",
    "TemporalEnsembling",
    "VAdD",
    "Worst",
    "__version__",
    "add_concrete_dropout",
    "adversaries",
    "audit",
    "distributions",
    "divergences",
    "estimators",
    "fields",
    "masks",
    "models",
    "perturbations",
    "sparsity",
]

_LATER = ("data", "lightning", "robustness", "sklearn")


def __getattr__(name: str) -> Any:
    """Parts that bring libraries of their own are imported when they are asked for."""
    if name in _LATER:
        return import_module(f"unshaken.{name}")
    raise AttributeError(f"module 'unshaken' has no attribute {name!r}")
