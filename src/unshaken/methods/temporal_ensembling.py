"""Temporal ensembling."""

from __future__ import annotations

import torch
from torch import Tensor

from unshaken import checks, draws
from unshaken.adversaries.base import Penalty
from unshaken.methods.consistency import Consistency, live, probabilities, squared_distance
from unshaken.passes import CleanPass
from unshaken.regularizer import Found


class TemporalEnsembling(Consistency):
    """The prediction should agree with the average of the example's earlier ones (Laine & Aila
    2017, algorithm 2).

    ``mean_i mean_c (p_c(x_i + η_i) − z̃_ic)²`` with fresh Gaussian noise η and fresh dropout masks,
    ``Z_i ← α Z_i + (1 − α) p(x_i + η_i)`` in each visit and ``z̃_i = Z_i / (1 − αᵗ)`` after t
    visits; an example that was not seen yet counts zero. Without noise (``noise=0``: dropout or
    augmentation is enough) it takes the clean outputs and makes no pass of its own. Label-free;
    calls need ``index=``.

    Args:
        examples: number of training examples.
        classes: number of classes.
        decay: α, in [0, 1); published: 0.6, over epochs.
        weight, noise: see :class:`~unshaken.methods.consistency.Consistency`.
    """

    waits = True

    table: Tensor
    visits: Tensor

    def __init__(
        self,
        examples: int,
        classes: int,
        decay: float = 0.6,
        weight: float = 1.0,
        noise: float = 0.15,
        *,
        batch_norm: str = "batch",
        name: str = "",
        every: int = 1,
        ramp: int = 0,
    ) -> None:
        super().__init__(
            weight,
            noise,
            batch_norm=batch_norm,
            name=name or "temporal-ensembling",
            every=every,
            ramp=ramp,
        )
        self.needs = "nothing" if self.noise else "logits"
        self.decay = checks.number(decay, "decay", low=0.0)
        if self.decay >= 1:
            raise ValueError(f"decay must be in [0, 1), got {decay!r}")
        shape = (checks.integer(examples, "examples"), checks.integer(classes, "classes", low=2))
        self.register_buffer("table", torch.zeros(shape))
        self.register_buffer("visits", torch.zeros(shape[0], dtype=torch.int64))

    def penalize(self, clean: CleanPass, found: Found | None = None) -> Penalty:
        signal = clean.anew(self.noisy(clean.x)) if self.noise else live(clean)
        p = probabilities(signal)
        if p.shape[1:] != self.table.shape[1:]:
            raise ValueError(
                f"classes must be {p.shape[1:]} as the model's outputs, got {self.table.shape[1]}"
            )
        index = checks.indices(clean.index, len(p), len(self.table)).to(self.table.device)
        visits = self.visits[index].to(p.dtype)
        seen = visits > 0
        share = torch.where(seen, 1 - self.decay**visits, 1)
        target = self.table[index].to(p.dtype) / share.unsqueeze(1)
        value = torch.where(seen, squared_distance(p, target), 0)
        if self.training and torch.is_grad_enabled():
            self._remember(index, p.detach(), draws.collector())
        return Penalty(value, None, signal)

    def _remember(self, index: Tensor, p: Tensor, gather: draws.Gather) -> None:
        with torch.no_grad():
            index, p = gather(index), gather(p)
            # An example that comes twice in a batch is one visit, with the mean of its predictions.
            rows, place, counts = index.unique(return_inverse=True, return_counts=True)
            mean = torch.zeros(len(rows), p.shape[1], dtype=p.dtype, device=p.device)
            mean.index_add_(0, place, p)
            mean /= counts.unsqueeze(1)
            self.table[rows] = self.table[rows].lerp(mean.to(self.table.dtype), 1 - self.decay)
            self.visits[rows] += 1

    def extra_repr(self) -> str:
        return f"examples={len(self.table)}, decay={self.decay:g}, {super().extra_repr()}"
