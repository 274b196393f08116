"""Virtual adversarial dropout."""

from __future__ import annotations

import torch
from torch import Tensor

from unshaken import checks, draws
from unshaken.adversaries.base import Penalty
from unshaken.divergences import KL
from unshaken.methods.consistency import probabilities, squared_distance
from unshaken.methods.layers import changed_input, layer_of, own_pass
from unshaken.passes import CleanPass
from unshaken.regularizer import Found, Term

DIVERGENCES = ("squared", "kl")


class VAdD(Term):
    """A random dropout mask and the worst one near it should agree (Park et al. 2018).

    ``mean_i mean_c (p_c(x_i; ε_i) − p_c(x_i; ε'_i))²`` with the mask ε on the input of one layer,
    each entry kept with probability ``1 − rate`` and then multiplied by ``1/(1 − rate)``, and ε'
    the mask at most ``flips · H`` of H entries away from it that changes the prediction most, to
    first order: what a flip gains comes from the gradient of ``mean_c (p_c(x; 1) − p_c(x; ε))²`` in
    the mask, at the mask of ones (where both are ε it vanishes). The gradient flows through both
    passes. Label-free. Draws from torch's global generator. A step costs two passes and their
    gradients, and a forward pass with the gradient of the layers above.

    Args:
        rate: probability that an entry is dropped, in [0, 1).
        flips: δ, the share of entries in which the worst mask may differ.
        weight: factor of the term.
        layer: name of the layer whose input is masked; the last linear layer unless given.
        divergence: ``"squared"`` as above, or ``"kl"``: ``Σ_c p_c log(p_c/q_c)``, p under ε.
        batch_norm, name, every, ramp: see :class:`unshaken.regularizer.Term`.

    Raises:
        ValueError: in the call, if the model has no such layer.
    """

    stackable = False

    def __init__(
        self,
        rate: float = 0.5,
        flips: float = 0.05,
        weight: float = 1.0,
        layer: str = "",
        *,
        divergence: str = "squared",
        batch_norm: str = "batch",
        name: str = "",
        every: int = 1,
        ramp: int = 0,
    ) -> None:
        super().__init__(weight, batch_norm, name or "vadd", every, ramp)
        self.rate = checks.number(rate, "rate", low=0.0, high=1.0)
        if self.rate == 1:
            raise ValueError("rate must be in [0, 1), got 1")
        self.flips = checks.number(flips, "flips", low=0.0, high=1.0)
        self.layer = layer
        self.divergence = checks.choice(divergence, "divergence", DIVERGENCES)

    def penalize(self, clean: CleanPass, found: Found | None = None) -> Penalty:
        layer = layer_of(clean.eager, self.layer)
        clean, kept = own_pass(clean), list[Tensor]()

        def drop(h: Tensor) -> Tensor:
            # Drawn in every pass, so that dropout elsewhere draws the same in all of them.
            noise = draws.uniform(tuple(h.shape), torch.float32, h.device)
            kept.append((noise >= self.rate).to(h.dtype))
            return h * (kept[-1] / (1 - self.rate))

        with changed_input(layer, drop):
            signal = clean.again(clean.x, eager=True)
        worst = self._flipped(kept[0], self._slope(clean, kept[0], signal.detach()))

        def drop_worst(h: Tensor) -> Tensor:
            drop(h)
            return h * (worst / (1 - self.rate))

        with changed_input(layer, drop_worst):
            other = clean.again(clean.x, eager=True)
        return Penalty(self._apart(signal, other), worst, signal)

    def _slope(self, clean: CleanPass, mask: Tensor, target: Tensor) -> Tensor:
        """The gradient of the distance from the outputs ``target`` in the mask, at ones."""
        leaf = torch.ones_like(mask).requires_grad_()
        layer = layer_of(clean.eager, self.layer)

        def scale(h: Tensor) -> Tensor:
            draws.uniform(tuple(h.shape), torch.float32, h.device)
            return h.detach() * leaf

        with torch.enable_grad(), changed_input(layer, scale):
            total = self._apart(target, clean.again(clean.x.detach(), eager=True)).sum()
        (slope,) = torch.autograd.grad(total, leaf)
        return slope

    def _apart(self, one: Tensor, other: Tensor) -> Tensor:
        """The distance of two outputs: ``(N,)``."""
        p, q = probabilities(one), probabilities(other)
        if self.divergence == "squared":
            return squared_distance(p, q)
        return KL()(other, one.log_softmax(1, dtype=p.dtype))

    def _flipped(self, mask: Tensor, slope: Tensor) -> Tensor:
        """The mask with the flips that gain most."""
        rows, gain = mask.flatten(1), (slope * (1 - 2 * mask)).flatten(1)
        most = int(self.flips * rows.shape[1])
        if not most:
            return mask
        value, place = gain.topk(most, 1)
        at_place = rows.gather(1, place)
        chosen = torch.where(value > 0, 1 - at_place, at_place)
        return rows.scatter(1, place, chosen).reshape(mask.shape)

    def extra_repr(self) -> str:
        layer = f", layer={self.layer!r}" if self.layer else ""
        return f"rate={self.rate:g}, flips={self.flips:g}{layer}, {super().extra_repr()}"
