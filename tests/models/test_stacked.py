"""A stack of networks gives what each of them gives alone, and comes apart into them again."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.training.helpers import assert_same
from unshaken import draws
from unshaken.models import conv_small, mlp, stack, unstack

COUNT, ROWS = 3, 5


def _conv(_: int) -> nn.Module:
    layers = [nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.LeakyReLU(0.1), nn.MaxPool2d(2)]
    return nn.Sequential(nn.Sequential(*layers), nn.Dropout(0.3), nn.Flatten(), nn.Linear(24, 3))


NETWORKS = {
    "mlp": (lambda _: mlp([6, 8, 7, 3]), (6,)),
    "dropout": (lambda _: mlp([6, 8, 3], batch_norm=False, dropout=0.4, activation="tanh"), (6,)),
    "convolutional": (_conv, (2, 4, 6)),
    "signal": (lambda _: nn.Conv1d(2, 1, 3, padding=1), (2, 9)),
    "grouped": (lambda _: nn.Conv1d(4, 6, 3, groups=2, bias=False, stride=2), (4, 9)),
    "linear on a sequence": (lambda _: nn.Linear(4, 3, bias=False), (5, 4)),
}


def made(name: str, count: int = COUNT) -> tuple[list[nn.Module], torch.Tensor]:
    make, shape = NETWORKS[name]
    networks = [make(k).double() for k in range(count)]
    return networks, torch.randn(count * ROWS, *shape, dtype=torch.float64)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", NETWORKS)
def test_rows_gradients_and_statistics_are_each_networks_own(name, training):
    networks, x = made(name)
    for network in networks:
        network.train(training)
    stacked = stack(networks)
    seeds = range(COUNT)
    expected, slopes = [], []
    for seed, network, rows in zip(seeds, networks, x.chunk(COUNT), strict=True):
        torch.manual_seed(seed)
        leaf = rows.clone().requires_grad_()
        y = network(leaf)
        y.square().sum().backward()
        expected.append(y.detach())
        slopes.append(leaf.grad)
    ambient = [torch.Generator().manual_seed(seed) for seed in seeds]
    leaf = x.clone().requires_grad_()
    with draws.grouped(ambient, ambient):
        y = stacked(leaf)
    y.square().sum().backward()
    torch.testing.assert_close(y, torch.cat(expected), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(leaf.grad, torch.cat(slopes), rtol=1e-12, atol=1e-12)

    # Gradients come apart as weights do.
    apart = [NETWORKS[name][0](k).double() for k in seeds]
    for parameter in stacked.parameters():
        parameter.data.copy_(parameter.grad)
    unstack(stacked, apart)
    for network, own in zip(networks, apart, strict=True):
        for parameter, slope in zip(network.parameters(), own.parameters(), strict=True):
            torch.testing.assert_close(slope.detach(), parameter.grad, rtol=1e-12, atol=1e-12)
        for (key, buffer), (_, found) in zip(
            network.named_buffers(), own.named_buffers(), strict=True
        ):
            torch.testing.assert_close(found, buffer, rtol=1e-12, atol=1e-12, msg=key)


@pytest.mark.parametrize("name", NETWORKS)
def test_apart_it_is_what_it_was_made_of(name):
    networks, x = made(name)
    for network, rows in zip(networks, x.chunk(COUNT), strict=True):
        network(rows)
    before = [{k: v.clone() for k, v in n.state_dict().items()} for n in networks]
    others = [NETWORKS[name][0](k).double() for k in range(COUNT)]
    unstack(stack(networks), others)
    assert_same([dict(n.state_dict()) for n in others], before)
    assert_same([dict(n.state_dict()) for n in networks], before)


def test_a_stack_shares_no_memory_with_its_networks():
    networks, _ = made("mlp")
    before = [{k: v.clone() for k, v in n.state_dict().items()} for n in networks]
    stacked = stack(networks)
    with torch.no_grad():
        for tensor in (*stacked.parameters(), *stacked.buffers()):
            tensor.add_(1)
    assert_same([dict(n.state_dict()) for n in networks], before)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_dropout_of_nothing_and_of_all_draws_nothing(p):
    networks = [nn.Sequential(nn.Linear(2, 2), nn.Dropout(p)) for _ in range(2)]
    x = torch.randn(4, 2)
    ambient = [torch.Generator().manual_seed(k) for k in range(2)]
    before = [g.get_state() for g in ambient]
    with draws.grouped(ambient, ambient):
        y = stack(networks)(x)
    torch.testing.assert_close(
        y, torch.cat([n(rows) for n, rows in zip(networks, x.chunk(2), strict=True)])
    )
    assert_same([g.get_state() for g in ambient], before)


def _frozen() -> nn.Module:
    network = nn.Linear(2, 2)
    network.weight.requires_grad_(False)
    return network


def _hooked() -> nn.Module:
    network = nn.Linear(2, 2)
    network.register_forward_hook(lambda *_: None)
    return network


def _twice() -> nn.Module:
    layer = nn.Linear(2, 2)
    return nn.Sequential(layer, nn.ReLU(), layer)


@pytest.mark.parametrize(
    "networks",
    [
        [nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)) for _ in range(2)],
        [nn.Linear(2, 2), nn.Linear(2, 3)],
        [nn.Linear(2, 2), nn.Linear(2, 2).double()],
        [nn.Linear(2, 2), _frozen()],
        [nn.Linear(2, 2), nn.Linear(2, 2).eval()],
        [nn.Sequential(nn.ReLU()), nn.Sequential(nn.ReLU(), nn.ReLU())],
        [_hooked(), _hooked()],
        [_twice(), _twice()],
        [nn.Flatten(0), nn.Flatten(0)],
        [nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular") for _ in range(2)],
        [conv_small(), conv_small()],
        [nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)) for _ in range(2)],
    ],
    ids=lambda networks: type(networks[0]).__name__,
)
def test_what_cannot_be_stacked(networks):
    assert stack(networks) is None


def test_a_frozen_layer_stays_frozen():
    stacked = stack([_frozen(), _frozen()])
    assert [(n, p.requires_grad) for n, p in stacked.named_parameters()] == [
        ("weight", False),
        ("bias", True),
    ]
