"""Estimators of a mask's gradient against enumeration: who is biased, and by what variance."""

import pytest
import torch
from torch import nn

from unshaken import estimators
from unshaken.estimators import (
    GumbelSoftmax,
    HardConcretePath,
    Rebar,
    Reinforce,
    Relax,
    StraightThrough,
    exact,
    fit,
)

LOG_ALPHA = torch.tensor([-1.0, 0.3, 2.0, -0.2], dtype=torch.float64)
A = torch.tensor([1.5, -1.0, 0.7, 2.0], dtype=torch.float64)
B = torch.tensor([0.4, 2.1, -1.3, 0.9], dtype=torch.float64)
DRAWS = 100_000


def f(z):
    """Neither linear nor a product, smooth between binary masks."""
    return (z @ A - 1) ** 2 + (z @ B).sin()


class Surrogate(nn.Module):
    def __init__(self, count=4):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(count, 8), nn.Tanh(), nn.Linear(8, 1)).double()

    def forward(self, w):
        return self.layers(w.flatten(1)).squeeze(1)


UNBIASED = {
    "reinforce": (lambda: Reinforce("none"), 1),
    "reinforce, two draws": (Reinforce, 2),
    "reinforce, four draws": (Reinforce, 4),
    "rebar": (Rebar, 1),
    "rebar, other settings": (lambda: Rebar(0.6, 0.2), 2),
    "relax": (lambda: Relax(Surrogate()), 1),
    "relax, surrogate alone": (lambda: Relax(Surrogate(), relaxed=False), 1),
}
BIASED = {
    "gumbel-softmax": GumbelSoftmax,
    "straight-through": StraightThrough,
    "hard concrete": HardConcretePath,
}


def sampled(estimator, function=f, log_alpha=LOG_ALPHA, draws=1, count=DRAWS):
    """Mean of independent estimates, the mean's standard error, and their total variance."""
    torch.manual_seed(5)
    rows = log_alpha.expand(count, *log_alpha.shape)
    found = estimator(function, rows, draws).flatten(1)
    return found.mean(0), found.std(0) / count**0.5, float(found.var(0).sum())


def test_the_exact_gradient_is_autograds_of_the_expectation():
    leaf = LOG_ALPHA.clone().requires_grad_()
    p = leaf.sigmoid()
    total = 0
    for k in range(16):
        z = torch.tensor([(k >> j) & 1 for j in range(4)], dtype=torch.float64)
        total = total + torch.where(z > 0, p, 1 - p).prod() * f(z.unsqueeze(0))[0]
    (expected,) = torch.autograd.grad(total, leaf)
    torch.testing.assert_close(exact(f, LOG_ALPHA.unsqueeze(0))[0], expected)


@pytest.mark.parametrize("name", UNBIASED)
def test_unbiased_within_five_standard_errors(name):
    torch.manual_seed(0)
    make, draws = UNBIASED[name]
    estimator = make()
    assert estimator.unbiased
    mean, error, _ = sampled(estimator, draws=draws)
    gap = (mean - exact(f, LOG_ALPHA.unsqueeze(0))[0]).abs()
    assert bool((gap < 5 * error).all()), (gap / error).tolist()
    # The bound would see a bias of a twelfth of the gradient's length.
    assert float(5 * error.max()) < float(exact(f, LOG_ALPHA.unsqueeze(0)).norm()) / 12


@pytest.mark.parametrize("name", BIASED)
def test_pathwise_estimators_are_biased_by_far_more_than_their_error(name):
    estimator = BIASED[name]()
    assert not estimator.unbiased
    mean, error, _ = sampled(estimator)
    gap = (mean - exact(f, LOG_ALPHA.unsqueeze(0))[0]).abs()
    assert float((gap / error).max()) > 15


def test_a_lower_temperature_trades_bias_for_variance():
    truth = exact(f, LOG_ALPHA.unsqueeze(0))[0]
    hot_mean, _, hot = sampled(GumbelSoftmax(1.0))
    cold_mean, _, cold = sampled(GumbelSoftmax(0.1))
    assert float((cold_mean - truth).norm()) < 0.3 * float((hot_mean - truth).norm())
    assert cold > 3 * hot


