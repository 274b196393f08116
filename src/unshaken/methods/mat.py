"""Movement adversarial training, with labels and without: MAT and MVAT."""

from __future__ import annotations

from collections.abc import Sequence

from unshaken.adversaries import (
    Adversary,
    Ascent,
    PowerIteration,
    Remembered,
    SteepestStep,
    TopEigenvector,
)
from unshaken.divergences import KL, Loss, as_criterion
from unshaken.perturbations import Movement
from unshaken.perturbations.fields import Field
from unshaken.ramps import Ramp
from unshaken.regularizer import Regularizer


class MAT(Regularizer):
    """Adversarial training with a finite movement field (ours).

    ``mean_i −log p(y_i | x_i moved by V_i)`` with ``V = radius · Σ a*_k B_k``,
    ``a* = G⁻¹ s / √(sᵀ G⁻¹ s)`` VMT's worst unit field; the input is resampled, so the movement
    is a real one and not its first-order shadow.

    Args:
        fields: field families; together they span the movements.
        radius: root mean square displacement, in pixels (in the unit of ``spacing`` where that is
            given); a number or a :class:`~unshaken.Ramp`.
        steps: ascent steps; those after the first take the gradient at the moved input and cost a
            forward and an input-gradient pass each.
        finite: take the first step's gradient at a moved input, too, along a random field
            (:class:`~unshaken.adversaries.Ascent`): one more forward pass.
        weight: factor of the term.
        border: how the image derivative ends.
        padding: what a moved input meets outside: ``"border"``, ``"zeros"``, ``"reflection"`` or
            ``"circular"``.
        interpolation: ``"linear"`` or ``"cubic"``.
        spacing: the size of a pixel along each axis, where they differ.
        exact: follow the flow of affine fields, so that a rotation field gives a rotation.
        folding: what becomes of movements that fold (see :class:`~unshaken.perturbations.Movement`
            for the last five).
        remember: the shape of all training inputs, as ``x_train.shape``: take each example's last
            worst movement and refresh it in the same backward pass, so that a step costs
            little more than a plain one; the term then stands in for the supervised loss
            (:class:`~unshaken.adversaries.Remembered`). Calls need ``index=``.
        divergence: the labeled D, by default the cross-entropy with the label.

    Raises:
        ValueError: without fields, for unknown options, or for ``remember`` with ``steps`` > 1 or
            ``finite``.
    """

    def __init__(
        self,
        *fields: Field,
        radius: float | Ramp,
        steps: int = 1,
        finite: bool = False,
        weight: float = 1.0,
        border: str = "zero",
        padding: str = "border",
        interpolation: str = "linear",
        spacing: Sequence[float] | None = None,
        exact: bool = False,
        folding: str | None = None,
        remember: Sequence[int] | None = None,
        divergence: Loss | None = None,
        batch_norm: str = "batch",
        name: str = "",
        every: int = 1,
    ) -> None:
        movement = Movement(
            *fields,
            border=border,
            padding=padding,
            interpolation=interpolation,
            spacing=spacing,
            exact=exact,
            folding=folding,
        )
        if remember is not None and (steps != 1 or finite):
            raise ValueError(
                "steps must be 1 and finite False with remember, which takes its step on the way "
                f"back; got steps={steps} and finite={finite}"
            )
        adversary: Adversary
        if remember is not None:
            adversary = Remembered.of(movement, radius, remember)
        else:
            adversary = Ascent(radius, steps) if finite else SteepestStep(radius, steps)
        super().__init__(
            movement,
            adversary,
            as_criterion(divergence, "divergence"),
            weight,
            batch_norm=batch_norm,
            name=name or "mat",
            every=every,
        )


class MVAT(Regularizer):
    """Virtual adversarial training with a finite movement (ours). Needs no labels.

    ``mean_i KL[p(·|x_i) ‖ p(·|x_i moved by V_i)]`` with V of RMS displacement ``radius``. Its
    direction is the top eigenvector of the K×K curvature of the divergence in the fields'
    coefficients, where the movement begins: in closed form, or by ``steps`` power iterations. Or,
    with ``finite``, ``steps`` power iterations at full size: the gradient in the coefficients is
    taken at the input as moved by ``radius`` along a random field first. The input is resampled.
    Draws signs (closed form) or directions from torch's global generator.

    Args:
        fields: field families; together they span the movements.
        radius: root mean square displacement, in pixels (in the unit of ``spacing`` where that is
            given); a number or a :class:`~unshaken.Ramp`.
        steps: None for the closed form, which costs min(K, classes) passes (1 where ``finite``);
            else the number of power iterations, one forward and one input gradient each.
        finite: iterate at full size (:class:`~unshaken.adversaries.Ascent`).
        weight: factor of the term.
        border: how the image derivative ends.
        padding: what a moved input meets outside.
        interpolation: ``"linear"`` or ``"cubic"``.
        spacing: the size of a pixel along each axis, where they differ.
        exact: follow the flow of affine fields, so that a rotation field gives a rotation.
        folding: what becomes of movements that fold (see :class:`~unshaken.perturbations.Movement`
            for the last five).
        divergence: ``"kl"`` as above, or ``"reverse-kl"``, from the moved prediction to the clean
            one.

    Raises:
        ValueError: without fields, or for unknown options.
    """

    def __init__(
        self,
        *fields: Field,
        radius: float | Ramp,
        steps: int | None = None,
        finite: bool = False,
        weight: float = 1.0,
        border: str = "zero",
        padding: str = "border",
        interpolation: str = "linear",
        spacing: Sequence[float] | None = None,
        exact: bool = False,
        folding: str | None = None,
        divergence: str = "kl",
        batch_norm: str = "batch",
        name: str = "",
        every: int = 1,
    ) -> None:
        adversary: Adversary
        if finite:
            adversary = Ascent(radius, 1 if steps is None else steps)
        elif steps is None:
            adversary = TopEigenvector(radius)
        else:
            adversary = PowerIteration(radius, steps)
        super().__init__(
            Movement(
                *fields,
                border=border,
                padding=padding,
                interpolation=interpolation,
                spacing=spacing,
                exact=exact,
                folding=folding,
            ),
            adversary,
            KL.named(divergence),
            weight,
            batch_norm=batch_norm,
            name=name or "mvat",
            every=every,
        )
