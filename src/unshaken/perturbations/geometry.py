"""What is known of movement fields before any input is seen: basis, size, and affine parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from unshaken.perturbations.fields.base import Field, centered

AFFINE = 1e-9
"""Share of a field that may be left over by the best affine map where it counts as one."""


@dataclass(frozen=True)
class Geometry:
    """A basis on one lattice, and the map from coordinates of unit length to coefficients."""

    basis: Tensor
    """``(K, n·P)``, each field flattened over its components and positions, in pixels."""
    whitener: Tensor
    """``(K, r)``: with Gram matrix G and rank r, ``Wᵀ G W = 1`` and ``W Wᵀ = G⁺``."""
    gram: Tensor
    """``(K, K)``: ``G_kl = mean_p Σ_j h_j² B_kj B_lj`` with the spacing h."""
    counts: tuple[int, ...]
    """How many of the K fields each family contributes."""
    generators: Tensor
    """``(K, n, n + 1)``: where field k is affine, ``B_k(p) = A (p − c) + b`` as ``[A | b]``; 0
    elsewhere."""
    bent: Tensor
    """``(K,)``: 1 for a field that is not affine, 0 for one that is."""
    affine: bool
    """Whether all fields are affine."""
    corners: Tensor
    """``(n + 1, P)``: the coordinates ``p − c`` of each position, and ones below them."""
    moments: Tensor
    """``(n + 1,)``: the mean square of each of those rows."""


def build(
    fields: Sequence[Field],
    size: Sequence[int],
    spacing: Sequence[float],
    dtype: torch.dtype,
    device: torch.device,
) -> Geometry:
    """The geometry of families that are joined, computed in float64.

    Raises:
        ValueError: if a basis has a wrong shape, or nothing moves.
    """
    parts = [_basis(field, size, spacing) for field in fields]
    joined = torch.cat(parts)
    h = torch.tensor(spacing, dtype=torch.float64).reshape(-1, *[1] * len(size))
    scaled = (joined * h).flatten(1)
    gram = scaled @ scaled.T / prod(size)
    values, vectors = torch.linalg.eigh(gram)
    kept = values > values.amax() * 1e-10 if len(values) else values > 0
    if not bool(kept.any()):
        names = ", ".join(repr(field) for field in fields)
        raise ValueError(f"fields must move something, but {names} do not on size {tuple(size)}")
    corners = torch.stack([*centered(size), torch.ones(*size, dtype=torch.float64)]).flatten(1)
    generators, bent = _affine_parts(joined.flatten(2), corners)

    def at(tensor: Tensor) -> Tensor:
        return tensor.to(device, dtype)

    return Geometry(
        at(joined.flatten(1)),
        at(vectors[:, kept] * values[kept].rsqrt()),
        at(gram),
        tuple(len(part) for part in parts),
        at(generators),
        at(bent),
        not bool(bent.any()),
        at(corners),
        at(corners.square().mean(1)),
    )


def _basis(field: Field, size: Sequence[int], spacing: Sequence[float]) -> Tensor:
    spaced = getattr(field, "spaced_basis", None)
    found = field.basis(size) if spaced is None else spaced(size, spacing)
    part = torch.as_tensor(found).detach().to("cpu", torch.float64)
    if part.dim() != 2 + len(size) or tuple(part.shape[1:]) != (len(size), *size):
        raise ValueError(
            f"{field!r}.basis({tuple(size)}) must have shape "
            f"(K, {len(size)}, {', '.join(map(str, size))}), got {tuple(part.shape)}"
        )
    if not bool(part.isfinite().all()):
        raise ValueError(f"{field!r}.basis({tuple(size)}) must be finite, got NaN or infinity")
    return part


def _affine_parts(fields: Tensor, corners: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares by the rows of ``corners``, which are orthogonal to each other."""
    square = corners.square().sum(1)
    generators = fields @ corners.T / torch.where(square > 0, square, 1)
    left = (fields - generators @ corners).square().sum((1, 2))
    bent = left > AFFINE**2 * fields.square().sum((1, 2))
    return torch.where(bent.reshape(-1, 1, 1), 0, generators), bent.to(torch.float64)
