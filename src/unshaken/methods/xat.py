"""Training with multiplicative masks: xAT and xVAT."""

from __future__ import annotations

from collections.abc import Sequence

from unshaken.adversaries import Adversary, Remembered, SteepestMask
from unshaken.divergences import KL, Loss, as_criterion
from unshaken.perturbations import Mask
from unshaken.regularizer import Regularizer


class XAT(Regularizer):
    """Adversarial training with masks (xVAT eq. 6-13).

    ``weight · mean_i −log p(y_i | x_i ⊙ scale z_i)``, z drawn from a hard concrete distribution
    whose ``log α`` ascends ``D + sparsity · E‖z‖₀`` in the same backward pass.

    Args:
        mask: the mask adversary: ``masks.Generator``, ``masks.Table``, ``masks.Steepest`` or
            ``adversaries.WorstOf``.
        sparsity: λ, the price for which a learned mask keeps entries; E‖z‖₀ is a mean over entries.
        scale: ε: 1 darkens, 2 darkens or brightens.
        weight: the paper's η = 0.5.
        smoothness: price of differences between neighboring mask entries (the authors' program
            uses 1 on CIFAR).
        block: ``masks.Steepest`` and ``WorstOf`` erase blocks so many entries wide.
        remember: the shape of all training inputs, as ``x_train.shape``: with ``masks.Steepest``
            take each example's last worst mask and refresh it in the same backward pass, so that a
            step costs little more than a plain one; the term then stands in for the supervised loss
            (:class:`~unshaken.adversaries.Remembered`). Calls need ``index=``.
        divergence: the labeled D, by default the cross-entropy with the label.
    """

    def __init__(
        self,
        mask: Adversary,
        sparsity: float = 1.0,
        scale: float = 1.0,
        weight: float = 0.5,
        *,
        smoothness: float = 0.0,
        block: int = 1,
        remember: Sequence[int] | None = None,
        divergence: Loss | None = None,
        batch_norm: str = "batch",
        name: str = "",
        every: int = 1,
    ) -> None:
        family = Mask(scale, sparsity, smoothness, block)
        if remember is not None:
            if not isinstance(mask, SteepestMask):
                raise ValueError(
                    f"remember goes with masks.Steepest(keep), got {type(mask).__name__}; "
                    "masks.Table remembers by itself"
                )
            mask = Remembered.of(family, mask.radius, remember)
        super().__init__(
            family,
            mask,
            as_criterion(divergence, "divergence"),
            weight,
            batch_norm=batch_norm,
            name=name or "xat",
            every=every,
        )


class XVAT(Regularizer):
    """Virtual adversarial training with masks (xVAT eq. 6-13). Needs no labels.

    ``weight · mean_i KL[p(·|x_i) ‖ p(·|x_i ⊙ scale z_i)]``, z as in :class:`XAT`.

    Args:
        mask: the mask adversary: ``masks.Generator``, ``masks.Table``, ``masks.Steepest`` or
            ``adversaries.WorstOf``.
        sparsity: λ, the price for which a learned mask keeps entries; E‖z‖₀ is a mean over entries.
        scale: ε: 1 darkens, 2 darkens or brightens.
        divergence: ``"kl"`` as in the paper, or ``"reverse-kl"`` as in the authors' program.
        weight: the paper's η = 1.
        smoothness: price of differences between neighboring mask entries.
        block: ``masks.Steepest`` and ``WorstOf`` erase blocks so many entries wide.
    """

    def __init__(
        self,
        mask: Adversary,
        sparsity: float = 1.0,
        scale: float = 1.0,
        divergence: str = "kl",
        weight: float = 1.0,
        *,
        smoothness: float = 0.0,
        block: int = 1,
        batch_norm: str = "batch",
        name: str = "",
        every: int = 1,
    ) -> None:
        super().__init__(
            Mask(scale, sparsity, smoothness, block),
            mask,
            KL.named(divergence),
            weight,
            batch_norm=batch_norm,
            name=name or "xvat",
            every=every,
        )
