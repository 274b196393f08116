"""Resampling: exact where it can be, first-order elsewhere."""

import math

import pytest
import torch

from unshaken import fields
from unshaken.perturbations import Movement
from unshaken.perturbations.warp import warp

SIZES = {"signal": (9,), "image": (6, 9), "volume": (4, 5, 6)}


def constant_field(size, axis, value):
    field = torch.zeros(2, len(size), *size, dtype=torch.float64)
    field[:, axis] = value
    return field


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_no_displacement_changes_nothing(size):
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    still = torch.zeros(2, len(size), *size, dtype=torch.float64)
    torch.testing.assert_close(warp(x, still), x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("pixels", [1, -2])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_whole_pixels_are_a_roll_with_the_edge_repeated(size, pixels):
    """``I'(p) = I(p + V)``: component j along axis j, with this sign."""
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    for axis, length in enumerate(size):
        positions = (torch.arange(length) + pixels).clamp(0, length - 1)
        expected = x.index_select(axis + 2, positions)
        moved = warp(x, constant_field(size, axis, pixels))
        torch.testing.assert_close(moved, expected, rtol=0, atol=1e-12)


def test_half_a_pixel_is_the_mean_of_two_neighbors():
    x = torch.randn(2, 1, 6, 9, dtype=torch.float64)
    moved = warp(x, constant_field((6, 9), 1, 0.5))
    torch.testing.assert_close(moved[..., :-1], (x[..., :-1] + x[..., 1:]) / 2)


def test_each_position_moves_by_its_own_vector():
    x = torch.randn(1, 1, 5, 5, dtype=torch.float64)
    field = torch.zeros(1, 2, 5, 5, dtype=torch.float64)
    field[0, 0, 1, 3], field[0, 1, 1, 3] = 2.0, -1.0
    expected = x.clone()
    expected[0, 0, 1, 3] = x[0, 0, 3, 2]
    torch.testing.assert_close(warp(x, field), expected, rtol=0, atol=1e-12)


def test_paddings():
    x = torch.arange(1.0, 5.0).reshape(1, 1, 4)
    two = torch.full((1, 1, 4), 2.0)
    assert warp(x, two, "border").flatten().tolist() == [3, 4, 4, 4]
    assert warp(x, two, "zeros").flatten().tolist() == [3, 4, 0, 0]
    assert warp(x, two, "reflection").flatten().tolist() == [3, 4, 3, 2]


@pytest.mark.parametrize("field", [fields.Shift(), fields.Affine(), fields.Elastic(2)], ids=repr)
@pytest.mark.parametrize("size", [(20,), (14, 20), (8, 9, 10)], ids=SIZES)
def test_in_the_interior_a_small_warp_is_first_order(field, size):
    """(I(p + εV) − I(p)) / ε nears ∇I · V on an image that is linear along every axis."""
    axes = [torch.arange(d, dtype=torch.float64) for d in size]
    grid = torch.meshgrid(*axes, indexing="ij")
    x = sum((j + 2) * axis for j, axis in enumerate(grid))[None, None]
    movement = Movement(field)
    a = movement.random(x, 1.0)
    step = 1e-3
    changed = (movement(x, step * a) - x) / step
    inside = (..., *[slice(3, -3)] * len(size))
    expected = movement.tangent(x, a)
    torch.testing.assert_close(changed[inside], expected[inside], rtol=1e-9, atol=1e-9)


def test_warp_false_is_the_first_order_change():
    x = torch.randn(2, 1, 3, 3, 3, 3, dtype=torch.float64)
    movement = Movement(fields.Shift(), warp=False)
    a = movement.random(x, 0.5)
    torch.testing.assert_close(movement(x, a), x + movement.tangent(x, a))


def test_more_axes_than_resampling_knows_are_named():
    x = torch.randn(2, 1, 3, 3, 3, 3)
    movement = Movement(fields.Shift())
    with pytest.raises(ValueError, match=r"1 to 3 spatial axes, got 4 .*\(2, 1, 3, 3, 3, 3\)"):
        movement(x, movement.random(x, 1.0))


def test_an_axis_of_length_one_is_left_alone():
    x = torch.randn(2, 1, 1, 7, dtype=torch.float64)
    moved = warp(x, constant_field((1, 7), 0, 3.0))
    torch.testing.assert_close(moved, x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_interpolated_in_single(dtype):
    x = torch.randn(1, 1, 8, 8).to(dtype)
    field = torch.full((1, 2, 8, 8), 1 / 3)
    assert torch.equal(warp(x, field), warp(x.float(), field).to(dtype))


def test_a_turn_by_warp_is_a_turn():
    """A quarter turn of a square image, written as a displacement, moves pixels exactly."""
    x = torch.randn(1, 1, 6, 6, dtype=torch.float64)
    rows, columns = torch.meshgrid(*[torch.arange(6, dtype=torch.float64) - 2.5] * 2, indexing="ij")
    turn = math.pi / 2
    field = torch.stack(
        [
            rows * (math.cos(turn) - 1) - columns * math.sin(turn),
            rows * math.sin(turn) + columns * (math.cos(turn) - 1),
        ]
    )
    torch.testing.assert_close(warp(x, field[None]), x.rot90(1, (3, 2)), rtol=0, atol=1e-12)
