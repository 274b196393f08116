"""REBAR and RELAX: REINFORCE with a control variate through the relaxed draw. Unbiased."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unshaken import checks
from unshaken.estimators.base import Estimator, Function, values_of


class Rebar(Estimator):
    """REINFORCE less a control variate c whose mean gradient is known by reparameterization.

    With logistic noise, ``w = log α + log u − log(1 − u)``, ``z = 1[w > 0]``, and w̃ drawn anew
    given z, differentiably in ``log α``::

        ĝ = (f(z) − c(w̃)) (z − σ(log α)) + ∂c(w)/∂log α − ∂c(w̃)/∂log α

    where ``c(w) = η f(σ(w/β))`` (Tucker et al. 2017). The mean of ĝ does not depend on c; its
    variance does, and :func:`fit` lowers it in η and β. Three evaluations of f, two of them
    differentiated.

    Args:
        scale: η at the start.
        temperature: β > 0 at the start.
    """

    unbiased = True

    def __init__(self, scale: float = 1.0, temperature: float = 0.5) -> None:
        super().__init__()
        temperature = checks.number(temperature, "temperature", low=0.0, open_low=True)
        self.scale = nn.Parameter(torch.tensor(checks.number(scale, "scale")))
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))

    def control(self, f: Function, w: Tensor) -> Tensor:
        """``c(w)``: ``(N,)``."""
        relaxed = torch.sigmoid(w / self.log_temperature.exp())
        return self.scale * values_of(f, relaxed)

    def once(self, f: Function, log_alpha: Tensor, *, fitting: bool = False) -> Tensor:
        tiny = torch.finfo(log_alpha.dtype).eps
        u, v = torch.rand(2, *log_alpha.shape, dtype=log_alpha.dtype, device=log_alpha.device)
        w = log_alpha + torch.logit(u, tiny)
        z = (w > 0).to(log_alpha.dtype).detach()
        again = _given(z, log_alpha, torch.logit(v, tiny))
        with torch.no_grad():
            value = values_of(f, z)
        first, second = self.control(f, w), self.control(f, again)
        (slope,) = torch.autograd.grad((first - second).sum(), log_alpha, create_graph=fitting)
        left = (value - second).reshape(-1, *[1] * (log_alpha.dim() - 1))
        return left * (z - log_alpha.detach().sigmoid()) + slope

    def extra_repr(self) -> str:
        scale, temperature = self.scale.item(), self.log_temperature.exp().item()
        return f"scale={scale:g}, temperature={temperature:g}"


class Relax(Rebar):
    """REBAR whose control variate has a free part: ``c(w) = η f(σ(w/β)) + surrogate(w)``.

    (Grathwohl et al. 2018.) The surrogate's parameters, too, are there to lower the variance:
    call :func:`fit`.

    Args:
        surrogate: a module from w ``(N, ...)`` to ``(N,)``.
        relaxed: keep the first part; without it f is evaluated at binary masks only and need not
            be differentiable.
        scale: η at the start.
        temperature: β > 0 at the start.
    """

    def __init__(
        self,
        surrogate: nn.Module,
        relaxed: bool = True,
        scale: float = 1.0,
        temperature: float = 0.5,
    ) -> None:
        super().__init__(scale, temperature)
        if not isinstance(surrogate, nn.Module):
            raise TypeError(f"surrogate must be a torch.nn.Module, got {type(surrogate).__name__}")
        self.surrogate = surrogate
        self.relaxed = relaxed

    def control(self, f: Function, w: Tensor) -> Tensor:
        free: Tensor = self.surrogate(w)
        return super().control(f, w) + free if self.relaxed else free


def fit(
    estimator: Estimator, f: Function, log_alpha: Tensor, steps: int = 200, lr: float = 0.02
) -> list[float]:
    """Lower an unbiased estimator's variance in its own parameters, by Adam.

    As the mean is fixed, the gradient of the variance is that of ``E‖ĝ‖²``, of which each step
    takes one draw. f and ``log α`` stay as they are.

    Returns:
        The mean over the rows of ``‖ĝ‖²`` in each step.
    """
    if not estimator.unbiased:
        raise ValueError(
            f"{type(estimator).__name__} is biased: its variance can be lowered at will; fit an "
            "unbiased estimator"
        )
    own = list(estimator.parameters())
    if not own:
        raise ValueError(f"{type(estimator).__name__} has no parameters to fit")
    optimizer = torch.optim.Adam(own, lr=lr)
    found = []
    for _ in range(checks.integer(steps, "steps")):
        with torch.enable_grad():
            leaf = log_alpha.detach().requires_grad_()
            size = estimator.once(f, leaf, fitting=True).flatten(1).square().sum(1).mean()
            gradients = torch.autograd.grad(size, own, allow_unused=True)
        for parameter, gradient in zip(own, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        found.append(float(size.detach()))
    return found


def _given(z: Tensor, log_alpha: Tensor, noise: Tensor) -> Tensor:
    """w̃, distributed as w is given z; ``noise`` is the logit of a uniform number v.

    For z = 1 it is ``log(1 + e^noise (1 + α))``, for z = 0 ``−log(1 + e^noise (1 + 1/α))``.
    """
    sign = 2 * z - 1
    return sign * F.softplus(noise + F.softplus(sign * log_alpha))
