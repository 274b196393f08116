"""The random numbers that adversaries draw: one row for each example of a batch.

By default they come from torch's global generator of the device, as users of ``manual_seed``
expect. A training loop whose batch is shared out over several processes opens :func:`shared`:
then every process draws the rows of the whole batch from equal generators and takes its own, so
that the result does not depend on how many processes there are.

A training loop that trains several networks as one opens :func:`grouped`: then a batch holds one
group of rows for each network, one after the other, and each group draws from a generator of its
own what it would draw alone. What is taken over a whole batch is taken over each group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from unshaken import tape


@dataclass(frozen=True)
class Generators:
    """Generators whose states are taken and put back together, as if they were one.

    Attributes:
        drawing: what adversaries draw from, one for each group of rows.
        ambient: what the network's own layers draw from in place of torch's global generator.
    """

    drawing: tuple[torch.Generator, ...]
    ambient: tuple[torch.Generator, ...] = ()

    def get_state(self) -> list[Tensor]:
        """The state of each of them."""
        return [each.get_state() for each in (*self.drawing, *self.ambient)]

    def set_state(self, states: Sequence[Tensor]) -> None:
        """The inverse of :meth:`get_state`."""
        for each, state in zip((*self.drawing, *self.ambient), states, strict=True):
            each.set_state(state)


@dataclass(frozen=True)
class Shares:
    """Generators that all processes keep equal, and this process's place among them."""

    generators: Generators
    rank: int = 0
    processes: int = 1


_SHARES: ContextVar[Shares | None] = ContextVar("shares", default=None)


def _shares() -> Shares | None:
    # Compiled code is handed its numbers and its groups, and knows one process only.
    return None if torch.compiler.is_compiling() else _SHARES.get()


@contextmanager
def shared(generator: torch.Generator, rank: int = 0, processes: int = 1) -> Iterator[None]:
    """Inside, draws come from ``generator`` (of the batches' device) for all processes at once.

    Args:
        generator: in the same state in every process.
        rank: which equal share of the batch's rows is this process's, from 0.
        processes: how many shares there are.
    """
    with _inside(Shares(Generators((generator,)), rank, processes)):
        yield


@contextmanager
def grouped(
    drawing: Sequence[torch.Generator], ambient: Sequence[torch.Generator] = ()
) -> Iterator[None]:
    """Inside, a batch is ``len(drawing)`` equal groups of rows, each with draws of its own.

    Args:
        drawing: for each group what :func:`shared` takes.
        ambient: for each group what takes the place of torch's global generator, where layers of
            the network ask for it by :func:`bernoulli`.
    """
    with _inside(Shares(Generators(tuple(drawing), tuple(ambient)))):
        yield


@contextmanager
def _inside(shares: Shares) -> Iterator[None]:
    token = _SHARES.set(shares)
    try:
        yield
    finally:
        _SHARES.reset(token)


def generator() -> Generators | None:
    """The generators that draws come from, or None for the global one."""
    shares = _shares()
    return None if shares is None else shares.generators


def processes() -> int:
    """How many processes share a batch; 1 outside :func:`shared`."""
    shares = _shares()
    return 1 if shares is None else shares.processes


def rank() -> int:
    """Which of the processes that share a batch this is, from 0."""
    shares = _shares()
    return 0 if shares is None else shares.rank


def groups() -> int:
    """How many equal groups of rows a batch consists of; 1 outside :func:`grouped`."""
    if torch.compiler.is_compiling():
        return tape.groups()
    shares = _shares()
    return 1 if shares is None else len(shares.generators.drawing)


def group_means(values: Tensor) -> Tensor:
    """The mean over each group's rows: a scalar where there is one group, else ``(groups,)``."""
    count = groups()
    return values.mean() if count == 1 else values.reshape(count, -1).mean(1)


