import pytest
import torch
from torch import nn

from unshaken import VAT, Objective
from unshaken.training.optimizers import Average, build_optimizer

from .helpers import config, network, objective


def test_the_average_follows_its_formula():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = Average(model, 0.8)
    expected = {}
    for done in range(1, 10):
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.add_(torch.randn_like(value))
        average.update(model, done)
        weight = max(1 - 0.8, 1 / done)
        for name, value in model.state_dict().items():
            old = expected.get(name, value)
            expected[name] = old + weight * (value - old)
    for name, value in average.model.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, expected[name])


class Player(VAT):
    """A regularizer with a parameter of its own."""

    def __init__(self) -> None:
        super().__init__(radius=0.5)
        self.own = nn.Parameter(torch.ones(3, 3))


def test_groups_decay_what_they_should():
    target = Objective(network(), Player())
    ids = {id(p): name for name, p in target.named_parameters()}

    def groups(**changes):
        optimizer = build_optimizer(target, config(weight_decay=0.1, **changes))
        return {
            ids[id(p)]: (group["lr"], group["weight_decay"])
            for group in optimizer.param_groups
            for p in group["params"]
        }

    everything = groups()
    assert everything["model.0.weight"] == everything["model.0.bias"] == (0.01, 0.1)
    assert everything["regularizers.0.own"] == (0.01, 0.0)
    assert groups(decay_adversaries=True)["regularizers.0.own"] == (0.01, 0.1)
    fine = groups(decay_norms=False)
    assert fine["model.0.weight"][1] == 0.1
    assert fine["model.0.bias"][1] == fine["model.1.weight"][1] == 0.0


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_optimizers_are_fused(name):
    optimizer = build_optimizer(objective(), config(optimizer=name))
    assert optimizer.defaults["fused"] is True
    assert type(optimizer).__name__.lower() == name
