"""Whole methods as a reader of the papers would write them: plain passes, plain backwards.

Nothing here imports the package.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.references import gram, hard_concrete, slopes


def kl(clean: Tensor, outputs: Tensor) -> Tensor:
    """``mean_i KL[p_i ‖ q_i]`` with p a constant."""
    p = clean.detach().softmax(1)
    return (p * (clean.detach().log_softmax(1) - outputs.log_softmax(1))).sum(1).mean()


def vmt(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    fields: Sequence[Tensor],
    gradient: str = "raw",
    border: str = "zero",
) -> Tensor:
    """R of each example by the plain double backward, ``(N,)``, with G inverted as it stands."""
    leaf = x.detach().clone().requires_grad_()
    loss = F.cross_entropy(model(leaf), y, reduction="sum")
    (g,) = torch.autograd.grad(loss, leaf, create_graph=True)
    if gradient != "raw":
        norm = g.flatten(1).pow(2).sum(1).sqrt()
        norm = norm.detach() if gradient == "unit-detached" else norm
        g = g / norm.reshape(-1, *[1] * (x.dim() - 1))
    s = slopes(x.detach(), g, fields, border)
    inverse = torch.linalg.pinv(gram(fields), rcond=1e-9, hermitian=True)
    return ((s @ inverse) * s).sum(1).sqrt()


def at(model: nn.Module, x: Tensor, y: Tensor, radius: float, norm: float) -> Tensor:
    """The adversarial loss of AT (xVAT eq. 1, 3)."""
    leaf = x.detach().clone().requires_grad_()
    (g,) = torch.autograd.grad(F.cross_entropy(model(leaf), y, reduction="sum"), leaf)
    r = (
        g.sign()
        if norm == math.inf
        else g / g.flatten(1).norm(dim=1).reshape(-1, *[1] * (x.dim() - 1))
    )
    return F.cross_entropy(model(x + radius * r), y)


def vat(model: nn.Module, x: Tensor, start: Tensor, radius: float, steps: int = 1) -> Tensor:
    """VAT by Hessian-vector products through the graph (Miyato et al. 2018)."""
    clean = model(x).detach()
    d = start
    for _ in range(steps):
        d = d / d.flatten(1).norm(dim=1).reshape(-1, *[1] * (x.dim() - 1))
        r = torch.zeros_like(x, requires_grad=True)
        total = len(x) * kl(clean, model(x + r))
        (g,) = torch.autograd.grad(total, r, create_graph=True)
        (d,) = torch.autograd.grad((g * d).sum(), r)
    d = d / d.flatten(1).norm(dim=1).reshape(-1, *[1] * (x.dim() - 1))
    return kl(clean, model(x + radius * d))


def two_players(
    model: nn.Module,
    log_alpha: Callable[[], Tensor],
    player: Sequence[Tensor],
    loss: Callable[[Tensor], Tensor],
    x: Tensor,
    u: Tensor,
    *,
    scale: float = 1.0,
    sparsity: float = 1.0,
    smoothness: float = 0.0,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """xAT and xVAT with a backward pass for each player: value, model's and player's gradients.

    The model descends D with the mask held; the player descends ``−(D + λ E‖z‖₀ − smoothness)``
    with the model held (eq. 8 and 13), both as means over the batch.
    """
    held = hard_concrete(log_alpha(), u).detach()
    value = loss(model(x * scale * held))
    of_model = torch.autograd.grad(value, list(model.parameters()))
    log_a = log_alpha()
    z = hard_concrete(log_a, u)
    kept = torch.sigmoid(log_a - (2 / 3) * math.log(0.1 / 1.1)).mean()
    roughness = sum(
        (z.diff(dim=axis).abs().mean() for axis in range(2, z.dim()) if z.shape[axis] > 1),
        start=torch.zeros((), dtype=z.dtype),
    )
    gain = loss(model(x * scale * z)) + sparsity * kept - smoothness * roughness
    of_player = torch.autograd.grad(-gain, list(player))
    return value.detach(), list(of_model), list(of_player)