def to_rows(values: Tensor, rows: int) -> Tensor:
    """What each group has, ``(groups, ...)``, for each of its rows: ``(rows, ...)``."""
    each = values.unsqueeze(1).expand(-1, rows // len(values), *values.shape[1:])
    return each.reshape(rows, *values.shape[1:])


def normal(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Standard normal numbers; ``shape[0]`` counts this process's examples."""
    return tape.answer(_normal, shape, dtype, device)


def uniform(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Uniform numbers in [0, 1); ``shape[0]`` counts this process's examples."""
    return tape.answer(_uniform, shape, dtype, device)


def common(count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Uniform numbers that all rows of a group, and all processes, have in common.

    Returns:
        ``(groups, count)``.
    """
    return tape.answer(_common, (count,), dtype, device)


def common_beta(alpha: float, count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers of Beta(α, α), shared as those of :func:`common`: its quantiles at such numbers."""
    return tape.answer(partial(_common_beta, alpha), (count,), dtype, device)


def bernoulli(share: float, like: Tensor) -> Tensor:
    """Ones with probability ``share`` and else zeros, like ``like``, from the ambient generators.

    Each group gets the numbers that ``bernoulli_`` would draw for it alone.
    """
    found = generator()
    ambient = () if found is None else found.ambient
    noise = torch.empty_like(like)
    for part, each in zip(noise.chunk(max(1, len(ambient))), ambient or (None,), strict=True):
        part.bernoulli_(share, generator=each)
    return noise


def mean_over_processes(mean: Tensor) -> Tensor:
    """The whole batch's mean, from this process's; its gradient is that of the own share.

    DistributedDataParallel averages the gradients of the processes, which makes their sum that
    of the whole batch's mean. Outside :func:`shared` it is ``mean`` itself.
    """
    shares = _shares()
    if shares is None or shares.processes == 1:
        return mean
    whole = mean.detach().clone()
    torch.distributed.all_reduce(whole)
    return mean + (whole / shares.processes - mean.detach())


Gather = Callable[[Tensor], Tensor]


def gatherer() -> Gather:
    """Makes the whole batch's rows of this process's, also when called after :func:`shared`."""
    shares = _shares()
    if shares is None or shares.processes == 1:
        return lambda rows: rows
    count = shares.processes

    def gather(rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(count)]
        torch.distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    return gather


def collector() -> Gather:
    """:func:`gatherer`, and in a step under the caller's own DistributedDataParallel as well.

    For what a term remembers of each example: there the buffers of one process are sent to all
    others, so that all must have learned from the rows of all. The processes' rows may differ in
    number; each must call the result.
    """
    if torch.compiler.is_compiling() or _shares() is not None:
        return gatherer()
    wrapped = DistributedDataParallel._get_active_ddp_module()
    if wrapped is None or wrapped.process_group.size() == 1:
        return gatherer()
    group = wrapped.process_group

    def collect(rows: Tensor) -> Tensor:
        counts = [
            torch.empty(1, dtype=torch.int64, device=rows.device) for _ in range(group.size())
        ]
        torch.distributed.all_gather(counts, counts[0].new_tensor([len(rows)]), group)
        lengths = [int(count) for count in counts]
        padded = rows.new_zeros(max(lengths), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in lengths]
        torch.distributed.all_gather(parts, padded, group)
        return torch.cat([part[:n] for part, n in zip(parts, lengths, strict=True)])

    return collect


def _normal(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    return _rows(torch.randn, shape, dtype, device)


def _uniform(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    return _rows(torch.rand, shape, dtype, device)


def _common(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    found = generator()
    if found is None:
        return torch.rand(1, *shape, dtype=dtype, device=device)
    return torch.stack(
        [torch.rand(shape, generator=g, dtype=dtype, device=device) for g in found.drawing]
    )


def _common_beta(
    alpha: float, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    from scipy.special import betaincinv  # a tenth of a second, for those who want it

    uniform = _common(shape, torch.float64, device).cpu().numpy()
    return torch.from_numpy(betaincinv(alpha, alpha, uniform)).to(device, dtype)


def _rows(
    draw: Callable[..., Tensor], shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    shares = _shares()
    if shares is None:
        return draw(shape, dtype=dtype, device=device)
    drawing = shares.generators.drawing
    if len(drawing) > 1:
        part = (shape[0] // len(drawing), *shape[1:])
        return torch.cat([draw(part, generator=g, dtype=dtype, device=device) for g in drawing])
    rows, start = shape[0], shape[0] * shares.rank
    whole = (rows * shares.processes, *shape[1:])
    drawn = draw(whole, generator=drawing[0], dtype=dtype, device=device)
    return drawn[start : start + rows]
