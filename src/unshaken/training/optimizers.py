"""The optimizer of a run: groups for the model and for learned adversaries, fused where it can."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from .config import TrainingConfig
from .schedules import learning_rate_factor

if TYPE_CHECKING:
    from ..objective import Objective

__all__ = ["build_optimizer", "learning_rates"]


def build_optimizer(objective: Objective, config: TrainingConfig) -> Optimizer:
    """Adam, AdamW or SGD over the model and, at rates of their own, over learned adversaries.

    Weight decay acts on the model; on its biases and normalization parameters and on the
    adversaries' parameters only as ``decay_norms`` and ``decay_adversaries`` say.

    Raises:
        ValueError: no parameter of the objective can be trained.
    """
    of_model = {id(parameter) for parameter in objective.model.parameters()}
    groups: list[dict[str, Any]] = []
    for group in objective.parameter_groups(lr=config.lr):
        options = {key: value for key, value in group.items() if key != "params"}
        trained = [parameter for parameter in group["params"] if parameter.requires_grad]
        for parameters, decayed in _by_decay(trained, of_model, config):
            decay = config.weight_decay if decayed else 0.0
            if parameters:
                groups.append({**options, "params": parameters, "weight_decay": decay})
    if not groups:
        raise ValueError("objective has no parameter that requires a gradient, so none to train")
    fused = _can_fuse([p for group in groups for p in group["params"]], config)
    match config.optimizer:
        case "adam":
            return Adam(groups, lr=config.lr, fused=fused)
        case "adamw":
            return AdamW(groups, lr=config.lr, fused=fused)
        case "sgd":
            return SGD(groups, lr=config.lr, momentum=config.momentum, fused=fused)


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


def _can_fuse(parameters: list[Tensor], config: TrainingConfig) -> bool:
    # A fused step undoes the loss scale of half precision itself, too late for clipping.
    if config.precision == "16" and config.clip is not None:
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
