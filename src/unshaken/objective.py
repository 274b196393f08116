"""The whole training objective: a model and its regularizers, with one clean pass for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from unshaken import checks
from unshaken.adversaries.base import Penalty
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
        for term in regularizers:
            if not isinstance(term, Term):
                raise TypeError(f"regularizers must be unshaken regularizers, got {term!r}")
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
        """The last call's loss and weighted terms by name, detached scalars."""
        _name_apart(list(regularizers))

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
            checks.inputs(unlabeled, "unlabeled")
            free = CleanPass(self.model, unlabeled, index=index, policy=self.batch_norm)
            free_needs = {term.needs for term in terms if not term.labeled}
            if "logits" in free_needs:
                free.attach(track_input="linearization" in free_needs)
        for term in terms:
            term.check((clean if term.labeled else free).x)
        total: Tensor = self._supervised(clean, terms)
        report = {}
        watching = self.alarm is not None and torch.is_grad_enabled() and self.training
        for term in terms:
            penalty = term.penalize(clean if term.labeled else free)
            if watching:
                self._watch(term, penalty)
            value = term.weight * penalty.value.mean()
            report[term.name] = value.detach()
            total = total + value
        if watching:
            self._probe(terms, clean, free)
        self.report = {"loss": total.detach(), **report}
        return total

    def _plain(self, x: Tensor, y: Tensor | None) -> Tensor:
        """The supervised loss alone, at the cost of a hand-written step."""
        total = self._supervised(CleanPass(self.model, x, y, logits=self.model(x)), [])
        self.report = {"loss": total.detach()}
        return total

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

    def _supervised(self, clean: CleanPass, terms: list[Term]) -> Tensor:
        """The mean supervised loss; its gradient is taken at once where a term needs part of it."""
        logits = clean.attached_logits
        if clean.y is None:
            return logits.new_zeros((), dtype=torch.promote_types(logits.dtype, torch.float32))
        target = self.criterion.target(logits, clean.y)
        if not self._takes_gradient_now(terms, logits):
            return self.criterion.mean(logits, target)
        values: Tensor = self.criterion(logits, target)
        mean = values.mean()
        # One backward gives the parameters' gradient and g together: no pass is made twice.
        leaves: list[Tensor] = [p for p in self.parameters() if p.requires_grad]
        leaf = clean.leaf
        found = torch.autograd.grad(
            values.sum(),
            [*leaves] if leaf is None else [leaf, *leaves],
            allow_unused=True,
            retain_graph=any(t.needs in ("logits", "linearization") for t in terms),
        )
        if found[0] is None:
            raise ValueError(
                "model gives outputs that do not depend on x through autograd; a regularizer "
                "needs a model whose input can be differentiated"
            )
        clean.keep_gradient(found[0].detach())
        if leaf is clean.x:
            leaves, gradients = [clean.x, *leaves], list(found)
        else:
            gradients = list(found[1:])
        return hand_out(mean, leaves, [None if g is None else g / len(values) for g in gradients])

    def _takes_gradient_now(self, terms: list[Term], logits: Tensor) -> bool:
        needs = [term.needs for term in terms if term.labeled]
        half = torch.is_autocast_enabled(logits.device.type) and (
            # Unscaled gradients would underflow in float16; the caller's scaler comes later.
            torch.get_autocast_dtype(logits.device.type) == torch.float16
        )
        return (
            "input" in needs
            and "input-graph" not in needs
            and type(self.criterion) is CrossEntropy
            and logits.requires_grad
            and not half
        )

    def _watch(self, term: Term, penalty: Penalty) -> None:
        if self.alarm is not None:
            self.alarm.watch(term, penalty)

    def _probe(self, terms: list[Term], clean: CleanPass, free: CleanPass) -> None:
        if self.alarm is not None and self.alarm.due():
            for term in terms:
                if isinstance(term, Regularizer):
                    self.alarm.probe(term, clean if term.labeled else free)


def _name_apart(terms: list[Term]) -> None:
    """Two terms of one name become ``name`` and ``name-2``."""
    seen: dict[str, int] = {"loss": 1}
    for term in terms:
        seen[term.name] = seen.get(term.name, 0) + 1
        if seen[term.name] > 1:
            term.name = f"{term.name}-{seen[term.name]}"
