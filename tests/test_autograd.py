"""Norms that never underflow, gradients that are reversed, layers put back."""

import pytest
import torch
from torch import nn

from unshaken import VAT
from unshaken.autograd import (
    Moving,
    RandomState,
    normalization_layers,
    normalize,
    per_example,
    reverse_gradient,
    safe_norm,
)

SCALES = [1e-40, 1e-30, 1e-10, 1.0, 1e10, 1e30]


@pytest.mark.parametrize("scale", SCALES)
def test_norm_and_direction_at_every_magnitude(scale):
    x = torch.randn(5, 3, 4)
    exact = x.double().flatten(1).norm(dim=1)
    tolerance = 1e-6 if scale > 1e-38 else 1e-3
    small = (x.double() * scale).float()
    torch.testing.assert_close(safe_norm(small).double(), exact * scale, rtol=tolerance, atol=0)
    unit = normalize(small)
    torch.testing.assert_close(
        unit.double(), x.double() / per_example(exact, x), rtol=tolerance, atol=1e-3 * tolerance
    )


def test_a_zero_example_stays_zero_and_has_a_zero_gradient():
    x = torch.randn(3, 4, dtype=torch.float64)
    x[1] = 0
    x.requires_grad_()
    norm = safe_norm(x)
    (g,) = torch.autograd.grad(norm.sum(), x, create_graph=True)
    assert float(norm.detach()[1]) == 0.0
    assert not g.detach()[1].any()
    (second,) = torch.autograd.grad(g.square().sum(), x, allow_unused=True)
    assert second is None or bool(torch.isfinite(second).all())
    assert not normalize(x.detach())[1].any()


def test_derivatives_of_norm_and_direction():
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(safe_norm, x)
    assert torch.autograd.gradgradcheck(safe_norm, x)
    assert torch.autograd.gradcheck(normalize, x)
    assert torch.autograd.gradgradcheck(normalize, x)


def test_reversal_is_the_identity_with_the_opposite_gradient():
    x = torch.randn(4, requires_grad=True)
    y = reverse_gradient(x)
    assert torch.equal(y, x)
    (g,) = torch.autograd.grad((3 * y).sum(), x)
    assert g.tolist() == [-3.0] * 4


def layers():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.BatchNorm2d(4))


def statistics(model):
    return [b.clone() for b in model.buffers()]


@pytest.mark.parametrize(
    ("policy", "moves", "uses_batch"),
    [("batch", False, True), ("running", False, False), ("update", True, True)],
)
def test_normalization_policies(policy, moves, uses_batch):
    model = layers()
    model(torch.randn(8, 1, 5, 5))
    x = 3 + torch.randn(8, 1, 5, 5)
    before = statistics(model)
    with Moving.of(model).held(policy):
        found = model(x)
    same = all(torch.equal(a, b) for a, b in zip(before, statistics(model), strict=True))
    assert same is not moves
    frozen = layers()
    frozen.load_state_dict(model.state_dict())
    expected = frozen.train(uses_batch)(x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("policy", ["batch", "running", "update"])
def test_layers_are_put_back_after_an_error(policy):
    model = layers()
    with pytest.raises(RuntimeError, match="inside"), Moving.of(model).held(policy):
        raise RuntimeError("inside")
    for layer in (model[1], model[3]):
        assert layer.training and layer.track_running_stats


def test_layers_that_no_pass_would_move_are_left_alone():
    model = nn.Sequential(
        nn.BatchNorm1d(3),
        nn.BatchNorm1d(3, track_running_stats=False),
        nn.BatchNorm1d(3).eval(),
        nn.LayerNorm(3),
    )
    assert normalization_layers(model) == [model[0]]
    assert normalization_layers(lambda x: x) == []


def test_random_state_is_replayed_and_then_goes_on():
    torch.manual_seed(3)
    state = RandomState(torch.device("cpu"))
    first = torch.rand(4)
    between = torch.rand(4)
    with state.replayed():
        assert torch.equal(torch.rand(4), first)
    after = torch.rand(4)
    torch.manual_seed(3)
    torch.rand(8)
    assert torch.equal(torch.rand(4), after)
    assert not torch.equal(between, after)


def test_random_state_goes_on_after_an_error():
    state = RandomState(torch.device("cpu"))
    torch.rand(4)
    now = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="inside"), state.replayed():
        torch.rand(1)
        raise RuntimeError("inside")
    assert torch.equal(torch.get_rng_state(), now)


@pytest.mark.parametrize("count", [5, 8])
def test_instance_norm_keeps_its_statistics_to_the_bit(count):
    """A momentum of 0 still rounds, and a NaN would pass: hide the buffers instead."""
    model = nn.Sequential(nn.InstanceNorm2d(4, track_running_stats=True), nn.Flatten())
    model(torch.randn(count, 4, 5, 5))
    before = [b.clone() for b in model.buffers()]
    for _ in range(5):
        VAT(1.0)(model, 3 + torch.randn(count, 4, 5, 5))
    assert all(torch.equal(a, b) for a, b in zip(before, model.buffers(), strict=True))
    assert model[0].training and model[0].track_running_stats and model[0].momentum == 0.1
