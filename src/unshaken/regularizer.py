"""Terms of an objective; a regularizer is one made of perturbation, adversary and divergence."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unshaken import checks
from unshaken.adversaries.base import Adversary, Penalty, Problem
from unshaken.adversaries.infinitesimal import Infinitesimal
from unshaken.autograd import BATCH_NORM_POLICIES, RandomState
from unshaken.divergences import Loss, as_divergence
from unshaken.kernels import as_it_is
from unshaken.passes import CleanPass, Model, start
from unshaken.perturbations.base import Perturbation
from unshaken.worst import Worst


@dataclass(frozen=True)
class Found:
    """An adversary's problem for one batch and the parameters it found."""

    problem: Problem
    parameters: Tensor


class Term(nn.Module, ABC):
    """Something added to a loss: ``weight`` times a mean over the batch.

    It receives the model in each call and never stores it. Passes that it makes follow the policy
    ``batch_norm``: ``"batch"`` (statistics of the batch; running ones do not move), ``"running"``
    (the running ones) or ``"update"`` (the model's own training behavior). Batch and instance norm
    of PyTorch and their subclasses are held so; a buffer that a layer of one's own moves in every
    training pass moves in these passes, too.

    With ``every=k`` it acts in every k-th training call, with k times its weight: the same force
    on average at a k-th of the cost. (A term that stands in for the supervised loss keeps its
    weight: the loss is there in the other calls.) The first call acts. With ``ramp=T`` its weight
    rises over the first T training calls as ``exp(−5 (1 − t/T)²)`` (Laine & Aila 2017). The count
    of calls is in the state dict.
    """

    labeled: bool = False
    """Whether it needs labels; otherwise an objective feeds it the unlabeled batch."""

    replaces: bool = False
    """Whether it stands in for the supervised loss: an objective then leaves that one out."""

    waits: bool = False
    """Whether its gradient may be zero until it has seen every example once."""

    stackable: bool = True
    """Whether it can act on several networks as one (:mod:`unshaken.stacking`), where it keeps
    nothing and learns nothing."""

    needs: str = "nothing"
    """What it takes from the clean pass: ``"logits"`` with their graph, or what an adversary needs
    (:class:`unshaken.adversaries.Adversary`)."""

    def __init__(
        self,
        weight: float = 1.0,
        batch_norm: str = "batch",
        name: str = "",
        every: int = 1,
        ramp: int = 0,
    ) -> None:
        super().__init__()
        self.weight = checks.number(weight, "weight", low=0.0)
        self.batch_norm = checks.choice(batch_norm, "batch_norm", BATCH_NORM_POLICIES)
        self.name = name or type(self).__name__.lower()
        self.every = checks.integer(every, "every")
        self.ramp = checks.integer(ramp, "ramp", low=0)
        self._calls = 0
        if self.every > 1 or self.ramp:
            self._start_counting()

    @property
    def answers(self) -> nn.Module | None:
        """The network that predicts once training is over; None for the one that is trained."""
        return None

    @abstractmethod
    def penalize(self, clean: CleanPass, found: Found | None = None) -> Penalty:
        """The unweighted penalty of each example; ``found`` is what :meth:`search` gave."""

    def search(self, clean: CleanPass) -> Found | None:
        """What can be found before the penalty itself is computed, while the clean graph lives."""
        return None

    def _start_counting(self) -> None:
        if "calls" not in self._buffers:
            self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def turn(self) -> float:
        """The factor of this call's weight: ``every`` in each ``every``-th call (1 where the term
        replaces the loss), else 0, times the ramp's; counts the call.

        Outside training (in evaluation mode or without gradients) it is 1 in each call.
        """
        counts = "calls" in self._buffers
        if not counts or not (self.training and torch.is_grad_enabled()):
            return 1
        due = self._calls % self.every == 0
        left = max(0.0, 1 - self._calls / self.ramp) if self.ramp else 0.0
        self._calls += 1
        self.get_buffer("calls").fill_(self._calls)
        times = 1 if self.replaces else self.every
        return times * math.exp(-5 * left**2) if due else 0

    @property
    def calls_so_far(self) -> int:
        """Training calls that were counted; 0 where nothing needs them."""
        return self._calls

    def count_calls(self, calls: int) -> None:
        """Go on as after so many training calls."""
        self._calls = calls
        if "calls" in self._buffers:
            self.get_buffer("calls").fill_(calls)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        if "calls" in self._buffers:
            self._calls = int(self.get_buffer("calls"))

    def check(self, x: Tensor) -> None:
        """Raise ``ValueError`` where inputs like ``x`` cannot be handled."""
        return None

    def forward(
        self,
        model: Model,
        x: Tensor,
        y: Tensor | None = None,
        *,
        logits: Tensor | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """The weighted penalty: a scalar, the mean over the batch.

        Args:
            model: a module or callable from inputs to outputs.
            x: inputs ``(N, C, *size)`` or ``(N, D)``, floating point and finite.
            y: labels, where :attr:`labeled`.
            logits: outputs for ``x`` that you already have; saves a pass. To save it for methods
                that need the gradient in the input too, let ``x`` require gradients. A model with
                dropout then draws other masks here than it drew for them.
            index: the examples' indices, for a mask table.

        Raises:
            ValueError: on missing or wrong labels, shapes, indices, or values that are not finite.
            TypeError: on arguments of a wrong type.
        """
        given = (model, x, y, logits, index)
        if torch.compiler.is_compiling():
            return as_it_is(self._weighted, *given)
        return self._weighted(*given)

    def _weighted(
        self,
        model: Model,
        x: Tensor,
        y: Tensor | None,
        logits: Tensor | None,
        index: Tensor | None,
    ) -> Tensor:
        clean = start(model, x, y, logits, index, self.batch_norm)
        self.check(x)
        turn = self.turn()
        if not turn:
            # A leaf, so that a loss of this term alone can go backward in every step.
            return x.new_zeros((), requires_grad=True)
        penalty = self.penalize(clean)
        if penalty.learns is not None and penalty.parameters is not None:
            penalty.parameters.register_hook(penalty.learns)
        return turn * self.weight * penalty.value.mean()

    def extra_repr(self) -> str:
        text = f"weight={self.weight:g}" + (f", every={self.every}" if self.every > 1 else "")
        text += f", ramp={self.ramp}" if self.ramp else ""
        return text if self.batch_norm == "batch" else f"{text}, batch_norm={self.batch_norm!r}"


class Regularizer(Term):
    """``weight · mean_i max_a D(f(x_i), f(P(x_i, a)))``: the model should not change its answer.

    Args:
        perturbation: P, the family of changes.
        adversary: how the worst parameters a are found.
        divergence: D, or any callable ``(outputs, clean outputs) -> (N,)``.
        weight: factor of the term, ≥ 0.
        batch_norm: policy of the passes made here (see :class:`Term`).
        name: the term's name in reports.
        every: act in every k-th call, with k times the weight (see :class:`Term`).

    Raises:
        ValueError: if the three parts mean nothing together, with the reason.

    Example:
        >>> from unshaken import adversaries, divergences, perturbations
        >>> vat = Regularizer(
        ...     perturbations.Additive(2), adversaries.PowerIteration(2.0), divergences.KL()
        ... )
    """

    def __init__(
        self,
        perturbation: Perturbation,
        adversary: Adversary,
        divergence: Loss,
        weight: float = 1.0,
        *,
        batch_norm: str = "batch",
        name: str = "",
        every: int = 1,
    ) -> None:
        super().__init__(weight, batch_norm, name, every)
        if not isinstance(perturbation, Perturbation):
            raise TypeError(f"perturbation must be a Perturbation, got {perturbation!r}")
        if not isinstance(adversary, Adversary):
            raise TypeError(f"adversary must be an Adversary, got {adversary!r}")
        divergence = as_divergence(divergence)
        adversary.check(perturbation, divergence)
        self.perturbation = perturbation
        self.adversary = adversary
        self.divergence = divergence
        self.labeled = divergence.labeled
        self.replaces = adversary.replaces
        # Without labels there is no loss whose gradient in the input could be taken.
        without = "linearization" if adversary.needs == "linearization" else "nothing"
        self.needs = adversary.needs if divergence.labeled else without
        if adversary.ramp is not None:
            self._start_counting()

    def turn(self) -> float:
        self.adversary.count(self._calls)
        return super().turn()

    def count_calls(self, calls: int) -> None:
        super().count_calls(calls)
        self.adversary.count(calls)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.adversary.count(self._calls)

    @property
    def still(self) -> bool:
        """Whether the radius stays as it is from now on."""
        ramp = self.adversary.ramp
        return ramp is None or self._calls > ramp.steps

    def search(self, clean: CleanPass) -> Found | None:
        if not self.adversary.searches:
            return None
        problem = self.problem(clean)
        return Found(problem, self.adversary.find(problem))

    def penalize(self, clean: CleanPass, found: Found | None = None) -> Penalty:
        if found is None:
            return self.adversary.penalty(self.problem(clean))
        return self.adversary.penalty(found.problem, found.parameters)

    def problem(self, clean: CleanPass) -> Problem:
        """The adversary's problem for one batch."""
        return Problem(clean, self.perturbation, self.divergence)

    def check(self, x: Tensor) -> None:
        self.perturbation.check(x)

    def worst(
        self,
        model: Model,
        x: Tensor,
        y: Tensor | None = None,
        *,
        index: Tensor | None = None,
    ) -> Worst:
        """The perturbation that training would use for this batch, with its value.

        Draws the same random numbers as the call itself; parameters' gradients stay as they are.
        """
        clean = start(model, x, y, None, index, self.batch_norm)
        self.check(x)
        with torch.no_grad():
            penalty = self.penalize(clean)
        if penalty.parameters is None:
            raise ValueError(f"{self.name} has no perturbation to show")
        return Worst(
            value=penalty.value.detach(),
            x=x.detach(),
            parameters=penalty.parameters.detach(),
            perturbation=self.perturbation,
            infinitesimal=isinstance(self.adversary, Infinitesimal),
        )

    def gain_over_random(self, clean: CleanPass) -> Tensor | None:
        """How much more the adversary raises the divergence than random does: ``(N,)``.

        None where there is nothing to compare (:meth:`against_random`).
        """
        found = self.against_random(clean)
        return None if found is None else found[0] - found[1]

    def against_random(self, clean: CleanPass) -> tuple[Tensor, Tensor] | None:
        """The divergence that the adversary reaches, and a random perturbation of its size.

        Each ``(N,)``. None where there is nothing to compare: the control itself, and the closed
        form in the limit, which no direction can exceed. The random state is left as it was.
        """
        if self.adversary.random or isinstance(self.adversary, Infinitesimal):
            return None
        state = RandomState(clean.x.device)
        try:
            with torch.no_grad():
                # Not even a policy that moves statistics may do so for a comparison.
                policy = "batch" if self.batch_norm == "update" else self.batch_norm
                clean = clean.with_policy(policy)
                problem = Problem(clean, self.perturbation, self.divergence)
                a = self.adversary.find(problem)
                rival = self.adversary.rival(problem, a)
                worst, control = (
                    self.divergence(
                        clean.again(self.perturbation(problem.x, parameters)), problem.target()
                    )
                    for parameters in (a, rival)
                )
                return worst, control
        finally:
            state.restore()
