"""The price of a network's weights, as a term of the objective."""

from __future__ import annotations

from torch import nn

from unshaken.adversaries.base import Penalty
from unshaken.passes import CleanPass
from unshaken.regularizer import Found, Term
from unshaken.sparsity.pruning import expected_l0


class L0(Term):
    """``weight · Σ_g |g| P(z_g ≠ 0) / Σ_g |g|``: the share of weights that a pass keeps.

    (Louizos et al. 2018.) The model needs gates
    (:func:`unshaken.sparsity.add_gates`). Label-free; it looks at no input.

    Args:
        weight: the loss that a network of all weights pays, ≥ 0.

    Raises:
        ValueError: in the call, if the model has no gates.

    Example:
        >>> model = sparsity.add_gates(models.mlp([64, 256, 128, 10]))
        >>> objective = Objective(model, XVAT(masks.Steepest(0.85)), sparsity.L0(0.3))
        >>> # ... train it, then:
        >>> small = sparsity.prune(model)
    """

    def __init__(
        self, weight: float = 1.0, *, batch_norm: str = "batch", name: str = "", every: int = 1
    ) -> None:
        super().__init__(weight, batch_norm, name or "l0", every)

    def penalize(self, clean: CleanPass, found: Found | None = None) -> Penalty:
        model = clean.model
        if not isinstance(model, nn.Module):
            raise TypeError(f"L0 needs a torch.nn.Module, got {type(model).__name__}")
        share = expected_l0(model)
        return Penalty(share.expand(len(clean.x)), None, share)
