"""The worst unit field and its rate: closed form against search and against Lagrange's solution."""

import copy
import pickle

import pytest
import torch

from tests import networks, references
from unshaken import fields
from unshaken.perturbations import Movement

FAMILIES = {
    "shift": fields.Shift(),
    "rotation": fields.Rotation(),
    "scale": fields.Scale(),
    "shear": fields.Shear(),
    "affine": fields.Affine(),
    "elastic": fields.Elastic(modes=2),
}
SIZES = {"signal": (9,), "image": (4, 7), "volume": (3, 4, 5)}
CASES = [
    pytest.param(name, size, id=f"{name}-{kind}")
    for name in FAMILIES
    for kind, size in SIZES.items()
    if len(size) > 1 or name not in ("rotation", "shear")
]


class Swirl(fields.Field):
    """A user's own field: a rotation that fades from the center, beside a constant drift."""

    def basis(self, size):
        rows = torch.arange(size[0], dtype=torch.float32)[:, None] - 1
        columns = torch.arange(size[1], dtype=torch.float32)[None, :] - 2
        fading = torch.exp(-(rows**2 + columns**2) / 4)
        swirl = torch.stack([-columns * fading, rows * fading])
        return torch.stack([3 * swirl, torch.full_like(swirl, 0.2)])


def images(size, channels=2, count=2):
    return torch.randn(2, count, channels, *size, dtype=torch.float64).unbind(0)


@pytest.mark.parametrize("border", ["zero", "circular"])
@pytest.mark.parametrize(("name", "size"), CASES)
def test_rate_and_worst_field_equal_the_search(name, size, border):
    x, g = images(size)
    movement = Movement(FAMILIES[name], border=border)
    s = movement.pull_back(x, g)
    basis = references.fields_by_loops(name, size, modes=2)
    by_loops = references.slopes(x, g, basis, border)
    torch.testing.assert_close(s, by_loops, rtol=0, atol=1e-12)
    rate = movement.rate(x, s)
    worst = movement.displacement(x, movement.steepest(x, s, 1.0))
    for i in range(len(x)):
        found, field = references.rate_by_search(by_loops[i], basis)
        assert float(rate[i]) == pytest.approx(found, rel=1e-8)
        torch.testing.assert_close(worst[i], field, rtol=0, atol=2e-4)


