"""Movement adversarial training, with labels and without: MAT and MVAT."""

from __future__ import annotations

from collections.abc import Sequence

from unshaken.adversaries import (
    Adversary,
    PowerIteration,
    Remembered,
    SteepestStep,
    TopEigenvector,
)
from unshaken.divergences import KL, CrossEntropy
from unshaken.perturbations import Movement
from unshaken.perturbations.fields import Field
from unshaken.regularizer import Regularizer


class MAT(Regularizer):
    """Adversarial training with a finite movement field (ours).

    ``mean_i −log p(y_i | x_i moved by V_i)`` with ``V = radius · Σ a*_k B_k``,
    ``a* = G⁻¹ s / √(sᵀ G⁻¹ s)`` VMT's worst unit field; the input is resampled, so the movement
    is a real one and not its first-order shadow.

    Args:
        fields: field families; together they span the movements.
        radius: root mean square displacement, in pixels.
        weight: factor of the term.
        border: how the image derivative ends.
        padding: what a moved input meets outside: ``"border"``, ``"zeros"`` or ``"reflection"``.
        remember: the shape of all training inputs, as ``x_train.shape``: take each example's last
            worst movement and refresh it in the same backward pass, so that a step costs
            little more than a plain one; the term then stands in for the supervised loss
            (:class:`~unshaken.adversaries.Remembered`). Calls need ``index=``.
    """

    def __init__(
        self,
        *fields: Field,
        radius: float,
        weight: float = 1.0,
        border: str = "zero",
        padding: str = "border",
        remember: Sequence[int] | None = None,
        batch_norm: str = "batch",
        name: str = "",
        every: int = 1,
    ) -> None:
        movement = Movement(*fields, border=border, padding=padding)
        adversary: Adversary = (
            SteepestStep(radius) if remember is None else Remembered.of(movement, radius, remember)
        )
        super().__init__(
            movement,
            adversary,
            CrossEntropy(),
            weight,
            batch_norm=batch_norm,
            name=name or "mat",
            every=every,
        )


class MVAT(Regularizer):
    """Virtual adversarial training with a finite movement (ours). Needs no labels.

    ``mean_i KL[p(·|x_i) ‖ p(·|x_i moved by V_i)]`` with V of RMS displacement ``radius`` along the
    top eigenvector of the K×K curvature of the divergence in the fields' coefficients, in closed
    form, or by ``steps`` power iterations; the input is resampled. Draws signs (closed form) or
    directions from torch's global generator.

    Args:
        fields: field families; together they span the movements.
        radius: root mean square displacement, in pixels.
        steps: None for the closed form, which costs min(K, classes) passes; else the number of
            power iterations, one forward and one input gradient each.
        weight: factor of the term.
        border: how the image derivative ends.
        padding: what a moved input meets outside.
    """

    def __init__(
        self,
        *fields: Field,
        radius: float,
        steps: int | None = None,
        weight: float = 1.0,
        border: str = "zero",
        padding: str = "border",
        batch_norm: str = "batch",
        name: str = "",
        every: int = 1,
    ) -> None:
        adversary: Adversary = (
            TopEigenvector(radius) if steps is None else PowerIteration(radius, steps)
        )
        super().__init__(
            Movement(*fields, border=border, padding=padding),
            adversary,
            KL(),
            weight,
            batch_norm=batch_norm,
            name=name or "mvat",
            every=every,
        )
