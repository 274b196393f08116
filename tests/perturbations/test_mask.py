"""Masks: exact budgets, one channel for all, and the price."""

import math

import pytest
import torch

from unshaken.distributions import HardConcrete
from unshaken.perturbations import Mask


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_one_mask_channel_is_shared_by_all_channels(scale):
    x = torch.randn(2, 3, 4, 5)
    z = torch.rand(2, 1, 4, 5)
    mask = Mask(scale)
    assert mask.shape(x) == z.shape
    expected = torch.stack([x[:, c] * scale * z[:, 0] for c in range(3)], 1)
    torch.testing.assert_close(mask(x, z), expected)


def test_flat_inputs_have_a_mask_entry_for_each_feature():
    x, z = torch.randn(4, 7), torch.rand(4, 7)
    assert Mask().shape(x) == (4, 7)
    torch.testing.assert_close(Mask(2.0)(x, z), 2 * x * z)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 7)])
def test_pull_back_is_the_gradient_in_the_mask(shape):
    x, g = torch.randn(2, *shape, dtype=torch.float64).unbind(0)
    mask = Mask(2.0)
    z = torch.rand(mask.shape(x), dtype=x.dtype, requires_grad=True)
    (expected,) = torch.autograd.grad((mask(x, z) * g).sum(), z)
    torch.testing.assert_close(mask.pull_back(x, g), expected)


@pytest.mark.parametrize("radius", [0.0, 0.25, 0.5, 1.0])
def test_steepest_and_random_erase_exactly_the_share(radius):
    x = torch.randn(6, 2, 4, 5)
    s = torch.randn(6, 1, 4, 5)
    for z in (Mask().steepest(x, s, radius), Mask().random(x, radius)):
        assert z.shape == (6, 1, 4, 5)
        assert set(z.unique().tolist()) <= {0.0, 1.0}
        assert (z == 0).flatten(1).sum(1).tolist() == [round(20 * radius)] * 6


def test_steepest_erases_what_gains_most():
    """Erasing entry j changes the loss by −s_j: the smallest s go."""
    s = torch.tensor([[3.0, -2.0, 0.5, -7.0, 1.0]])
    assert Mask().steepest(torch.zeros(1, 5), s, 0.4).tolist() == [[1, 0, 1, 0, 1]]


def test_random_masks_differ_between_examples_and_cover_every_entry():
    z = Mask().random(torch.zeros(4000, 1, 2, 3), 0.5)
    torch.testing.assert_close(z.mean(0), torch.full((1, 2, 3), 0.5), rtol=0, atol=0.05)
    assert len(z.flatten(1).unique(dim=0)) == math.comb(6, 3)


def test_the_price_counts_kept_entries_and_rough_edges():
    log_alpha = torch.randn(3, 1, 4, 5, dtype=torch.float64)
    distribution = HardConcrete(log_alpha)
    z = torch.rand(3, 1, 4, 5, dtype=torch.float64)
    kept = distribution.nonzero_probability.flatten(1).mean(1)
    torch.testing.assert_close(Mask(1.0, 2.5).price(z, distribution), 2.5 * kept)
    rows = (z[:, :, 1:] - z[:, :, :-1]).abs().flatten(1).mean(1)
    columns = (z[..., 1:] - z[..., :-1]).abs().flatten(1).mean(1)
    torch.testing.assert_close(
        Mask(1.0, 2.5, smoothness=0.7).price(z, distribution), 2.5 * kept - 0.7 * (rows + columns)
    )


def test_a_flat_mask_is_smooth_along_its_features():
    z = torch.tensor([[0.0, 1.0, 0.0, 0.5]])
    price = Mask(1.0, 0.0, smoothness=1.0).price(z, HardConcrete(torch.zeros(1, 4)))
    torch.testing.assert_close(price, torch.tensor([-2.5 / 3]))


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"scale": 0.0}, ValueError, r"scale must be a finite number > 0, got 0\.0"),
        ({"scale": -1}, ValueError, r"scale must be a finite number > 0, got -1"),
        ({"scale": True}, TypeError, r"scale must be a finite number > 0, got True"),
        ({"sparsity": -1.0}, ValueError, r"sparsity must be a finite number >= 0, got -1\.0"),
        ({"sparsity": "1"}, TypeError, r"sparsity must be a finite number >= 0, got '1'"),
        ({"smoothness": math.nan}, ValueError, r"smoothness must be a finite number >= 0, got nan"),
    ],
)
def test_bad_settings_are_named(arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        Mask(**arguments)
