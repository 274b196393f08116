"""A tiny data set, networks and runs for the tests of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unshaken import VAT, Objective
from unshaken.data import Dataset, Split
from unshaken.training import TrainingConfig, load_model_weights


def noise(examples: int = 40, features: int = 4) -> tuple[Dataset, Split]:
    """Two classes that a line separates; 12 labeled examples, the rest without labels."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(examples, features, generator=generator)
    y = (x[:, 0] > 0).long()
    every = torch.arange(examples)
    return Dataset("noise", x, y, x[:8], y[:8], 2), Split(every[:12], every[:32], every[32:])


def network(dropout: float = 0.2, *, batch_norm: bool = True) -> nn.Module:
    torch.manual_seed(11)
    norm = [nn.BatchNorm1d(8)] if batch_norm else []
    return nn.Sequential(nn.Linear(4, 8), *norm, nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 2))


def objective(*, vat: bool = True, dropout: float = 0.2, batch_norm: bool = True) -> Objective:
    terms = [VAT(radius=0.5)] if vat else []
    return Objective(network(dropout, batch_norm=batch_norm), *terms, alarm=False)


def config(**changes: Any) -> TrainingConfig:
    values: dict[str, Any] = {
        "steps": 20,
        "batch_size": 4,
        "unlabeled_batch_size": 8,
        "lr": 1e-2,
        "evaluate_every": 5,
        "checkpoint_every": 5,
        "keep": 3,
    }
    return TrainingConfig(**{**values, **changes})


def accuracy(model: nn.Module, step: int) -> dict[str, float]:
    dataset, _ = noise()
    with torch.no_grad():
        right = model(dataset.x_test.to(next(model.parameters()))).argmax(1).cpu()
    # A draw, as an evaluation with random directions makes: it must not move the training.
    return {"accuracy": (right == dataset.y_test).float().mean().item(), "draw": _draw()}


def _draw() -> float:
    return torch.rand(()).item()


def weights(folder: Path) -> dict[str, Tensor]:
    return load_model_weights(folder / "model.safetensors")


def assert_same(first: Any, second: Any, where: str = "") -> None:
    """Equal to the last bit, through dicts, lists and tensors."""
    if isinstance(first, Tensor):
        assert torch.equal(first, second), where
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for key in first:
            assert_same(first[key], second[key], f"{where}/{key}")
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second), where
        for number, (a, b) in enumerate(zip(first, second, strict=True)):
            assert_same(a, b, f"{where}/{number}")
    else:
        assert first == second, where
