"""VMT against the plain double backward: values, gradients, treatments, the mixture of eq. 23."""

import pytest
import torch

from tests import naive, networks, references
from unshaken import VMT, Objective, fields, models

INPUTS = {"signal": (2, 9), "image": (3, 4, 6), "volume": (2, 3, 4, 4)}
FAMILIES = {
    "shift": fields.Shift(),
    "rotation": fields.Rotation(),
    "scale": fields.Scale(),
    "shear": fields.Shear(),
    "affine": fields.Affine(),
    "elastic": fields.Elastic(modes=2),
}
CASES = [
    pytest.param(name, shape, id=f"{name}-{kind}")
    for name in FAMILIES
    for kind, shape in INPUTS.items()
    if kind != "signal" or name not in ("rotation", "shear")
]
TREATMENTS = ["raw", "unit", "unit-detached"]


def setting(shape):
    model = networks.convolutional(shape[0], len(shape) - 1).double()
    return model, *networks.batch(shape)


def basis(name, shape):
    return references.fields_by_loops(name, shape[1:], modes=2)


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_value_and_gradients_equal_the_double_backward(name, shape):
    model, x, y = setting(shape)
    found = VMT(FAMILIES[name], weight=0.7)(model, x, y)
    expected = 0.7 * naive.vmt(model, x, y, basis(name, shape)).mean()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    networks.assert_same(
        networks.gradients(found, model), networks.gradients(expected, model), 1e-12
    )


@pytest.mark.parametrize("border", ["one-sided", "replicate", "circular"])
@pytest.mark.parametrize("gradient", TREATMENTS)
def test_treatments_and_borders(gradient, border):
    model, x, y = setting((3, 4, 6))
    found = VMT(fields.Affine(), gradient=gradient, border=border)(model, x, y)
    reference = naive.vmt(model, x, y, basis("affine", (3, 4, 6)), gradient, border)
    torch.testing.assert_close(found, reference.mean(), rtol=1e-12, atol=0)
    networks.assert_same(
        networks.gradients(found, model), networks.gradients(reference.mean(), model), 1e-12
    )


def test_the_treatments_differ():
    model, x, y = setting((3, 4, 6))
    raw, unit, detached = (VMT(fields.Shift(), gradient=name)(model, x, y) for name in TREATMENTS)
    assert float(raw.detach()) != pytest.approx(float(unit.detach()), rel=0.1)
    assert float(unit.detach()) == pytest.approx(float(detached.detach()), rel=1e-12)
    first, second = networks.gradients(unit, model)[0], networks.gradients(detached, model)[0]
    assert float((first - second).abs().max()) > 0.1 * float(second.abs().max())


@pytest.mark.parametrize("gradient", TREATMENTS)
def test_the_mixture_of_eq_23_with_the_drawn_weights(gradient):
    shape = (3, 4, 6)
    model, x, y = setting(shape)
    names = ["shift", "rotation", "scale"]
    vmt = VMT(*(FAMILIES[name] for name in names), gradient=gradient)
    torch.manual_seed(9)
    found = vmt(model, x, y)
    torch.manual_seed(9)
    w = torch.rand(3, dtype=torch.float64)
    each = [naive.vmt(model, x, y, basis(name, shape), gradient) for name in names]
    expected = (sum(wi * r for wi, r in zip(w, each, strict=True)) / w.sum()).mean()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    networks.assert_same(
        networks.gradients(found, model), networks.gradients(expected, model), 1e-12
    )


def test_mixtures_are_drawn_anew_in_each_call():
    model, x, y = setting((3, 4, 6))
    vmt = VMT(fields.Shift(), fields.Rotation())
    assert len({float(vmt(model, x, y).detach()) for _ in range(5)}) == 5


def test_a_single_field_draws_nothing():
    model, x, y = setting((3, 4, 6))
    before = torch.get_rng_state()
    VMT(fields.Affine())(model, x, y)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("gradient", TREATMENTS)
def test_examples_are_independent_in_eval_mode(gradient):
    """g is the gradient of each example's own loss: the batch it comes in changes nothing."""
    shape = (1, 4, 6)
    model = networks.normalized(shape).double()
    x, y = networks.batch(shape, count=6)
    model(x)
    model.eval()
    vmt = VMT(fields.Affine(), gradient=gradient)
    together = vmt.worst(model, x, y).value
    alone = torch.cat([vmt.worst(model, x[i : i + 1], y[i : i + 1]).value for i in range(6)])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=0)
    assert float(vmt(model, x, y).detach()) == pytest.approx(float(alone.mean()), rel=1e-12)


def test_the_rate_in_train_mode_batch_norm_is_of_the_batchs_sum():
    shape = (1, 4, 6)
    model = networks.normalized(shape).double().train()
    x, y = networks.batch(shape, count=6)
    found = VMT(fields.Affine())(model, x, y)
    reference = naive.vmt(model, x, y, basis("affine", shape)).mean()
    torch.testing.assert_close(found, reference, rtol=1e-12, atol=0)
    networks.assert_same(
        networks.gradients(found, model), networks.gradients(reference, model), 1e-12
    )


@pytest.mark.parametrize("gradient", TREATMENTS)
@pytest.mark.parametrize("confidence", [1.0, 30.0, 1000.0])
def test_confident_examples_in_single_precision(gradient, confidence):
    """Cross-entropy gradients of 1e-30 and of exactly 0 give finite values and gradients."""
    model = networks.convolutional(1, 2)
    x, _ = networks.batch((1, 4, 6), count=12, dtype=torch.float32)
    y = model(x).argmax(1)

    def scaled(x):
        return confidence * model(x)

    value = VMT(fields.Shift(), gradient=gradient)(scaled, x, y)
    assert bool(torch.isfinite(value))
    for g in networks.gradients(value, model):
        assert bool(torch.isfinite(g).all())


def test_several_fields_are_a_mixture_and_one_is_not():
    assert VMT(fields.Shift(), fields.Scale()).adversary.mixture
    assert not VMT(fields.Affine()).adversary.mixture


@pytest.mark.parametrize("joint", [False, True], ids=["alone", "objective"])
def test_bfloat16_keeps_the_direction_on_conv_small(joint):
    """Its double backward runs in float32 under autocast: naively the cosine falls to 0.36."""
    model = models.conv_small(dropout=0.0)
    x, y = torch.randn(8, 3, 32, 32), torch.arange(8)
    vmt = VMT(fields.Shift(), weight=100.0)
    slopes = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            value = Objective(model, vmt)(x, y) if joint else vmt(model, x, y)
        slopes.append(torch.cat([g.flatten() for g in networks.gradients(value, model)]))
    assert float(networks.cosine(slopes[0][None], slopes[1][None])) >= 0.99
