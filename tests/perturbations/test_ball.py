"""Additive and relative changes: sizes, adjoints, and the anchor."""

import math

import pytest
import torch

from unshaken.perturbations import Additive, Relative

BALLS = {
    "additive-2": Additive(2),
    "additive-inf": Additive(math.inf),
    "relative-2": Relative(2, anchor=0.3),
    "relative-inf": Relative(math.inf, anchor=torch.randn(3, 1, 1)),
}


@pytest.fixture(params=BALLS)
def ball(request):
    return BALLS[request.param]


def sizes(ball, a):
    rows = a.flatten(1)
    return rows.norm(dim=1) if ball.norm == 2 else rows.abs().amax(1)


@pytest.mark.parametrize("radius", [0.0, 1e-9, 0.5, 3.0])
def test_random_and_steepest_have_exactly_the_radius(ball, radius):
    x, s = torch.randn(2, 5, 3, 4, 2, dtype=torch.float64).unbind(0)
    for a in (ball.random(x, radius), ball.steepest(x, s, radius)):
        assert a.shape == ball.shape(x) == x.shape
        torch.testing.assert_close(
            sizes(ball, a), torch.full((5,), radius, dtype=x.dtype), rtol=1e-12, atol=0
        )


def test_steepest_reaches_the_rate_and_nothing_exceeds_it(ball):
    x, s = torch.randn(2, 5, 3, 4, 2, dtype=torch.float64).unbind(0)
    rate = ball.rate(x, s)
    torch.testing.assert_close((ball.steepest(x, s, 1.0) * s).flatten(1).sum(1), rate)
    for _ in range(100):
        assert bool(((ball.random(x, 1.0) * s).flatten(1).sum(1) < rate).all())


def test_zero_gradients_give_no_change(ball):
    x = torch.randn(5, 3, 4, 2)
    assert not ball.steepest(x, torch.zeros_like(x), 2.0).any()
    assert not ball.rate(x, torch.zeros_like(x)).any()


def test_tiny_and_huge_gradients_keep_their_direction(ball):
    x, s = torch.randn(2, 5, 3, 4, 2).unbind(0)
    expected = ball.steepest(x, s, 1.0)
    for scale in (1e-35, 1e30):
        torch.testing.assert_close(ball.steepest(x, s * scale, 1.0), expected, rtol=1e-5, atol=1e-6)


def test_pull_back_is_the_adjoint_of_the_tangent(ball):
    x, g, a = torch.randn(3, 5, 3, 4, 2, dtype=torch.float64).unbind(0)
    torch.testing.assert_close((ball.tangent(x, a) * g).sum(), (ball.pull_back(x, g) * a).sum())


def test_the_change_is_the_tangent(ball):
    x, a = torch.randn(2, 5, 3, 4, 2, dtype=torch.float64).unbind(0)
    torch.testing.assert_close(ball(x, a), x + ball.tangent(x, a), rtol=0, atol=0)


def test_additive_adds():
    x, a = torch.randn(2, 5, 7).unbind(0)
    assert torch.equal(Additive(2)(x, a), x + a)


def test_relative_spares_the_anchor():
    x, a = torch.randn(2, 5, 7).unbind(0)
    x[:, 3] = 0.3
    changed = Relative(2, anchor=0.3)(x, a)
    assert torch.equal(changed[:, 3], x[:, 3])
    torch.testing.assert_close(changed, x + (x - 0.3) * a)
    torch.testing.assert_close(Relative(2)(x, a), x * (1 + a))


def test_random_is_uniform_on_the_sphere():
    a = Additive(2).random(torch.zeros(50_000, 3), 1.0)
    torch.testing.assert_close(a.mean(0), torch.zeros(3), rtol=0, atol=0.02)
    torch.testing.assert_close(a.T @ a / len(a), torch.eye(3) / 3, rtol=0, atol=0.02)


@pytest.mark.parametrize("norm", [1, 0, "2", None, math.nan])
@pytest.mark.parametrize("family", [Additive, Relative])
def test_other_norms_are_refused(family, norm):
    with pytest.raises(ValueError, match=r"norm must be one of 2, inf; got"):
        family(norm)


def test_an_anchor_must_be_finite_and_fit():
    with pytest.raises(ValueError, match=r"anchor must hold finite values, got NaN"):
        Relative(2, anchor=math.nan)
    with pytest.raises(ValueError, match=r"anchor must broadcast .*\(3, 4\), got \(5,\)"):
        Relative(2, anchor=torch.zeros(5)).check(torch.zeros(2, 3, 4))


def test_the_anchor_follows_the_inputs_type():
    x = torch.randn(2, 4, dtype=torch.float64)
    assert Relative(2, anchor=0.5)(x, x).dtype == torch.float64


def test_an_anchor_must_not_enlarge_an_example():
    with pytest.raises(ValueError, match=r"anchor must broadcast to .*\(3, 4\), got \(5, 3, 4\)"):
        Relative(2, anchor=torch.zeros(5, 3, 4)).check(torch.zeros(1, 3, 4))
