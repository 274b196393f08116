"""An unmodified model's layers, for one pass replaced by ones that are cheap to derive twice.

A penalty on the gradient in the input (VMT) sends a backward pass backward. Three things in
PyTorch's own layers make that dearer than the six passes over the network that it needs: batch
norm's second derivative is put together from many small operations, that of a convolution's weight
from a convolution of swapped axes, and rectifiers keep their input beside their output. Inside
:class:`TwiceDifferentiable` the model's calls of these functions go to equal ones without that
waste; every other function, and every use of these that is not understood, is PyTorch's own.
A layer in Python takes longer to call, so small inputs stay with PyTorch's layers too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from unshaken.double_backward.batch_norm import BatchNorm
from unshaken.double_backward.convolution import Convolution, Geometry
from unshaken.double_backward.rectifier import Rectifier
from unshaken.double_backward.session import Session

LEAST = {"batch norm": 1 << 16, "convolution": 1 << 12, "rectifier": 1 << 19}
"""Numbers of values in a layer's input from which its replacement is used: about where it becomes
the faster one, measured for batch norm and rectifiers on a CPU."""

Handler = Callable[..., Tensor | None]


class TwiceDifferentiable(TorchFunctionMode):
    """Inside, calls of a model can be differentiated twice at little more than the least work.

    Args:
        session: under which the gradient in the input has to be taken.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        handler = _HANDLERS.get(func)
        # A vmap's tensors look like any other.
        if handler is not None and torch._C._functorch.maybe_current_level() is None:
            found = handler(self.session, *args, **kwargs)
            if found is not None:
                return found
        return func(*args, **kwargs)


def _suits(x: Any, layer: str) -> bool:
    """Whether an input is one that a layer's replacement handles and is worth it for."""
    return (
        type(x) is Tensor
        and x.numel() >= LEAST[layer]
        and x.requires_grad
        and x.dtype in (torch.float32, torch.float64)
        and torch.is_grad_enabled()
        and not torch.is_autocast_enabled(x.device.type)
    )


def _plain(*tensors: Tensor | None) -> bool:
    """Whether weights are parameters of their own: computed ones may depend on the input."""
    return all(
        t is None or (type(t) in (Tensor, torch.nn.Parameter) and t.grad_fn is None)
        for t in tensors
    )


def _batch_norm(
    session: Session,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor | None:
    if (
        not training
        or input.dim() < 2
        or not _suits(input, "batch norm")
        or not _plain(weight, bias)
    ):
        return None
    if input.numel() <= input.shape[1]:
        return None  # PyTorch's own sentence about a single value in a channel
    result: Tensor = BatchNorm.apply(
        session, input, weight, bias, running_mean, running_var, momentum, eps
    )
    return result


def _convolution(axes: int) -> Handler:
    def handle(
        session: Session,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
    ) -> Tensor | None:
        if isinstance(padding, str) or not _plain(weight, bias) or not _suits(input, "convolution"):
            return None
        if input.dim() != axes + 2:
            return None
        geometry = Geometry(
            _each(stride, axes), _each(padding, axes), _each(dilation, axes), groups
        )
        result: Tensor = Convolution.apply(session, geometry, input, weight, bias)
        return result

    return handle


def _rectifier(default: float, always_in_place: bool = False) -> Handler:
    def handle(
        session: Session,
        input: Tensor,
        negative_slope: float = default,
        inplace: bool = False,
    ) -> Tensor | None:
        in_place = inplace or always_in_place
        if negative_slope < 0 or not _suits(input, "rectifier") or (in_place and input._is_view()):
            return None
        result: Tensor = Rectifier.apply(input, negative_slope, in_place)
        return result

    return handle


def _relu(always_in_place: bool = False) -> Handler:
    rectify = _rectifier(0.0)

    def handle(session: Session, input: Tensor, inplace: bool = False) -> Tensor | None:
        return rectify(session, input, 0.0, inplace or always_in_place)

    return handle


def _each(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * axes if len(values) == 1 else values


_HANDLERS: dict[Any, Handler] = {
    F.batch_norm: _batch_norm,
    torch.conv1d: _convolution(1),
    torch.conv2d: _convolution(2),
    torch.conv3d: _convolution(3),
    F.relu: _relu(),
    F.relu_: _relu(always_in_place=True),
    torch.relu: _relu(),
    torch.relu_: _relu(always_in_place=True),
    Tensor.relu: _relu(),
    Tensor.relu_: _relu(always_in_place=True),
    F.leaky_relu: _rectifier(0.01),
    F.leaky_relu_: _rectifier(0.01, always_in_place=True),
}
