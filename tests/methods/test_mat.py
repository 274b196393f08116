"""MAT and MVAT: the same worst fields, taken at a finite size."""

import pytest
import torch
from torch.nn import functional as F

from tests import networks, references
from unshaken import MAT, MVAT, Random, fields
from unshaken.perturbations import Movement
from unshaken.perturbations.warp import warp

FAMILIES = {
    "shift": (fields.Shift(), "shift"),
    "rotation": (fields.Rotation(), "rotation"),
    "affine": (fields.Affine(), "affine"),
    "elastic": (fields.Elastic(modes=2), "elastic"),
}
SHAPE = (2, 5, 7)


def setting(classes=3):
    model = networks.convolutional(2, 2, classes).double()
    return model, *networks.batch(SHAPE, classes=classes)


@pytest.mark.parametrize("name", FAMILIES)
def test_mat_moves_along_vmts_worst_field(name):
    """The loss of the resampled image, V = radius · Σ a*_k B_k with a* from the definition."""
    model, x, y = setting()
    family, reference = FAMILIES[name]
    basis = references.fields_by_loops(reference, SHAPE[1:], modes=2)
    leaf = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(F.cross_entropy(model(leaf), y, reduction="sum"), leaf)
    s = references.slopes(x, g, basis)
    a = torch.linalg.solve(references.gram(basis), s.T).T
    a = a / (s * a).sum(1, keepdim=True).sqrt()
    field = torch.einsum("nk,k...->n...", a, torch.stack(basis))
    expected = F.cross_entropy(model(warp(x, 0.6 * field)), y)
    found = MAT(family, radius=0.6)(model, x, y)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    networks.assert_same(networks.gradients(found, model), networks.gradients(expected, model))
    worst = MAT(family, radius=0.6).worst(model, x, y)
    torch.testing.assert_close(worst.displacement, field)
    torch.testing.assert_close(worst.perturbed, warp(x, 0.6 * field))


@pytest.mark.parametrize("classes", [2, 3, 12], ids=lambda c: f"{c} outputs")
@pytest.mark.parametrize("name", FAMILIES)
def test_mvat_takes_the_top_of_the_generalized_eigenproblem(name, classes):
    """K ≤ outputs and K > outputs: both ways to the same K×K matrix."""
    model, x, _ = setting(classes)
    family, reference = FAMILIES[name]
    basis = references.fields_by_loops(reference, SHAPE[1:], modes=2)
    worst = MVAT(family, radius=0.6).worst(model, x)
    for i in range(len(x)):
        hessian = references.input_hessian(model, x[i : i + 1])
        _, field = references.top_field(hessian, x[i : i + 1], basis)
        found = worst.displacement[i]
        sign = torch.sign((found * field).sum())
        torch.testing.assert_close(found, sign * field, rtol=0, atol=3e-3)
    torch.testing.assert_close(worst.parameters, 0.6 * worst.coefficients)


def test_both_branches_are_taken_and_agree():
    """The same matrix by fields (K = 6 ≤ 11 outputs) and by outputs (K = 6 > 2)."""
    model, x, _ = setting(2)
    wide = torch.nn.Sequential(model, Padded(9))
    torch.manual_seed(3)
    narrow = MVAT(fields.Affine(), radius=1.0).worst(model, x).displacement
    torch.manual_seed(3)
    # Nine more outputs that never win: the same predictions.
    padded = MVAT(fields.Affine(), radius=1.0).worst(wide, x).displacement
    assert float(networks.cosine(narrow, padded).abs().min()) > 1 - 1e-9


class Padded(torch.nn.Module):
    """Adds outputs of probability zero."""

    def __init__(self, count):
        super().__init__()
        self.count = count

    def forward(self, logits):
        return torch.nn.functional.pad(logits, (0, self.count), value=-1e3)


@pytest.mark.parametrize("name", FAMILIES)
def test_power_iterations_end_where_the_closed_form_does(name):
    model, x, _ = setting()
    family, _ = FAMILIES[name]
    closed = MVAT(family, radius=0.6).worst(model, x).displacement
    iterated = MVAT(family, radius=0.6, steps=200).worst(model, x).displacement
    assert float(networks.cosine(closed, iterated).abs().min()) > 1 - 1e-4


