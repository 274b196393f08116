"""The whole training objective: a model and its regularizers, with one clean pass for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from unshaken import checks, draws
from unshaken.adversaries.learned import MaskPlayer
from unshaken.alarm import Alarm
from unshaken.autograd import BATCH_NORM_POLICIES, hand_out
from unshaken.divergences import CrossEntropy, Divergence, Function
from unshaken.passes import CleanPass
from unshaken.regularizer import Regularizer, Term


class Objective(nn.Module):
    """``L(θ) + Σ_j w_j R_j(θ)`` for one batch, near the least possible work.

    The labeled batch passes the network once for the loss and all terms that use it; terms that
    need no labels use the unlabeled batch when it is given. Call it, then call ``backward()`` on
    the result once, under any optimizer, gradient scaler, accumulation or DistributedDataParallel
    (wrap the whole objective).

    Args:
        model: the classifier, a module from ``(N, ...)`` to outputs ``(N, C)`` or
            ``(N, C, *rest)``. Its own pass over the labeled batch moves batch-norm statistics as
            usual; no other pass does.
        regularizers: terms to add; see :class:`unshaken.Regularizer`.
        criterion: the supervised loss, by default the cross-entropy; any labeled
            :class:`~unshaken.divergences.Divergence` or callable ``(outputs, y) -> (N, ...)``.
        batch_norm: policy of the clean pass over the unlabeled batch.
        alarm: warn, once for each term, when it does nothing (:class:`unshaken.alarm.Alarm`).

    Raises:
        TypeError: if ``model`` is not a module or a regularizer is not a term.

    Example:
        >>> objective = Objective(model, VAT(radius=2.0), VMT(fields.Shift()))
        >>> loss = objective(x, y, unlabeled=u)
        >>> loss.backward()
        >>> objective.report
        {'loss': tensor(2.31), 'vat': tensor(0.01), 'vmt': tensor(0.02)}
    """

    def __init__(
        self,
        model: nn.Module,
        *regularizers: Term,
        criterion: Divergence | Callable[[Tensor, Tensor], Tensor] | None = None,
        batch_norm: str = "batch",
        alarm: bool = True,
    ) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
        for k, term in enumerate(regularizers):
            if not isinstance(term, Term):
                raise TypeError(f"regularizers must be unshaken regularizers, got {term!r}")
            if any(term is other for other in regularizers[:k]):
                raise ValueError(
                    f"regularizers must differ, got the same {term.name!r} twice; give it "
                    "twice the weight instead"
                )
        if criterion is None:
            criterion = CrossEntropy()
        elif not isinstance(criterion, Divergence):
            criterion = Function(criterion, labeled=True)
        if not criterion.labeled:
            raise ValueError("criterion must compare with labels (labeled=True)")
        self.model = model
        self.regularizers = nn.ModuleList(regularizers)
        self.criterion = criterion
        self.batch_norm = checks.choice(batch_norm, "batch_norm", BATCH_NORM_POLICIES)
        self.alarm = Alarm() if alarm else None
        self.report: dict[str, Tensor] = {}
        """The last call's loss and weighted terms by name, detached scalars; one number for each
        group of rows inside :func:`unshaken.draws.grouped`."""
        self.names = _apart([term.name for term in regularizers])
        """The terms' names in the report."""

    def forward(
        self,
        x: Tensor,
        y: Tensor | None = None,
        *,
        unlabeled: Tensor | None = None,
        index: Tensor | None = None,
        labeled_index: Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch: a scalar to call ``backward()`` on, once.

        Args:
            x: inputs ``(N, ...)``, floating point and finite.
            y: labels ``(N,)`` (or ``(N, *rest)`` for dense outputs); None leaves the supervised
                loss out.
            unlabeled: inputs ``(M, ...)`` for the terms that need no labels; without it they use x.
            index: example indices for mask tables, of the batch that label-free terms use
                (``unlabeled`` when given, else x).
            labeled_index: indices of x where ``unlabeled`` is given and a labeled term has a table.

        Raises:
            ValueError, TypeError: on missing or wrong labels, shapes, indices or values.
        """
        terms = self._terms()
        checks.inputs(x)
        if not terms:
            return self._plain(x, y)
        if unlabeled is not None:
            checks.inputs(unlabeled, "unlabeled")
        for term in terms:
            term.check(x if term.labeled or unlabeled is None else unlabeled)
        needs = {term.needs for term in terms if term.labeled or unlabeled is None}
        clean = CleanPass(
            self.model,
            x,
            y,
            index=index if unlabeled is None else labeled_index,
            policy=self.batch_norm,
        )
        clean.run_live(
            track_input=bool(needs & {"input", "input-graph", "linearization"}),
            twice="input-graph" in needs,
        )
        free = clean
        if unlabeled is not None:
            free = CleanPass(self.model, unlabeled, index=index, policy=self.batch_norm)
            free_needs = {term.needs for term in terms if not term.labeled}
            if "logits" in free_needs:
                free.attach(track_input="linearization" in free_needs)
        total, loss = self._supervised(clean, terms)
        report = {}
        watching = self.alarm is not None and torch.is_grad_enabled() and self.training
        if "input-graph" in needs and any(_takes_cross_entropy(term) for term in terms):
            # Computed with its graph first, it also serves the terms that need it without.
            clean.input_gradient(CrossEntropy(), create_graph=True)
        for name, term in zip(self.names, terms, strict=True):
            penalty = term.penalize(clean if term.labeled else free)
            if watching and self.alarm is not None:
                learns = (clean if term.labeled else free).x.requires_grad or any(
                    p.requires_grad for part in (self.model, term) for p in part.parameters()
                )
                self.alarm.watch(name, penalty, learns)
            value = term.weight * draws.group_means(penalty.value)
            report[name] = value.detach()
            loss = loss + report[name]
            total = total + value.sum()
        if watching:
            self._probe(terms, clean, free)
        self.report = {"loss": loss, **report}
        return total

    def _plain(self, x: Tensor, y: Tensor | None) -> Tensor:
        """The supervised loss alone, at the cost of a hand-written step."""
        if y is None:
            raise ValueError("y must hold labels where there are no regularizers, got y=None")
        logits = self.model(x)
        total, loss = self._mean(logits, self.criterion.target(logits, y))
        self.report = {"loss": loss}
        return total

    def _mean(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The sum over the groups of rows of each one's mean loss, and these means, detached."""
        if draws.groups() == 1:
            mean = self.criterion.mean(logits, target)
            return mean, mean.detach()
        means = draws.group_means(self.criterion(logits, target))
        return means.sum(), means.detach()

    def parameter_groups(self, lr: float, **options: Any) -> list[dict[str, Any]]:
        """Groups for an optimizer: the model at ``lr``, each mask player at its own rate.

        ``options`` (weight decay, ...) apply to the model's group; players have no weight decay.
        """
        groups: list[dict[str, Any]] = [
            {"params": list(self.model.parameters()), "lr": lr, **options}
        ]
        for term in self._terms():
            own = list(term.parameters())
            if own:
                player = term.adversary if isinstance(term, Regularizer) else None
                rate = player.learning_rate if isinstance(player, MaskPlayer) else lr
                groups.append({"params": own, "lr": rate, "weight_decay": 0.0})
        return groups

    def end_epoch(self) -> None:
        """Let the alarm judge the epoch that ends here; optional."""
        if self.alarm is not None:
            self.alarm.end_epoch()

    def _terms(self) -> list[Term]:
        return [term for term in self.regularizers if isinstance(term, Term)]

    def _supervised(self, clean: CleanPass, terms: list[Term]) -> tuple[Tensor, Tensor]:
        """As :meth:`_mean`; the gradient is taken at once where a term needs part of it."""
        logits = clean.attached_logits
        if clean.y is None:
            zero = logits.new_zeros((), dtype=torch.promote_types(logits.dtype, torch.float32))
            return zero, zero
        target = self.criterion.target(logits, clean.y)
        if not self._takes_gradient_now(terms, clean, logits):
            return self._mean(logits, target)
        values: Tensor = self.criterion(logits, target)
        means = draws.group_means(values).detach()
        # One backward gives the parameters' gradient and g together: no pass is made twice.
        leaves: list[Tensor] = [p for p in self.parameters() if p.requires_grad]
        found = torch.autograd.grad(
            values.sum(),
            [clean.require_leaf(), *leaves],
            allow_unused=True,
            retain_graph=any(t.needs in ("logits", "linearization") for t in terms),
        )
        clean.keep_gradient(found[0])
        rows = len(values) // draws.groups()
        slopes = [None if g is None else g / rows for g in found[1:]]
        return hand_out(means.sum(), leaves, slopes), means

    def _takes_gradient_now(self, terms: list[Term], clean: CleanPass, logits: Tensor) -> bool:
        """Whether one backward here, for the loss and g together, saves a later one."""
        labeled = [term for term in terms if term.labeled]
        needs = [term.needs for term in labeled]
        half = torch.is_autocast_enabled(logits.device.type) and (
            # Unscaled gradients would underflow in float16; the caller's scaler comes later.
            torch.get_autocast_dtype(logits.device.type) == torch.float16
        )
        return (
            "input" in needs
            and "input-graph" not in needs
            and all(_takes_cross_entropy(t) for t in labeled if t.needs == "input")
            and type(self.criterion) is CrossEntropy
            # An encoder in front of x gets its gradient through an ordinary graph.
            and not clean.x.requires_grad
            and logits.requires_grad
            and not half
        )

    def _probe(self, terms: list[Term], clean: CleanPass, free: CleanPass) -> None:
        if self.alarm is not None and self.alarm.due():
            for name, term in zip(self.names, terms, strict=True):
                if isinstance(term, Regularizer):
                    self.alarm.probe(name, term, clean if term.labeled else free)


def _takes_cross_entropy(term: Term) -> bool:
    return isinstance(term, Regularizer) and type(term.divergence) is CrossEntropy


def _apart(names: list[str]) -> list[str]:
    """A name that stands twice becomes ``name`` and ``name-2``."""
    result: list[str] = []
    for name in names:
        unique, k = name, 1
        while unique in result or unique == "loss":
            k += 1
            unique = f"{name}-{k}"
        result.append(unique)
    return result