def test_of_a_linear_f_both_relaxations_give_the_slope_of_the_relaxed_mean():
    """That is A E[∂σ(w/β)/∂log α], by quadrature over u, and not A σ'(log α)."""
    u = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    w = LOG_ALPHA.unsqueeze(1) + torch.logit(u)
    soft = torch.sigmoid(w * 1.5)
    expected = A * (1.5 * soft * (1 - soft)).mean(1)
    for estimator in (StraightThrough(), GumbelSoftmax()):
        mean, error, _ = sampled(estimator, lambda z: z @ A)
        assert bool(((mean - expected).abs() < 5 * error).all())


def test_baselines_and_control_variates_lower_the_variance():
    def shifted(z):
        return f(z) + 10

    plain = sampled(Reinforce("none"), shifted, draws=4)[2]
    left_out = sampled(Reinforce(), shifted, draws=4)[2]
    rebar = sampled(Rebar(), shifted, draws=4)[2]
    assert left_out < 0.2 * plain
    assert rebar < 0.2 * plain


@pytest.mark.parametrize(
    "make",
    [lambda: Rebar(0.2, 2.0), lambda: Relax(Surrogate()), lambda: Relax(Surrogate(), False)],
    ids=["rebar", "relax", "relax, surrogate alone"],
)
def test_fitting_lowers_the_variance_and_keeps_the_mean(make):
    torch.manual_seed(1)
    estimator = make()
    before = sampled(estimator)[2]
    fit(estimator, f, LOG_ALPHA.expand(256, 4), steps=150)
    mean, error, after = sampled(estimator)
    assert after < 0.8 * before
    truth = exact(f, LOG_ALPHA.unsqueeze(0))[0]
    assert bool(((mean - truth).abs() < 5 * error).all())


@pytest.mark.parametrize("make", [Reinforce, lambda: Relax(Surrogate(), relaxed=False)])
def test_a_step_function_needs_no_derivative(make):
    def steps(z):
        return (z @ A > 1).double()

    torch.manual_seed(2)
    mean, error, _ = sampled(make(), steps, draws=2)
    truth = exact(steps, LOG_ALPHA.unsqueeze(0))[0]
    assert bool(((mean - truth).abs() < 5 * error).all())


@pytest.mark.parametrize("make", [*(m for m, _ in UNBIASED.values()), *BIASED.values()])
def test_each_row_is_a_problem_of_its_own_and_nothing_is_left_behind(make):
    """Rows of masks with an image's shape; f's own parameters get no gradient."""
    torch.manual_seed(3)
    estimator = make()
    weight = torch.randn(2, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    log_alpha = torch.randn(2, 1, 2, 2, dtype=torch.float64)
    found = estimator(lambda z: (z * weight).flatten(1).sum(1).square(), log_alpha, 3)
    assert found.shape == log_alpha.shape and not found.requires_grad
    assert weight.grad is None
    assert all(p.grad is None for p in estimator.parameters())


@pytest.mark.parametrize("make", [Reinforce, Rebar, *BIASED.values()])
def test_a_row_without_value_has_no_gradient_whatever_the_others_have(make):
    first = torch.tensor([1.0, 0.0], dtype=torch.float64)
    found = make()(lambda z: f(z) * first, LOG_ALPHA.expand(2, 4), 3)
    assert bool(found[0].any()) and not bool(found[1].any())


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: exact(f, torch.zeros(1, 17)), "at most 16 entries"),
        (lambda: Reinforce("mean"), "baseline"),
        (lambda: GumbelSoftmax(0.0), "temperature"),
        (lambda: Rebar(temperature=-1.0), "temperature"),
        (lambda: Reinforce()(f, LOG_ALPHA.unsqueeze(0), 0), "draws"),
        (lambda: Reinforce()(lambda z: z, LOG_ALPHA.unsqueeze(0)), "one value for each row"),
        (lambda: fit(GumbelSoftmax(), f, LOG_ALPHA.unsqueeze(0)), "biased"),
        (lambda: fit(Reinforce(), f, LOG_ALPHA.unsqueeze(0)), "no parameters"),
    ],
)
def test_mistakes_are_named(wrong, says):
    with pytest.raises(ValueError, match=says):
        wrong()


def test_a_surrogate_must_be_a_module():
    with pytest.raises(TypeError, match="surrogate"):
        Relax(lambda w: w.sum(1))


def test_every_estimator_is_listed():
    assert set(estimators.__all__) >= {"Reinforce", "GumbelSoftmax", "Rebar", "Relax"}
