"""An objective whose network runs as compiled code."""

from __future__ import annotations

import os
import shutil
import warnings
from copy import copy
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

if TYPE_CHECKING:
    from ..objective import Objective

__all__ = ["compiled"]


def compiled(objective: Objective, device: torch.device) -> Objective:
    """The same objective, its parameters and terms shared, with ``torch.compile`` of the network.

    Without a compiler a warning says so and the objective itself comes back.

    Raises:
        ValueError: a term differentiates twice through the network, which compiled code cannot.
    """
    twice = [
        name
        for name, term in zip(objective.names, objective.regularizers, strict=True)
        if getattr(term, "needs", "") == "input-graph"
    ]
    if twice:
        raise ValueError(
            f"compile must be False with {', '.join(twice)}, which differentiates twice through "
            "the network; compiled code has no second derivative"
        )
    if device.type == "cpu" and not _has_compiler():
        warnings.warn(
            "compile=True needs a C++ compiler (g++ or clang++) and found none: training goes on "
            "without it",
            stacklevel=2,
        )
        return objective
    # A shallow copy: state, names and exports stay those of the network itself.
    other = copy(objective)
    other._modules = dict(objective._modules)
    other.model = cast(nn.Module, torch.compile(objective.model))
    other.train(objective.training)
    return other


def _has_compiler() -> bool:
    named = os.environ.get("CXX")
    return any(shutil.which(name) for name in ([named] if named else ["g++", "clang++", "c++"]))
