"""Movements of finite size: the map, its size, what it meets outside, and that it does not fold."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from unshaken import MVAT, fields
from unshaken.perturbations import Movement
from unshaken.perturbations.folding import LEAST, least_determinant, unfolding_factor
from unshaken.perturbations.warp import warp

SIZES = {"signal": (9,), "image": (6, 9), "volume": (4, 5, 6)}
MODES = {
    "border": "nearest",
    "zeros": "grid-constant",
    "reflection": "mirror",
    "circular": "grid-wrap",
}
LINEAR = {
    "shift": fields.Shift(),
    "rotation": fields.Rotation(),
    "scale": fields.Scale(),
    "shear": fields.Shear(),
    "affine": fields.Affine(),
}


def image(size, count=2):
    return torch.randn(count, 1, *size, dtype=torch.float64)


def rms(v, spacing=None):
    h = torch.ones(v.shape[1]) if spacing is None else torch.tensor(spacing)
    scaled = v * h.reshape(-1, *[1] * (v.dim() - 2))
    return scaled.square().sum(1).flatten(1).mean(1).sqrt()


@pytest.mark.parametrize("padding", MODES)
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_linear_warps_equal_scipys(size, padding):
    x = image(size)
    v = 2 * torch.randn(2, len(size), *size, dtype=torch.float64)
    moved = warp(x, v, padding)
    lattice = np.indices(size)
    for i in range(2):
        expected = ndimage.map_coordinates(
            x[i, 0].numpy(), lattice + v[i].numpy(), order=1, mode=MODES[padding], cval=0.0
        )
        torch.testing.assert_close(moved[i, 0], torch.from_numpy(expected), rtol=0, atol=1e-10)


def keys(t, a=-0.75):
    """The kernel of cubic convolution (Keys 1981)."""
    t = abs(t)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0.0


@pytest.mark.parametrize("padding", MODES)
@pytest.mark.parametrize("size", [(9,), (6, 7)], ids=["signal", "image"])
def test_cubic_warps_equal_the_convolution_by_loops(size, padding):
    x, n = image(size, 1), len(size)
    v = torch.empty(1, n, *size, dtype=torch.float64).uniform_(-1.9, 1.9)
    moved = warp(x, v, padding, "cubic")
    mode = {"border": "edge", "zeros": "constant", "reflection": "reflect", "circular": "wrap"}
    padded = np.pad(x[0, 0].numpy(), 5, mode=mode[padding])
    for p in np.ndindex(*size):
        q = [p[j] + float(v[(0, j, *p)]) for j in range(n)]
        if padding == "reflection":
            q = [abs(c) if c < size[j] - 1 else 2 * (size[j] - 1) - c for j, c in enumerate(q)]
        low = [math.floor(c) for c in q]
        total = 0.0
        for offset in np.ndindex(*[4] * n):
            at = [low[j] + offset[j] - 1 for j in range(n)]
            weight = math.prod(keys(q[j] - at[j]) for j in range(n))
            total += weight * padded[tuple(c + 5 for c in at)]
        assert float(moved[(0, 0, *p)]) == pytest.approx(total, abs=1e-10)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_circular_shifts_by_whole_pixels_are_rolls_to_the_bit(size):
    x = image(size).float()
    for axis in range(len(size)):
        for pixels in (-size[axis] - 2, -1, 3):
            v = torch.zeros(2, len(size), *size)
            v[:, axis] = pixels
            assert torch.equal(warp(x, v, "circular"), x.roll(-pixels, axis + 2))


def test_cubic_in_three_dimensions_is_refused():
    with pytest.raises(ValueError, match=r"interpolation='cubic' needs 1 or 2 spatial axes, got 3"):
        warp(image((3, 3, 3)), torch.zeros(2, 3, 3, 3, 3), interpolation="cubic")


@pytest.mark.parametrize("radius", [0.3, 1.5])
@pytest.mark.parametrize("name", LINEAR)
def test_exact_movements_have_their_size(name, radius):
    size = (9, 12)
    movement = Movement(LINEAR[name], exact=True)
    x = image(size, 8)
    v = movement.finite_displacement(x, movement.random(x, radius))
    full = torch.full((8,), radius, dtype=torch.float64)
    torch.testing.assert_close(rms(v), full, rtol=1e-9, atol=0)


@pytest.mark.parametrize("spacing", [None, (2.0, 0.5)])
def test_an_exact_rotation_is_a_rotation(spacing):
    """Distances between any two positions stay, measured in the unit of the spacing."""
    size = (9, 12)
    movement = Movement(fields.Rotation(), exact=True, spacing=spacing)
    x = image(size)
    v = movement.finite_displacement(x, movement.random(x, 2.0))
    torch.testing.assert_close(rms(v, spacing), torch.full((2,), 2.0).double(), rtol=1e-9, atol=0)
    h = torch.tensor(spacing or (1.0, 1.0), dtype=torch.float64)
    lattice = torch.from_numpy(np.indices(size).astype(float)).flatten(1).T
    before = torch.cdist(lattice * h, lattice * h)
    for each in v:
        after = (lattice + each.flatten(1).T) * h
        torch.testing.assert_close(torch.cdist(after, after), before, rtol=0, atol=1e-6)
    straight = Movement(fields.Rotation(), spacing=spacing)
    lattice = lattice + straight.finite_displacement(x, straight.random(x, 2.0))[0].flatten(1).T
    assert float((torch.cdist(lattice * h, lattice * h) / before.clamp(min=1)).max()) > 1.01


def test_a_scale_field_gives_its_exponential():
    x = image((11,), 1)
    movement = Movement(fields.Scale(), exact=True)
    v = movement.finite_displacement(x, torch.tensor([[0.8]], dtype=torch.float64))
    p = torch.arange(11, dtype=torch.float64) - 5
    factor = 1 + 0.8 / p.square().mean().sqrt()
    torch.testing.assert_close(v[0, 0], (factor - 1) * p)


def test_users_fields_are_known_as_affine_or_not():
    class Mixed(fields.Field):
        def basis(self, size):
            return torch.cat([fields.Shear().basis(size), fields.Elastic(2).basis(size)])

    geometry = Movement(Mixed()).geometry(image((5, 6)))
    assert geometry.bent.tolist() == [0, 0] + [1] * 6
    assert not geometry.affine


@pytest.mark.parametrize("exact", [False, True])
def test_gradients_in_the_parameters(exact):
    x = image((4, 5))
    movement = Movement(fields.Affine(), fields.Elastic(2), exact=exact, spacing=(1.5, 1.0))
    # The coefficients themselves, so that no machine's eigenvectors make a fold of them: where one
    # is prevented the factor counts as a constant.
    a = (0.05 * torch.randn(movement.shape(x), dtype=torch.float64)).requires_grad_()
    assert bool((unfolding_factor(movement.displacement(x, a)) == 1).all())
    assert torch.autograd.gradcheck(lambda a: movement.finite_displacement(x, a), (a,))
    assert torch.autograd.gradcheck(
        lambda a: (movement(x, a) * x.roll(1, 2)).sum(), (a,), eps=1e-7, atol=1e-4
    )


class TestSpacing:
    def test_the_radius_is_in_its_unit(self):
        x = image((6, 9), 5)
        for family in (fields.Affine(), fields.Elastic(3), fields.Rotation()):
            movement = Movement(family, spacing=(3.0, 0.5), folding="allow")
            a = movement.random(x, 0.7)
            full = torch.full((5,), 0.7, dtype=torch.float64)
            torch.testing.assert_close(rms(movement.displacement(x, a), (3.0, 0.5)), full)
            torch.testing.assert_close(movement.size(x, a), full)

    def test_the_worst_shift_prefers_the_axis_with_short_pixels(self):
        """With equal slopes per pixel, ``a* ∝ G⁻¹ s``: s_j / h_j²."""
        x = image((6, 9), 1)
        movement = Movement(fields.Shift(), spacing=(2.0, 1.0))
        a = movement.steepest(x, torch.ones(1, 2, dtype=torch.float64), 1.0)
        assert float(a[0, 1] / a[0, 0]) == pytest.approx(4.0)

    @pytest.mark.parametrize("wrong", [(1.0,), (1.0, 0.0), "ab", 2.0])
    def test_what_it_must_be(self, wrong):
        with pytest.raises((ValueError, TypeError), match="spacing"):
            Movement(fields.Shift(), spacing=wrong).check(image((4, 4)))


class TestFolding:
    @pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
    def test_the_least_determinant_of_a_linear_map_is_its_own(self, size):
        n = len(size)
        matrix = torch.eye(n) + 0.3 * torch.randn(n, n)
        lattice = torch.from_numpy(np.indices(size)).float().flatten(1)
        v = ((matrix - torch.eye(n)) @ lattice).reshape(1, n, *size)
        expected = torch.linalg.det(matrix).reshape(1)
        torch.testing.assert_close(least_determinant(v), expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
    def test_the_factor_is_the_largest_that_leaves_enough(self, size):
        v = torch.randn(20, len(size), *size, dtype=torch.float64)
        factor = unfolding_factor(v)
        shaped = factor.reshape(-1, *[1] * (len(size) + 1))
        assert bool((factor < 1).all())
        assert float(least_determinant(shaped * v).min()) > LEAST - 1e-9
        # A little further it does not; by halving the factor is known to 2⁻¹².
        further = 1e-3 if len(size) == 3 else 1e-9
        assert float(least_determinant((shaped + further) * v).max()) < LEAST

    def test_smooth_movements_stay_as_they_are(self):
        x = image((12, 12), 20)
        movement = Movement(fields.Elastic(3))
        a = movement.random(x, 0.3)
        assert torch.equal(movement.finite_displacement(x, a), movement.displacement(x, a))

    def test_the_three_rules(self):
        x = image((12, 12), 20)
        rough = {rule: Movement(fields.Elastic(4), folding=rule) for rule in ("allow", "scale")}
        a = rough["allow"].random(x, 4.0)
        assert float(least_determinant(rough["allow"].finite_displacement(x, a)).min()) < 0
        scaled = rough["scale"].finite_displacement(x, a)
        assert float(least_determinant(scaled).min()) > LEAST - 1e-9
        torch.testing.assert_close(Movement(fields.Elastic(4)).finite_displacement(x, a), scaled)
        with pytest.raises(ValueError, match=r"fold \(least determinant -.*smaller radius"):
            Movement(fields.Elastic(4), folding="refuse")(x, a)


def test_worst_shows_what_was_used():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(54, 3)).double()
    x = image((6, 9), 4)
    worst = MVAT(fields.Affine(), radius=1.2, finite=True, exact=True, spacing=(2.0, 1.0)).worst(
        model, x
    )
    torch.testing.assert_close(worst.apply(1.2), worst.perturbed)
    full = torch.ones(4, dtype=torch.float64)
    torch.testing.assert_close(rms(worst.displacement, (2.0, 1.0)), full)
