"""The top eigenvector for other divergences, outputs and families."""

import pytest
import torch
from torch import nn

from tests import naive, networks, references
from unshaken import MVAT, Regularizer, fields
from unshaken.adversaries import TopEigenvector
from unshaken.divergences import KL, SquaredError
from unshaken.perturbations import Movement

SHAPE = (2, 5, 7)
BASIS = references.fields_by_loops("affine", SHAPE[1:])


@pytest.mark.parametrize(
    ("kind", "classes"),
    [("kl", 3), ("kl", 9), ("reverse", 3), ("reverse", 9)]
    + [("squared", classes) for classes in (1, 3, 9)],
)
def test_equals_the_generalized_eigenproblem(kind, classes):
    divergence = {"kl": KL(), "reverse": KL(reverse=True), "squared": SquaredError()}[kind]
    model = networks.convolutional(2, 2, classes).double()
    x, _ = networks.batch(SHAPE, count=3)
    regularizer = Regularizer(Movement(fields.Affine()), TopEigenvector(0.4), divergence)
    found = regularizer.worst(model, x).displacement
    for i in range(3):
        hessian = references.input_hessian(model, x[i : i + 1], kind)
        _, field = references.top_field(hessian, x[i : i + 1], BASIS)
        assert float(networks.cosine(found[i : i + 1], field[None]).abs()) > 1 - 1e-6


def test_a_users_own_divergence():
    model = networks.convolutional(2, 2).double()
    x, _ = networks.batch(SHAPE, count=2)
    torch.manual_seed(1)
    own = Regularizer(
        Movement(fields.Affine()),
        TopEigenvector(0.4),
        lambda outputs, clean: (outputs - clean).square().mean(1),
    ).worst(model, x)
    torch.manual_seed(1)
    squared = Regularizer(Movement(fields.Affine()), TopEigenvector(0.4), SquaredError()).worst(
        model, x
    )
    assert float(networks.cosine(own.displacement, squared.displacement).min()) > 1 - 1e-9


def test_dense_outputs():
    """Segmentation: many outputs, so the matrix comes from the fields."""
    model = networks.dense(2).double()
    x, _ = networks.batch(SHAPE, count=2)
    found = Regularizer(Movement(fields.Affine()), TopEigenvector(0.4), KL()).worst(model, x)
    for i in range(2):
        clean = model(x[i : i + 1]).detach().flatten(2).mT.flatten(0, 1)

        def changed(r, i=i, clean=clean):
            outputs = model(x[i : i + 1] + r.reshape(1, *SHAPE))
            return naive.kl(clean, outputs.flatten(2).mT.flatten(0, 1))

        hessian = torch.autograd.functional.hessian(changed, torch.zeros(70).double())
        _, field = references.top_field(hessian, x[i : i + 1], BASIS)
        assert float(networks.cosine(found.displacement[i : i + 1], field[None]).abs()) > 1 - 1e-6


def test_dependent_families_give_the_same_field():
    model = networks.convolutional(2, 2).double()
    x, _ = networks.batch(SHAPE, count=3)
    single, joint = (
        Regularizer(Movement(*families), TopEigenvector(0.4), KL()).worst(model, x).displacement
        for families in ((fields.Affine(),), (fields.Affine(), fields.Shift(), fields.Shear()))
    )
    assert float(networks.cosine(single, joint).abs().min()) > 1 - 1e-6


def test_no_other_movement_has_a_higher_curvature():
    model = networks.normalized(SHAPE).double()
    x, _ = networks.batch(SHAPE, count=6)
    model(x)
    model.eval()
    movement = Movement(fields.Affine(), warp=False)
    worst = Regularizer(movement, TopEigenvector(1e-3), KL()).worst(model, x)
    for _ in range(30):
        with torch.no_grad():
            moved = movement(x, movement.random(x, 1e-3))
            pairs = zip(model(x), model(moved), strict=True)
            rival = torch.stack([references.divergence("kl", p, q) for p, q in pairs])
        assert bool((rival <= worst.value * (1 + 1e-3) + 1e-15).all())


def test_constant_images_change_nothing():
    model = networks.convolutional(2, 2).double()
    x = torch.ones(3, *SHAPE, dtype=torch.float64)
    worst = Regularizer(Movement(fields.Affine()), TopEigenvector(1.0), KL()).worst(model, x)
    assert bool(torch.isfinite(worst.parameters).all())
    assert float(worst.value.abs().max()) < 1e-12


def test_a_regression_with_one_output_without_an_axis():
    class Squeezed(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = networks.convolutional(2, 2, classes=1).double()

        def forward(self, x):
            return self.model(x).squeeze(1)

    x, _ = networks.batch(SHAPE)
    worst = Regularizer(Movement(fields.Affine()), TopEigenvector(0.5), SquaredError()).worst(
        Squeezed(), x
    )
    assert bool((worst.value > 0).all())


@pytest.mark.parametrize("families", [(fields.Shift(),), (fields.Elastic(3),)], ids=["few", "many"])
def test_a_network_in_bfloat16(families):
    model, x = networks.convolutional(2, 2).bfloat16(), torch.randn(3, *SHAPE).bfloat16()
    assert MVAT(*families, radius=0.5)(model, x).isfinite()