@pytest.mark.parametrize(("name", "size"), CASES)
def test_rate_equals_lagrange(name, size):
    """√(sᵀ G⁻¹ s) with G by loops and inverted as it stands, to rounding."""
    x, g = images(size)
    movement = Movement(FAMILIES[name])
    basis = references.fields_by_loops(name, size, modes=2)
    s = references.slopes(x, g, basis)
    solved = torch.linalg.solve(references.gram(basis), s.T).T
    torch.testing.assert_close(
        movement.rate(x, movement.pull_back(x, g)), (s * solved).sum(1).sqrt(), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize(
    "families",
    [
        pytest.param((fields.Affine(), fields.Shift()), id="affine and shift"),
        pytest.param((fields.Shift(), fields.Rotation(), fields.Scale()), id="independent"),
        pytest.param((fields.Shift(), fields.Shift()), id="twice the same"),
        pytest.param((fields.Affine(), fields.Rotation(), fields.Shear()), id="affine and parts"),
    ],
)
def test_a_joint_family_of_dependent_fields(families):
    size = (4, 7)
    x, g = images(size)
    movement = Movement(*families)
    names = [type(field).__name__.lower() for field in families]
    basis = [b for name in names for b in references.fields_by_loops(name, size)]
    s = movement.pull_back(x, g)
    assert s.shape == (2, len(basis))
    for i in range(2):
        found, field = references.rate_by_search(s[i], basis)
        assert float(movement.rate(x, s)[i]) == pytest.approx(found, rel=1e-8)
        worst = movement.displacement(x, movement.steepest(x, s, 1.0))[i]
        torch.testing.assert_close(worst, field, rtol=0, atol=2e-4)


def test_adding_dependent_fields_changes_nothing():
    x, g = images((4, 7))
    alone, joint = Movement(fields.Affine()), Movement(fields.Affine(), fields.Shift())
    torch.testing.assert_close(
        joint.rate(x, joint.pull_back(x, g)),
        alone.rate(x, alone.pull_back(x, g)),
        rtol=1e-12,
        atol=0,
    )


def test_a_users_own_field_of_any_length():
    x, g = images((4, 7))
    movement = Movement(Swirl())
    basis = list(Swirl().basis((4, 7)).double())
    s = references.slopes(x, g, basis)
    for i in range(2):
        found, field = references.rate_by_search(s[i], basis)
        assert float(movement.rate(x, movement.pull_back(x, g))[i]) == pytest.approx(
            found, rel=1e-8
        )
        worst = movement.displacement(x, movement.steepest(x, s, 1.0))[i]
        torch.testing.assert_close(worst, field, rtol=0, atol=2e-4)


def test_a_field_without_the_base_class_will_do():
    class Drift:
        def basis(self, size):
            return torch.ones(1, len(size), *size)

    x, g = images((4, 7))
    movement = Movement(Drift())
    total = sum(references.image_derivative(x, j) for j in (0, 1))
    expected = (g * total).flatten(1).sum(1).abs() / 2**0.5
    torch.testing.assert_close(movement.rate(x, movement.pull_back(x, g)), expected)


@pytest.mark.parametrize("radius", [0.0, 0.3, 2.0])
def test_random_and_steepest_have_exactly_the_radius(radius):
    x, g = images((4, 7), count=5)
    movement = Movement(fields.Affine(), fields.Shift())
    for a in (
        movement.random(x, radius),
        movement.steepest(x, movement.pull_back(x, g), radius),
    ):
        rms = movement.displacement(x, a).square().sum(1).flatten(1).mean(1).sqrt()
        torch.testing.assert_close(rms, torch.full_like(rms, radius), rtol=1e-12, atol=1e-12)


def test_random_directions_are_uniform_among_unit_fields():
    """The covariance of whitened coordinates is a multiple of one, whatever the basis."""
    movement = Movement(fields.Affine())
    x = torch.zeros(20_000, 1, 3, 5, dtype=torch.float64)
    unit = movement.random(x, 1.0) @ movement.geometry(x).basis / 15**0.5
    covariance = unit.T @ unit / len(x)
    values = torch.linalg.eigvalsh(covariance)
    torch.testing.assert_close(
        values[-6:], torch.full((6,), 1 / 6, dtype=values.dtype), rtol=0.05, atol=0
    )
    assert float(values[:-6].abs().max()) < 1e-12


def test_the_first_order_change_is_the_adjoint_of_the_gradient():
    x, g = images((4, 7))
    movement = Movement(fields.Affine(), border="replicate")
    a = torch.randn(2, 6, dtype=torch.float64)
    torch.testing.assert_close(
        (g * movement.tangent(x, a)).flatten(1).sum(1), (movement.pull_back(x, g) * a).sum(1)
    )


def test_the_rate_is_the_derivative_of_the_loss():
    """(L(I + ε ∇I · V) − L(I)) / ε → R for the worst V, and no V does better (eq. 8-10)."""
    model = networks.convolutional(2, 2).double()
    x, y = networks.batch((2, 5, 6))
    movement = Movement(fields.Affine())
    leaf = x.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(model(leaf), y, reduction="none")
    (g,) = torch.autograd.grad(loss.sum(), leaf)
    s = movement.pull_back(x, g)
    a = movement.steepest(x, s, 1.0)
    step = 1e-5

    def losses(moved):
        return torch.nn.functional.cross_entropy(model(moved), y, reduction="none")

    def measured(a):
        forth, back = (losses(x + sign * step * movement.tangent(x, a)) for sign in (1, -1))
        return (forth - back) / (2 * step)

    torch.testing.assert_close(measured(a), movement.rate(x, s), rtol=1e-7, atol=1e-9)
    for _ in range(10):
        rival = measured(movement.random(x, 1.0))
        assert bool((rival.abs() <= movement.rate(x, s)).all())


def test_a_geometry_is_made_once_for_each_lattice_and_type():
    built = []

    class Counted(fields.Shift):
        def basis(self, size):
            built.append(tuple(size))
            return super().basis(size)

    movement = Movement(Counted())
    for x in (torch.randn(2, 1, 4, 5), torch.randn(3, 2, 4, 5), torch.randn(1, 1, 3, 3)):
        movement.pull_back(x, x)
        movement.displacement(x, movement.random(x, 1.0))
    assert built == [(4, 5), (3, 3)]


def test_half_precision_inputs_keep_their_type():
    x = torch.randn(2, 1, 4, 5, dtype=torch.bfloat16)
    movement = Movement(fields.Affine())
    moved = movement(x, movement.random(x, 1.0))
    assert moved.dtype == torch.bfloat16
    assert movement.geometry(x).basis.dtype == torch.float32
    assert movement.tangent(x, movement.random(x, 1.0)).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda: Movement(), ValueError, r"Movement needs at least one field"),
        (lambda: Movement("shift"), TypeError, r"fields.*basis.*got 'shift'"),
        (
            lambda: Movement(fields.Shift(), border="none"),
            ValueError,
            r"border.*'zero'.*got 'none'",
        ),
        (lambda: Movement(fields.Shift(), padding=1), ValueError, r"padding.*'border'.*got 1"),
    ],
)
def test_meaningless_movements_are_refused(make, error, sentence):
    with pytest.raises(error, match=sentence):
        make()


