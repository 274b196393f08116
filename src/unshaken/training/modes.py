"""Training flags and random state, left as they were found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["evaluation_mode", "modes_kept"]


@contextmanager
def modes_kept(module: nn.Module) -> Iterator[None]:
    """Restore each submodule's training flag on leaving; they need not all agree."""
    before = [(part, part.training) for part in module.modules()]
    try:
        yield
    finally:
        for part, training in before:
            part.training = training


@contextmanager
def evaluation_mode(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Inside, the module evaluates and random draws do not move the training's random state."""
    gpus = [device] if device.type == "cuda" else []
    with modes_kept(module), torch.random.fork_rng(devices=gpus):
        module.eval()
        yield
