"""Resampling an image at moved positions."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

PADDINGS = ("border", "zeros", "reflection", "circular")
INTERPOLATIONS = ("linear", "cubic")


def warp(
    x: Tensor, displacement: Tensor, padding: str = "border", interpolation: str = "linear"
) -> Tensor:
    """``I'(p) = I(p + V_p)`` by (bi-, tri-)linear or (bi-)cubic interpolation.

    Args:
        x: ``(N, C, *size)`` with 1, 2 or 3 spatial axes.
        displacement: ``(N, n, *size)`` in pixels; component j along axis j of ``size``.
        padding: what lies outside: ``"border"`` the edge value, ``"zeros"``, ``"reflection"``
            about the centers of the edge pixels, or ``"circular"`` the other side.
        interpolation: ``"linear"``, or ``"cubic"``: cubic convolution with a = −0.75 over 4 pixels
            along each axis, for 1 or 2 axes.

    Returns:
        The moved input, of ``x``'s shape and type; interpolated in float32 at least.

    Raises:
        ValueError: for more than 3 spatial axes, 2 with cubic interpolation.
    """
    axes = x.dim() - 2
    if not 1 <= axes <= 3:
        raise ValueError(
            f"warping needs 1 to 3 spatial axes, got {axes} (shape {tuple(x.shape)}); "
            "first-order movement works for any number"
        )
    if interpolation == "cubic" and axes > 2:
        raise ValueError(
            f"interpolation='cubic' needs 1 or 2 spatial axes, got {axes} (shape "
            f"{tuple(x.shape)}); use 'linear'"
        )
    working = x.dtype if x.dtype == torch.float64 else torch.float32
    image, moved = x.to(working), displacement.to(working)
    if axes == 1:
        image, moved = (
            image.unsqueeze(2),
            torch.stack((torch.zeros_like(moved[:, 0]), moved[:, 0]), 1),
        )
        moved = moved.unsqueeze(2)
    if padding == "circular":
        around = _around if interpolation == "linear" else _cubic_around
        sampled = around(image, moved)
    else:
        sampled = _sample(image, moved, padding, interpolation)
    return sampled.reshape(x.shape).to(x.dtype)


def _sample(image: Tensor, moved: Tensor, padding: str, interpolation: str) -> Tensor:
    size = image.shape[2:]
    grid = []
    for j in reversed(range(len(size))):
        shape = [1] * (len(size) + 1)
        shape[j + 1] = size[j]
        position = torch.arange(size[j], dtype=moved.dtype, device=moved.device).reshape(shape)
        # grid_sample wants the axes in reverse order and positions scaled to [-1, 1].
        grid.append(
            (position + moved[:, j]) * (2 / max(size[j] - 1, 1)) - (1 if size[j] > 1 else 0)
        )
    mode = "bilinear" if interpolation == "linear" else "bicubic"
    return F.grid_sample(
        image, torch.stack(grid, -1), mode=mode, padding_mode=padding, align_corners=True
    )


def _cubic_around(image: Tensor, moved: Tensor) -> Tensor:
    """Cubic interpolation on a lattice whose opposite sides meet."""
    inside = []
    for j, length in enumerate(image.shape[2:]):
        shape = [1] * (image.dim() - 1)
        shape[j + 1] = length
        lattice = torch.arange(length, dtype=moved.dtype, device=moved.device).reshape(shape)
        # The kernel reaches two pixels beyond the position, which is first brought inside.
        inside.append(torch.remainder(lattice + moved[:, j], length) - lattice)
        beyond = torch.arange(-2, length + 2, device=image.device) % length
        image = image.index_select(j + 2, beyond)
    sampled = _sample(image, F.pad(torch.stack(inside, 1), [2, 2] * len(inside)), "border", "cubic")
    for j, length in enumerate(image.shape[2:]):
        sampled = sampled.narrow(j + 2, 2, length - 4)
    return sampled


def _around(image: Tensor, moved: Tensor) -> Tensor:
    """Linear interpolation on a lattice whose opposite sides meet."""
    size, n = image.shape[2:], image.dim() - 2
    low, share = [], []
    for j in range(n):
        shape = [1] * (n + 1)
        shape[j + 1] = size[j]
        lattice = torch.arange(size[j], dtype=moved.dtype, device=moved.device).reshape(shape)
        position = lattice + moved[:, j]
        below = position.detach().floor()
        low.append(below.long())
        share.append(position - below)
    flat = image.flatten(2)
    total = torch.zeros_like(flat)
    for corner in product((0, 1), repeat=n):
        index = torch.zeros_like(low[0])
        weight = torch.ones_like(share[0])
        for j, upper in enumerate(corner):
            index = index * size[j] + (low[j] + upper) % size[j]
            weight = weight * (share[j] if upper else 1 - share[j])
        at = index.flatten(1).unsqueeze(1).expand(-1, flat.shape[1], -1)
        total = total + flat.gather(2, at) * weight.flatten(1).unsqueeze(1)
    return total.reshape(image.shape)