@pytest.mark.parametrize("how", [{}, {"steps": 1}, {"finite": True}], ids=repr)
def test_either_direction_of_the_divergence_is_that_of_the_moved_prediction(how):
    model, x, _ = setting()
    values = {}
    for divergence, kind in (("kl", "kl"), ("reverse-kl", "reverse")):
        torch.manual_seed(4)
        term = MVAT(fields.Affine(), radius=0.6, divergence=divergence, **how)
        worst = term.worst(model, x)
        each = zip(model(x), model(worst.perturbed), strict=True)
        expected = torch.stack([references.divergence(kind, p, q) for p, q in each])
        torch.testing.assert_close(worst.value, expected.detach())
        values[kind] = worst.value
    assert not torch.allclose(values["kl"], values["reverse"], rtol=1e-3)


@pytest.mark.parametrize("radius", [0.0, 0.25, 2.0])
@pytest.mark.parametrize("make", [MAT, MVAT], ids=["mat", "mvat"])
def test_the_movement_has_the_radius_in_pixels(make, radius):
    model, x, y = setting()
    method = make(fields.Affine(), fields.Shift(), radius=radius)
    worst = method.worst(model, x, y)
    field = method.perturbation.displacement(x, worst.parameters)
    rms = field.square().sum(1).flatten(1).mean(1).sqrt()
    torch.testing.assert_close(rms, torch.full_like(rms, radius), rtol=1e-12, atol=1e-12)


def test_the_sign_is_drawn_for_each_example():
    model, x, _ = setting()
    x = x[:1].expand(64, -1, -1, -1).contiguous()
    worst = MVAT(fields.Rotation(), radius=0.5).worst(model, x)
    signs = worst.parameters[:, 0].sign()
    assert 10 < int((signs > 0).sum()) < 54
    torch.testing.assert_close(worst.parameters[:, 0].abs(), torch.full((64,), 0.5).double())


def test_confident_examples_keep_their_direction_in_single_precision():
    """Curvatures of 1e-18 still order the fields."""
    model, x, _ = setting()
    sure = torch.nn.Sequential(model, Sure())
    method = MVAT(fields.Affine(), radius=1.0)
    expected = method.worst(sure, x).displacement
    found = method.worst(sure.float(), x.float()).displacement
    assert float(networks.cosine(found, expected).abs().min()) > 0.99


class Sure(torch.nn.Module):
    """Logits that give every example's first class all but 1e-17 of the probability."""

    def forward(self, logits):
        return logits + torch.tensor([40.0, 0.0, 0.0], dtype=logits.dtype)


def test_joint_families_and_paddings():
    model, x, y = setting()
    joint = MAT(fields.Shift(), fields.Rotation(), radius=0.5)
    assert joint.worst(model, x, y).coefficients.shape == (4, 3)
    values = {
        padding: float(MAT(fields.Shift(), radius=2.0, padding=padding)(model, x, y).detach())
        for padding in ("border", "zeros", "reflection")
    }
    assert len(set(values.values())) == 3


@pytest.mark.parametrize("make", [MAT, MVAT], ids=["mat", "mvat"])
def test_the_radius_is_kept_under_autocast(make):
    model = networks.convolutional(2, 2)
    x, y = networks.batch(SHAPE, dtype=torch.float32)
    term = (
        make(fields.Affine(), radius=0.5)
        if make is MAT
        else make(fields.Affine(), radius=0.5, steps=2)
    )
    with torch.autocast("cpu", torch.bfloat16):
        worst = term.worst(model, x, y if term.labeled else None)
    field = term.perturbation.displacement(x, worst.parameters.float())
    rms = field.square().sum(1).flatten(1).mean(1).sqrt()
    torch.testing.assert_close(rms, torch.full_like(rms, 0.5), rtol=1e-4, atol=0)


def test_random_movements_keep_the_radius_under_autocast():
    x, _ = networks.batch(SHAPE, dtype=torch.float32)
    movement = Movement(fields.Affine())
    with torch.autocast("cpu", torch.bfloat16):
        worst = Random(movement, 0.5).worst(networks.convolutional(2, 2), x)
    rms = (
        movement.displacement(x, worst.parameters.float()).square().sum(1).flatten(1).mean(1).sqrt()
    )
    torch.testing.assert_close(rms, torch.full_like(rms, 0.5), rtol=1e-4, atol=0)
