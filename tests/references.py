"""What the closed forms must equal: the same quantities by brute force, from their definitions.

Nothing here imports the package. Loops are wanted: they can be read beside the formula.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

Vector = tuple[float, ...]


# Image derivative and fields, position by position


def image_derivative(x: Tensor, axis: int, border: str = "zero") -> Tensor:
    """``∂I/∂p_axis`` of ``(N, C, *size)`` by a loop over positions; VMT eq. 16 inside."""
    size = x.shape[2:]
    result = torch.zeros_like(x)
    for p in itertools.product(*map(range, size)):
        last = size[axis] - 1
        at = p[axis]

        def value(position: int, p: tuple[int, ...] = p) -> Tensor:
            q = list(p)
            q[axis] = position
            return x[(..., *q)]

        if 0 < at < last:
            d = (value(at + 1) - value(at - 1)) / 2
        elif border == "zero" or (last == 0 and border != "circular"):
            d = torch.zeros_like(value(at))
        elif border == "circular":
            d = (value((at + 1) % (last + 1)) - value((at - 1) % (last + 1))) / 2
        elif border == "replicate":
            d = (value(min(at + 1, last)) - value(max(at - 1, 0))) / 2
        else:
            d = value(at + 1) - value(at) if at == 0 else value(at) - value(at - 1)
        result[(..., *p)] = d
    return result


def field_by_loops(at: Callable[[Vector], Vector], size: Sequence[int]) -> Tensor:
    """A field ``(n, *size)`` from its formula in centered positions, at RMS length 1 (eq. 2)."""
    n = len(size)
    field = torch.zeros(n, *size, dtype=torch.float64)
    square = 0.0
    for p in itertools.product(*map(range, size)):
        v = at(tuple(p[j] - (size[j] - 1) / 2 for j in range(n)))
        square += sum(component**2 for component in v) / math.prod(size)
        for j in range(n):
            field[(j, *p)] = v[j]
    return field / math.sqrt(square)


def _axis(j: int, value: float, n: int) -> Vector:
    return tuple(value if i == j else 0.0 for i in range(n))


def _turn(i: int, j: int, p: Vector) -> Vector:
    return tuple(-p[j] if k == i else p[i] if k == j else 0.0 for k in range(len(p)))


def fields_by_loops(name: str, size: Sequence[int], modes: int = 4) -> list[Tensor]:
    """Every field of a family, from the formulas of the paper and of the field's own page."""
    n = len(size)
    axes = range(n)
    shift = [field_by_loops(lambda p, j=j: _axis(j, 1.0, n), size) for j in axes]
    if name == "shift":
        return shift
    if name == "rotation":
        planes = itertools.combinations(axes, 2)
        return [field_by_loops(lambda p, i=i, j=j: _turn(i, j, p), size) for i, j in planes]
    if name == "scale":
        return [field_by_loops(lambda p, j=j: _axis(j, p[j], n), size) for j in axes]
    if name == "shear":
        return [
            field_by_loops(lambda p, i=i, j=j: _axis(i, p[j], n), size)
            for i in axes
            for j in axes
            if i != j
        ]
    if name == "affine":
        return shift + [
            field_by_loops(lambda p, i=i, j=j: _axis(i, p[j], n), size) for i in axes for j in axes
        ]
    assert name == "elastic"

    def wave(m: Sequence[int], p: Vector) -> float:
        return math.prod(
            math.cos(math.pi * m[i] * (p[i] + (size[i] - 1) / 2 + 0.5) / size[i]) for i in axes
        )

    every = [m for m in itertools.product(range(modes), repeat=n) if sum(m)]
    return [
        field_by_loops(lambda p, j=j, m=m: _axis(j, wave(m, p), n), size)
        for j in axes
        for m in every
    ]


def first_order(x: Tensor, field: Tensor, border: str = "zero") -> Tensor:
    """``∇I · V`` of eq. 3 for one field ``(n, *size)`` shared by the batch."""
    return sum(image_derivative(x, j, border) * field[j] for j in range(len(field)))


# The worst unit field


def slopes(x: Tensor, g: Tensor, fields: Sequence[Tensor], border: str = "zero") -> Tensor:
    """``s_k = Σ_p Σ_c g (∇I · B_k)``: the loss's rate under each field, ``(N, K)`` (eq. 8)."""
    return torch.stack([(g * first_order(x, b, border)).flatten(1).sum(1) for b in fields], 1)


def gram(fields: Sequence[Tensor]) -> Tensor:
    """``G_kl = mean_p B_k · B_l`` by two loops."""
    positions = fields[0][0].numel()
    return torch.stack([torch.stack([(a * b).sum() / positions for b in fields]) for a in fields])


