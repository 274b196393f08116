"""Small autograd and model-state tools that every regularizer shares.

They answer one question: how to run extra passes over somebody else's model and leave no trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm

from unshaken import draws

BATCH_NORM_POLICIES = ("batch", "running", "update")


def flat(x: Tensor) -> Tensor:
    """``(N, ...)`` as ``(N, D)``."""
    return x.reshape(x.shape[0], -1)


def per_example(values: Tensor, like: Tensor) -> Tensor:
    """``(N,)`` shaped so that it broadcasts over ``like`` of shape ``(N, ...)``."""
    return values.reshape(-1, *[1] * (like.dim() - 1))


def safe_norm(x: Tensor) -> Tensor:
    """Euclidean norm of each example, ``(N, ...) -> (N,)``, exact for every magnitude.

    The largest entry is divided out first, so nothing underflows; the norm of a zero example is 0
    and so is its gradient (the plain square root would give NaN there).
    """
    rows = flat(x)
    largest = rows.detach().abs().amax(1)
    zero = largest == 0
    unit = rows / torch.where(zero, 1, largest).unsqueeze(1)
    square = unit.square().sum(1)
    return largest * torch.where(zero, 1, square).sqrt() * (~zero)


def normalize(x: Tensor) -> Tensor:
    """``x`` with each example scaled to Euclidean norm 1; a zero example stays zero.

    Scale-free: no epsilon is added, so gradients of size 1e-30 keep their direction.
    """
    rows = flat(x)
    largest = rows.detach().abs().amax(1, keepdim=True)
    zero = largest == 0
    unit = rows / torch.where(zero, 1, largest)
    square = unit.square().sum(1, keepdim=True)
    return (unit / torch.where(zero, 1, square).sqrt()).reshape(x.shape)


class _ReverseGradient(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return -gradient


def reverse_gradient(x: Tensor) -> Tensor:
    """The identity, whose backward pass negates the gradient.

    What comes before it ascends while what comes after it descends, in one backward pass
    (Ganin & Lempitsky 2015; how the mask players of xAT and xVAT are trained, xVAT section 2.2.3).
    """
    return _ReverseGradient.apply(x)


def normalization_layers(model: Callable[..., Any]) -> list[_NormBase]:
    """The layers of ``model`` whose running statistics a training pass would move."""
    if not isinstance(model, nn.Module):
        return []
    return [
        m
        for m in model.modules()
        if isinstance(m, _NormBase) and m.training and m.track_running_stats
    ]


def drops_out(model: nn.Module) -> bool:
    """Whether a layer of ``model`` is dropout of some kind."""
    return any(isinstance(m, _DropoutNd) and m.p > 0 for m in model.modules())


@contextmanager
def normalization_policy(layers: Sequence[_NormBase], policy: str) -> Iterator[None]:
    """Run passes under a batch-norm policy and put every layer back, also after an error.

    ``"batch"`` normalizes with the statistics of the batch and moves no running ones,
    ``"running"`` normalizes with the running ones, ``"update"`` is the model's own behavior.
    """
    hidden: list[tuple[_NormBase, Tensor | None, Tensor | None]] = []
    if policy == "batch":
        for layer in layers:
            layer.track_running_stats = False
            if isinstance(layer, _InstanceNorm):
                # It takes its running statistics along whatever the flag says.
                hidden.append((layer, layer.running_mean, layer.running_var))
                layer.running_mean = layer.running_var = None
    elif policy == "running":
        for layer in layers:
            layer.training = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
            layer.training = True
        for layer, mean, variance in hidden:
            layer.running_mean, layer.running_var = mean, variance


class RandomState:
    """The state of the random generators that a pass on ``device`` can draw from."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if torch.compiler.is_compiling():
            return  # nothing draws there
        self.cpu = torch.get_rng_state()
        self.cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        own = draws.generator()
        self.shared = None if own is None else (own, own.get_state())

    def restore(self) -> None:
        torch.set_rng_state(self.cpu)
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda, self.device)
        if self.shared is not None:
            generator, state = self.shared
            generator.set_state(state)

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Draw the same numbers as after this state, then go on where the caller was."""
        if torch.compiler.is_compiling():
            yield
            return
        now = RandomState(self.device)
        self.restore()
        try:
            yield
        finally:
            now.restore()


def full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Autocast off on ``device``; nothing where it is off already."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def differentiable_attention() -> AbstractContextManager[Any]:
    """Attention through the one kernel that can be differentiated twice."""
    if torch.compiler.is_compiling():
        return nullcontext()
    return torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
