import pytest
import torch
from torch import nn

from unshaken import VAT, XVAT, Objective, masks
from unshaken.training import train
from unshaken.training.optimizers import build_optimizer

from .helpers import config, network, noise, objective


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


def tables(sparse, **changes):
    """The table and its gradient's rate after a few steps over some of its rows."""
    torch.manual_seed(0)
    data, split = noise()
    player = masks.Table(len(data.x_train), data.x_train.shape[1:], 0.5, sparse=sparse)
    target = Objective(network(dropout=0.0, batch_norm=False), XVAT(player))
    before = player.table.detach().clone()
    train(target, data, split, config(steps=4, **changes), device="cpu")
    return before, player.table.detach(), target


def test_sparse_tables_are_moved_by_plain_sgd_as_dense_ones_would_be():
    same = {"optimizer": "sgd", "momentum": 0.0}
    (_, dense, one), (before, sparse, other) = tables(False, **same), tables(True, **same)
    torch.testing.assert_close(sparse, dense)
    assert not torch.equal(sparse, before)
    for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_rows_of_sparse_tables_stay_where_no_batch_has_them(name):
    before, after, _ = tables(True, optimizer=name, batch_size=2, unlabeled_batch_size=2)
    moved = (after != before).any(1)
    assert 0 < moved.sum() <= 8 < len(moved)
    assert (after - before).abs().max() < 0.5, "Adam moves so far"


def test_decay_of_a_sparse_table_is_sgds():
    same = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.1, "decay_adversaries": True}
    (_, dense, _), (_, sparse, _) = tables(False, **same), tables(True, **same)
    torch.testing.assert_close(sparse, dense)


@pytest.mark.parametrize("precision", ["32", "64", "bf16"])
def test_sparse_tables_in_other_precisions_and_with_clipping(precision):
    before, after, _ = tables(True, precision=precision, clip=1.0, accumulate=2)
    assert after.isfinite().all() and not torch.equal(after, before)
