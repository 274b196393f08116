"""Virtual movement training: VMT."""

from __future__ import annotations

from unshaken.adversaries import Infinitesimal
from unshaken.divergences import Loss, as_criterion
from unshaken.perturbations import Movement
from unshaken.perturbations.fields import Field
from unshaken.regularizer import Regularizer


class VMT(Regularizer):
    """Virtual movement training (VMT eq. 8-15, 23): the loss should not change as the input moves.

    ``mean_i R_i`` with ``R = max |dL/dε|`` over unit movement fields of the family,
    ``R = √(sᵀ G⁻¹ s)`` with ``s_k = Σ_p Σ_c g_c (∇I_c · B_k)``, ``g = ∂L/∂I`` and L each example's
    own cross-entropy. Several fields are mixed with fresh random weights in each call,
    ``Σ w_i R_i / Σ w_i`` with ``w ~ U(0, 1)`` (VMT-all).

    Args:
        fields: field families, for example ``fields.Shift()``.
        gradient: ``"raw"`` uses g as it is; ``"unit"`` normalizes it to length 1 for each example
            (the paper's text); ``"unit-detached"`` does so with the length as a constant.
        weight: the paper's λ, searched there over [0.005, 5].
        border: how the image derivative ends; ``"zero"`` at the border positions.
        divergence: the labeled D, by default the cross-entropy with the label.

    Raises:
        ValueError: without fields, on unknown options, or for inputs the fields do not fit.

    Example:
        >>> vmt = VMT(fields.Shift(), weight=3.0)
        >>> loss = F.cross_entropy(model(x), y) + vmt(model, x, y)
    """

    def __init__(
        self,
        *fields: Field,
        gradient: str = "raw",
        weight: float = 1.0,
        border: str = "zero",
        divergence: Loss | None = None,
        batch_norm: str = "batch",
        name: str = "",
        every: int = 1,
    ) -> None:
        super().__init__(
            Movement(*fields, border=border),
            Infinitesimal(gradient, mixture=len(fields) > 1),
            as_criterion(divergence, "divergence"),
            weight,
            batch_norm=batch_norm,
            name=name or "vmt",
            every=every,
        )
