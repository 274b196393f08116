"""Categorical generative adversarial networks."""

from __future__ import annotations

from torch import Tensor

from unshaken import draws
from unshaken.divergences import at_least_single
from unshaken.methods.generative import Generative, Outputs


class CatGAN(Generative):
    """A classifier sure of real inputs and unsure of generated ones (Springenberg 2016, eq. 6, 7).

    The classifier's loss is ``mean_i H[p(x_i)] − H[mean_i p(x_i)] − mean_i H[p(G(z_i))]``: sure of
    each real input, classes used equally often, unsure of what is generated. The generator's is
    ``mean_i H[p(G(z_i))] − H[mean_i p(G(z_i))]``. Label-free, wrong where the classes are
    unequal. Arguments: see :class:`~unshaken.methods.generative.Generative`.

    Example:
        >>> objective = Objective(model, CatGAN(models.generator(1, (28, 28))))
        >>> optimizer = torch.optim.Adam(objective.parameter_groups(lr=3e-4))
    """

    default_name = "catgan"

    def for_classifier(self, real: Outputs, fake: Outputs) -> Tensor:
        sure, unsure = entropies(real.logits), entropies(fake.logits)
        return sure - marginal_entropy(real.logits) - unsure

    def for_generator(self, real: Outputs, fake: Outputs) -> Tensor:
        return entropies(fake.logits).mean() - marginal_entropy(fake.logits)


def entropies(logits: Tensor) -> Tensor:
    """``H[p(x_i)]``: ``(N,)``."""
    log_p = at_least_single(logits).log_softmax(1)
    return -(log_p.exp() * log_p).sum(1)


def marginal_entropy(logits: Tensor) -> Tensor:
    """``H[mean_i p(x_i)]`` over the whole batch, of all processes: a scalar."""
    mean = draws.mean_over_processes(at_least_single(logits).softmax(1).mean(0))
    return -(mean * mean.clamp_min(1e-30).log()).sum()
