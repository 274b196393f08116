"""Layers of several networks as one layer, whose rows are those of each network in turn."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from unshaken import draws

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d

_CONVOLVE: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.Conv1d: F.conv1d,
    nn.Conv2d: F.conv2d,
    nn.Conv3d: F.conv3d,
}


class Stacked:
    """A layer that stands for S ordinary ones and maps ``(S·N, ...)`` to ``(S·N, ...)``."""

    @abstractmethod
    def apart(self) -> list[dict[str, Tensor]]:
        """The state of each ordinary layer, as its ``load_state_dict`` takes it."""


class StackedLinear(nn.Module, Stacked):
    """``nn.Linear`` layers, ``y_s = x_s W_s + b_s``, as one batched product.

    Args:
        layers: of the same sizes.
    """

    bias: nn.Parameter | None

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.count = len(layers)
        # (S, in, out): in this order the weights' gradient comes as it is stored.
        weights = torch.stack([layer.weight.detach().T for layer in layers])
        self.weight = nn.Parameter(weights.contiguous(), layers[0].weight.requires_grad)
        self.bias = _joined(layers)

    def forward(self, x: Tensor) -> Tensor:
        """``(S·N, ..., in) -> (S·N, ..., out)``."""
        rows = x.reshape(self.count, -1, x.shape[-1])
        if self.bias is None:
            y = torch.bmm(rows, self.weight)
        else:
            y = torch.baddbmm(self.bias.view(self.count, 1, -1), rows, self.weight)
        return y.reshape(*x.shape[:-1], -1)

    def apart(self) -> list[dict[str, Tensor]]:
        states = [{"weight": weight.T} for weight in self.weight.detach()]
        if self.bias is not None:
            for state, bias in zip(states, self.bias.detach().chunk(self.count), strict=True):
                state["bias"] = bias
        return states

    def extra_repr(self) -> str:
        count, inputs, outputs = self.weight.shape
        bias = self.bias is not None
        return f"{count} × in_features={inputs}, out_features={outputs}, bias={bias}"


class StackedConvolution(nn.Module, Stacked):
    """Convolutions, as the groups of one.

    Args:
        layers: of the same sizes and options, padded with zeros.
    """

    bias: nn.Parameter | None

    def __init__(self, layers: Sequence[Convolution]) -> None:
        super().__init__()
        first = layers[0]
        self.count, self.groups = len(layers), len(layers) * first.groups
        self.options = (first.stride, first.padding, first.dilation)
        self._convolve = _CONVOLVE[type(first)]
        weights = torch.cat([layer.weight.detach() for layer in layers])
        self.weight = nn.Parameter(weights, first.weight.requires_grad)
        self.bias = _joined(layers)

    def forward(self, x: Tensor) -> Tensor:
        """``(S·N, C, *size) -> (S·N, C', *size')``."""
        side_by_side = _side_by_side(x, self.count)
        y = self._convolve(side_by_side, self.weight, self.bias, *self.options, self.groups)
        return _one_below_another(y, self.count)

    def apart(self) -> list[dict[str, Tensor]]:
        states = [{"weight": weight} for weight in self.weight.detach().chunk(self.count)]
        if self.bias is not None:
            for state, bias in zip(states, self.bias.detach().chunk(self.count), strict=True):
                state["bias"] = bias
        return states

    def extra_repr(self) -> str:
        return f"{self.count} × {tuple(self.weight.shape)}"


class StackedBatchNorm(_BatchNorm, Stacked):
    """Batch norms, as one over the features of all: each normalizes by its own rows.

    Args:
        layers: of the same sizes and options.
    """

    def __init__(self, layers: Sequence[BatchNorm]) -> None:
        first = layers[0]
        super().__init__(
            len(layers) * first.num_features,
            eps=first.eps,
            momentum=first.momentum,
            affine=first.affine,
            track_running_stats=first.track_running_stats,
        )
        self.count = len(layers)
        for name, value in first.state_dict(keep_vars=True).items():
            parts = [layer.state_dict()[name] for layer in layers]
            joined = torch.cat(parts) if value.dim() else parts[0].clone()
            if isinstance(value, nn.Parameter):
                setattr(self, name, nn.Parameter(joined, value.requires_grad))
            else:
                setattr(self, name, joined)

    def forward(self, input: Tensor) -> Tensor:
        """``(S·N, F, *size) -> (S·N, F, *size)``."""
        y = super().forward(_side_by_side(input, self.count))
        return _one_below_another(y, self.count)

    def apart(self) -> list[dict[str, Tensor]]:
        states: list[dict[str, Tensor]] = [{} for _ in range(self.count)]
        for name, value in self.state_dict().items():
            parts = value.chunk(self.count) if value.dim() else [value] * self.count
            for state, part in zip(states, parts, strict=True):
                state[name] = part
        return states

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of axes: the ordinary layers have checked theirs, or will."""


class StackedDropout(_DropoutNd):
    """Dropout whose masks for each network are those that it would draw alone."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        if self.p == 1:
            return x * 0
        return x * draws.bernoulli(1 - self.p, x).div_(1 - self.p)


def _side_by_side(x: Tensor, count: int) -> Tensor:
    """``(S·N, C, ...) -> (N, S·C, ...)``."""
    return x.unflatten(0, (count, -1)).transpose(0, 1).flatten(1, 2)


def _one_below_another(x: Tensor, count: int) -> Tensor:
    """``(N, S·C, ...) -> (S·N, C, ...)``."""
    return x.unflatten(1, (count, -1)).transpose(0, 1).flatten(0, 1)


def _joined(layers: Sequence[nn.Linear] | Sequence[Convolution]) -> nn.Parameter | None:
    """The layers' biases as one of a single axis, as an optimizer's rules for biases look for."""
    biases = [layer.bias for layer in layers if layer.bias is not None]
    if not biases:
        return None
    return nn.Parameter(torch.cat([bias.detach() for bias in biases]), biases[0].requires_grad)
