"""Small autograd and model-state tools that every regularizer shares.

They answer one question: how to run extra passes over somebody else's model and leave no trace.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm

from unshaken import draws

BATCH_NORM_POLICIES = ("batch", "running", "update")


_DEEPEST = 4
"""How far a module may lie inside of what a function holds."""

_WIDEST = 256
"""Entries of a list or dictionary that are looked at: data sets are no place for a model."""


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
    square = unit.square().sum(1, dtype=_wide(x))
    return (largest * torch.where(zero, 1, square).sqrt() * (~zero)).to(x.dtype)


def normalize(x: Tensor) -> Tensor:
    """``x`` with each example scaled to Euclidean norm 1; a zero example stays zero.

    Scale-free: no epsilon is added, so gradients of size 1e-30 keep their direction.
    """
    rows = flat(x)
    largest = rows.detach().abs().amax(1, keepdim=True)
    zero = largest == 0
    unit = rows / torch.where(zero, 1, largest)
    square = unit.square().sum(1, keepdim=True, dtype=_wide(x))
    return (unit / torch.where(zero, 1, square).sqrt()).reshape(x.shape).to(x.dtype)


def narrowed(direction: Tensor, dtype: torch.dtype) -> Tensor:
    """A direction of each example in a data type, whatever its length.

    Where the type is another one the largest entry becomes 1 first, so that a short direction does
    not vanish in a type of less range. A zero one stays zero.
    """
    if direction.dtype == dtype:
        return direction
    largest = flat(direction).abs().amax(1)
    return (direction / per_example(torch.where(largest > 0, largest, 1), direction)).to(dtype)


def _wide(x: Tensor) -> torch.dtype:
    """What a sum over many entries is taken in: float16 ends at 65504."""
    return torch.promote_types(x.dtype, torch.float32)


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
    return [
        m
        for m in modules_of(model)
        if isinstance(m, _NormBase) and m.training and m.track_running_stats
    ]


def _is_spectral(module: nn.Module) -> bool:
    hooks = module._forward_pre_hooks.values()
    return isinstance(module, _SpectralNorm) or any(isinstance(h, SpectralNorm) for h in hooks)


def modules_of(model: Callable[..., Any]) -> list[nn.Module]:
    """Every module in ``model``, also where it is a function around one.

    A function's closure, the globals that it names and its defaults, what a ``partial`` holds, the
    object of a method, and the attributes of these and of any other object are looked at.
    """
    if isinstance(model, nn.Module):
        return list(model.modules())
    found: dict[int, nn.Module] = {}
    seen: dict[int, Any] = {}  # kept, so that no other object takes an identity over

    def look(value: Any, depth: int) -> None:
        if id(value) in seen or depth > _DEEPEST:
            return
        seen[id(value)] = value
        if isinstance(value, nn.Module):
            found.update((id(m), m) for m in value.modules())
        elif isinstance(value, (list, tuple)):
            for each in value[:_WIDEST]:
                look(each, depth + 1)
        elif isinstance(value, dict):
            look(list(islice(value.values(), _WIDEST)), depth)
        elif isinstance(value, partial):
            look([value.func, value.args, value.keywords], depth)
        elif inspect.ismethod(value):
            look([value.__self__, value.__func__], depth)
        elif inspect.isfunction(value) and not str(value.__module__).startswith("torch."):
            with suppress(ValueError):  # a cell that is empty yet
                names = inspect.getclosurevars(value)
                look([dict(names.nonlocals), dict(names.globals), value.__defaults__], depth)
        elif not isinstance(value, (type, ModuleType, Tensor)):
            look(getattr(value, "__dict__", {}), depth + 1)

    look(model, 0)
    return list(found.values())


def drops_out(model: nn.Module) -> bool:
    """Whether a layer of ``model`` is dropout of some kind."""
    return any(isinstance(m, _DropoutNd) and m.p > 0 for m in model.modules())


@dataclass(frozen=True)
class Moving:
    """What a training pass would move in a model.

    Attributes:
        normalizing: layers with running statistics.
        spectral: layers under spectral normalization, which has other weights after every pass: a
            difference of two passes would be that of the weights.
    """

    normalizing: Sequence[_NormBase]
    spectral: Sequence[nn.Module]

    @classmethod
    def of(cls, model: Callable[..., Any]) -> Moving:
        """Look for them in ``model``, as :func:`modules_of` does."""
        spectral = [m for m in modules_of(model) if m.training and _is_spectral(m)]
        return cls(normalization_layers(model), spectral)

    @contextmanager
    def held(self, policy: str) -> Iterator[None]:
        """Run passes under a batch-norm policy and put every layer back, also after an error.

        ``"batch"`` normalizes with the statistics of the batch and moves no running ones,
        ``"running"`` normalizes with the running ones, ``"update"`` is the model's own behavior.
        Spectral normalization takes its vectors as they are under each.
        """
        hidden: list[tuple[_NormBase, Tensor | None, Tensor | None]] = []
        still = [*self.spectral, *(self.normalizing if policy == "running" else ())]
        for layer in still:
            layer.training = False
        if policy == "batch":
            for layer in self.normalizing:
                layer.track_running_stats = False
                if isinstance(layer, _InstanceNorm):
                    # It takes its running statistics along whatever the flag says.
                    hidden.append((layer, layer.running_mean, layer.running_var))
                    layer.running_mean = layer.running_var = None
        try:
            yield
        finally:
            for layer in still:
                layer.training = True
            for layer in self.normalizing:
                layer.track_running_stats = True
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
