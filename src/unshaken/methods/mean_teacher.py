"""Mean teacher."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from unshaken import checks
from unshaken.adversaries.base import Penalty
from unshaken.methods.consistency import Consistency, probabilities, squared_distance
from unshaken.passes import CleanPass
from unshaken.regularizer import Found


class MeanTeacher(Consistency):
    """The prediction should agree with that of averaged weights (Tarvainen & Valpola 2017).

    ``mean_i mean_c (p_c(x_i + η_i; θ) − p_c(x_i + η'_i; θ'))²`` with Gaussian noise η, η' and
    dropout masks of their own, and the teacher's weights ``θ' ← α θ' + (1 − α) θ``,
    ``α = min(decay, 1 − 1/(t + 1))`` in the t-th training call, before they are used, in single
    precision at least; statistics of batch norm are the student's. The teacher is a constant: no
    gradient reaches it. Label-free; the student's pass takes the place of the clean one over the
    unlabeled batch. It is the teacher that the paper evaluates: :attr:`teacher`, or an average of
    the weights with the same decay (``ema`` of the training settings).

    Args:
        model: the network to be trained; it is copied, not kept.
        decay: α, in [0, 1).
        weight, noise: see :class:`~unshaken.methods.consistency.Consistency`.

    Example:
        >>> teacher = MeanTeacher(model, decay=0.99, weight=10.0, ramp=2000)
        >>> loss = F.cross_entropy(model(x), y) + teacher(model, u)
    """

    needs = "nothing"

    updates: Tensor

    def __init__(
        self,
        model: nn.Module,
        decay: float = 0.99,
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
            name=name or "mean-teacher",
            every=every,
            ramp=ramp,
        )
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
        self.decay = checks.number(decay, "decay", low=0.0)
        if self.decay >= 1:
            raise ValueError(f"decay must be in [0, 1), got {decay!r}")
        plain = getattr(model, "_orig_mod", model)  # of what torch.compile made
        self.teacher = copy.deepcopy(plain).requires_grad_(False)
        """The network with the averaged weights."""
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self._exact()

    @property
    def answers(self) -> nn.Module:
        """The teacher."""
        return self.teacher

    def penalize(self, clean: CleanPass, found: Found | None = None) -> Penalty:
        signal = clean.anew(self.noisy(clean.x))
        if self.training and torch.is_grad_enabled():
            self._follow(clean)
        if isinstance(clean.eager, nn.Module):
            student = dict(clean.eager.named_modules())
            for name, own in self.teacher.named_modules():
                if name in student:  # norms of the student may be frozen
                    own.training = student[name].training
        with torch.no_grad():
            q = probabilities(clean.anew(self.noisy(clean.x.detach()), self.teacher))
        return Penalty(squared_distance(probabilities(signal), q), None, signal)

    def _follow(self, clean: CleanPass) -> None:
        model = clean.eager
        if not isinstance(model, nn.Module):
            raise TypeError("model must be a torch.nn.Module, whose weights the teacher averages")
        own, theirs = dict(self.teacher.named_parameters()), dict(model.named_parameters())
        if own.keys() != theirs.keys():
            raise ValueError("model must be the one that the teacher was copied from")
        with torch.no_grad():
            self.updates += 1
            share = (1 / (self.updates + 1.0)).clamp_min(1 - self.decay)
            means = {**own, **self._exact()}
            for name, average in own.items():
                mean = means[name]
                mean.lerp_(theirs[name].detach().to(mean), share.to(mean))
                if mean is not average:
                    average.copy_(mean)
            for kept, now in zip(self.teacher.buffers(), model.buffers(), strict=True):
                kept.copy_(now)

    def _exact(self) -> dict[str, Tensor]:
        """The averages in single precision of the teacher's weights that have only half of it.

        Half precision would round most of what a call moves away. They are buffers.
        """
        found = {}
        for k, (name, p) in enumerate(self.teacher.named_parameters()):
            if p.dtype not in (torch.float16, torch.bfloat16):
                continue
            kept = self._buffers.get(f"exact_{k}")
            if kept is None or kept.dtype != torch.float32:
                self.register_buffer(f"exact_{k}", p.detach().float())
            found[name] = self.get_buffer(f"exact_{k}")
        return found

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, decay={self.decay:g}"
