"""Several processes, or mixed precision, on lightning-fabric; importing this takes seconds."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision, Precision
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor
from torch.optim import Optimizer

from .config import TrainingConfig
from .feed import Batch

if TYPE_CHECKING:
    from ..objective import Objective

__all__ = ["FabricRuntime"]


class _Mixed(MixedPrecision):
    """Autocast that leaves the inputs as they are.

    Fabric would round them to half precision first; the objective does its own arithmetic on
    them (image derivatives, perturbations) in float32.
    """

    def convert_input(self, data: Any) -> Any:
        return data


class FabricRuntime:
    """DDP over the processes that ``torchrun`` started, and mixed precision.

    The whole objective is the wrapped module and has one backward pass, which is what makes
    gradients taken inside it exact; ``static_graph`` would make them silently wrong.
    """

    def __init__(self, config: TrainingConfig, device: torch.device) -> None:
        world_size = int(os.environ.get("WORLD_SIZE", "1"))
        local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world_size)))
        # A learned adversary has no gradient in a batch that its term skips. The time limit is
        # for ranks that wait while the first one evaluates.
        strategy: Any = (
            DDPStrategy(find_unused_parameters=True, timeout=timedelta(hours=1))
            if world_size > 1
            else "auto"
        )
        devices: Any = local
        if world_size == 1 and device.type == "cuda":
            devices = [device.index]
        self._fabric = Fabric(
            accelerator=device.type,
            devices=devices,
            num_nodes=max(1, world_size // local),
            strategy=strategy,
            plugins=[_precision(config.precision, device.type)],
        )
        self._fabric.launch()
        self.device = self._fabric.device
        self.rank = self._fabric.global_rank
        self.world_size = self._fabric.world_size

    def setup(self, objective: Objective, optimizer: Optimizer) -> None:
        self._raw = optimizer
        self._module, self._optimizer = self._fabric.setup(objective, optimizer)

    def loss(self, batch: Batch) -> Tensor:
        return self._module(
            batch.x,
            batch.y,
            unlabeled=batch.unlabeled,
            index=batch.index,
            labeled_index=batch.labeled_index,
        )

    def backward(self, loss: Tensor) -> None:
        self._fabric.backward(loss)

    def unscale(self) -> None:
        self._fabric.strategy.precision.unscale_gradients(self._raw)

    def step(self) -> None:
        self._optimizer.step()

    def without_sync(self) -> AbstractContextManager[None]:
        return self._fabric.no_backward_sync(self._module)

    def gather(self, value: Any) -> list[Any]:
        if self.world_size == 1:
            return [value]
        everyone: list[Any] = [None] * self.world_size
        torch.distributed.all_gather_object(everyone, value)
        return everyone

    def state_dict(self) -> dict[str, Any]:
        return dict(self._fabric.strategy.precision.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state:
            self._fabric.strategy.precision.load_state_dict(state)


def _precision(name: str, device: str) -> Precision:
    if name == "bf16":
        return _Mixed("bf16-mixed", device)
    if name == "16":
        return _Mixed("16-mixed", device)
    # Full precision: the objective and the batches already have the type.
    return Precision()
