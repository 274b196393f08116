"""What every network promises, and what each of the papers' tables says."""

import copy
import re
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad

from unshaken import models

NETWORKS = {
    "mlp": (lambda: models.mlp([12, 8, 6, 3]), (3, 2, 2)),
    "mlp without batch norm": (
        lambda: models.mlp([12, 8, 3], batch_norm=False, activation="leaky_relu", dropout=0.3),
        (12,),
    ),
    "mlp with tanh": (lambda: models.mlp([12, 8, 3], activation="tanh"), (12,)),
    "moons_mlp": (models.moons_mlp, (100,)),
    "moons_mlp of points": (lambda: models.moons_mlp(torch.randn(2, 100), hidden=20), (2,)),
    "conv_tiny": (lambda: models.conv_tiny(channels=2, classes=3, size=(8, 6)), (2, 8, 6)),
    "conv_small": (lambda: models.conv_small(channels=1, classes=3), (1, 8, 8)),
    "conv_large": (lambda: models.conv_large(channels=2, classes=3), (2, 12, 12)),
}


@pytest.fixture(params=NETWORKS)
def case(request):
    """A new network in double precision, and a batch of four for it."""
    make, shape = NETWORKS[request.param]
    network = make().double()
    return network, torch.randn(4, *shape, dtype=torch.float64)


def penalty(network, x):
    """The mean squared input gradient of the loss: its own gradient is a double backward."""
    x = x.requires_grad_()
    loss = nn.functional.cross_entropy(network(x), torch.arange(4) % 2, reduction="sum")
    (g,) = torch.autograd.grad(loss, x, create_graph=True)
    return g.square().sum()


def test_logits_have_one_column_for_each_class(case):
    network, x = case
    classes = [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1]
    assert network(x).shape == (4, classes.out_features)
    assert network.eval()(x[:1]).shape == (1, classes.out_features)


def test_the_loss_reaches_every_parameter(case):
    network, x = case
    network(x).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_double_backward_equals_a_finite_difference(case):
    network, x = case
    network.eval()  # the same function at every call: no dropout
    weights = [parameter for parameter in network.parameters() if parameter.dim() > 1]
    gradients = torch.autograd.grad(penalty(network, x), weights)
    directions = [torch.randn_like(weight) * weight.std().detach() for weight in weights]
    expected = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True)).item()
    h, values = 1e-8, []  # so small a step that no unit crosses its kink
    for sign in (1, -1):
        with torch.no_grad():
            for weight, direction in zip(weights, directions, strict=True):
                weight += sign * h * direction
        values.append(penalty(network, x).item())
        with torch.no_grad():
            for weight, direction in zip(weights, directions, strict=True):
                weight -= sign * h * direction
    assert (values[0] - values[1]) / (2 * h) == pytest.approx(expected, rel=1e-5)


def test_forward_mode_equals_reverse_mode(case):
    network, x = case
    network.eval()
    direction = torch.randn_like(x)
    with forward_ad.dual_level():
        logits = network(forward_ad.make_dual(x, direction))
        tangent = forward_ad.unpack_dual(logits).tangent
    jacobian = torch.autograd.functional.jacobian(lambda x: network(x).sum(0), x).flatten(1)
    torch.testing.assert_close(tangent.sum(0), jacobian @ direction.flatten())


def test_weights_survive_saving(case):
    network, x = case
    other = copy.deepcopy(network)
    with torch.no_grad():
        for tensor in other.state_dict().values():
            tensor.zero_()
    other.load_state_dict(network.state_dict())
    torch.testing.assert_close(other.eval()(x), network.eval()(x), rtol=0, atol=0)


def test_the_same_seed_gives_the_same_weights(case, request):
    make = NETWORKS[request.node.callspec.params["case"]][0]
    torch.manual_seed(7)
    first = make().state_dict()
    torch.manual_seed(7)
    for name, tensor in make().state_dict().items():
        assert torch.equal(tensor, first[name]), name


def test_compiles_to_one_graph(case):
    network, x = case
    network.eval()
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), network(x))


def test_autocast_changes_the_precision_and_little_else(case):
    network, x = case
    network, x = network.float().eval(), x.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(x)
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.float(), network(x), rtol=0.1, atol=0.1)
    assert penalty(network, x).isfinite()


def test_repr_names_the_layers(case):
    network, _ = case
    layers = [layer for layer in network.modules() if not list(layer.children())]
    for layer in layers:
        assert re.search(rf"\): {type(layer).__name__}\(", repr(network)), layer


@pytest.mark.parametrize(
    ("network", "x"),
    [
        (models.mlp([5, 4, 2]), torch.randn(1, 5)),
        (models.conv_small(1, 2), torch.randn(1, 1, 4, 4)),
    ],
)
def test_a_training_batch_of_one_value_per_channel_is_refused_by_torch(network, x):
    with pytest.raises(ValueError, match="Expected more than 1 value per channel when training"):
        network(x)


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def table(rows, width, classes):
    """Parameters of rows (inputs, outputs, kernel): weights, batch norm; and the dense layer."""
    blocks = sum(inputs * outputs * kernel**2 + 2 * outputs for inputs, outputs, kernel in rows)
    return blocks + width * classes + classes


