"""Convolution, its input gradient, and that gradient's own derivative, a kernel for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unshaken.double_backward.session import Session

_backward = torch.ops.aten.convolution_backward.default


@dataclass(frozen=True)
class Geometry:
    """How the kernel moves over the input, one number for each axis."""

    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    groups: int

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        none = [0] * len(self.stride)
        return torch.convolution(
            x, weight, bias, self.stride, self.padding, self.dilation, False, none, self.groups
        )

    def backward(
        self, gradient: Tensor, x: Tensor, weight: Tensor, wanted: tuple[bool, bool, bool]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients in x, weight and bias that are wanted; the others mean nothing."""
        found: tuple[Tensor, Tensor, Tensor] = _backward(
            gradient,
            x,
            weight,
            [weight.shape[0]],
            self.stride,
            self.padding,
            self.dilation,
            False,
            [0] * len(self.stride),
            self.groups,
            list(wanted),
        )
        return found


class Convolution(torch.autograd.Function):
    """``y = w * x + b``; called as ``Convolution.apply(session, geometry, x, weight, bias)``."""

    @staticmethod
    def forward(
        ctx: Any,
        session: Session,
        geometry: Geometry,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        ctx.session, ctx.geometry = session, geometry
        ctx.save_for_backward(x, weight)
        return geometry.convolve(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        x, weight = ctx.saved_tensors
        (gradient,) = gradients
        wanted = ctx.needs_input_grad[2:]
        if ctx.session.input_only:
            found = None
            if wanted[0]:
                found = _InputGradient.apply(ctx.geometry, gradient, weight, x)
            return None, None, found, None, None
        found = ctx.geometry.backward(gradient, x, weight, wanted)
        return None, None, *(g if w else None for g, w in zip(found, wanted, strict=True))


class _InputGradient(torch.autograd.Function):
    """``g = wᵀ * gy``: linear in the incoming gradient and in the weight, and free of x."""

    @staticmethod
    def forward(
        ctx: Any, geometry: Geometry, gradient: Tensor, weight: Tensor, x: Tensor
    ) -> Tensor:
        ctx.geometry = geometry
        ctx.save_for_backward(gradient, weight)
        return geometry.backward(gradient, x, weight, (True, False, False))[0]

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Any, ...]:
        gradient, weight = ctx.saved_tensors
        (cotangent,) = cotangents
        of_gradient = of_weight = None
        if ctx.needs_input_grad[1]:
            of_gradient = ctx.geometry.convolve(cotangent, weight, None)
        if ctx.needs_input_grad[2]:
            # <cotangent, wᵀ * gy> = <w * cotangent, gy>: a weight gradient at input `cotangent`.
            wanted = (False, True, False)
            of_weight = ctx.geometry.backward(gradient, cotangent, weight, wanted)[1]
        return None, of_gradient, of_weight, None
