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
from unshaken.autograd import RandomState
from unshaken.gradients import Taken, hand_out
from unshaken.kernels import differentiable_attention
from unshaken.objective import Objective
from unshaken.regularizer import Regularizer, Term
from unshaken.step import Acting, Batch

Found = tuple[Tensor, dict[str, Tensor], list[Tensor | None]]


class WholeStepWarning(UserWarning):
    """Steps run as they are, because they cannot be compiled as a whole."""


@dataclass
class _Code:
    """The code for batches of one shape.

    Attributes:
        compiled: :func:`_step` for them.
        requests: the random numbers that it takes.
        ranges: which parts of the batch must lie in which range (:data:`unshaken.checks.Look`).
        traced: whether it ran before.
    """

    compiled: Callable[..., Found]
    requests: Sequence[tape.Request]
    ranges: Sequence[tuple[int, int, str, int | None]]
    traced: bool = False

    def run(self, *arguments: Any) -> Found:
        """Do it; what tracing may meet, inner gradients and attention, is set only for that."""
        if self.traced:
            with suppress(TorchDynamoException):  # something else changed: it is traced again
                return self.compiled(*arguments)
        with dynamo.patch(trace_autograd_ops=True), differentiable_attention():
            found = self.compiled(*arguments)
        self.traced = True
        return found


class WholeStep:
    """Compiles the steps of objectives, once for each shape of batch and choice of terms.

    Args:
        options: of :func:`torch.compile`.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._found: dict[tuple[object, ...], _Code | None] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        # Code belongs to its objective and process: copies compile their own.
        return functools.partial(WholeStep, **self._options), ()

    def __call__(
        self, objective: Objective, acting: Sequence[Acting], batch: Batch
    ) -> tuple[Tensor, dict[str, Tensor]] | None:
        """The loss and the report; None where this step has to run as it is."""
        x = batch.x
        mixed = torch.is_autocast_enabled(x.device.type)
        if mixed or draws.processes() > 1:
            return None
        key = (draws.groups(), tuple(a.name for a in acting), *map(_kind, _tensors(batch)))
        if key not in self._found:
            self._found[key] = self._prepare(objective, acting, batch)
        code = self._found[key]
        if code is None:
            return None
        tensors = list(_tensors(batch))
        for k, limit, name, ignore in code.ranges:
            tensors[k] = checks.in_range(_integers(tensors[k]), limit, name, ignore)
        state = None if code.traced else RandomState(x.device)
        drawn = [request() for request in code.requests]
        weights = _weights(acting, x)
        leaves = [p for p in objective.parameters() if p.requires_grad]
        names, terms = [a.name for a in acting], [a.term for a in acting]
        try:
            total, report, gradients = code.run(
                objective, names, terms, weights, tensors, drawn, draws.groups(), leaves
            )
        except TorchDynamoException as error:
            self._found[key] = None
            if state is not None:
                state.restore()
            _warn(_reason(error))
            return None
        return hand_out(total, leaves, gradients), report

    def _prepare(
        self, objective: Objective, acting: Sequence[Acting], batch: Batch
    ) -> _Code | None:
        """Rehearse the step on a copy, to see what it draws and which ranges it looks at."""
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
        whole = Batch(*map(_integers, _tensors(batch)))
        state = RandomState(batch.x.device)
        try:
            with tape.written_down() as written, checks.written_down() as looked:
                total = Taken(batch.x, [p for p in understudy.parameters() if p.requires_grad])
                understudy.step().add_all(total, cast, whole)
        finally:
            state.restore()
        if written.others_drew:
            _warn("the network draws random numbers, as dropout does")
            return None
        if total.beyond:
            _warn("the loss depends on tensors that are no parameters of the objective")
            return None
        ranges = [
            (k, limit, name, ignore)
            for k, tensor in enumerate(_tensors(whole))
            for values, limit, name, ignore in looked
            if values is tensor
        ]
        # torch.compile counts versions by code object: each has its own.
        own = types.FunctionType(_step.__code__.replace(), globals(), "step")
        compiled = torch.compile(own, fullgraph=True, dynamic=False, **self._options)
        return _Code(compiled, written.requests, list(dict.fromkeys(ranges)))


def _step(
    objective: Objective,
    names: list[str],
    terms: list[Term],
    weights: Tensor,
    tensors: list[Any],
    drawn: list[Tensor],
    groups: int,
    leaves: list[Tensor],
) -> Found:
    """One step without its checks: the loss, the report, the gradient in each leaf."""
    tape.hand(drawn, groups)
    batch = Batch(*tensors)
    total = Taken(batch.x, leaves)
    acting = [Acting(*each) for each in zip(names, terms, weights.unbind(), strict=True)]
    _, _, report = objective.step().add_all(total, acting, batch)
    tape.hand([])
    return total.total, report, total.gradients


def _weights(acting: Sequence[Acting], like: Tensor) -> Tensor:
    """The terms' weights, one number each, or one for each network of a stack."""
    if not acting:
        return like.new_empty(0)
    each = [torch.as_tensor(a.weight, dtype=torch.float64) for a in acting]
    return torch.stack(torch.broadcast_tensors(*each)).to(like.device, like.dtype)


def _tensors(batch: Batch) -> tuple[Tensor | None, ...]:
    return batch.x, batch.y, batch.unlabeled, batch.index, batch.labeled_index


def _integers(tensor: Any) -> Any:
    """Labels and indices of any integer type as the one that they are used in."""
    whole = isinstance(tensor, Tensor) and not tensor.is_floating_point()
    return tensor.long() if whole and tensor.dtype != torch.bool else tensor


def _kind(tensor: Tensor | None) -> object:
    return None if tensor is None else (tensor.shape, tensor.dtype, tensor.device)


def _reason(error: TorchDynamoException) -> str:
    """The first lines of torch's own account, which go on for pages."""
    return " ".join(line.strip() for line in str(error).splitlines()[:2]) or type(error).__name__


def _warn(reason: str) -> None:
    sentence = f"compile: steps run as they are, because {reason}"
    warnings.warn(sentence, WholeStepWarning, stacklevel=4)
