"""What methods share that train a classifier against a generator of inputs."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from unshaken import checks, draws
from unshaken.adversaries.base import Penalty
from unshaken.methods.layers import layer_of, seen_input
from unshaken.models.generators import latent_of
from unshaken.passes import CleanPass
from unshaken.regularizer import Found, Term


@dataclass(frozen=True)
class Outputs:
    """What the classifier gives for a batch.

    Attributes:
        logits: ``(N, C)``.
        features: the input of the layer that is looked at.
    """

    logits: Tensor
    features: Tensor


class Generative(Term):
    """A classifier and a generator, each with a loss of its own, in one backward pass.

    The classifier gets the gradient of :meth:`for_classifier` and of nothing else, the generator
    that of :meth:`for_generator` and of nothing else: its gradient in the generated inputs is taken
    first and handed on to the generator. The term's value is the sum of both losses. The generator
    is part of the term: an optimizer must be given its parameters, as
    :meth:`unshaken.Objective.parameter_groups` does. A step costs a pass over the real and one over
    the generated inputs, each with its gradient, and a gradient in the generated inputs.

    Args:
        generator: noise ``(N, latent)`` to inputs of ``x``'s shape;
            :func:`unshaken.models.generator` makes one.
        weight: factor of both losses.
        latent: numbers of noise; the inputs of the generator's first linear layer unless given.
        features: name of the classifier's layer whose input is looked at; the last linear layer
            unless given.
        batch_norm, name, every, ramp: see :class:`unshaken.regularizer.Term`.

    Raises:
        TypeError: the generator is no module.
        ValueError: in the call, if it makes inputs of another shape.
    """

    default_name: ClassVar[str] = ""

    def __init__(
        self,
        generator: nn.Module,
        weight: float = 1.0,
        *,
        latent: int | None = None,
        features: str = "",
        batch_norm: str = "batch",
        name: str = "",
        every: int = 1,
        ramp: int = 0,
    ) -> None:
        super().__init__(weight, batch_norm, name or self.default_name, every, ramp)
        if not isinstance(generator, nn.Module):
            raise TypeError(f"generator must be a torch.nn.Module, got {type(generator).__name__}")
        self.generator = generator
        self.latent = latent_of(generator) if latent is None else checks.integer(latent, "latent")
        self.features = features

    @abstractmethod
    def for_classifier(self, real: Outputs, fake: Outputs) -> Tensor:
        """The classifier's loss for each example: ``(N,)``."""

    @abstractmethod
    def for_generator(self, real: Outputs, fake: Outputs) -> Tensor:
        """The generator's loss, a scalar; what the classifier gives for real inputs is constant."""

    def make(self, like: Tensor) -> Tensor:
        """As many inputs as ``like`` holds, from fresh noise, uniform in [0, 1)."""
        noise = draws.uniform((len(like), self.latent), torch.float32, like.device)
        made: Tensor = self.generator(noise.to(like.dtype))
        if made.shape != like.shape:
            raise ValueError(
                f"generator must make inputs of shape {tuple(like.shape)}, got {tuple(made.shape)}"
            )
        return made

    def penalize(self, clean: CleanPass, found: Found | None = None) -> Penalty:
        made = self.make(clean.x)
        leaf = made.detach().requires_grad_(torch.is_grad_enabled())
        real, fake = self._outputs(clean, clean.x), self._outputs(clean, leaf)
        constant = Outputs(real.logits.detach(), real.features.detach())
        theirs = self.for_generator(constant, fake)
        ours = self.for_classifier(real, fake)
        if not leaf.requires_grad:
            return Penalty(ours + theirs, None, real.logits)
        (slope,) = torch.autograd.grad(theirs, leaf, retain_graph=True)
        # The slope times a difference that is zero: its gradient is the generator's.
        handed = (slope * (made - leaf.detach())).sum()
        return Penalty(ours + theirs.detach() + handed, None, real.logits)

    def _outputs(self, clean: CleanPass, x: Tensor) -> Outputs:
        with seen_input(layer_of(clean.eager, self.features)) as seen:
            logits = clean.again(x, eager=True)
        if logits.dim() != 2 or logits.shape[1] < 2:
            raise ValueError(
                f"model must give outputs (N, C) with at least 2 classes, got {tuple(logits.shape)}"
            )
        return Outputs(logits.view_as(logits), seen[-1])

    def extra_repr(self) -> str:
        features = f", features={self.features!r}" if self.features else ""
        return f"latent={self.latent}{features}, {super().extra_repr()}"
