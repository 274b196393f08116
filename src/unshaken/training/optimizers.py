"""The optimizer of a run: groups for the model and for learned adversaries, fused where it can.

Tables of masks that are ``sparse`` are moved by plain SGD in front of each of its steps, since
Adam would move every row of a table in every step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from ..adversaries.learned import Tabulated
from .config import TrainingConfig
from .schedules import learning_rate_factor

if TYPE_CHECKING:
    from ..objective import Objective

__all__ = ["build_optimizer", "learning_rates"]


def build_optimizer(objective: Objective, config: TrainingConfig) -> Optimizer:
    """Adam, AdamW or SGD over the model and, at rates of their own, over learned adversaries.

    Sparse tables have plain SGD whatever the others have.

    Weight decay acts on the model; on its biases and normalization parameters and on the
    adversaries' parameters only as ``decay_norms`` and ``decay_adversaries`` say.

    Raises:
        ValueError: no parameter of the objective can be trained.
    """
    tables = (layer for layer in objective.modules() if isinstance(layer, Tabulated))
    sparse = {id(layer.table) for layer in tables if layer.sparse}
    of_model = {id(parameter) for parameter in objective.model.parameters()}
    groups: list[dict[str, Any]] = []
    for group in objective.parameter_groups(lr=config.lr):
        options = {key: value for key, value in group.items() if key != "params"}
        trained = [parameter for parameter in group["params"] if parameter.requires_grad]
        for parameters, decayed in _by_decay(trained, of_model, config):
            decay = config.weight_decay if decayed else 0.0
            if parameters:
                groups.append({**options, "params": parameters, "weight_decay": decay})
                if id(parameters[0]) in sparse:
                    groups[-1][_TABLE] = True
    if not groups:
        raise ValueError("objective has no parameter that requires a gradient, so none to train")
    fused = _can_fuse([p for group in groups for p in group["params"]], bool(sparse), config)
    optimizer: Optimizer
    match config.optimizer:
        case "adam":
            optimizer = Adam(groups, lr=config.lr, fused=fused)
        case "adamw":
            optimizer = AdamW(groups, lr=config.lr, fused=fused)
        case "sgd":
            optimizer = SGD(groups, lr=config.lr, momentum=config.momentum, fused=fused)
    if sparse:
        optimizer.register_step_pre_hook(_move_tables)
    return optimizer


_TABLE = "sparse_table"
"""The key of a group that :func:`_move_tables` moves."""


def _move_tables(optimizer: Optimizer, *_: Any) -> None:
    """One step of plain SGD for sparse tables; the optimizer then finds no gradient there."""
    with torch.no_grad():
        for group in optimizer.param_groups:
            for table in group["params"] if group.get(_TABLE) else ():
                if table.grad is None:
                    continue
                if group["weight_decay"]:
                    table.mul_(1 - group["lr"] * group["weight_decay"])
                table.add_(table.grad, alpha=-group["lr"])
                table.grad = None


def _by_decay(
    parameters: list[Tensor], of_model: set[int], config: TrainingConfig
) -> list[tuple[list[Tensor], bool]]:
    if parameters and id(parameters[0]) not in of_model:
        return [(parameters, config.decay_adversaries)]
    if config.decay_norms or config.weight_decay == 0.0:
        return [(parameters, True)]
    return [
        ([p for p in parameters if p.dim() > 1], True),
        ([p for p in parameters if p.dim() <= 1], False),
    ]


def _can_fuse(parameters: list[Tensor], sparse: bool, config: TrainingConfig) -> bool:
    # A fused step undoes the loss scale of half precision itself, too late for clipping and tables.
    if config.precision == "16" and (config.clip is not None or sparse):
        return False
    devices = {parameter.device.type for parameter in parameters}
    floating = all(parameter.is_floating_point() for parameter in parameters)
    return floating and (devices == {"cpu"} or devices == {"cuda"})


def learning_rates(optimizer: Optimizer, config: TrainingConfig) -> Callable[[int], float]:
    """A function that sets every group's rate for a step and returns the model's."""
    factor_at = learning_rate_factor(
        config.schedule, config.steps, warmup=config.warmup, warmup_shape=config.warmup_shape
    )
    full = [group["lr"] for group in optimizer.param_groups]

    def set_for(step: int) -> float:
        factor = factor_at(step)
        for group, lr in zip(optimizer.param_groups, full, strict=True):
            group["lr"] = lr * factor
        return full[0] * factor

    return set_for
