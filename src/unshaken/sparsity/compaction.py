"""Units that nothing depends on, taken out of a fully connected network."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

UNITWISE = (
    nn.BatchNorm1d,
    nn.Dropout,
    nn.ELU,
    nn.GELU,
    nn.Identity,
    nn.LeakyReLU,
    nn.ReLU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Tanh,
)
"""Layers that treat each unit by itself, whatever the others are."""


@torch.no_grad()
def compact(model: nn.Module) -> nn.Sequential:
    """A smaller copy of a pruned network, with the same outputs in evaluation mode.

    A hidden unit goes where all weights that leave it are zero, or all that enter it: then its
    output is a constant, which moves into the next layer's bias. Inputs and classes stay.

    Args:
        model: an ``nn.Sequential`` of linear layers, layers that treat each unit by itself (batch
            norm, activations, dropout) and at most a leading ``nn.Flatten``; for example
            ``prune(model)`` of a gated :func:`unshaken.models.mlp`. At least one unit of each
            layer stays.

    Raises:
        ValueError: it is something else. Its zeros then stay zeros.
    """
    if not isinstance(model, nn.Sequential):
        raise ValueError(
            f"compact needs an nn.Sequential of linear layers, got {type(model).__name__}; "
            "prune alone leaves zeros in any model"
        )
    layers = list(copy.deepcopy(model))
    for k, layer in enumerate(layers):
        if type(layer) not in (nn.Linear, *UNITWISE) and not (k == 0 and type(layer) is nn.Flatten):
            raise ValueError(
                f"compact knows linear layers and those that treat each unit by itself, got "
                f"{type(layer).__name__} as layer {k}; prune alone leaves zeros in any model"
            )
    places = [k for k, layer in enumerate(layers) if type(layer) is nn.Linear]
    # From the end: what a removed unit read goes with it.
    for first, second in reversed(list(pairwise(places))):
        _shrink(layers, first, second)
    return nn.Sequential(*layers)


def _shrink(layers: list[nn.Module], first: int, second: int) -> None:
    """Take units out between the linear layers at two places."""
    before, after = cast(nn.Linear, layers[first]), cast(nn.Linear, layers[second])
    constant = ~before.weight.any(1)
    kept = after.weight.any(0) & ~constant
    if not kept.any():
        kept[0] = True
    between = layers[first + 1 : second]
    gone = constant & ~kept
    shift = after.weight[:, gone] @ _outputs_of_nothing(before, between)[gone]
    bias_before, bias_after = _bias(before), _bias(after)
    if bias_after is not None:
        shift = shift + bias_after
    needed = bias_after is not None or bool(shift.any())
    layers[first] = _linear(before.weight[kept], None if bias_before is None else bias_before[kept])
    layers[second] = _linear(after.weight[:, kept], shift if needed else None)
    for k in range(first + 1, second):
        norm = layers[k]
        if isinstance(norm, nn.BatchNorm1d):
            layers[k] = _norm(norm, kept)


def _outputs_of_nothing(layer: nn.Linear, between: Sequence[nn.Module]) -> Tensor:
    """What each unit gives where its layer's weights are zero: ``(units,)``."""
    bias = _bias(layer)
    if bias is None:
        bias = layer.weight.new_zeros(layer.out_features)
    # Copies, so that evaluation mode is theirs alone.
    found: Tensor = nn.Sequential(*copy.deepcopy(list(between))).eval()(bias.unsqueeze(0))
    return found[0]


def _bias(layer: nn.Linear) -> Tensor | None:
    """The bias; its declared type does not say that there may be none."""
    return dict(layer.named_parameters()).get("bias")


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    outputs, inputs = weight.shape
    layer = nn.Linear(inputs, outputs, bias is not None, device=weight.device, dtype=weight.dtype)
    layer.weight.copy_(weight)
    if bias is not None:
        layer.bias.copy_(bias)
    return layer


def _norm(norm: nn.BatchNorm1d, kept: Tensor) -> nn.BatchNorm1d:
    result = copy.deepcopy(norm)
    result.num_features = int(kept.sum())
    for name, parameter in norm.named_parameters():
        setattr(result, name, nn.Parameter(parameter[kept].clone(), parameter.requires_grad))
    for name, buffer in norm.named_buffers():
        setattr(result, name, buffer[kept].clone() if buffer.dim() else buffer.clone())
    return result
