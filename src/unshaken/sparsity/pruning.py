"""What is left of a model with gates, and the plain model that has only that."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from unshaken.sparsity.gates import Gates, gates_of


def expected_l0(model: nn.Module) -> Tensor:
    """The expected share of gated weights that are not zero: a scalar in [0, 1], differentiable.

    ``Σ_g |g| P(z_g ≠ 0) / Σ_g |g|`` over all groups g (Louizos et al. 2018, eq. 12).
    """
    gates = gates_of(model)
    total: Tensor = torch.stack([each.expected() for each in gates]).sum()
    return total / sum(each.size for each in gates)


@torch.no_grad()
def remaining(model: nn.Module) -> float:
    """The share of gated weights whose gate is open in evaluation mode."""
    gates = gates_of(model)
    opened = sum(
        float((each.distribution().deterministic() > 0).double().mean()) * each.size
        for each in gates
    )
    return opened / sum(each.size for each in gates)


@torch.no_grad()
def prune(model: nn.Module) -> nn.Module:
    """A copy without gates, which computes what the model computes in evaluation mode.

    Weights are multiplied by their gates, so those with closed gates are exactly zero. The copy's
    layers and state dict are those of a model that never had gates;
    :func:`unshaken.sparsity.compact` also takes out units that are left without weights.
    """
    gates_of(model)
    plain = copy.deepcopy(model)
    for module in plain.modules():
        if any(isinstance(each, Gates) for each in _parametrizations(module)):
            for each in _parametrizations(module):
                each.eval()
            _settle(module)
    return plain


def _parametrizations(module: nn.Module) -> Iterable[nn.Module]:
    found = getattr(module, "parametrizations", None)
    return found["weight"].children() if found is not None and "weight" in found else ()


def _settle(layer: nn.Module) -> None:
    """Make the layer one of its own class again, with the weight that it now shows.

    PyTorch's own way back changes the class that a copy shares with the model it was copied from.
    """
    found = getattr(layer, "parametrizations", {})
    if len(found) > 1:
        raise ValueError(
            f"a pruned layer must have no parametrizations but that of its weight, got those of "
            f"{', '.join(found)}; remove the others first"
        )
    weight = layer.get_parameter("parametrizations.weight.original")
    gated = nn.Parameter(torch.as_tensor(layer.weight).detach(), weight.requires_grad)
    others = dict(layer.named_parameters(recurse=False))
    del layer.parametrizations
    layer.__class__ = type(layer).__bases__[0]
    for name in others:
        delattr(layer, name)
    for name, parameter in {"weight": gated, **others}.items():
        layer.register_parameter(name, parameter)
