"""Whether a movement can be undone: the determinant of its Jacobian."""

from __future__ import annotations

import torch
from torch import Tensor

LEAST = 0.1
"""Volume of a cell that a movement must leave, relative to its own."""

HALVINGS = 12
"""Of the interval in which a factor is looked for in three dimensions."""


def least_determinant(displacement: Tensor) -> Tensor:
    """``min det(1 + ∂V/∂p)`` over the lattice for each example: ``(N,)``.

    The derivatives are differences between neighbors: for each cell forward ones at its first
    corner and backward ones at its last, which in one and two dimensions are the areas of the two
    simplices that the moved cell consists of. Above 0 the movement keeps the order of positions
    everywhere and can be undone; at or below 0 it folds.

    Args:
        displacement: ``(N, n, *size)`` in pixels, n from 1 to 3.
    """
    found = [_polynomial(jacobian, 1.0) for jacobian in _jacobians(displacement)]
    return torch.cat([each.flatten(1) for each in found], 1).amin(1)


def unfolding_factor(displacement: Tensor, least: float = LEAST) -> Tensor:
    """The largest factor up to 1 with which a displacement folds nowhere: ``(N,)``.

    With it :func:`least_determinant` is at least ``least``. In one and two dimensions it is the
    first root of ``det(1 + s ∂V/∂p) = least`` over all positions, in three one found by halving.
    """
    jacobians = _jacobians(displacement.detach())
    if displacement.shape[1] < 3:
        roots = [_first_root(jacobian, least).flatten(1) for jacobian in jacobians]
        return torch.cat(roots, 1).amin(1).clamp(max=1.0)

    def holds(s: Tensor) -> Tensor:
        every = [_polynomial(jacobian, s).flatten(1) for jacobian in jacobians]
        return torch.cat(every, 1).amin(1) >= least

    low = torch.zeros_like(displacement[:, 0, 0, 0, 0])
    high = torch.ones_like(low)
    whole = holds(high)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        kept = holds(middle)
        low, high = torch.where(kept, middle, low), torch.where(kept, high, middle)
    return torch.where(whole, 1.0, low)


def _jacobians(displacement: Tensor) -> list[list[list[Tensor]]]:
    """``∂V_i/∂p_j`` at the first and at the last corner of each cell, ``(N, *cells)`` each."""
    axes = range(displacement.dim() - 2)
    if len(axes) > 3:
        raise ValueError(
            f"displacement must have 1 to 3 spatial axes, got shape {tuple(displacement.shape)}"
        )
    found = []
    for corner in (0, 1):
        rows = []
        for i in axes:
            component = displacement[:, i]
            rows.append([_difference(component, j, corner) for j in axes])
        found.append(rows)
    return found


def _difference(component: Tensor, axis: int, corner: int) -> Tensor:
    result = component
    for j in range(component.dim() - 1):
        length = component.shape[j + 1]
        if j == axis:
            result = torch.zeros_like(result) if length == 1 else result.diff(dim=j + 1)
        elif length > 1:
            result = result.narrow(j + 1, corner, length - 1)
    return result


def _polynomial(g: list[list[Tensor]], s: float | Tensor) -> Tensor:
    """``det(1 + s g)`` at each position."""
    if isinstance(s, Tensor):
        s = s.reshape(-1, *[1] * (g[0][0].dim() - 1))
    n = len(g)
    m = [[s * g[i][j] + (1.0 if i == j else 0.0) for j in range(n)] for i in range(n)]
    if n == 1:
        return m[0][0]
    if n == 2:
        return m[0][0] * m[1][1] - m[0][1] * m[1][0]
    minors = [
        m[1][(j + 1) % 3] * m[2][(j + 2) % 3] - m[1][(j + 2) % 3] * m[2][(j + 1) % 3]
        for j in range(3)
    ]
    return m[0][0] * minors[0] + m[0][1] * minors[1] + m[0][2] * minors[2]


def _first_root(g: list[list[Tensor]], least: float) -> Tensor:
    """The smallest s > 0 with ``det(1 + s g) = least``, infinite where there is none."""
    rest = 1 - least
    if len(g) == 1:
        inverse = -g[0][0] / rest
    else:
        trace = g[0][0] + g[1][1]
        area = g[0][0] * g[1][1] - g[0][1] * g[1][0]
        under = trace.square() - 4 * rest * area
        inverse = torch.where(under >= 0, (under.clamp(min=0).sqrt() - trace) / (2 * rest), 0)
    return torch.where(inverse > 0, 1 / torch.where(inverse > 0, inverse, 1), torch.inf)
