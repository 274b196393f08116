"""Small runs of every method, one by one and as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unshaken import Objective, models
from unshaken.data import Augmentation, Dataset, Split
from unshaken.methods import catalog
from unshaken.training import Result, TrainingConfig, train
from unshaken.training.stacked import Member, train_stacked

SIZE, CHANNELS, CLASSES, EXAMPLES = (6, 5), 2, 3, 40
METHODS = [*catalog.names_for(SIZE), "entropy+balance", "vat+xvat-transductive", "xat+vmt-shift"]


def data(seed: int) -> tuple[Dataset, Split]:
    """Data of its own for each seed, as generated sets have."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(EXAMPLES, CHANNELS, *SIZE, generator=generator)
    y = torch.randint(CLASSES, (EXAMPLES,), generator=generator)
    every = torch.randperm(EXAMPLES, generator=generator)
    labeled, held = every[:12].sort().values, every[32:].sort().values
    split = Split(labeled, every[:32].sort().values, held)
    return Dataset("noise", x, y, x[:8], y[:8], CLASSES), split


def config(seed: int, **changes: Any) -> TrainingConfig:
    values = {"steps": 3, "batch_size": 4, "unlabeled_batch_size": 8, "lr": 0.01, "seed": seed}
    return TrainingConfig(**{**values, **changes})


def objective(method: str, seed: int, changes: dict[str, Any] | None = None) -> Objective:
    torch.manual_seed(seed)
    used = catalog.settings_for(method, changes or {"xvat": {"learning_rate": 0.05}})
    dropout = used["dropout"]["rate"] if "dropout" in used else 0.0
    model = models.mlp([CHANNELS * 30, 16, 8, CLASSES], dropout=dropout)
    shape = catalog.Shape(CHANNELS, SIZE, EXAMPLES, CLASSES, model)
    return Objective(model, *catalog.build(method, shape, used))


def measure(model: nn.Module, step: int) -> dict[str, float]:
    """With a draw, as an evaluation may make one: it must not move the training."""
    x = data(9)[0].x_train
    with torch.no_grad():
        outputs = model(x.to(next(model.parameters())))
    return {"size": outputs.square().mean().item(), "draw": torch.rand(()).item()}


def both(
    method: str, seeds: Sequence[int], *, augment: Augmentation | None = None, **changes: Any
) -> tuple[list[tuple[Objective, Result]], list[tuple[Objective, Result]]]:
    alone = []
    for seed in seeds:
        own, given = objective(method, seed), config(seed, **changes)
        result = train(own, *data(seed), given, evaluate=measure, device="cpu", augment=augment)
        alone.append((own, result))
    return alone, as_one(method, seeds, augment=augment, **changes)


def as_one(
    method: str, seeds: Sequence[int], *, augment: Augmentation | None = None, **changes: Any
) -> list[tuple[Objective, Result]]:
    members = [
        Member(objective(method, seed), *data(seed), config(seed, **changes), measure)
        for seed in seeds
    ]
    trained = train_stacked(members, augment=augment)
    assert trained is not None
    together = []
    for member, one in zip(members, trained, strict=True):
        assert one.result is not None
        together.append((member.objective, one.result))
    return together


def states(run: tuple[Objective, Result]) -> dict[str, Tensor]:
    own, result = run
    return {**own.state_dict(), **{f"shown.{k}": v for k, v in result.model.state_dict().items()}}


def assert_alike(
    alone: list[tuple[Objective, Result]], together: list[tuple[Objective, Result]], near: float
) -> None:
    for one, other in zip(alone, together, strict=True):
        first, second = states(one), states(other)
        assert first.keys() == second.keys()
        for name, value in first.items():
            torch.testing.assert_close(
                second[name],
                value,
                rtol=near,
                atol=near,
                msg=lambda text, name=name: f"{name}: {text}",
            )
        assert len(one[1].history) == len(other[1].history) > 0
        for expected, entry in zip(one[1].history, other[1].history, strict=True):
            assert expected.keys() == entry.keys()
            assert entry == pytest.approx(expected, rel=10 * near, abs=near)
