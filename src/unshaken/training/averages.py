"""Averages of the weights over a run: what is evaluated and exported in place of the last ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from .config import TrainingConfig
from .schedules import swa_steps

__all__ = ["Average", "Snapshots", "WeightAverage", "average_of"]


class WeightAverage(Protocol):
    """What a run asks of an average."""

    @property
    def model(self) -> nn.Module:
        """The model to evaluate and export."""

    def update(self, model: nn.Module, done: int) -> None:
        """Take in the model after its step number ``done`` = 1, 2, ..."""

    def settle(self, batches: Iterable[Tensor]) -> None:
        """Make the average ready to be evaluated; ``batches`` are training inputs."""

    def state_dict(self) -> dict[str, Any]:
        """The average and the number of models in it."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""


def average_of(model: nn.Module, config: TrainingConfig) -> WeightAverage | None:
    """The average that the settings ask for, if they do."""
    if config.ema is not None:
        return Average(model, config.ema)
    if config.swa is not None:
        return Snapshots(model, *swa_steps(config.swa, config.steps))
    return None


class Average:
    """Exponential moving average of a model's parameters and buffers.

    After step t the average moves by ``max(1 - decay, 1 / t)`` towards the model: it begins as
    the plain mean, so the random initial weights carry no more than their share.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self._now = decay
        self._averaged = AveragedModel(model, multi_avg_fn=self._blend, use_buffers=True)

    @property
    def model(self) -> nn.Module:
        return self._averaged.module

    def update(self, model: nn.Module, done: int) -> None:
        self._now = min(self._decay, 1.0 - 1.0 / done)
        self._averaged.update_parameters(model)

    def settle(self, batches: Iterable[Tensor]) -> None:
        """Nothing to do: buffers are averaged as parameters are."""

    def _blend(
        self,
        averaged: tuple[Tensor, ...] | list[Tensor],
        current: tuple[Tensor, ...] | list[Tensor],
        count: Tensor | int,
    ) -> None:
        get_ema_multi_avg_fn(self._now)(averaged, current, count)

    def state_dict(self) -> dict[str, Any]:
        return dict(self._averaged.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._averaged.load_state_dict(state)


class Snapshots:
    """The plain mean of a model's parameters at regular steps (SWA; fast-SWA within the cycles).

    (Izmailov et al. 2018; Athiwaratkun et al. 2019.) Until the first snapshot it is the model
    itself. Batch norm's statistics do not average; :meth:`settle` makes them anew.

    Args:
        model: the model.
        start: the first snapshot is taken after this many steps.
        period: steps from one to the next.
    """

    def __init__(self, model: nn.Module, start: int, period: int) -> None:
        self._live, self._start, self._period = model, start, period
        self._averaged = AveragedModel(model)

    @property
    def model(self) -> nn.Module:
        return self._averaged.module if int(self._averaged.n_averaged) else self._live

    def update(self, model: nn.Module, done: int) -> None:
        if done >= self._start and (done - self._start) % self._period == 0:
            self._averaged.update_parameters(model)

    def settle(self, batches: Iterable[Tensor]) -> None:
        own = self._averaged.module
        if int(self._averaged.n_averaged) and any(isinstance(m, _BatchNorm) for m in own.modules()):
            with torch.no_grad():
                update_bn(batches, own)

    def state_dict(self) -> dict[str, Any]:
        return dict(self._averaged.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._averaged.load_state_dict(state)
