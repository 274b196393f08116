"""Units that nothing depends on go, and the outputs stay."""

import pytest
import torch
from torch import nn

from unshaken import models
from unshaken.sparsity import add_gates, compact, gates_of, prune


def trained_like(network):
    """Statistics and scales as training would leave them."""
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm1d):
                for tensor in (layer.weight, layer.bias, layer.running_mean):
                    tensor.normal_()
                layer.running_var.uniform_(0.5, 2)
    return network.double()


@pytest.mark.parametrize("groups", ["input", "output"])
@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_smaller_network_has_the_same_outputs(groups, batch_norm, activation):
    torch.manual_seed(0)
    network = models.mlp([10, 24, 16, 3], batch_norm=batch_norm, activation=activation, dropout=0.2)
    model = add_gates(trained_like(network), groups)
    with torch.no_grad():
        for gates in gates_of(model)[: 3 if groups == "input" else 2]:
            gates.location.copy_(torch.randn_like(gates.location))
    pruned = prune(model).eval()
    small = compact(pruned).eval()
    x = torch.randn(20, 10, dtype=torch.float64)
    torch.testing.assert_close(small(x), pruned(x), rtol=0, atol=1e-12)
    widths = [layer.out_features for layer in small if isinstance(layer, nn.Linear)]
    assert 1 <= widths[0] < 24 and 1 <= widths[1] < 16 and widths[2] == 3
    count = sum(p.numel() for p in small.parameters())
    assert count < 0.7 * sum(p.numel() for p in pruned.parameters())


def test_what_only_a_removed_unit_read_goes_too():
    first, second, third = nn.Linear(4, 5), nn.Linear(5, 6), nn.Linear(6, 2)
    with torch.no_grad():
        third.weight[:, 2:] = 0
        second.weight[:2, 1:] = 0
    small = compact(nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third))
    shapes = [tuple(layer.weight.shape) for layer in small if isinstance(layer, nn.Linear)]
    assert shapes == [(1, 4), (2, 1), (2, 2)]


def test_a_network_of_zeros_keeps_a_unit_in_each_layer_and_its_answer():
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2, bias=False))
    with torch.no_grad():
        network[1].weight.zero_()
        network[1].bias.fill_(0.7)
    x = torch.randn(3, 4)
    small = compact(network)
    torch.testing.assert_close(small(x), network(x))
    assert small[1].out_features == 1


def test_the_network_itself_stays_as_it_is():
    torch.manual_seed(0)
    network = trained_like(models.mlp([6, 8, 3]))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    compact(network)
    assert network.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (nn.Linear(2, 2), "needs an nn.Sequential"),
        (nn.Sequential(nn.Linear(2, 2), nn.Softmax(1), nn.Linear(2, 2)), "Softmax as layer 1"),
        (nn.Sequential(nn.Conv1d(2, 2, 1), nn.Flatten(), nn.Linear(2, 2)), "Conv1d as layer 0"),
    ],
)
def test_other_networks_are_refused(network, says):
    with pytest.raises(ValueError, match=says):
        compact(network)
