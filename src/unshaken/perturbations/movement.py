"""Movement: every position is sampled from a little way off (VMT eq. 1-3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unshaken import checks, draws
from unshaken.autograd import flat, full_precision, normalize, safe_norm
from unshaken.perturbations.base import Perturbation
from unshaken.perturbations.derivative import BORDERS, along_field, momentum
from unshaken.perturbations.fields.base import Field
from unshaken.perturbations.warp import PADDINGS, warp


@dataclass(frozen=True)
class Geometry:
    """A basis on one lattice, and the map from coordinates of unit length to coefficients."""

    basis: Tensor
    """``(K, n·P)``, each field flattened over its components and positions."""
    whitener: Tensor
    """``(K, r)``: with Gram matrix G and rank r, ``Wᵀ G W = 1`` and ``W Wᵀ = G⁺``."""
    counts: tuple[int, ...]
    """How many of the K fields each family contributes."""


class Movement(Perturbation):
    """``P(x, a)`` samples x at ``p + V_p`` with ``V = Σ_k a_k B_k``; a holds ``(N, K)``.

    The size of a is the root mean square displacement in pixels, ``√(aᵀ G a)`` with the Gram
    matrix ``G_kl = mean_p B_k · B_l``. For the gradient ``s_k = Σ_p Σ_c g_c (∇I_c · B_k)`` the
    worst field of size 1 has the rate ``R = √(sᵀ G⁻¹ s)`` at ``a* = G⁻¹ s / R`` (VMT eq. 8-15, for
    any basis); linearly dependent fields are handled by the pseudo-inverse.

    Args:
        fields: one or more field families; together they span the allowed movements.
        border: how the image derivative ends: ``"zero"``, ``"one-sided"``, ``"replicate"``
            or ``"circular"``.
        warp: resample the input (1 to 3 spatial axes); otherwise first order,
            ``x + ∇I · V`` (any number of axes).
        padding: what a resampled input meets outside: ``"border"``, ``"zeros"``, ``"reflection"``.

    Raises:
        ValueError: without fields or for unknown options, and when used on inputs that are not
            ``(N, C, *size)``.
    """

    def __init__(
        self, *fields: Field, border: str = "zero", warp: bool = True, padding: str = "border"
    ) -> None:
        super().__init__()
        if not fields:
            raise ValueError("Movement needs at least one field, for example fields.Shift()")
        for field in fields:
            if isinstance(field, type) or not callable(getattr(field, "basis", None)):
                made = f"; make one: {field.__name__}()" if isinstance(field, type) else ""
                raise TypeError(
                    f"fields must be objects with a method basis(size), got {field!r}{made}"
                )
        self.fields = fields
        self.border = checks.choice(border, "border", BORDERS)
        self.warp = warp
        self.padding = checks.choice(padding, "padding", PADDINGS)
        self._geometries: dict[tuple[object, ...], Geometry] = {}
        self._families: list[Movement] | None = None

    def geometry(self, x: Tensor) -> Geometry:
        """The basis on ``x``'s lattice, in ``x``'s precision (float32 at least)."""
        self.check(x)
        dtype = x.dtype if x.dtype == torch.float64 else torch.float32
        key = (tuple(x.shape[2:]), dtype, x.device)
        if key not in self._geometries:
            self._geometries[key] = self._build(tuple(x.shape[2:]), dtype, x.device)
        return self._geometries[key]

    def displacement(self, x: Tensor, a: Tensor) -> Tensor:
        """``V = Σ_k a_k B_k``: ``(N, n, *size)`` in pixels."""
        basis = self.geometry(x).basis
        return _product(a, basis).reshape(-1, x.dim() - 2, *x.shape[2:])

    def forward(self, x: Tensor, a: Tensor) -> Tensor:
        if self.warp:
            return warp(x, self.displacement(x, a), self.padding)
        return x + self.tangent(x, a)

    def tangent(self, x: Tensor, a: Tensor) -> Tensor:
        return along_field(x, self.displacement(x, a).to(x.dtype), self.border)

    def pull_back(self, x: Tensor, g: Tensor) -> Tensor:
        basis = self.geometry(x).basis
        return _product(flat(momentum(x, g, self.border)), basis.T)

    def steepest(self, x: Tensor, s: Tensor, radius: float) -> Tensor:
        return self.from_unit(x, radius * normalize(self.to_unit(x, s)))

    def random(self, x: Tensor, radius: float) -> Tensor:
        whitener = self.geometry(x).whitener
        draw = draws.normal((len(x), whitener.shape[1]), whitener.dtype, x.device)
        return self.from_unit(x, radius * normalize(draw))

    def rate(self, x: Tensor, s: Tensor) -> Tensor:
        return safe_norm(self.to_unit(x, s))

    def to_unit(self, x: Tensor, s: Tensor) -> Tensor:
        """A gradient in the coefficients in orthonormal coordinates, ``Wᵀ s``: ``(N, r)``."""
        return _product(s, self.geometry(x).whitener)

    def from_unit(self, x: Tensor, coordinates: Tensor) -> Tensor:
        """Orthonormal coordinates ``(N, r)`` as coefficients ``(N, K)``."""
        return _product(coordinates, self.geometry(x).whitener.T)

    def families(self) -> list[Movement]:
        """One movement for each field family by itself, with the same options."""
        if self._families is None:
            self._families = [
                Movement(field, border=self.border, warp=self.warp, padding=self.padding)
                for field in self.fields
            ]
        return self._families

    def prepare(self, x: Tensor) -> None:
        for movement in (self, *self.families()):
            movement.geometry(x)

    def check(self, x: Tensor) -> None:
        if x.dim() < 3:
            raise ValueError(
                "movement needs inputs (N, C, *size) with at least one spatial axis, got shape "
                f"{tuple(x.shape)}; give signals a channel axis with x.unsqueeze(1)"
            )

    def shape(self, x: Tensor) -> tuple[int, ...]:
        return (len(x), self.geometry(x).basis.shape[0])

    def extra_repr(self) -> str:
        text = ", ".join(repr(field) for field in self.fields)
        if self.border != "zero":
            text += f", border={self.border!r}"
        if self.padding != "border":
            text += f", padding={self.padding!r}"
        return text + ("" if self.warp else ", warp=False")

    def _build(self, size: Sequence[int], dtype: torch.dtype, device: torch.device) -> Geometry:
        parts = []
        for field in self.fields:
            part = torch.as_tensor(field.basis(size)).detach().to("cpu", torch.float64)
            if part.dim() != 2 + len(size) or tuple(part.shape[1:]) != (len(size), *size):
                raise ValueError(
                    f"{field!r}.basis({tuple(size)}) must have shape "
                    f"(K, {len(size)}, {', '.join(map(str, size))}), got {tuple(part.shape)}"
                )
            parts.append(part)
        basis = torch.cat(parts).flatten(1)
        positions = basis.shape[1] // len(size)
        values, vectors = torch.linalg.eigh(basis @ basis.T / positions)
        kept = values > values.amax() * 1e-10 if len(values) else values > 0
        if not bool(kept.any()):
            names = ", ".join(repr(field) for field in self.fields)
            raise ValueError(
                f"fields must move something, but {names} do not on size {tuple(size)}"
            )
        whitener = vectors[:, kept] * values[kept].rsqrt()
        return Geometry(
            basis.to(device, dtype), whitener.to(device, dtype), tuple(len(p) for p in parts)
        )


def _product(rows: Tensor, matrix: Tensor) -> Tensor:
    # Under autocast a product in half precision would change the size of the movement.
    with full_precision(rows.device):
        return rows.to(matrix.dtype) @ matrix
