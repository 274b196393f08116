"""The whole training objective: a model and its regularizers, with one clean pass for all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unshaken import checks, draws
from unshaken.adversaries.base import Penalty
from unshaken.adversaries.learned import MaskPlayer
from unshaken.alarm import Alarm
from unshaken.autograd import BATCH_NORM_POLICIES
from unshaken.divergences import CrossEntropy, Divergence, Function
from unshaken.gradients import Deferred, Sum, Taken
from unshaken.passes import CleanPass
from unshaken.regularizer import Found, Regularizer, Term

FEW = 1 << 16
"""Parameters, and inputs of a batch, up to which memory is no matter and a second call of autograd
costs more than a pass over the network."""


@dataclass(frozen=True)
class _Acting:
    """A term whose turn it is, with its weight in this call."""

    name: str
    term: Term
    weight: float

    @property
    def takes_cross_entropy(self) -> bool:
        return isinstance(self.term, Regularizer) and type(self.term.divergence) is CrossEntropy


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
        take_gradients: take each term's gradient in the parameters as soon as the term is known
            and free its graph; ``backward()`` hands the gradients out, once. Switch it off to
            differentiate the loss in something else than the parameters, or twice. Under float16
            autocast, for small networks, and where x comes from an encoder, it is off by itself.

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
        take_gradients: bool = True,
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
        self.take_gradients = take_gradients
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
        checks.inputs(x)
        if not self.regularizers:
            return self._plain(x, y)
        if unlabeled is not None:
            checks.inputs(unlabeled, "unlabeled")
        acting = self._acting()
        own = [a for a in acting if a.term.labeled or unlabeled is None]
        others = [a for a in acting if not (a.term.labeled or unlabeled is None)]
        for part in acting:
            part.term.check(x if part in own or unlabeled is None else unlabeled)
        clean = free = CleanPass(
            self.model,
            x,
            y,
            index=index if unlabeled is None else labeled_index,
            policy=self.batch_norm,
        )
        if unlabeled is not None:
            free = CleanPass(self.model, unlabeled, index=index, policy=self.batch_norm)
        total = self._sum(clean, free)
        loss = None
        if not any(a.term.replaces for a in own):
            needs = {a.term.needs for a in own}
            clean.run_live(
                track_input=bool(needs & {"input", "input-graph", "linearization"}),
                twice="input-graph" in needs,
            )
            loss = self._supervised(clean)
        report = {"loss": x.new_zeros(())} | dict.fromkeys(self.names, x.new_zeros(()))
        report |= self._add(total, clean, own, loss)
        if others:
            needs = {a.term.needs for a in others}
            if "logits" in needs:
                free.attach(track_input="linearization" in needs)
            labeled = report["loss"]
            report |= self._add(total, free, others, None)
            report["loss"] = labeled + report["loss"]
        if self._watching() and self.alarm is not None and self.alarm.due():
            for part in acting:
                if isinstance(part.term, Regularizer):
                    self.alarm.probe(part.name, part.term, clean if part in own else free)
        result = total.loss()
        if not acting and not result.requires_grad:
            result.requires_grad_()  # no term's turn, and no labels: going backward does nothing
        self.report = report
        return result

    def _plain(self, x: Tensor, y: Tensor | None) -> Tensor:
        """The supervised loss alone, at the cost of a hand-written step."""
        if y is None:
            raise ValueError("y must hold labels where there are no regularizers, got y=None")
        logits = self.model(x)
        means = self._means(logits, self.criterion.target(logits, y))
        self.report = {"loss": means.detach()}
        return _total(means)

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

    def _acting(self) -> list[_Acting]:
        """The terms whose turn it is; asking counts the call."""
        turns = [(name, t, t.turn()) for name, t in zip(self.names, self._terms(), strict=True)]
        return [_Acting(name, term, turn * term.weight) for name, term, turn in turns if turn]

    def _sum(self, clean: CleanPass, free: CleanPass) -> Sum:
        """Takes each term's gradient at once, where nothing forbids it."""
        device = clean.x.device.type
        # Unscaled gradients would underflow in float16; the caller's scaler comes later.
        half = torch.is_autocast_enabled(device) and (
            torch.get_autocast_dtype(device) == torch.float16
        )
        # An encoder in front of x gets its gradient through an ordinary graph.
        encoded = clean.x.requires_grad or free.x.requires_grad
        if half or encoded or not self.take_gradients or not torch.is_grad_enabled():
            return Deferred(clean.x)
        leaves = [p for p in self.parameters() if p.requires_grad]
        if sum(p.numel() for p in leaves) < FEW and clean.x.numel() < FEW:
            return Deferred(clean.x)
        return Taken(clean.x, leaves)

    def _supervised(self, clean: CleanPass) -> Tensor | None:
        """The mean supervised loss of each group of rows, None without labels."""
        if clean.y is None:
            return None
        logits = clean.attached_logits
        return self._means(logits, self.criterion.target(logits, clean.y))

    def _means(self, logits: Tensor, target: Tensor) -> Tensor:
        if draws.groups() == 1:
            mean: Tensor = self.criterion.mean(logits, target)
            return mean
        return draws.group_means(self.criterion(logits, target))

    def _add(
        self, total: Sum, clean: CleanPass, acting: list[_Acting], loss: Tensor | None
    ) -> dict[str, Tensor]:
        """Add the loss and the terms of one batch; returns the weighted terms, and all, by name.

        What needs the clean graph comes first, so that the graph is gone when perturbed inputs
        pass the network.
        """
        report: dict[str, Tensor] = {}
        found: dict[str, Found | None] = {}
        on_graph = [a for a in acting if a.term.needs in ("input-graph", "logits")]
        on_input = [a for a in acting if a.term.needs == "input"]
        apart = [a for a in acting if a not in on_graph]
        if any(a.term.needs == "input-graph" and a.takes_cross_entropy for a in on_graph):
            # Computed with its graph first, it also serves the terms that need it without.
            clean.input_gradient(CrossEntropy(), create_graph=True)
        at_once = (
            isinstance(total, Taken)
            and loss is not None
            and bool(on_input)
            and not on_graph
            and all(a.takes_cross_entropy for a in on_input)
            and type(self.criterion) is CrossEntropy
            and loss.requires_grad
        )
        for a in apart:
            if a.term.needs == "linearization" or (a.term.needs == "input" and not at_once):
                found[a.name] = a.term.search(clean)
        means = [] if loss is None else [loss]
        for a in on_graph:
            means.append(self._weighted(a, a.term.penalize(clean), clean))
            report[a.name] = means[-1].detach()
        if at_once and isinstance(total, Taken) and loss is not None:
            # One backward gives the parameters' gradient and g together.
            (g,) = total.add_with(_total(loss), [clean.require_leaf()])
            clean.keep_gradient(None if g is None else g * (len(g) // draws.groups()))
        elif means:
            total.add(_total(sum(means[1:], start=means[0])))
        if isinstance(total, Taken):
            clean.settle()
        for a in apart:
            hit = found[a.name] if a.name in found else a.term.search(clean)
            penalty = a.term.penalize(clean, hit)
            value = self._weighted(a, penalty, clean)
            report[a.name] = value.detach()
            if penalty.learns is None or penalty.parameters is None:
                total.add(_total(value))
            else:
                total.add_learning(_total(value), penalty.parameters, penalty.learns)
        parts = [*report.values(), *([] if loss is None else [loss.detach()])]
        report["loss"] = sum(parts, start=clean.x.new_zeros(()))
        return report

    def _weighted(self, acting: _Acting, penalty: Penalty, clean: CleanPass) -> Tensor:
        if self._watching() and self.alarm is not None:
            learns = clean.x.requires_grad or any(
                p.requires_grad for part in (self.model, acting.term) for p in part.parameters()
            )
            self.alarm.watch(acting.name, penalty, learns)
        return acting.weight * draws.group_means(penalty.value)

    def _watching(self) -> bool:
        return self.alarm is not None and torch.is_grad_enabled() and self.training


def _total(means: Tensor) -> Tensor:
    """The sum over the groups of rows."""
    return means.sum() if means.dim() else means


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
