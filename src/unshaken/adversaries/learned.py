"""Masks by a second player that learns in the same backward pass: xAT and xVAT."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unshaken import checks, draws
from unshaken.adversaries.base import Adversary, Penalty, Problem
from unshaken.autograd import flat, reverse_gradient
from unshaken.distributions import Bernoulli, BinaryConcrete, HardConcrete, MaskDistribution
from unshaken.divergences import Divergence
from unshaken.perturbations.base import Perturbation
from unshaken.perturbations.mask import require_mask

ESTIMATORS = ("hard-concrete", "gumbel-softmax", "straight-through", "reinforce")


class MaskPlayer(Adversary):
    """A mask distribution whose ``log α`` ascends ``D + λ E‖z‖₀`` while the model descends ``D``.

    Both move in one backward pass: the gradient that reaches ``log α`` is negated (xVAT eq. 11-13).
    The price λ E‖z‖₀ steers the player only; the value of the term is D. Each call draws one
    uniform number for each mask entry from torch's global generator.

    How the gradient of D reaches ``log α`` is the ``estimator``, one of :data:`ESTIMATORS`, each
    from the one pass that the model's own gradient needs, too. ``"hard-concrete"`` (the paper's)
    and ``"gumbel-softmax"`` draw relaxed masks; ``"straight-through"`` and ``"reinforce"`` show
    the model binary ones with ``P(z = 1) = σ(log α)``, and the latter needs no derivative of D in
    the mask: its baseline is the mean of D over the other examples of the batch. REBAR and RELAX
    are not among them: they take two more passes over the network at relaxed masks, forward and
    backward, at that cost were about as far off as REINFORCE (``benchmarks/estimators.py``), and
    what they fit would be for a network that moves in every step. :mod:`unshaken.estimators` has
    all of them for a given function.
    """

    estimator: str = "hard-concrete"

    searches = False

    learning_rate: float
    """The rate at which the paper trains it; ``Objective.parameter_groups`` uses it."""

    @abstractmethod
    def log_alpha(self, problem: Problem) -> Tensor:
        """``log α``, of the mask's shape."""

    def penalty(self, problem: Problem, a: Tensor | None = None) -> Penalty:
        mask = require_mask(problem.perturbation)
        log_alpha = self.log_alpha(problem)
        if tuple(log_alpha.shape) != mask.shape(problem.x):
            raise ValueError(
                f"the mask adversary must give log α of shape {mask.shape(problem.x)} for inputs "
                f"{tuple(problem.x.shape)}, got {tuple(log_alpha.shape)}"
            )
        distribution = self._distribution(reverse_gradient(log_alpha))
        z = distribution.rsample(_uniform(log_alpha))
        outputs = problem.clean.again(mask(problem.clean.x, z))
        value = problem.divergence(outputs, problem.target())
        price = mask.price(z, distribution).to(value.dtype)
        gain = (value - mask.roughness(z)).detach()  # what depends on the draw
        value = value + distribution.credit(z, _less_the_others(gain))
        return Penalty(value + (price - price.detach()), z.detach(), outputs)

    def find(self, problem: Problem) -> Tensor:
        with torch.no_grad():
            log_alpha = self.log_alpha(problem)
            return self._distribution(log_alpha).rsample(_uniform(log_alpha))

    def _distribution(self, log_alpha: Tensor) -> MaskDistribution:
        if self.estimator == "hard-concrete":
            return HardConcrete(log_alpha)
        if self.estimator == "reinforce":
            return Bernoulli(log_alpha)
        return BinaryConcrete(log_alpha, straight_through=self.estimator == "straight-through")

    def _estimates(self) -> str:
        """What the repr says of the estimator."""
        return "" if self.estimator == "hard-concrete" else f"estimator={self.estimator!r}"

    def rival(self, problem: Problem, a: Tensor) -> Tensor:
        """The same mask entries, shuffled within each example."""
        rows = flat(a)
        order = draws.uniform(tuple(rows.shape), rows.dtype, a.device).argsort(1)
        return rows.gather(1, order).reshape(a.shape)

    def check(self, perturbation: Perturbation, divergence: Divergence) -> None:
        if require_mask(perturbation).block > 1:
            raise ValueError(
                "a learned mask has a log α for each entry, so block must be 1, got "
                f"{perturbation.block}; use smoothness, or masks.Steepest with blocks"
            )


