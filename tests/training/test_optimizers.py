import pytest
import torch
from torch import nn

from unshaken import VAT, Objective
from unshaken.training.optimizers import build_optimizer

from .helpers import config, network, objective


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