def rate_by_search(s: Tensor, fields: Sequence[Tensor]) -> tuple[float, Tensor]:
    """``max |⟨s, a⟩|`` over coefficients whose field has RMS length 1, by searching them.

    One example: s of shape ``(K,)``. Every angle for K ≤ 2, else ascent from random starts. Returns
    the rate and the worst field ``(n, *size)``.
    """
    stacked = torch.stack(list(fields)).flatten(1)
    positions = fields[0][0].numel()

    def ratio(a: Tensor) -> Tensor:
        length = (a @ stacked).square().sum(-1).div(positions).sqrt()
        return (a @ s) / length

    if len(s) == 1:
        candidates = torch.tensor([[1.0], [-1.0]], dtype=s.dtype)
    elif len(s) == 2:
        angle = torch.linspace(0, 2 * math.pi, 100_001, dtype=s.dtype)
        candidates = torch.stack([angle.cos(), angle.sin()], 1)
    else:
        a = torch.randn(4, len(s), dtype=s.dtype).requires_grad_()
        optimizer = torch.optim.LBFGS(
            [a], lr=0.5, max_iter=400, tolerance_grad=1e-13, tolerance_change=1e-16, history_size=30
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = -ratio(a).sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        candidates = a.detach()
    values = ratio(candidates)
    best = candidates[values.argmax()]
    worst = (best @ stacked).reshape(fields[0].shape)
    return float(values.max()), worst / worst.square().sum(0).mean().sqrt()


# Curvature


def divergence(kind: str, clean: Tensor, outputs: Tensor) -> Tensor:
    """A divergence between two output vectors from its formula; ``clean`` is a constant."""
    clean = clean.detach()
    if kind == "squared":
        return (outputs - clean).pow(2).mean()
    p, q = clean.softmax(0), outputs.softmax(0)
    return (p * (p / q).log()).sum() if kind == "kl" else (q * (q / p).log()).sum()


def input_hessian(model: nn.Module, x: Tensor, kind: str = "kl") -> Tensor:
    """The Hessian in r of ``D(f(x), f(x + r))`` at r = 0 for one example: ``(D, D)``."""
    clean = model(x).detach()[0]

    def changed(r: Tensor) -> Tensor:
        return divergence(kind, clean, model(x + r.reshape(x.shape))[0])

    return torch.autograd.functional.hessian(changed, torch.zeros(x.numel(), dtype=x.dtype))


def top_eigenvector(matrix: Tensor) -> tuple[float, Tensor]:
    """The largest eigenvalue of a symmetric matrix and its vector."""
    values, vectors = torch.linalg.eigh(matrix)
    return float(values[-1]), vectors[:, -1]


def top_field(hessian: Tensor, x: Tensor, fields: Sequence[Tensor]) -> tuple[float, Tensor]:
    """Maximize ``aᵀ M a / aᵀ G a`` with ``M_kl = t_kᵀ H t_l``, t_k the change under field k.

    The dense generalized eigenproblem by a Cholesky factor of G; returns μ and the field of RMS 1.
    """
    t = torch.stack([first_order(x, b).flatten() for b in fields])
    inverse = torch.linalg.inv(torch.linalg.cholesky(gram(fields)))
    value, vector = top_eigenvector(inverse @ (t @ hessian @ t.T) @ inverse.T)
    a = inverse.T @ vector
    return value, torch.einsum("k,k...->...", a, torch.stack(list(fields)))


# Hard concrete


def hard_concrete_cdf(
    t: float, log_alpha: float, beta: float = 2 / 3, low: float = -0.1, high: float = 1.1
) -> float:
    """``P(z ≤ t)`` for 0 ≤ t < 1, from inverting eq. 11 in u."""
    share = (t - low) / (high - low)
    return 1 / (1 + math.exp(-(beta * math.log(share / (1 - share)) - log_alpha)))


def hard_concrete_samples(log_alpha: float, count: int, seed: int) -> np.ndarray:
    """Draws of eq. 11 by numpy, with the paper's constants."""
    u = np.random.default_rng(seed).uniform(size=count)
    s = 1 / (1 + np.exp(-((np.log(u) - np.log(1 - u) + log_alpha) / (2 / 3))))
    return np.minimum(1, np.maximum(0, s * 1.2 - 0.1))


def hard_concrete(log_alpha: Tensor, u: Tensor) -> Tensor:
    """Eq. 11 for given uniform numbers, differentiable in ``log_alpha``."""
    s = torch.sigmoid(((u / (1 - u)).log() + log_alpha) / (2 / 3))
    return (s * 1.2 - 0.1).clip(0, 1)
