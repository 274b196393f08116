"""A whole step as compiled code: passes, searches, terms, and the gradients in the parameters.

``torch.compile`` of a network by itself cannot be differentiated twice, and leaves what lies
between the passes to Python. Here the inner gradients are traced along with everything else, so
that one graph remains. What reads values or draws numbers is done before it.
"""

from __future__ import annotations

import copy
import functools
import types
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch._dynamo import config as dynamo
from torch._dynamo.exc import TorchDynamoException

from unshaken import checks, draws, tape
from unshaken.autograd import RandomState, differentiable_attention
from unshaken.gradients import Taken, hand_out
from unshaken.objective import Objective
from unshaken.regularizer import Regularizer, Term
from unshaken.step import Acting, Batch

Found = tuple[Tensor, dict[str, Tensor], list[Tensor | None]]


class WholeStepWarning(UserWarning):
    """Steps run as they are, because they cannot be compiled as a whole."""


@dataclass(frozen=True)
class _Compiled:
    """The code for batches of one shape.

    Attributes:
        run: as :func:`_step`.
        requests: the random numbers that it takes.
        outputs: as the network's, without values: what labels are held against.
    """

    run: Callable[..., Found]
    requests: Sequence[tape.Request]
    outputs: Tensor


class WholeStep:
    """Compiles the steps of objectives, once for each shape of batch and choice of terms.

    Args:
        options: of :func:`torch.compile`.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._found: dict[tuple[object, ...], _Compiled | None] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        # Code belongs to its objective and process: copies compile their own.
        return functools.partial(WholeStep, **self._options), ()

    def __call__(
        self, objective: Objective, acting: Sequence[Acting], batch: Batch
    ) -> tuple[Tensor, dict[str, Tensor]] | None:
        """The loss and the report; None where this step has to run as it is."""
        if draws.groups() > 1 or draws.processes() > 1:
            return None
        key = (tuple(a.name for a in acting), *map(_kind, _tensors(batch)))
        if key not in self._found:
            self._found[key] = self._prepare(objective, acting, batch)
        compiled = self._found[key]
        if compiled is None:
            return None
        if batch.y is not None:
            batch = replace(batch, y=checks.labels(batch.y, len(batch.x), compiled.outputs))
        x = batch.x
        drawn = [request() for request in compiled.requests]
        weights = torch.tensor([float(a.weight) for a in acting]).to(x.device, x.dtype)
        leaves = [p for p in objective.parameters() if p.requires_grad]
        names, terms = [a.name for a in acting], [a.term for a in acting]
        try:
            total, report, gradients = compiled.run(
                objective, names, terms, weights, _tensors(batch), drawn, leaves
            )
        except TorchDynamoException as error:
            self._found[key] = None
            _warn(_reason(error))
            return None
        return hand_out(total, leaves, gradients), report

    def _prepare(
        self, objective: Objective, acting: Sequence[Acting], batch: Batch
    ) -> _Compiled | None:
        """Rehearse the step on a copy, to see what it draws and what the network gives."""
        if not hasattr(dynamo, "trace_autograd_ops"):
            _warn(f"torch {torch.__version__} cannot trace gradients")
            return None
        if any(t is not None and t.requires_grad for t in _tensors(batch)):
            _warn("the gradient in x is wanted, too")
            return None
        free = batch.x if batch.unlabeled is None else batch.unlabeled
        for a in acting:
            if isinstance(a.term, Regularizer):
                a.term.perturbation.prepare(batch.x if a.term.labeled else free)
        understudy = copy.deepcopy(objective)
        terms: dict[Any, Any] = dict(
            zip(objective.regularizers, understudy.regularizers, strict=True)
        )
        cast = [replace(a, term=terms[a.term]) for a in acting]
        state = RandomState(batch.x.device)
        try:
            with tape.written_down() as written:
                total = Taken(batch.x, [p for p in understudy.parameters() if p.requires_grad])
                clean, _, _ = understudy.step().add_all(total, cast, batch)
                outputs = clean.logits.to("meta")
        finally:
            state.restore()
        if written.others_drew:
            _warn("the network draws random numbers, as dropout does")
            return None
        # torch.compile counts versions by code object: each has its own.
        code = types.FunctionType(_step.__code__.replace(), globals(), "step")
        run = _traceable(torch.compile(code, fullgraph=True, dynamic=False, **self._options))
        return _Compiled(run, written.requests, outputs)


def _traceable(compiled: Callable[..., Found]) -> Callable[..., Found]:
    """Code whose tracing may meet inner gradients and attention; set only where it is traced."""
    traced = False

    def run(*arguments: Any) -> Found:
        nonlocal traced
        if traced:
            with suppress(TorchDynamoException):  # something else changed: it is traced again
                return compiled(*arguments)
        with dynamo.patch(trace_autograd_ops=True), differentiable_attention():
            found = compiled(*arguments)
        traced = True
        return found

    return run


def _step(
    objective: Objective,
    names: list[str],
    terms: list[Term],
    weights: Tensor,
    tensors: tuple[Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None],
    drawn: list[Tensor],
    leaves: list[Tensor],
) -> Found:
    """One step without its checks: the loss, the report, the gradient in each leaf."""
    tape.hand(drawn)
    batch = Batch(*tensors)
    total = Taken(batch.x, leaves)
    acting = [Acting(*each) for each in zip(names, terms, weights.unbind(), strict=True)]
    _, _, report = objective.step().add_all(total, acting, batch)
    tape.hand([])
    return total.total, report, total.gradients


def _tensors(batch: Batch) -> tuple[Tensor | None, ...]:
    return batch.x, batch.y, batch.unlabeled, batch.index, batch.labeled_index


def _kind(tensor: Tensor | None) -> object:
    return None if tensor is None else (tensor.shape, tensor.dtype, tensor.device)


def _reason(error: TorchDynamoException) -> str:
    """The first lines of torch's own account, which go on for pages."""
    return " ".join(line.strip() for line in str(error).splitlines()[:2]) or type(error).__name__


def _warn(reason: str) -> None:
    sentence = f"compile: steps run as they are, because {reason}"
    warnings.warn(sentence, WholeStepWarning, stacklevel=4)
