"""Every field family: its basis is the formula of its page, on any lattice."""

import pickle

import pytest
import torch
from torch import nn

from tests import references
from unshaken import VMT, fields

LATTICES = [(9,), (8,), (5, 7), (6, 4), (4, 5, 3)]
FAMILIES = {
    "shift": (fields.Shift(), 1, lambda n: n),
    "rotation": (fields.Rotation(), 2, lambda n: n * (n - 1) // 2),
    "scale": (fields.Scale(), 1, lambda n: n),
    "shear": (fields.Shear(), 2, lambda n: n * (n - 1)),
    "affine": (fields.Affine(), 1, lambda n: n + n * n),
    "elastic": (fields.Elastic(modes=3), 1, lambda n: n * (3**n - 1)),
}
CASES = [
    pytest.param(name, size, id=f"{name}-{'x'.join(map(str, size))}")
    for name, (_, least, _) in FAMILIES.items()
    for size in LATTICES
    if len(size) >= least
]


@pytest.mark.parametrize(("name", "size"), CASES)
def test_basis_is_the_formula(name, size):
    field, _, count = FAMILIES[name]
    basis = field.basis(size)
    n = len(size)
    assert basis.dtype == torch.float64
    assert basis.shape == (count(n), n, *size)
    for found, expected in zip(basis, references.fields_by_loops(name, size, modes=3), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("name", "size"), CASES)
def test_every_field_has_unit_mean_square_length(name, size):
    square = FAMILIES[name][0].basis(size).square().sum(1).flatten(1).mean(1)
    torch.testing.assert_close(square, torch.ones_like(square), rtol=0, atol=1e-13)


@pytest.mark.parametrize("size", LATTICES)
def test_elastic_is_orthonormal(size):
    basis = fields.Elastic(modes=3).basis(size).flatten(1)
    gram = basis @ basis.T / torch.Size(size).numel()
    torch.testing.assert_close(gram, torch.eye(len(gram), dtype=gram.dtype), rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_basis_takes_a_torch_size_and_a_list(name):
    field = FAMILIES[name][0]
    assert torch.equal(field.basis(torch.Size((5, 6))), field.basis([5, 6]))


@pytest.mark.parametrize(("name", "size"), [("rotation", (9,)), ("shear", (9,)), ("shift", ())])
def test_a_family_that_needs_more_axes_says_so(name, size):
    with pytest.raises(ValueError, match=rf"(?i){name} needs .* spatial ax.*got {len(size)}"):
        FAMILIES[name][0].basis(size)


def test_elastic_names_the_axis_that_is_too_short():
    with pytest.raises(ValueError, match=r"modes.*shortest.*modes=4.*\(3, 9\)"):
        fields.Elastic().basis((3, 9))
    with pytest.raises(ValueError, match=r"modes must be an integer >= 2, got 1"):
        fields.Elastic(modes=1)
    with pytest.raises(TypeError, match=r"modes must be an integer >= 2, got 2\.5"):
        fields.Elastic(modes=2.5)


def test_an_axis_of_length_one_cannot_stretch():
    basis = fields.Scale().basis((1, 5))
    assert torch.equal(basis[0], torch.zeros(2, 1, 5, dtype=torch.float64))
    assert bool(basis[1].any())


def test_fields_are_values():
    assert fields.Shift() == fields.Shift()
    assert fields.Elastic(3) != fields.Elastic(4)
    assert fields.Shift() != fields.Scale()
    assert len({fields.Elastic(3), fields.Elastic(3), fields.Elastic(4)}) == 2
    assert repr(fields.Elastic(3)) == "Elastic(modes=3)"
    assert repr(fields.Shift()) == "Shift()"
    assert pickle.loads(pickle.dumps(fields.Elastic(3))) == fields.Elastic(3)
    assert Along(torch.ones(5)) == Along(torch.ones(5)) != Along(torch.zeros(5))


class Along(fields.Field):
    """One field, given as a tensor."""

    def __init__(self, values):
        self.values = values

    def basis(self, size):
        return self.values.reshape(1, 1, -1).double()


def test_a_basis_must_be_finite():
    with pytest.raises(ValueError, match="must be finite, got NaN or infinity"):
        VMT(Along(torch.full((5,), torch.nan)))(
            nn.Flatten(), torch.randn(2, 1, 5), torch.zeros(2).long()
        )
