"""Terms without a perturbation, of the same call; few labels need them."""

from __future__ import annotations

import torch
from torch import Tensor

from unshaken import draws
from unshaken.adversaries.base import Penalty
from unshaken.divergences import at_least_single
from unshaken.passes import CleanPass
from unshaken.regularizer import Found, Term


def _log_probabilities(clean: CleanPass) -> tuple[Tensor, Tensor]:
    logits = clean.attached_logits
    if logits.dim() < 2 or logits.shape[1] < 2:
        raise ValueError(
            f"model must give outputs (N, C) with at least 2 classes, got {tuple(logits.shape)}"
        )
    # A view of its own, so that this term's gradient can be told from the others'.
    signal = logits.view_as(logits)
    return signal, at_least_single(signal).log_softmax(1)


class EntropyMinimization(Term):
    """``H = mean_i −Σ_c p_ic log p_ic``: every prediction should be sure.

    (Grandvalet & Bengio 2004; VAT's "+ EntMin", Miyato et al. 2018 eq. 16.) Label-free; dense
    outputs ``(N, C, *rest)`` are averaged over positions.

    Args:
        weight: factor of the term, ≥ 0.
        batch_norm, name, every, ramp: see :class:`unshaken.regularizer.Term`. With a ramp the
            network is not made sure before the labels have told it of what.
    """

    needs = "logits"

    def __init__(
        self,
        weight: float = 1.0,
        *,
        batch_norm: str = "batch",
        name: str = "",
        every: int = 1,
        ramp: int = 0,
    ) -> None:
        super().__init__(weight, batch_norm, name or "entropy", every, ramp)

    def penalize(self, clean: CleanPass, found: Found | None = None) -> Penalty:
        signal, log_p = _log_probabilities(clean)
        entropy = -(log_p.exp() * log_p).sum(1)
        return Penalty(entropy.flatten(1).mean(1) if entropy.dim() > 1 else entropy, None, signal)


class ClassBalance(Term):
    """``log C − H(mean_i p_i)``: the classes should be used equally often; 0 when they are.

    It maximizes the entropy of the batch's mean prediction (Springenberg 2015, CatGAN's marginal
    entropy). Label-free. Wrong where the classes are unequal. Where :func:`unshaken.training.train`
    shares a batch out over processes the mean is over all of them; in a loop of your own it is
    over each process's share.

    Args:
        weight: factor of the term, ≥ 0.
    """

    needs = "logits"

    def __init__(
        self, weight: float = 1.0, *, batch_norm: str = "batch", name: str = "", every: int = 1
    ) -> None:
        super().__init__(weight, batch_norm, name or "balance", every)

    def penalize(self, clean: CleanPass, found: Found | None = None) -> Penalty:
        signal, log_p = _log_probabilities(clean)
        groups = log_p.exp().chunk(draws.groups())
        divergence = torch.stack([_imbalance(p) for p in groups])
        return Penalty(draws.to_rows(divergence, len(log_p)), None, signal)


def _imbalance(p: Tensor) -> Tensor:
    mean = draws.mean_over_processes(p.transpose(0, 1).flatten(1).mean(1))
    # p log p is 0 at p = 0, and its gradient must not be infinite there.
    return (mean * (mean * len(mean)).clamp_min(1e-30).log()).sum()
