"""Piecewise linear activations that keep one tensor and whose second derivative is nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_backward = torch.ops.aten.leaky_relu_backward.default


class Rectifier(torch.autograd.Function):
    """``y = x`` where x > 0, else ``slope · x``, slope ≥ 0: ReLU and leaky ReLU.

    Called as ``Rectifier.apply(x, slope, in_place)``. It keeps y, which the next layer keeps too.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float, in_place: bool) -> Tensor:
        if in_place:
            y = torch.nn.functional.leaky_relu_(x, slope) if slope else x.relu_()
            ctx.mark_dirty(x)
        else:
            y = torch.nn.functional.leaky_relu(x, slope) if slope else x.relu()
        ctx.slope = slope
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        (y,) = ctx.saved_tensors
        return _Gated.apply(gradients[0], y.detach(), ctx.slope), None, None


class _Gated(torch.autograd.Function):
    """``g = gy`` where y > 0, else ``slope · gy``: linear in gy, and so its own derivative."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, y: Tensor, slope: float) -> Tensor:
        ctx.slope = slope
        ctx.save_for_backward(y)
        return _backward(gradient, y, slope, True)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Any, ...]:
        (y,) = ctx.saved_tensors
        return _Gated.apply(cotangents[0], y, ctx.slope), None, None