def test_a_class_in_place_of_a_field_is_refused():
    with pytest.raises(TypeError, match=r"fields must be objects .*Shift.*make one: Shift\(\)"):
        Movement(fields.Shift)


def test_a_basis_of_a_wrong_shape_is_named():
    class Flat(fields.Field):
        def basis(self, size):
            return torch.ones(2, *size)

    with pytest.raises(
        ValueError, match=r"Flat\(\)\.basis\(\(4, 5\)\).*\(K, 2, 4, 5\), got \(2, 4, 5\)"
    ):
        Movement(Flat()).geometry(torch.zeros(1, 1, 4, 5))


def test_a_family_that_moves_nothing_is_named():
    with pytest.raises(
        ValueError, match=r"fields must move something, but Scale\(\) do not on size \(1,\)"
    ):
        Movement(fields.Scale()).geometry(torch.zeros(1, 1, 1))


def test_a_field_of_another_dimension_is_named():
    with pytest.raises(ValueError, match=r"Rotation needs .*at least 2 spatial axes, got 1"):
        Movement(fields.Rotation()).geometry(torch.zeros(1, 1, 9))


def test_inputs_without_spatial_axes_are_named():
    with pytest.raises(ValueError, match=r"movement needs inputs \(N, C, \*size\).*\(4, 7\)"):
        Movement(fields.Shift()).check(torch.zeros(4, 7))


def test_an_empty_basis_is_named():
    class Nothing(fields.Field):
        def basis(self, size):
            return torch.zeros(0, len(size), *size)

    with pytest.raises(ValueError, match=r"Nothing\(\)"):
        Movement(Nothing()).geometry(torch.zeros(1, 1, 4, 5))


def test_bases_of_few_sizes_are_kept_and_none_is_pickled():
    movement = Movement(fields.Affine())
    alone = len(pickle.dumps(movement))
    for size in range(5, 30):
        movement.tangent(torch.randn(2, 1, size, size), torch.randn(2, 6))
    assert 0 < len(movement._geometries) <= 8
    assert len(pickle.dumps(movement)) == alone
    x, a = torch.randn(2, 1, 6, 6), torch.randn(2, 6)
    torch.testing.assert_close(copy.deepcopy(movement).tangent(x, a), movement.tangent(x, a))
