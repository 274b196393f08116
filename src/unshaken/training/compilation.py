"""An objective whose steps run as compiled code."""

from __future__ import annotations

import os
import shutil
import warnings
from copy import copy
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from ..autograd import drops_out

if TYPE_CHECKING:
    from ..objective import Objective

__all__ = ["compiled"]


def compiled(objective: Objective, device: torch.device, *, whole: bool = True) -> Objective:
    """The same objective, its parameters and terms shared, whose steps run as compiled code.

    Whole steps are compiled where the network draws no random numbers, else the network alone.
    Without a compiler a warning says so and the objective itself comes back.

    Args:
        objective: what is trained.
        device: where.
        whole: whether whole steps may be compiled, which knows one process and full precision.

    Raises:
        ValueError: only the network can be compiled, and a term differentiates twice through it.
    """
    if device.type == "cpu" and not _has_compiler():
        warnings.warn(
            "compile=True needs a C++ compiler (g++ or clang++) and found none: training goes on "
            "without it",
            stacklevel=2,
        )
        return objective
    # A shallow copy: state, names and exports stay those of the objective itself.
    other = copy(objective)
    other._modules = dict(objective._modules)
    if whole and not drops_out(objective.model):
        other.compile()
        return other
    twice = [
        name
        for name, term in zip(objective.names, objective.regularizers, strict=True)
        if getattr(term, "needs", "") == "input-graph"
    ]
    if twice:
        raise ValueError(
            f"compile must be False with {', '.join(twice)}, which differentiates twice through "
            "the network: code of the network alone has no second derivative, and whole steps "
            "are compiled only of networks without dropout, in one process and full precision"
        )
    other.model = cast(nn.Module, torch.compile(objective.model))
    other.train(objective.training)
    return other


def _has_compiler() -> bool:
    named = os.environ.get("CXX")
    return any(shutil.which(name) for name in ([named] if named else ["g++", "clang++", "c++"]))