def test_conv_tiny_has_the_parameters_of_its_table():
    rows = [(1, 16, 5), (16, 32, 3), (32, 64, 3), (64, 64, 3)]
    assert count(models.conv_tiny()) == table(rows, 1024, 10) == 70_906
    assert count(models.conv_tiny(size=(8, 8), dropout=0.5)) == 70_906


@pytest.mark.parametrize(
    ("size", "sizes"),
    [
        ((28, 28), [(14, 14), (7, 7), (7, 7), (4, 4)]),
        ((16, 16), [(8, 8), (4, 4), (4, 4), (4, 4)]),
        ((8, 8), [(8, 8), (4, 4), (4, 4), (4, 4)]),
        ((4, 6), [(4, 6)] * 4),
        ((32, 64), [(16, 32), (8, 16), (8, 16), (4, 8)]),
    ],
)
def test_conv_tiny_halves_images_as_its_table_says(size, sizes):
    x, found = torch.randn(2, 1, *size), []
    for layer in models.conv_tiny(size=size).features:
        x = layer(x)
        found += [tuple(x.shape[2:])] if isinstance(layer, nn.Conv2d) else []
    assert found == sizes


def test_conv_small_has_the_parameters_of_its_table():
    rows = [(3, 64, 3), (64, 64, 3), (64, 64, 3), (64, 128, 3), (128, 128, 3), (128, 128, 3)]
    rows += [(128, 128, 3), (128, 128, 1), (128, 128, 1)]
    assert count(models.conv_small()) == table(rows, 128, 10)


def test_conv_large_has_the_parameters_of_its_table():
    rows = [(3, 128, 3), (128, 128, 3), (128, 128, 3), (128, 256, 3), (256, 256, 3)]
    rows += [(256, 256, 3), (256, 512, 3), (512, 256, 1), (256, 128, 1)]
    assert count(models.conv_large()) == table(rows, 128, 10) == 3_121_802
    assert count(models.conv_large(channels=1, classes=100)) == table(
        [(1, 128, 3), *rows[1:]], 128, 100
    )


def test_mlp_has_the_parameters_of_its_widths():
    hidden = [784, 1200, 600, 300, 150]
    weights = sum(a * b + 2 * b for a, b in pairwise(hidden))
    assert count(models.mlp([*hidden, 10])) == weights + 150 * 10 + 10
    plain = sum(a * b + b for a, b in pairwise(hidden))
    assert count(models.mlp([*hidden, 10], batch_norm=False)) == plain + 150 * 10 + 10


@pytest.mark.parametrize(
    ("network", "last", "image"),
    [(models.conv_small, (128, 8, 8), 32), (models.conv_large, (128, 6, 6), 32)],
)
def test_the_last_feature_map_has_the_size_of_the_table(network, last, image):
    network = network()
    assert network.features(torch.randn(2, 3, image, image)).shape[1:] == last


@pytest.mark.parametrize("make", [models.conv_small, models.conv_large])
def test_dropout_is_used_after_each_pooling_in_training_only(make):
    network = make(dropout=0.5)
    layers = list(network.features)
    pools = [i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    assert [i for i, layer in enumerate(layers) if isinstance(layer, nn.Dropout)] == [
        i + 1 for i in pools
    ]
    assert len(pools) == 2
    x = torch.randn(2, 3, 12, 12)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


@pytest.mark.parametrize("slope_of", [models.conv_small, models.conv_large])
def test_the_slope_is_a_tenth(slope_of):
    slopes = {m.negative_slope for m in slope_of().modules() if isinstance(m, nn.LeakyReLU)}
    assert slopes == {0.1}


def test_first_weights_have_he_s_variance():
    network = models.conv_large()
    *hidden, output = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    for layer in hidden:
        fan_in = layer.weight[0].numel()
        assert layer.weight.std().item() == pytest.approx((2 / 1.01 / fan_in) ** 0.5, rel=0.05)
    assert output.weight.std().item() == pytest.approx(128**-0.5, rel=0.1)
    assert not output.bias.any()


def test_an_embedding_is_saved_and_never_trained():
    embedding = torch.randn(2, 100)
    points, carried = models.moons_mlp(embedding, hidden=30), models.moons_mlp(hidden=30)
    assert count(points) == count(carried) == 100 * 30 + 30 + 30 * 2 + 2
    for mine, other in zip(points.parameters(), carried.parameters(), strict=True):
        other.data.copy_(mine.data)
    x = torch.randn(5, 2)
    torch.testing.assert_close(points(x), carried(x @ embedding))
    assert any(torch.equal(tensor, embedding) for tensor in points.state_dict().values())
    embedding.zero_()
    assert points[0].matrix.any()
