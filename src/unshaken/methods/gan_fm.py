"""A generator whose inputs a classifier tells from real ones, trained by feature matching."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from unshaken import draws
from unshaken.methods.generative import Generative, Outputs


class FeatureMatching(Generative):
    """A semi-supervised GAN with feature matching (Salimans et al. 2016, sections 3.1 and 5).

    The C logits are those of C + 1 classes of which the last, "generated", has the logit 0: with
    ``Z(x) = log Σ_c exp f_c(x)`` an input is real with probability ``e^Z / (e^Z + 1)``. The
    classifier's loss is ``mean_i softplus(−Z(x_i)) + softplus(Z(G(z_i)))``, beside the supervised
    cross-entropy over the C classes. The generator's is ``‖mean_i h(x_i) − mean_i h(G(z_i))‖²``
    with the features h, the inputs of the classifier's last linear layer unless another is named.
    Label-free. Arguments: see :class:`~unshaken.methods.generative.Generative`.

    Example:
        >>> gan = FeatureMatching(models.generator(1, (28, 28)))
        >>> objective = Objective(model, gan)
        >>> optimizer = torch.optim.Adam(objective.parameter_groups(lr=3e-4))
        >>> loss = objective(x, y, unlabeled=u)
    """

    default_name = "gan-fm"

    def for_classifier(self, real: Outputs, fake: Outputs) -> Tensor:
        z, made = real.logits.logsumexp(1), fake.logits.logsumexp(1)
        return F.softplus(-z) + F.softplus(made)

    def for_generator(self, real: Outputs, fake: Outputs) -> Tensor:
        theirs, own = (draws.mean_over_processes(o.features.mean(0)) for o in (real, fake))
        return (theirs - own).square().sum()
