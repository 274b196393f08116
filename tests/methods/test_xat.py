"""xAT and xVAT: one reversed backward pass equals two players with their own."""

import pytest
import torch
from torch.nn import functional as F

from tests import naive, networks
from unshaken import XAT, XVAT, masks

SHAPES = {"signal": (2, 9), "image": (3, 4, 6), "volume": (2, 3, 4, 4)}
SETTINGS = {
    "plain": {},
    "scale 2": {"scale": 2.0},
    "sparsity 3": {"sparsity": 3.0},
    "free": {"sparsity": 0.0},
    "smooth": {"smoothness": 1.5, "scale": 2.0},
}


def setting(shape):
    model = networks.convolutional(shape[0], len(shape) - 1).double()
    return model, *networks.batch(shape)


def loss_of(kind, model, x, y):
    if kind == "xat":
        return lambda outputs: F.cross_entropy(outputs, y)
    clean = model(x).detach()
    if kind == "xvat":
        return lambda outputs: naive.kl(clean, outputs)

    def reverse(outputs):
        q, p = outputs.log_softmax(1), clean.log_softmax(1)
        return (q.exp() * (q - p)).sum(1).mean()

    return reverse


def method(kind, player, **settings):
    if kind == "xat":
        return XAT(player, weight=1.0, **settings)
    return XVAT(player, divergence="kl" if kind == "xvat" else "reverse-kl", **settings)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("kind", ["xat", "xvat", "reverse"])
def test_one_backward_pass_trains_both_players(kind, name):
    settings = SETTINGS[name]
    model, x, y = setting((3, 4, 6))
    player = masks.Generator(3).double()
    torch.manual_seed(2)
    value = method(kind, player, **settings)(model, x, y)
    value.backward()
    torch.manual_seed(2)
    u = torch.rand(4, 1, 4, 6, dtype=torch.float64)
    convolution = player.network
    expected, of_model, of_player = naive.two_players(
        model,
        lambda: convolution(x),
        list(convolution.parameters()),
        loss_of(kind, model, x, y),
        x,
        u,
        **settings,
    )
    torch.testing.assert_close(value.detach(), expected, rtol=1e-12, atol=0)
    networks.assert_same([p.grad for p in model.parameters()], of_model)
    networks.assert_same([p.grad for p in player.parameters()], of_player)
    assert all(bool(g.any()) for g in of_player)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_table_trains_only_the_rows_of_the_batch(shape):
    model, x, y = setting(shape)
    table = masks.Table(10, shape[1:]).double()
    index = torch.tensor([7, 0, 3, 9])
    torch.manual_seed(2)
    value = XVAT(table)(model, x, index=index)
    value.backward()
    torch.manual_seed(2)
    u = torch.rand(4, 1, *shape[1:], dtype=torch.float64)
    expected, of_model, (of_table,) = naive.two_players(
        model,
        lambda: table.table[index].reshape(4, 1, *shape[1:]),
        [table.table],
        loss_of("xvat", model, x, y),
        x,
        u,
    )
    torch.testing.assert_close(value.detach(), expected, rtol=1e-12, atol=0)
    networks.assert_same([p.grad for p in model.parameters()], of_model)
    networks.assert_same([table.table.grad], [of_table])
    untouched = [i for i in range(10) if i not in index.tolist()]
    assert not table.table.grad[untouched].any()
    assert all(bool(table.table.grad[i].any()) for i in index)


def test_a_sparse_table_has_the_same_gradient():
    model, x, _ = setting((3, 4, 6))
    index = torch.tensor([7, 0, 3, 9])
    found = []
    for sparse in (False, True):
        torch.manual_seed(2)
        table = masks.Table(10, (4, 6), sparse=sparse).double()
        XVAT(table)(model, x, index=index).backward()
        assert table.table.grad.is_sparse is sparse
        found.append(table.table.grad.to_dense())
    torch.testing.assert_close(*found)


def test_flat_inputs():
    model = networks.mlp((7,)).double()
    x, y = networks.batch((7,))
    for player, index in (
        (masks.Generator(7, dimensions=0), None),
        (masks.Table(9, (7,)), torch.arange(4)),
        (masks.Steepest(0.5), None),
    ):
        worst = XAT(player.double()).worst(model, x, y, index=index)
        assert worst.mask.shape == (4, 7)
        torch.testing.assert_close(worst.perturbed, x * worst.mask)


def test_the_price_does_not_enter_the_value():
    model, x, y = setting((3, 4, 6))
    values = []
    for sparsity, smoothness in ((0.0, 0.0), (100.0, 50.0)):
        torch.manual_seed(2)
        player = masks.Generator(3).double()
        regularizer = XAT(player, sparsity, smoothness=smoothness)
        torch.manual_seed(3)
        values.append(float(regularizer(model, x, y).detach()))
        torch.manual_seed(3)
        worst = regularizer.worst(model, x, y)
        clean = F.cross_entropy(model(worst.perturbed), y, reduction="none")
        torch.testing.assert_close(worst.value, clean.detach())
    assert values[0] == values[1]


def test_default_weights_are_the_papers():
    assert XAT(masks.Steepest(0.5)).weight == 0.5
    assert XVAT(masks.Steepest(0.5)).weight == 1.0


def test_the_player_ascends_and_the_model_descends():
    """Two plain gradient steps: the mask raises the divergence that the model then lowers."""
    model, x, _ = setting((3, 4, 6))
    table = masks.Table(4, (4, 6)).double()
    xvat = XVAT(table, sparsity=0.0)
    index = torch.arange(4)
    clean = model(x).detach()

    def value():
        torch.manual_seed(2)
        return xvat(model, x, index=index, logits=clean)

    before = value()
    before.backward()
    with torch.no_grad():
        table.table -= 0.1 * table.table.grad
    middle = value()
    assert float(middle.detach()) > float(before.detach())
    for p in model.parameters():
        p.grad = None
    middle.backward()
    with torch.no_grad():
        for p in model.parameters():
            p -= 0.05 * p.grad
    assert float(value().detach()) < float(middle.detach())


def test_sparsity_alone_keeps_entries():
    """Where masks change nothing (black images) the price raises log α everywhere."""
    model, x, _ = setting((3, 4, 6))
    table = masks.Table(4, (4, 6)).double()
    XVAT(table)(model, torch.zeros_like(x), index=torch.arange(4)).backward()
    assert bool((table.table.grad < 0).all())
