"""The whole training objective: a model and its regularizers, with one clean pass for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointError

from unshaken import checks
from unshaken.adversaries.base import Penalty
from unshaken.adversaries.learned import MaskPlayer
from unshaken.alarm import Alarm
from unshaken.autograd import BATCH_NORM_POLICIES
from unshaken.divergences import Loss, as_criterion
from unshaken.gradients import Deferred, Sum, Taken
from unshaken.kernels import as_it_is
from unshaken.passes import CleanPass, tensor_of
from unshaken.regularizer import Regularizer, Term
from unshaken.step import Acting, Batch, Step, Watch, supervised_means, total_of

if TYPE_CHECKING:
    from unshaken.whole_step import WholeStep

FEW = 1 << 16
"""Parameters, and inputs of a batch, up to which memory is no matter and a second call of autograd
costs more than a pass over the network."""


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
            :class:`~unshaken.divergences.Divergence`, ``torch.nn.CrossEntropyLoss`` with options of
            its own, or callable ``(outputs, y) -> (N, ...)``.
        batch_norm: policy of the clean pass over the unlabeled batch.
        alarm: warn, once for each term, when it does nothing (:class:`unshaken.alarm.Alarm`).
        take_gradients: take each term's gradient in the parameters as soon as the term is known
            and free its graph; ``backward()`` hands the gradients out, once. Switch it off to
            differentiate the loss in something else than the parameters, or twice. Under float16
            autocast, for small networks, for sharded parameters and those with hooks, and where x
            comes from an encoder, it is off by itself.

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
        criterion: Loss | None = None,
        batch_norm: str = "batch",
        alarm: bool = True,
        take_gradients: bool = True,
    ) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
        if isinstance(model, Term):
            raise TypeError(
                f"model must come first and the regularizers after it, got {type(model).__name__}"
            )
        for k, term in enumerate(regularizers):
            if not isinstance(term, Term):
                raise TypeError(
                    "regularizers must be unshaken regularizers, one after the other (a list is "
                    f"unpacked with *), got {type(term).__name__}"
                )
            if any(term is other for other in regularizers[:k]):
                raise ValueError(
                    f"regularizers must differ, got the same {term.name!r} twice; give it "
                    "twice the weight instead"
                )
        self.model = model
        self.regularizers = nn.ModuleList(regularizers)
        self.criterion = as_criterion(criterion)
        self.batch_norm = checks.choice(batch_norm, "batch_norm", BATCH_NORM_POLICIES)
        self.alarm = Alarm() if alarm else None
        self.take_gradients = take_gradients
        self._whole_step: WholeStep | None = None
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
            RuntimeError: where activation checkpointing recomputes a layer in another state. In
                small networks torch's own error comes instead, in ``backward()``.
        """
        batch = Batch(x, y, unlabeled, index, labeled_index)
        return as_it_is(self._loss, batch) if torch.compiler.is_compiling() else self._loss(batch)

    def _loss(self, batch: Batch) -> Tensor:
        x, y, unlabeled = batch.x, batch.y, batch.unlabeled
        checks.inputs(x)
        if not self.regularizers and self._whole_step is None:
            return self._plain(x, y)
        if unlabeled is not None:
            checks.inputs(unlabeled, "unlabeled")
        acting = self._acting()
        for part in acting:
            part.term.check(x if part.term.labeled or unlabeled is None else unlabeled)
        loss = self._compiled(acting, batch)
        if loss is not None:
            return loss
        total = self._sum(batch)
        step = self.step(self._watch if self._watching() else None)
        try:
            clean, free, report = step.add_all(total, acting, batch)
        except CheckpointError as error:
            raise RuntimeError(
                "activation checkpointing recomputes a layer of the model in another state than it "
                "had in its pass. For batch norm give the terms batch_norm='update' (their passes "
                "then move its running statistics); for attention under a term that differentiates "
                "twice, as VMT, run the whole step under torch.nn.attention.sdpa_kernel("
                "SDPBackend.MATH); or leave the layer out of the checkpoints"
            ) from error
        if self._watching() and self.alarm is not None and self.alarm.due():
            for part in acting:
                if isinstance(part.term, Regularizer):
                    own = part.term.labeled or unlabeled is None
                    self.alarm.probe(part.name, part.term, clean if own else free)
        result = total.loss()
        if not acting and not result.requires_grad:
            result.requires_grad_()  # no term's turn, and no labels: going backward does nothing
        self.report = report
        return result

    def compile(self, **options: Any) -> None:
        """Run whole training steps as compiled code from now on.

        Passes, searches, terms and the gradients in the parameters become one graph, for each
        shape of batch and choice of terms; small networks gain most, as their time goes into the
        calls between the layers. Numbers are those of the plain step but for rounding. The first
        call of a shape takes seconds to minutes. What cannot be compiled runs as it is, with a
        :class:`~unshaken.whole_step.WholeStepWarning` that says why: networks that draw random
        numbers of their own (dropout), several processes, code that torch.compile cannot trace.

        Args:
            options: of :func:`torch.compile`, as ``mode="max-autotune"``.
        """
        from unshaken.whole_step import WholeStep

        self._whole_step = WholeStep(**options)

    def _plain(self, x: Tensor, y: Tensor | None) -> Tensor:
        """The supervised loss alone, at the cost of a hand-written step."""
        if y is None:
            raise ValueError("y must hold labels where there are no regularizers, got y=None")
        means = supervised_means(self.criterion, tensor_of(self.model(x), len(x)), y)
        self.report = {"loss": means.detach()}
        return total_of(means)

    def parameter_groups(self, lr: float, **options: Any) -> list[dict[str, Any]]:
        """Groups for an optimizer: the model at ``lr``, each mask player at its own rate.

        ``options`` (weight decay, ...) apply to the model's group, which holds the criterion's
        parameters, too; players have no weight decay.
        """
        # A criterion may have parameters, as a temperature, or hold the model itself.
        taken = dict.fromkeys([*self.model.parameters(), *self.criterion.parameters()])
        groups: list[dict[str, Any]] = [{"params": list(taken), "lr": lr, **options}]
        for term in self._terms():
            players = [p for p in term.parameters() if p.requires_grad and p not in taken]
            if players:
                player = term.adversary if isinstance(term, Regularizer) else None
                rate = player.learning_rate if isinstance(player, MaskPlayer) else lr
                groups.append({"params": players, "lr": rate, "weight_decay": 0.0})
        return groups

    def end_epoch(self) -> None:
        """Let the alarm judge the epoch that ends here; optional."""
        if self.alarm is not None:
            self.alarm.end_epoch()

    def _terms(self) -> list[Term]:
        return [term for term in self.regularizers if isinstance(term, Term)]

    def _acting(self) -> list[Acting]:
        """The terms whose turn it is; asking counts the call."""
        turns = [(name, t, t.turn()) for name, t in zip(self.names, self._terms(), strict=True)]
        return [Acting(name, term, turn * term.weight) for name, term, turn in turns if turn]

    def step(self, watch: Watch | None = None) -> Step:
        """How this objective's parts become one sum."""
        return Step(self.model, self.criterion, self.batch_norm, self.names, watch)

    def _compiled(self, acting: Sequence[Acting], batch: Batch) -> Tensor | None:
        """The loss by compiled code; None where this step has to run as it is."""
        if self._whole_step is None:
            return None
        if not (self.training and torch.is_grad_enabled() and self.take_gradients):
            return None
        if self.alarm is not None and (
            # It looks at a term's gradient until that was seen, and now and then at adversaries.
            self.alarm.next_is_due or any(self.alarm.listens(a.name) for a in acting)
        ):
            return None
        if any(isinstance(a.term, Regularizer) and not a.term.still for a in acting):
            return None  # each radius would be code of its own
        found = self._whole_step(self, acting, batch)
        if found is None:
            return None
        if self.alarm is not None:
            self.alarm.due()
        loss, self.report = found
        return loss

    def _sum(self, batch: Batch) -> Sum:
        """Takes each term's gradient at once, where nothing forbids it."""
        x, device = batch.x, batch.x.device.type
        # Unscaled gradients would underflow in float16; the caller's scaler comes later.
        half = torch.is_autocast_enabled(device) and (
            torch.get_autocast_dtype(device) == torch.float16
        )
        # An encoder in front of x, or a teacher that gives y, gets its gradient through an ordinary
        # graph.
        given = (x, batch.unlabeled, batch.y)
        encoded = any(isinstance(part, Tensor) and part.requires_grad for part in given)
        if half or encoded or not self.take_gradients or not torch.is_grad_enabled():
            return Deferred(x)
        leaves = [p for p in self.parameters() if p.requires_grad]
        # Sharded parameters (FSDP) get their gradients in a backward pass of their own, lazy ones
        # have no size yet, and a hook would be called for each term and once more in the end.
        if any(type(p) not in (nn.Parameter, Tensor) or p._backward_hooks for p in leaves):
            return Deferred(x)
        if sum(p.numel() for p in leaves) < FEW and x.numel() < FEW:
            return Deferred(x)
        return Taken(x, leaves)

    def _watching(self) -> bool:
        return self.alarm is not None and torch.is_grad_enabled() and self.training

    def _watch(self, acting: Acting, penalty: Penalty, clean: CleanPass) -> None:
        learns = clean.x.requires_grad or any(
            p.requires_grad for part in (self.model, acting.term) for p in part.parameters()
        )
        if self.alarm is not None and not (acting.term.waits and self.alarm.in_first_epoch):
            self.alarm.watch(acting.name, penalty, learns)


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