class Learned(MaskPlayer):
    """The inductive player: ``log α = network(x)`` (xVAT section 2.2.3).

    Args:
        network: a module from inputs ``(N, C, *size)`` to ``(N, 1, *size)``.
        learning_rate: the paper's 1e-6 (Adam).
        estimator: how D's gradient reaches ``log α``, one of :data:`ESTIMATORS`.
    """

    def __init__(
        self,
        network: nn.Module,
        learning_rate: float = 1e-6,
        estimator: str = "hard-concrete",
    ) -> None:
        super().__init__()
        self.estimator = checks.choice(estimator, "estimator", ESTIMATORS)
        if not isinstance(network, nn.Module):
            raise TypeError(f"network must be a torch.nn.Module, got {type(network).__name__}")
        self.network = network
        self.learning_rate = checks.number(learning_rate, "learning_rate", low=0.0)

    def log_alpha(self, problem: Problem) -> Tensor:
        result: Tensor = self.network(problem.x)
        return result.float() if problem.clean.mixed else result

    def extra_repr(self) -> str:
        return self._estimates()


class Tabulated(MaskPlayer):
    """The transductive player: one ``log α`` for each training example, initially N(0, 1).

    Args:
        examples: number of rows; the calls need ``index=``, the rows of the batch.
        size: the spatial size of an example (or ``(D,)`` for inputs ``(N, D)``).
        learning_rate: the paper's 1e-3 (SGD).
        sparse: give the table a sparse gradient, for ``SGD`` or ``SparseAdam``: then a step costs
            the same for any number of examples. :func:`unshaken.training.train` moves such a table
            by plain SGD at ``learning_rate``, as the paper does, whatever its optimizer. (Where
            several processes share a batch, and in compiled steps, the gradient is dense.)
        estimator: how D's gradient reaches ``log α``, one of :data:`ESTIMATORS`.
    """

    def __init__(
        self,
        examples: int,
        size: Sequence[int],
        learning_rate: float = 1e-3,
        sparse: bool = False,
        estimator: str = "hard-concrete",
    ) -> None:
        super().__init__()
        self.estimator = checks.choice(estimator, "estimator", ESTIMATORS)
        self.examples = checks.integer(examples, "examples")
        if not isinstance(size, Sequence):
            raise TypeError(f"size must be a sequence of integers, as (28, 28), got {size!r}")
        self.size = tuple(checks.integer(d, "size") for d in size)
        self.learning_rate = checks.number(learning_rate, "learning_rate", low=0.0)
        self.sparse = sparse
        self.table = nn.Parameter(torch.randn(examples, torch.Size(self.size).numel()))

    def log_alpha(self, problem: Problem) -> Tensor:
        index = checks.indices(problem.clean.index, len(problem.x), self.examples)
        shape = require_mask(problem.perturbation).shape(problem.x)
        size = shape[2:] or shape[1:]
        if self.size != size:
            raise ValueError(
                f"size must be the spatial size of an example, {size} for inputs "
                f"{tuple(problem.x.shape)}, got {self.size}"
            )
        # Neither compiled code nor every way of averaging over processes knows sparse gradients.
        sparse = self.sparse and not torch.compiler.is_compiling() and draws.processes() == 1
        rows = F.embedding(index.to(self.table.device), self.table, sparse=sparse)
        return rows.reshape(shape)

    def extra_repr(self) -> str:
        words = [f"examples={self.examples}, size={self.size}", self._estimates()]
        words.insert(1, "sparse=True" if self.sparse else "")
        return ", ".join(filter(None, words))


def _less_the_others(values: Tensor) -> Tensor:
    """Each value less the mean of the others of its group, which its own mask does not touch."""
    rows = values.reshape(draws.groups(), -1)
    count = rows.shape[1]
    if count == 1:
        return values
    return ((rows - rows.mean(1, keepdim=True)) * (count / (count - 1))).flatten()


def _uniform(log_alpha: Tensor) -> Tensor:
    return draws.uniform(tuple(log_alpha.shape), log_alpha.dtype, log_alpha.device)
