"""Movement: every position is sampled from a little way off (VMT eq. 1-3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unshaken import checks, draws
from unshaken.autograd import flat, full_precision, normalize, per_example, safe_norm
from unshaken.perturbations.base import Perturbation
from unshaken.perturbations.derivative import BORDERS, along_field, momentum
from unshaken.perturbations.fields.base import Field
from unshaken.perturbations.flow import affine_flow
from unshaken.perturbations.folding import least_determinant, unfolding_factor
from unshaken.perturbations.geometry import Geometry, build
from unshaken.perturbations.warp import INTERPOLATIONS, PADDINGS, warp

FOLDING = ("scale", "refuse", "allow")

_KEPT = 8
"""Input sizes whose bases are kept at a time."""


class Movement(Perturbation):
    """``P(x, a)`` samples x at ``p + V_p`` with ``V = Σ_k a_k B_k``; a holds ``(N, K)``.

    The size of a is the root mean square displacement in pixels, ``√(aᵀ G a)`` with the Gram
    matrix ``G_kl = mean_p B_k · B_l``. For the gradient ``s_k = Σ_p Σ_c g_c (∇I_c · B_k)`` the
    worst field of size 1 has the rate ``R = √(sᵀ G⁻¹ s)`` at ``a* = G⁻¹ s / R`` (VMT eq. 8-15, for
    any basis); linearly dependent fields are handled by the pseudo-inverse.

    A resampled movement by affine fields is an affine map of the image: ``p + V_p`` along straight
    lines, so that a rotation field turns and stretches by ``√(1 + angle²)``, or with ``exact`` the
    map that the field generates, a rotation and nothing else. Other fields may fold, which
    ``folding`` prevents.

    Args:
        fields: one or more field families; together they span the allowed movements.
        border: how the image derivative ends: ``"zero"``, ``"one-sided"``, ``"replicate"``
            or ``"circular"``.
        warp: resample the input (1 to 3 spatial axes); otherwise first order,
            ``x + ∇I · V`` (any number of axes).
        padding: what a resampled input meets outside: ``"border"`` its edge values, ``"zeros"``,
            ``"reflection"`` about the centers of the edge pixels, ``"circular"`` its other side.
        interpolation: ``"linear"``, or ``"cubic"`` with 1 or 2 spatial axes (cubic convolution
            with a = −0.75 over 4 pixels along each axis, which may overshoot).
        spacing: the size of a pixel along each axis, for lattices that are finer along one axis
            than another. Sizes and radii are then in its unit (millimeters, say) instead of
            pixels, ``G_kl = mean_p Σ_j h_j² B_kj B_lj``, and rotations turn the object, not the
            lattice. None: 1 along every axis.
        exact: follow affine fields along the flow they generate, as far as it takes for the same
            root mean square displacement; others are added straight.
        folding: where a movement would fold (least determinant below 0.1): ``"scale"`` it down
            until it does not, which makes it smaller than its size says; ``"refuse"`` with a
            ValueError where it is not above 0; or ``"allow"`` it. None: ``"scale"`` where a field
            is not affine.

    Raises:
        ValueError: without fields or for unknown options, and when used on inputs that are not
            ``(N, C, *size)``.
    """

    def __init__(
        self,
        *fields: Field,
        border: str = "zero",
        warp: bool = True,
        padding: str = "border",
        interpolation: str = "linear",
        spacing: Sequence[float] | None = None,
        exact: bool = False,
        folding: str | None = None,
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
        self.interpolation = checks.choice(interpolation, "interpolation", INTERPOLATIONS)
        self.spacing = None if spacing is None else _spacing(spacing)
        self.exact = exact
        self.folding = checks.choice(folding, "folding", (None, *FOLDING))
        self._geometries: dict[tuple[object, ...], Geometry] = {}
        self._families: list[Movement] | None = None

    def geometry(self, x: Tensor) -> Geometry:
        """The basis on ``x``'s lattice, in ``x``'s precision (float32 at least)."""
        self.check(x)
        dtype = x.dtype if x.dtype == torch.float64 else torch.float32
        key = (tuple(x.shape[2:]), dtype, x.device)
        if key not in self._geometries:
            size = tuple(x.shape[2:])
            while len(self._geometries) >= _KEPT:
                del self._geometries[next(iter(self._geometries))]
            self._geometries[key] = build(self.fields, size, self._pixels(x), dtype, x.device)
        return self._geometries[key]

    def __getstate__(self) -> dict[str, Any]:
        """Without the bases, which are made again where they are needed."""
        return {**super().__getstate__(), "_geometries": {}}

    def displacement(self, x: Tensor, a: Tensor) -> Tensor:
        """``V = Σ_k a_k B_k``: ``(N, n, *size)`` in pixels, the field itself."""
        basis = self.geometry(x).basis
        return _product(a, basis).reshape(-1, x.dim() - 2, *x.shape[2:])

    def finite_displacement(self, x: Tensor, a: Tensor) -> Tensor:
        """How far each position is sampled from itself: ``(N, n, *size)`` in pixels.

        The field, followed along its flow where ``exact``, and scaled down where it would fold.

        Raises:
            ValueError: with ``folding="refuse"`` where it folds.
        """
        geometry = self.geometry(x)
        found = self._along_flow(x, a, geometry) if self.exact else self.displacement(x, a)
        rule = self.folding or ("allow" if geometry.affine else "scale")
        if rule == "scale":
            return found * per_example(unfolding_factor(found), found)
        if rule == "refuse":
            least = least_determinant(found.detach())
            if bool((least <= 0).any()):
                raise ValueError(
                    f"the movements of {int((least <= 0).sum())} of {len(x)} examples fold (least "
                    f"determinant {float(least.amin()):.2g}); take a smaller radius, smoother "
                    "fields, or folding='scale'"
                )
        return found

    def forward(self, x: Tensor, a: Tensor) -> Tensor:
        if self.warp:
            return warp(x, self.finite_displacement(x, a), self.padding, self.interpolation)
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

    def size(self, x: Tensor, a: Tensor) -> Tensor:
        """``√(aᵀ G a)``: ``(N,)``, the root mean square displacement of each field."""
        geometry = self.geometry(x)
        # G W maps onto coordinates in which the size is the Euclidean norm.
        return safe_norm(_product(a, geometry.gram @ geometry.whitener))

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
                Movement(
                    field,
                    border=self.border,
                    warp=self.warp,
                    padding=self.padding,
                    interpolation=self.interpolation,
                    spacing=self.spacing,
                    exact=self.exact,
                    folding=self.folding,
                )
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
        if self.spacing is not None and len(self.spacing) != x.dim() - 2:
            raise ValueError(
                f"spacing must hold a number for each of the {x.dim() - 2} spatial axes of x, got "
                f"{self.spacing}"
            )

    def shape(self, x: Tensor) -> tuple[int, ...]:
        return (len(x), self.geometry(x).basis.shape[0])

    def extra_repr(self) -> str:
        text = ", ".join(repr(field) for field in self.fields)
        for name, usual in _USUAL.items():
            value = getattr(self, name)
            text += "" if value == usual else f", {name}={value!r}"
        return text

    def _pixels(self, x: Tensor) -> tuple[float, ...]:
        return (1.0,) * (x.dim() - 2) if self.spacing is None else self.spacing

    def _along_flow(self, x: Tensor, a: Tensor, geometry: Geometry) -> Tensor:
        """Affine parts along their flow, the others straight."""
        spacing = torch.tensor(self._pixels(x), dtype=geometry.basis.dtype, device=x.device)
        n = x.dim() - 2
        with full_precision(x.device):
            a = a.to(geometry.basis.dtype)
            generator = (a @ geometry.generators.flatten(1)).reshape(-1, n, n + 1)
            found = affine_flow(geometry, generator, spacing)
            if not geometry.affine:
                found = found + ((a * geometry.bent) @ geometry.basis).reshape(found.shape)
        return found.reshape(-1, n, *x.shape[2:])


_USUAL = {
    "border": "zero",
    "padding": "border",
    "interpolation": "linear",
    "spacing": None,
    "exact": False,
    "folding": None,
    "warp": True,
}


def _spacing(values: Sequence[float]) -> tuple[float, ...]:
    if not isinstance(values, tuple | list):
        raise TypeError(f"spacing must be a number for each spatial axis, got {values!r}")
    return tuple(checks.number(value, "spacing", low=0.0, open_low=True) for value in values)


def _product(rows: Tensor, matrix: Tensor) -> Tensor:
    # Under autocast a product in half precision would change the size of the movement.
    with full_precision(rows.device):
        return rows.to(matrix.dtype) @ matrix
