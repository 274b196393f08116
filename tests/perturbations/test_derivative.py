"""The image derivative against a loop over positions."""

import pytest
import torch

from tests import references
from unshaken.perturbations.derivative import BORDERS, along_field, central_difference, momentum

SIZES = [(7,), (4, 5), (3, 4, 5), (1, 4), (2, 3), (2, 1)]


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_axis_and_border(size, border):
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    for axis in range(len(size)):
        torch.testing.assert_close(
            central_difference(x, axis + 2, border),
            references.image_derivative(x, axis, border),
            rtol=0,
            atol=1e-14,
        )


def test_zero_at_the_border_positions_along_that_axis_only():
    x = torch.randn(1, 1, 5, 6)
    rows, columns = central_difference(x, 2), central_difference(x, 3)
    assert not rows[:, :, [0, -1]].any()
    assert rows[:, :, 1:-1, [0, -1]].any()
    assert not columns[..., [0, -1]].any()
    assert columns[:, :, [0, -1], 1:-1].any()


def test_a_ramp_has_slope_one():
    ramp = torch.arange(6.0).reshape(1, 1, 6)
    assert central_difference(ramp, 2, "one-sided").flatten().tolist() == [1.0] * 6
    assert central_difference(ramp, 2, "zero").flatten().tolist() == [0, 1, 1, 1, 1, 0]
    assert central_difference(ramp, 2, "replicate").flatten().tolist() == [0.5, 1, 1, 1, 1, 0.5]
    assert central_difference(ramp, 2, "circular").flatten().tolist() == [-2, 1, 1, 1, 1, -2]


@pytest.mark.parametrize("border", BORDERS)
def test_momentum_is_the_adjoint_of_along_field(border):
    """⟨g, ∇I · V⟩ = ⟨momentum, V⟩ for every V."""
    x, g = torch.randn(2, 2, 3, 4, 5, dtype=torch.float64).unbind(0)
    x, g = x.reshape(2, 3, 4, 5), g.reshape(2, 3, 4, 5)
    v = torch.randn(2, 2, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(
        (g * along_field(x, v, border)).sum(), (momentum(x, g, border) * v).sum()
    )


def test_along_field_is_eq_3():
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    v = torch.randn(2, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(
        along_field(x, v.expand(2, -1, -1, -1), "zero"), references.first_order(x, v)
    )
