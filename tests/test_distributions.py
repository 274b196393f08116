"""The hard concrete distribution against its formulas and against numpy's draws."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from tests import references
from unshaken.distributions import HardConcrete

LOCATIONS = [-3.0, -0.5, 0.0, 1.0, 4.0]


def draws(log_alpha, count=200_000):
    return HardConcrete(torch.full((count,), log_alpha, dtype=torch.float64)).rsample().numpy()


@pytest.mark.parametrize("log_alpha", LOCATIONS)
def test_the_distribution_function(log_alpha):
    """P(z ≤ t) at the atoms and between them, within 5 standard errors of 200 000 draws."""
    z = draws(log_alpha)
    for t in (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1 - 1e-12):
        expected = references.hard_concrete_cdf(t, log_alpha)
        error = 5 * math.sqrt(expected * (1 - expected) / len(z)) + 1e-9
        assert abs((z <= t).mean() - expected) < error
    assert (z >= 0).all() and (z <= 1).all()


@pytest.mark.parametrize("log_alpha", LOCATIONS)
def test_atoms(log_alpha):
    z = draws(log_alpha)
    zero, one = (z == 0).mean(), (z == 1).mean()
    expected_zero = references.hard_concrete_cdf(0.0, log_alpha)
    expected_one = 1 - references.hard_concrete_cdf(1.0, log_alpha)
    assert zero == pytest.approx(expected_zero, abs=0.006)
    assert one == pytest.approx(expected_one, abs=0.006)


def test_the_same_law_as_an_independent_sampler():
    ours, theirs = draws(0.7, 20_000), references.hard_concrete_samples(0.7, 20_000, seed=1)
    assert stats.ks_2samp(ours, theirs).pvalue > 1e-3


@pytest.mark.parametrize("log_alpha", LOCATIONS)
def test_nonzero_probability_is_one_minus_the_atom(log_alpha):
    distribution = HardConcrete(torch.tensor([log_alpha], dtype=torch.float64))
    expected = 1 - references.hard_concrete_cdf(0.0, log_alpha)
    assert float(distribution.nonzero_probability) == pytest.approx(expected, rel=1e-12)


def test_other_constants():
    log_alpha, beta, low, high = 0.4, 0.9, -0.3, 1.2
    distribution = HardConcrete(
        torch.full((200_000,), log_alpha, dtype=torch.float64), beta, low, high
    )
    cdf = references.hard_concrete_cdf(0.0, log_alpha, beta, low, high)
    assert float(distribution.expected_l0()) == pytest.approx(1 - cdf, rel=1e-12)
    z = distribution.rsample().numpy()
    assert (z == 0).mean() == pytest.approx(cdf, abs=0.006)
    assert np.median(z) == pytest.approx(
        1 / (1 + math.exp(-log_alpha / beta)) * 1.5 - 0.3, abs=0.01
    )


def test_expected_l0_is_a_mean_over_entries():
    log_alpha = torch.randn(3, 1, 4, 5, dtype=torch.float64)
    each = [1 - references.hard_concrete_cdf(0.0, float(a)) for a in log_alpha.flatten()]
    found = HardConcrete(log_alpha).expected_l0()
    assert found.shape == ()
    assert float(found) == pytest.approx(sum(each) / 60, rel=1e-12)


def test_a_draw_is_eq_11_of_one_uniform_number_for_each_entry():
    log_alpha = torch.randn(3, 4, dtype=torch.float64)
    torch.manual_seed(5)
    z = HardConcrete(log_alpha).rsample()
    after = torch.rand(1)
    torch.manual_seed(5)
    u = torch.rand(3, 4, dtype=torch.float64)
    torch.testing.assert_close(z, references.hard_concrete(log_alpha, u), rtol=0, atol=1e-12)
    assert torch.equal(after, torch.rand(1))


def test_a_draw_can_be_differentiated_in_its_location():
    log_alpha = torch.randn(50, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(5)
    (found,) = torch.autograd.grad(HardConcrete(log_alpha).rsample().sum(), log_alpha)
    torch.manual_seed(5)
    u = torch.rand(50, dtype=torch.float64)
    (expected,) = torch.autograd.grad(references.hard_concrete(log_alpha, u).sum(), log_alpha)
    torch.testing.assert_close(found, expected)
    assert bool(found.any())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_no_draw_is_undefined_in_low_precision(dtype):
    for location in (-1e4, 0.0, 1e4):
        log_alpha = torch.full((20_000,), location, dtype=dtype, requires_grad=True)
        z = HardConcrete(log_alpha).rsample()
        z.sum().backward()
        assert bool(torch.isfinite(z).all())
        assert bool(torch.isfinite(log_alpha.grad).all())


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"temperature": 0.0}, ValueError, r"temperature must be a finite number > 0, got 0\.0"),
        ({"temperature": -1.0}, ValueError, r"temperature must be .* > 0, got -1\.0"),
        ({"temperature": "1"}, TypeError, r"temperature must be .*, got '1'"),
        ({"low": 0.0}, ValueError, r"low must be < 0 and high > 1, got low=0\.0, high=1\.1"),
        ({"high": 1.0}, ValueError, r"low must be < 0 and high > 1, got low=-0\.1, high=1\.0"),
        ({"high": math.inf}, ValueError, r"high must be a finite number, got inf"),
    ],
)
def test_bad_settings_are_named(arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        HardConcrete(torch.zeros(3), **arguments)


def test_repr_names_the_settings():
    text = repr(HardConcrete(torch.zeros(2, 3), temperature=0.5))
    assert text == "HardConcrete(log_alpha=(2, 3), temperature=0.5, low=-0.1, high=1.1)"
