"""What the worst field may not depend on: the choice of basis, constants, mirrors, order."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unshaken import fields
from unshaken.perturbations import Movement

FAMILIES = [fields.Shift(), fields.Scale(), fields.Affine(), fields.Elastic(2)]
sizes = st.lists(st.integers(2, 6), min_size=1, max_size=3).map(tuple)
# On three positions all slopes may be of the size of rounding, whose direction is any.
wide = st.lists(st.integers(4, 6), min_size=1, max_size=3).map(tuple)
families = st.sampled_from(FAMILIES)
seeds = st.integers(0, 10_000)


class Mixed(fields.Field):
    """The same fields in another basis."""

    def __init__(self, family, matrix):
        self.family = family
        self.matrix = matrix

    def basis(self, size):
        return torch.einsum("ij,j...->i...", self.matrix, self.family.basis(size))


def images(size, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, 2, *size, dtype=torch.float64, generator=generator).unbind(0)


def worst(movement, x, g):
    s = movement.pull_back(x, g)
    return movement.rate(x, s), movement.displacement(x, movement.steepest(x, s, 1.0))


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)


@given(size=sizes, family=families, seed=seeds)
def test_any_invertible_mixture_of_the_basis(size, family, seed):
    x, g = images(size, seed)
    count = len(family.basis(size))
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, count, dtype=torch.float64, generator=generator)
    matrix = torch.linalg.qr(noise)[0] * torch.linspace(0.1, 3, count, dtype=torch.float64)
    for found, expected in zip(
        worst(Movement(Mixed(family, matrix)), x, g), worst(Movement(family), x, g), strict=True
    ):
        close(found, expected)


@given(size=sizes, family=families, seed=seeds, scale=st.floats(1e-6, 1e6))
def test_the_rate_is_homogeneous_and_blind_to_constants(size, family, seed, scale):
    x, g = images(size, seed)
    movement = Movement(family)
    rate, field = worst(movement, x, g)
    scaled, same = worst(movement, x + 7.0, scale * g)
    close(scaled / scale, rate)
    close(same, field)


@given(size=wide, family=families, seed=seeds)
def test_a_mirror_image_has_the_mirrored_field(size, family, seed):
    """Along every axis; these families are symmetric about the center."""
    x, g = images(size, seed)
    movement = Movement(family)
    rate, field = worst(movement, x, g)
    for axis in range(len(size)):
        mirrored, other = worst(movement, x.flip(axis + 2), g.flip(axis + 2))
        close(mirrored, rate)
        expected = field.flip(axis + 2)
        sign = torch.ones(len(size), dtype=torch.float64)
        sign[axis] = -1
        close(other, expected * sign.reshape(1, -1, *[1] * len(size)))


@given(size=sizes, family=families, seed=seeds)
def test_examples_are_handled_one_by_one(size, family, seed):
    x, g = images(size, seed)
    movement = Movement(family)
    rate, field = worst(movement, x, g)
    order = torch.tensor([2, 0, 1])
    shuffled = worst(movement, x[order], g[order])
    close(shuffled[0], rate[order])
    close(shuffled[1], field[order])
    close(worst(movement, x[:1], g[:1])[0], rate[:1])


@pytest.mark.parametrize("family", [*FAMILIES, fields.Rotation(), fields.Shear()], ids=repr)
def test_swapping_the_axes_swaps_the_field(family):
    x, g = images((4, 6), 0)
    rate, field = worst(Movement(family), x, g)
    swapped, other = worst(Movement(family), x.mT, g.mT)
    close(swapped, rate)
    close(other, field.mT.flip(1))


@pytest.mark.parametrize("larger", [fields.Affine()], ids=repr)
@pytest.mark.parametrize(
    "part", [fields.Shift(), fields.Scale(), fields.Rotation(), fields.Shear()], ids=repr
)
def test_a_larger_family_is_at_least_as_bad(larger, part):
    x, g = images((4, 6), 1)
    assert bool((worst(Movement(larger), x, g)[0] >= worst(Movement(part), x, g)[0]).all())
