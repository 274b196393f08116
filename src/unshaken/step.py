"""The supervised loss and the terms of one step, added up over shared clean passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from unshaken import draws
from unshaken.adversaries.base import Penalty
from unshaken.divergences import Divergence
from unshaken.gradients import Sum, Taken
from unshaken.passes import CleanPass
from unshaken.regularizer import Found, Regularizer, Term


@dataclass(frozen=True)
class Batch:
    """What a call of the objective is given."""

    x: Tensor
    y: Tensor | None = None
    unlabeled: Tensor | None = None
    index: Tensor | None = None
    labeled_index: Tensor | None = None


@dataclass(frozen=True)
class Acting:
    """A term whose turn it is, with its weight in this call."""

    name: str
    term: Term
    weight: float | Tensor

    @property
    def divergence(self) -> Divergence | None:
        """The divergence of its regularizer; None for a term that has none of its own."""
        return self.term.divergence if isinstance(self.term, Regularizer) else None

    def takes(self, divergence: Divergence) -> bool:
        """Whether its divergence is this one."""
        return self.divergence is not None and self.divergence.key == divergence.key


Watch = Callable[[Acting, Penalty, CleanPass], None]


@dataclass(frozen=True)
class Step:
    """How the parts of an objective become one sum.

    Attributes:
        model: the network.
        criterion: the supervised loss.
        policy: the batch-norm policy of the clean pass over the unlabeled batch.
        names: every term's name in the report.
        watch: is shown each penalty.
    """

    model: nn.Module
    criterion: Divergence
    policy: str
    names: Sequence[str]
    watch: Watch | None = None

    def add_all(
        self, total: Sum, acting: Sequence[Acting], batch: Batch
    ) -> tuple[CleanPass, CleanPass, dict[str, Tensor]]:
        """Add the supervised loss and the terms to ``total``.

        Returns:
            The clean passes over the labeled batch and over the one that label-free terms use, and
            the report.
        """
        x, unlabeled = batch.x, batch.unlabeled
        own = [a for a in acting if a.term.labeled or unlabeled is None]
        others = [a for a in acting if not (a.term.labeled or unlabeled is None)]
        clean = free = CleanPass(
            self.model,
            x,
            batch.y,
            index=batch.index if unlabeled is None else batch.labeled_index,
            policy=self.policy,
        )
        if unlabeled is not None:
            free = CleanPass(self.model, unlabeled, index=batch.index, policy=self.policy)
            total.pass_over(free.leaves)
        total.pass_over(clean.leaves)
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
        return clean, free, report

    def _supervised(self, clean: CleanPass) -> Tensor | None:
        """The mean supervised loss of each group of rows, None without labels."""
        if clean.y is None:
            return None
        logits = clean.attached_logits
        return supervised_means(self.criterion, logits, clean.y)

    def _add(
        self, total: Sum, clean: CleanPass, acting: list[Acting], loss: Tensor | None
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
        for a in on_graph:
            if a.term.needs == "input-graph" and a.divergence is not None:
                # Computed with its graph first, it also serves the terms that need it without.
                clean.input_gradient(a.divergence, create_graph=True)
        at_once = (
            isinstance(total, Taken)
            and loss is not None
            and bool(on_input)
            and not on_graph
            and all(a.takes(self.criterion) for a in on_input)
            and loss.requires_grad
        )
        for a in apart:
            if a.term.needs == "linearization" or (a.term.needs == "input" and not at_once):
                found[a.name] = a.term.search(_for_term(a, clean))
        means = [] if loss is None else [loss]
        for a in on_graph:
            means.append(self._weighted(a, a.term.penalize(_for_term(a, clean)), clean))
            report[a.name] = means[-1].detach()
        if at_once and isinstance(total, Taken) and loss is not None:
            # One backward gives the parameters' gradient and g together.
            (g,) = total.add_with(total_of(loss), [clean.require_leaf()])
            each = None if g is None else g * (len(g) // draws.groups())
            clean.keep_gradient(self.criterion, each)
        elif means:
            total.add(total_of(sum(means[1:], start=means[0])))
        if isinstance(total, Taken):
            clean.settle()
        for a in apart:
            hit = found[a.name] if a.name in found else a.term.search(_for_term(a, clean))
            penalty = a.term.penalize(_for_term(a, clean), hit)
            value = self._weighted(a, penalty, clean)
            report[a.name] = value.detach()
            if penalty.learns is None or penalty.parameters is None:
                total.add(total_of(value))
            else:
                total.add_learning(total_of(value), penalty.parameters, penalty.learns)
        parts = [*report.values(), *([] if loss is None else [loss.detach()])]
        report["loss"] = sum(parts, start=clean.x.new_zeros(()))
        return report

    def _weighted(self, acting: Acting, penalty: Penalty, clean: CleanPass) -> Tensor:
        if self.watch is not None:
            self.watch(acting, penalty, clean)
        return acting.weight * draws.group_means(penalty.value)


def _for_term(acting: Acting, clean: CleanPass) -> CleanPass:
    """The clean pass as a term sees it: what passes it makes follow its own policy."""
    own = acting.term.batch_norm
    return clean if own == clean.policy else clean.with_policy(own)


def supervised_means(criterion: Divergence, logits: Tensor, y: Tensor) -> Tensor:
    """The mean supervised loss of each group of rows; a scalar where there is one group."""
    target = criterion.target(logits, y)
    if draws.groups() == 1:
        mean: Tensor = criterion.mean(logits, target)
        return mean
    return draws.group_means(criterion(logits, target))


def total_of(means: Tensor) -> Tensor:
    """The sum over the groups of rows."""
    return means.sum() if means.dim() else means
