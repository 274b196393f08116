"""Batch norm over the batch's own statistics, with its second derivative in closed form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unshaken.double_backward.session import Session

_forward = torch.ops.aten.native_batch_norm.default
_backward = torch.ops.aten.native_batch_norm_backward.default


class BatchNorm(torch.autograd.Function):
    """``y = γ x̂ + β`` with ``x̂ = r (x − μ)``, ``r = 1/√(σ² + ε)``; running statistics move.

    Called as ``BatchNorm.apply(session, x, weight, bias, mean, variance, momentum, eps)``.
    """

    @staticmethod
    def forward(
        ctx: Any,
        session: Session,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        running_mean: Tensor | None,
        running_variance: Tensor | None,
        momentum: float,
        eps: float,
    ) -> Tensor:
        y, mean, rate = _forward(
            x, weight, bias, running_mean, running_variance, True, momentum, eps
        )
        ctx.session, ctx.eps = session, eps
        ctx.save_for_backward(x, weight, mean, rate)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        x, weight, mean, rate = ctx.saved_tensors
        (gradient,) = gradients
        rest = (None, None, None, None)
        if ctx.session.input_only:
            found = _InputGradient.apply(gradient, x, weight, mean, rate, ctx.eps)
            return None, found, None, None, *rest
        wanted = ctx.needs_input_grad[1:4]
        grads = _backward(gradient, x, weight, None, None, mean, rate, True, ctx.eps, list(wanted))
        return None, *(g if w else None for g, w in zip(grads, wanted, strict=True)), *rest


class _InputGradient(torch.autograd.Function):
    """``g = A gy`` with ``A = γ r (1 − 11ᵀ/M − x̂x̂ᵀ/M)`` for each channel of M values.

    A is its own transpose, so a cotangent s of g gives ``A s`` for gy. With the sums over a channel
    ``a = Σ s·g``, ``b = Σ s·x̂`` and ``c = Σ gy·x̂``, x gets ``−(r/M) (a x̂ + c A s + b g)`` and γ
    gets ``a/γ``.
    """

    @staticmethod
    def forward(
        ctx: Any,
        gradient: Tensor,
        x: Tensor,
        weight: Tensor | None,
        mean: Tensor,
        rate: Tensor,
        eps: float,
    ) -> Tensor:
        g, c, total = _backward(
            gradient, x, weight, None, None, mean, rate, True, eps, [True, True, True]
        )
        ctx.eps = eps
        # The incoming gradient itself is needed only where γ = 0 hides it.
        kept = gradient if weight is not None and _may_vanish(weight) else None
        ctx.save_for_backward(x, weight, mean, rate, g, c, total, kept)
        return g

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Any, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "Batch norm has no third derivative here: call backward() on a penalty of the "
                "input's gradient without create_graph=True."
            )
        x, weight, mean, rate, g, c, total, kept = ctx.saved_tensors
        (s,) = cotangents
        count = x.numel() // x.shape[1]
        of_gradient, b, sum_s = _backward(
            s, x, weight, None, None, mean, rate, True, ctx.eps, [True, True, True]
        )
        a = _channel_sums(s, g)
        of_x = of_weight = None
        if ctx.needs_input_grad[1]:
            # Expanded in x rather than x̂, which would be one more tensor of this size.
            scale = -rate / count
            slope = scale * a * rate
            of_x = (x * _channels(slope, x)).sub_(_channels(slope * mean, x))
            of_x.addcmul_(of_gradient, _channels(scale * c, x))
            of_x.addcmul_(g, _channels(scale * b, x))
        if weight is not None and ctx.needs_input_grad[2]:
            of_weight = a / weight
            if kept is not None:
                whole = _channel_sums(s, kept) - (sum_s * total + b * c) / count
                of_weight = torch.where(weight == 0, rate * whole, of_weight)
        return of_gradient, of_x, of_weight, None, None, None


def _may_vanish(weight: Tensor) -> bool:
    """Whether γ may hold a zero; a GPU is not waited for to find out."""
    return weight.device.type != "cpu" or not bool(weight.all())


def _channels(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(1, -1, *[1] * (like.dim() - 2))


def _channel_sums(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum([axis for axis in range(a.dim()) if axis != 1])
