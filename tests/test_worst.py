"""What a regularizer shows: fields, masks, and the same perturbation at other degrees."""

import pytest
import torch
from torch.nn import functional as F

from tests import networks
from unshaken import AT, MAT, VAT, VMT, XVAT, ClassBalance, Random, Regularizer, fields, masks
from unshaken.adversaries import Infinitesimal, SteepestStep
from unshaken.divergences import CrossEntropy
from unshaken.perturbations import Additive, Movement, Relative
from unshaken.perturbations.warp import warp

SHAPE = (2, 6, 8)


def setting():
    return networks.convolutional(2, 2).double(), *networks.batch(SHAPE)


@pytest.mark.parametrize("family", [fields.Shift(), fields.Rotation(), fields.Affine()], ids=repr)
def test_vmts_worst_field_has_the_rate_as_its_value(family):
    """⟨g, ∇I · V⟩ = R > 0 for the displacement shown."""
    model, x, y = setting()
    worst = VMT(family).worst(model, x, y)
    leaf = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(F.cross_entropy(model(leaf), y, reduction="sum"), leaf)
    change = worst.apply(1.0) - x
    rate = (g * change).flatten(1).sum(1)
    torch.testing.assert_close(rate, worst.value)
    assert bool((worst.value > 0).all())
    rms = worst.displacement.square().sum(1).flatten(1).mean(1)
    torch.testing.assert_close(rms, torch.ones_like(rms))


def test_the_mixtures_field_has_the_mixed_rate_and_is_shown_at_unit_size():
    model, x, y = setting()
    worst = VMT(fields.Shift(), fields.Rotation(), fields.Scale()).worst(model, x, y)
    leaf = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(F.cross_entropy(model(leaf), y, reduction="sum"), leaf)
    change = worst.perturbation.tangent(x, worst.parameters)
    torch.testing.assert_close((g * change).flatten(1).sum(1), worst.value)
    assert worst.coefficients.shape == (4, 5)
    rms = worst.displacement.square().sum(1).flatten(1).mean(1)
    torch.testing.assert_close(rms, torch.ones_like(rms))


def test_degrees_of_an_infinitesimal_movement():
    model, x, y = setting()
    worst = VMT(fields.Affine()).worst(model, x, y)
    change = worst.apply(1.0) - x
    for degree in (0.0, 0.5, -2.0):
        torch.testing.assert_close(worst.apply(degree), x + degree * change)
        torch.testing.assert_close(
            worst.apply(degree, warp=True), warp(x, degree * worst.displacement)
        )
    assert not torch.allclose(worst.apply(2.0), worst.apply(2.0, warp=True), atol=1e-3)
    torch.testing.assert_close(worst.perturbed, worst.apply(1.0))


def test_degrees_of_a_finite_movement_are_pixels():
    model, x, y = setting()
    worst = MAT(fields.Affine(), radius=0.7, padding="zeros").worst(model, x, y)
    torch.testing.assert_close(worst.apply(0.7), worst.perturbed)
    torch.testing.assert_close(worst.apply(2.0), warp(x, 2 * worst.displacement, "zeros"))
    torch.testing.assert_close(worst.apply(0.0), x)
    torch.testing.assert_close(worst.parameters, 0.7 * worst.coefficients)


@pytest.mark.parametrize("make", [lambda: AT(0.5), lambda: VAT(0.5)], ids=["at", "vat"])
def test_degrees_of_noise(make):
    model, x, y = setting()
    term = make()
    worst = term.worst(model, x, y if term.labeled else None)
    torch.testing.assert_close(worst.apply(1.0), worst.perturbed)
    torch.testing.assert_close(worst.apply(3.0), x + 3 * (worst.perturbed - x))
    assert worst.value.shape == (4,)


def test_a_mask_can_be_seen():
    model, x, _ = setting()
    worst = XVAT(masks.Steepest(0.5)).worst(model, x)
    assert worst.mask.shape == (4, 1, 6, 8)
    torch.testing.assert_close(worst.perturbed, x * worst.mask)
    torch.testing.assert_close(worst.apply(0.5), x * (1 + worst.mask) / 2)


def test_what_does_not_exist_is_an_attribute_error():
    model, x, y = setting()
    noise = AT(0.5).worst(model, x, y)
    with pytest.raises(AttributeError, match=r"Additive perturbation has no displacement"):
        _ = noise.displacement
    with pytest.raises(AttributeError, match=r"Additive perturbation has no mask"):
        _ = noise.mask
    moved = VMT(fields.Shift()).worst(model, x, y)
    with pytest.raises(AttributeError, match=r"Movement perturbation has no mask"):
        _ = moved.mask
    assert not hasattr(ClassBalance(), "worst")


def test_degrees_must_be_finite_numbers():
    model, x, y = setting()
    worst = AT(0.5).worst(model, x, y)
    with pytest.raises(ValueError, match=r"degree must be a finite number, got nan"):
        worst.apply(float("nan"))
    with pytest.raises(TypeError, match=r"degree must be a finite number, got '1'"):
        worst.apply("1")


def test_still_images_have_no_worst_field():
    model, x, y = setting()
    flat = torch.ones_like(x)
    worst = VMT(fields.Affine()).worst(model, flat, y)
    assert not worst.value.any() and not worst.displacement.any()
    torch.testing.assert_close(worst.apply(3.0), flat)
    moved = MAT(fields.Affine(), radius=1.0).worst(model, flat, y)
    assert not moved.coefficients.any()
    torch.testing.assert_close(moved.perturbed, flat)


def test_parameters_gradients_stay_as_they_are():
    model, x, y = setting()
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    for term in (AT(0.5), VMT(fields.Shift()), Random(Movement(fields.Shift()), 1.0)):
        worst = term.worst(model, x, y if term.labeled else None)
        assert not worst.value.requires_grad and not worst.perturbed.requires_grad
    assert all(bool((p.grad == 1).all()) for p in model.parameters())


@pytest.mark.parametrize("perturbation", [Additive(2), Relative(2)], ids=repr)
def test_the_rate_of_noise_can_be_looked_at(perturbation):
    model = networks.mlp((6,)).double()
    x, y = networks.batch((6,))
    worst = Regularizer(perturbation, Infinitesimal(), CrossEntropy()).worst(model, x, y)
    expected = x + perturbation.tangent(x, worst.parameters)
    torch.testing.assert_close(worst.perturbed, expected)
    torch.testing.assert_close(worst.apply(0.5), (x + expected) / 2)


def test_a_finite_first_order_movement_is_shown_as_it_was_used():
    model = networks.convolutional(2, 2).double()
    x, y = networks.batch(SHAPE)
    movement = Movement(fields.Affine(), warp=False)
    worst = Regularizer(movement, SteepestStep(0.7), CrossEntropy()).worst(model, x, y)
    torch.testing.assert_close(worst.apply(0.7), worst.perturbed)
