"""Affine movements as maps of their own group: a rotation field gives a rotation."""

from __future__ import annotations

import torch
from torch import Tensor

from unshaken.perturbations.geometry import Geometry

STEPS = 8
"""Newton's, after which the size is exact to rounding for all but maps that collapse the image."""

LONGEST = 2.0
"""Time up to which a flow is followed; a quarter more than the half turn needs."""


def affine_flow(geometry: Geometry, generator: Tensor, spacing: Tensor) -> Tensor:
    """``exp(t X) p − p`` of the velocity field ``X p = A (p − c) + b``: ``(N, n, P)``.

    The time t makes the root mean square displacement that of the field itself, ``p + X p``: near
    1 for small ones. A rotation field gives a rotation about the center, a scale field with rate λ
    the factor ``exp(t λ)``, shifts and single shears what they are. A size that the group cannot
    reach (a turn by more than 180°) ends at the time 2.

    Args:
        geometry: of the lattice.
        generator: ``(N, n, n + 1)``, ``[A | b]`` in pixels.
        spacing: ``(n,)`` the size of a pixel along each axis, for the mean square.
    """
    count, n = generator.shape[:2]
    square = torch.cat([generator, generator.new_zeros(count, 1, n + 1)], 1)
    weights = (spacing.square()[:, None] * geometry.moments).to(generator)
    wanted = (generator.square() * weights).sum((1, 2))
    time = torch.ones_like(wanted)
    with torch.no_grad():
        for _ in range(STEPS):
            time = _newton(time, square, weights, wanted).clamp(0.25, LONGEST)
    # One more step at the solution gives t its gradient (the implicit function theorem).
    after = _newton(time, square, weights, wanted)
    time = torch.where((time < LONGEST) & (after < LONGEST), after, time)
    return _change(time, square) @ geometry.corners


def _change(time: Tensor, square: Tensor) -> Tensor:
    """``exp(t X) − 1`` as ``[M − 1 | b]``: ``(N, n, n + 1)``."""
    n = square.shape[1] - 1
    whole = torch.linalg.matrix_exp(time[:, None, None] * square)
    return whole[:, :n] - torch.eye(n, n + 1, dtype=square.dtype, device=square.device)


def _newton(time: Tensor, square: Tensor, weights: Tensor, wanted: Tensor) -> Tensor:
    """One step towards the time whose mean square displacement is ``wanted``."""
    n = square.shape[1] - 1
    change = _change(time, square)
    with torch.no_grad():
        whole = torch.linalg.matrix_exp(time[:, None, None] * square)
        slope = 2 * (change * (square @ whole)[:, :n] * weights).sum((1, 2))
        slope = torch.where(slope > 0, slope, torch.inf)
    return time - ((change.square() * weights).sum((1, 2)) - wanted) / slope
