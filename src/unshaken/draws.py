"""The random numbers that adversaries draw: one row for each example of a batch.

By default they come from torch's global generator of the device, as users of ``manual_seed``
expect. A training loop whose batch is shared out over several processes opens :func:`shared`:
then every process draws the rows of the whole batch from equal generators and takes its own, so
that the result does not depend on how many processes there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Shares:
    """A generator that all processes keep equal, and this process's place among them."""

    generator: torch.Generator
    rank: int = 0
    processes: int = 1


_SHARES: ContextVar[Shares | None] = ContextVar("shares", default=None)


@contextmanager
def shared(generator: torch.Generator, rank: int = 0, processes: int = 1) -> Iterator[None]:
    """Inside, draws come from ``generator`` (of the batches' device) for all processes at once.

    Args:
        generator: in the same state in every process.
        rank: which equal share of the batch's rows is this process's, from 0.
        processes: how many shares there are.
    """
    token = _SHARES.set(Shares(generator, rank, processes))
    try:
        yield
    finally:
        _SHARES.reset(token)


def generator() -> torch.Generator | None:
    """The shared generator, or None for the global one."""
    shares = _SHARES.get()
    return None if shares is None else shares.generator


def normal(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Standard normal numbers; ``shape[0]`` counts this process's examples."""
    return _rows(torch.randn, shape, dtype, device)


def uniform(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Uniform numbers in [0, 1); ``shape[0]`` counts this process's examples."""
    return _rows(torch.rand, shape, dtype, device)


def common(count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Uniform numbers ``(count,)`` that all processes have in common."""
    return torch.rand(count, generator=generator(), dtype=dtype, device=device)


def mean_over_processes(mean: Tensor) -> Tensor:
    """The whole batch's mean, from this process's; its gradient is that of the own share.

    DistributedDataParallel averages the gradients of the processes, which makes their sum that
    of the whole batch's mean. Outside :func:`shared` it is ``mean`` itself.
    """
    shares = _SHARES.get()
    if shares is None or shares.processes == 1:
        return mean
    whole = mean.detach().clone()
    torch.distributed.all_reduce(whole)
    return mean + (whole / shares.processes - mean.detach())


def _rows(
    draw: Callable[..., Tensor], shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    shares = _SHARES.get()
    if shares is None:
        return draw(shape, dtype=dtype, device=device)
    rows, start = shape[0], shape[0] * shares.rank
    whole = (rows * shares.processes, *shape[1:])
    drawn = draw(whole, generator=shares.generator, dtype=dtype, device=device)
    return drawn[start : start + rows]
