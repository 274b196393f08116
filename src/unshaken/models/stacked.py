"""Several networks of one architecture as one network, which costs little more than one of them.

On small networks a step is mostly overhead: calls of small products. A stack makes the products of
all networks in one call each.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import cast

from torch import nn

from unshaken.models.stacked_layers import (
    BatchNorm,
    Convolution,
    Stacked,
    StackedBatchNorm,
    StackedConvolution,
    StackedDropout,
    StackedLinear,
)

ROWWISE: frozenset[type[nn.Module]] = frozenset(
    {
        nn.Identity,
        nn.ReLU,
        nn.LeakyReLU,
        nn.ELU,
        nn.GELU,
        nn.SiLU,
        nn.Softplus,
        nn.Sigmoid,
        nn.Tanh,
        nn.MaxPool1d,
        nn.MaxPool2d,
        nn.MaxPool3d,
        nn.AvgPool1d,
        nn.AvgPool2d,
        nn.AvgPool3d,
        nn.AdaptiveAvgPool1d,
        nn.AdaptiveAvgPool2d,
        nn.AdaptiveAvgPool3d,
    }
)
"""Layers without weights that treat every row by itself."""


def stack(networks: Sequence[nn.Module]) -> nn.Module | None:
    """The network ``(S·N, ...) -> (S·N, C)`` of S networks ``(N, ...) -> (N, C)``.

    The first N rows are the first network's, the next N the second's, and so on: each gives what
    it would give alone, batch statistics and dropout included (inside
    :func:`unshaken.draws.grouped`). The gradient of a sum over all rows is every network's own.

    Args:
        networks: alike in all but their weights; their weights are copied.

    Returns:
        The stack; None where the networks differ or hold something that cannot be stacked: a layer
        that is not known here, one used twice, or one with hooks.
    """
    used = [id(layer) for layer in _layers(networks[0]) if list(layer.parameters())]
    if len(set(used)) < len(used):
        return None
    return _stack(networks)


def unstack(stacked: nn.Module, networks: Sequence[nn.Module]) -> None:
    """Load the weights and statistics of a stack into the networks it was made of, or like ones."""
    parts = list(_layers(stacked))
    for column, part in zip(zip(*map(_layers, networks), strict=True), parts, strict=True):
        if isinstance(part, Stacked):
            for layer, state in zip(column, part.apart(), strict=True):
                layer.load_state_dict(state)


def _layers(network: nn.Module) -> Iterator[nn.Module]:
    """The layers in order; one that is used twice comes twice."""
    if type(network) is nn.Sequential:
        yield from chain.from_iterable(map(_layers, network))
    else:
        yield network


def _stack(networks: Sequence[nn.Module]) -> nn.Module | None:
    first = networks[0]
    if not _alike(networks):
        return None
    found: nn.Module | None = None
    if type(first) is nn.Sequential:
        names = [name for name, _ in first.named_children()]
        columns = zip(*(network.children() for network in networks), strict=True)
        children = OrderedDict(
            (name, child)
            for name, column in zip(names, columns, strict=True)
            if (child := _stack(column)) is not None
        )
        if len(children) == len(names) == len(first):
            found = nn.Sequential(children)
    elif type(first) in ROWWISE or (type(first) is nn.Flatten and first.start_dim == 1):
        found = copy.deepcopy(first)
    elif type(first) is nn.Linear:
        found = StackedLinear(cast(Sequence[nn.Linear], networks))
    elif type(first) in (nn.Conv1d, nn.Conv2d, nn.Conv3d):
        convolutions = cast(Sequence[Convolution], networks)
        if convolutions[0].padding_mode == "zeros":
            found = StackedConvolution(convolutions)
    elif type(first) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
        found = StackedBatchNorm(cast(Sequence[BatchNorm], networks))
    elif type(first) is nn.Dropout:
        found = StackedDropout(first.p)
    return None if found is None else found.train(first.training)


def _alike(networks: Sequence[nn.Module]) -> bool:
    """Whether they have the same layers, sizes and options, and nothing attached to them."""
    kinds = {
        (
            type(network),
            repr(network),
            tuple(layer.training for layer in network.modules()),
            tuple((p.dtype, p.device, p.requires_grad) for p in network.parameters()),
        )
        for network in networks
    }
    hooked = any(
        layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks
        for network in networks
        for layer in network.modules()
    )
    return len(kinds) == 1 and not hooked
