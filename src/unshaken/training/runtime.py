"""Where a run computes: one process and one device, or many of either through Fabric."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from .checkpoint import CheckpointError
from .config import TrainingConfig
from .feed import Batch

if TYPE_CHECKING:
    from ..objective import Objective

__all__ = ["DirectRuntime", "Runtime", "make_runtime", "on_main"]

_T = TypeVar("_T")


class Runtime(Protocol):
    """What the loop asks of the machinery below it."""

    device: torch.device
    rank: int
    world_size: int

    def setup(self, objective: Objective, optimizer: Optimizer) -> None:
        """Take over the objective and its optimizer; both are on the device already."""

    def loss(self, batch: Batch) -> Tensor:
        """One forward pass of the whole objective."""

    def backward(self, loss: Tensor) -> None:
        """The one backward pass."""

    def unscale(self) -> None:
        """Undo the loss scale of half precision in the gradients, so that they can be clipped."""

    def step(self) -> None:
        """One step of the optimizer."""

    def without_sync(self) -> AbstractContextManager[None]:
        """Inside, gradients are not exchanged: more batches of the same step follow."""

    def gather(self, value: Any) -> list[Any]:
        """The plain value of every process, in the order of their ranks, on all of them."""

    def state_dict(self) -> dict[str, Any]:
        """Plain state of the machinery itself (the loss scale)."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""


class DirectRuntime:
    """One process on one device: plain torch calls, nothing to import, nothing to wait for."""

    rank = 0
    world_size = 1

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def setup(self, objective: Objective, optimizer: Optimizer) -> None:
        self._objective: Callable[..., Tensor] = objective
        self._optimizer = optimizer

    def loss(self, batch: Batch) -> Tensor:
        return self._objective(
            batch.x,
            batch.y,
            unlabeled=batch.unlabeled,
            index=batch.index,
            labeled_index=batch.labeled_index,
        )

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def unscale(self) -> None:
        pass

    def step(self) -> None:
        self._optimizer.step()

    def without_sync(self) -> AbstractContextManager[None]:
        return nullcontext()

    def gather(self, value: Any) -> list[Any]:
        return [value]

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def on_main(runtime: Runtime, action: Callable[[], _T]) -> _T:
    """Do something in the first process only and give all of them what it returned.

    Raises:
        CheckpointError: ``action`` raised one; it is raised in every process, so that none waits
            for the others.
    """
    failed: CheckpointError | None = None
    value: _T | None = None
    if runtime.rank == 0:
        try:
            value = action()
        except CheckpointError as error:
            failed = error
    sentence, value = runtime.gather((None if failed is None else str(failed), value))[0]
    if failed is not None:
        raise failed
    if sentence is not None:
        raise CheckpointError(sentence)
    return value


def make_runtime(config: TrainingConfig, device: str | torch.device | None = None) -> Runtime:
    """The runtime that the environment and the precision call for.

    ``torchrun`` announces several processes in the environment. Fabric takes seconds to import,
    so one process in full precision does without it.

    Args:
        config: its precision decides.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``; None takes a GPU where there is one.

    Raises:
        ValueError: the device is unknown or not there.
    """
    chosen = _device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        if str(chosen) == "cuda":
            # With its number: tensors know theirs, and "cuda" alone would not equal it.
            chosen = torch.device("cuda", torch.cuda.current_device())
        if config.precision in ("32", "64"):
            return DirectRuntime(chosen)
    from .fabric import FabricRuntime

    return FabricRuntime(config, chosen)


def _device(name: str | torch.device | None) -> torch.device:
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device must be 'cpu', 'cuda' or 'cuda:N', got {name!r}") from error
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device must be 'cpu', 'cuda' or 'cuda:N', got {name!r}")
    if device.type == "cuda":
        found = torch.cuda.device_count()
        if (device.index or 0) >= found:
            raise ValueError(f"device {str(name)!r} is not there: torch sees {found} GPUs")
    return device
