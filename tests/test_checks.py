"""What a user may get wrong: each mistake is one sentence that names the argument."""

import ast
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tests import networks
from unshaken import (
    AT,
    MAT,
    MVAT,
    VAT,
    VMT,
    XVAT,
    ClassBalance,
    EntropyMinimization,
    Objective,
    Random,
    checks,
    fields,
    masks,
)
from unshaken.perturbations import Additive, Movement

SHAPE = (2, 5, 7)
MODEL = networks.convolutional(2, 2)
X, Y = networks.batch(SHAPE, dtype=torch.float32)
NAN, INF = X.clone(), X.clone()
NAN[2, 0, 0, 0] = math.nan
INF[1, 1, 2, 3] = -math.inf
EVERY = {
    "at": AT(0.3),
    "vat": VAT(0.3),
    "vmt": VMT(fields.Shift()),
    "mvat": MVAT(fields.Shift(), radius=0.5),
    "entropy": EntropyMinimization(),
    "balance": ClassBalance(),
}

BAD_X = {
    "list": ([[1.0]], TypeError, r"x must be a torch\.Tensor, got list"),
    "numpy": (X.numpy(), TypeError, r"x must be a torch\.Tensor, got ndarray"),
    "integers": (
        X.long(),
        TypeError,
        r"x must be a floating-point tensor, got torch\.int64; convert .*x\.float\(\)",
    ),
    "booleans": (X > 0, TypeError, r"x must be a floating-point tensor, got torch\.bool"),
    "complex": (X + 0j, TypeError, r"x must be a tensor of real numbers, got torch\.complex64"),
    "vector": (X[:, 0, 0, 0], ValueError, r"x must have shape \(N, D\) or .*, got \(4,\)"),
    "scalar": (X.sum(), ValueError, r"x must have shape .*, got \(\)"),
    "empty": (X[:0], ValueError, r"x must have shape .* N >= 1, got \(0, 2, 5, 7\)"),
    "nan": (NAN, ValueError, r"x must hold finite values, got NaN or infinity in example 2"),
    "infinity": (INF, ValueError, r"x must hold finite values, .* in example 1"),
    "both infinities": (
        torch.stack([INF[1], -INF[1]]),
        ValueError,
        r"x must hold finite values, .* in example 0",
    ),
}


@pytest.mark.parametrize("term", EVERY.values(), ids=EVERY)
@pytest.mark.parametrize(("x", "error", "sentence"), BAD_X.values(), ids=BAD_X)
def test_inputs_of_a_term(term, x, error, sentence):
    with pytest.raises(error, match=sentence):
        term(MODEL, x, Y)


@pytest.mark.parametrize(("x", "error", "sentence"), BAD_X.values(), ids=BAD_X)
def test_inputs_of_an_objective(x, error, sentence):
    with pytest.raises(error, match=sentence):
        Objective(MODEL, VAT(0.3))(x, Y)
    with pytest.raises(
        error, match=sentence.replace("x must", "unlabeled must").replace(r"x\.", r"unlabeled\.")
    ):
        Objective(MODEL, VAT(0.3))(X, Y, unlabeled=x)


def test_large_finite_inputs_pass():
    """A sum that overflows is no infinity."""
    checks.inputs(torch.full((2, 3), 3e38))
    checks.inputs(torch.full((2, 5000), 60000.0, dtype=torch.float16))


BAD_Y = {
    "none": (None, ValueError, r"CrossEntropy needs labels, got y=None; use VAT"),
    "list": ([0, 1, 2, 0], TypeError, r"y must be a torch\.Tensor, got list"),
    "too few": (Y[:3], ValueError, r"y must hold one label for each of the 4 .*got shape \(3,\)"),
    "scalar": (Y[0], ValueError, r"y must hold one label for each of the 4 .*got shape \(\)"),
    "column": (Y[:, None], ValueError, r"y must have shape \(4,\) .*got \(4, 1\)"),
    "minus one": (
        torch.tensor([0, -1, 1, 2]),
        ValueError,
        r"y must lie in 0\.\.2, got -1; unlabeled examples belong in unlabeled=",
    ),
    "too high": (torch.tensor([0, 3, 1, 2]), ValueError, r"y must lie in 0\.\.2, got 3"),
    "booleans": (Y > 0, TypeError, r"y must be class indices of an integer type, got torch\.bool"),
    "floats": (
        Y.float(),
        ValueError,
        r"y must be class indices \(int64\) or probabilities of shape \(4, 3\), got torch\.float32",
    ),
}


@pytest.mark.parametrize("name", ["at", "vmt"])
@pytest.mark.parametrize(("y", "error", "sentence"), BAD_Y.values(), ids=BAD_Y)
def test_labels(name, y, error, sentence):
    with pytest.raises(error, match=sentence):
        EVERY[name](MODEL, X, y)
    with pytest.raises(error, match=sentence):
        Objective(MODEL, EVERY[name])(X, y)


def test_labels_of_dense_outputs():
    model = networks.dense(2)
    with pytest.raises(ValueError, match=r"y must have shape \(4, 5, 7\) for outputs .*got \(4,\)"):
        AT(0.3)(model, X, Y)


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.int16])
def test_labels_of_any_integer_type(dtype):
    assert torch.equal(AT(0.3)(MODEL, X, Y.to(dtype)), AT(0.3)(MODEL, X, Y))


BAD_RADII = {
    "negative": (-0.1, ValueError, r"radius must be a finite number >= 0, got -0\.1"),
    "nan": (math.nan, ValueError, r"radius must be a finite number >= 0, got nan"),
    "infinite": (math.inf, ValueError, r"radius must be a finite number >= 0, got inf"),
    "text": ("1", TypeError, r"radius must be a finite number >= 0, got '1'"),
    "boolean": (True, TypeError, r"radius must be a finite number >= 0, got True"),
    "none": (None, TypeError, r"radius must be a finite number >= 0, got None"),
    "tensor": (torch.tensor([1.0]), TypeError, r"radius must be a finite number >= 0, got tensor"),
}
WITH_RADIUS = {
    "at": AT,
    "vat": VAT,
    "mat": lambda r: MAT(fields.Shift(), radius=r),
    "mvat": lambda r: MVAT(fields.Shift(), radius=r),
    "random": lambda r: Random(Additive(2), r),
}


@pytest.mark.parametrize("make", WITH_RADIUS.values(), ids=WITH_RADIUS)
@pytest.mark.parametrize(("radius", "error", "sentence"), BAD_RADII.values(), ids=BAD_RADII)
def test_radii(make, radius, error, sentence):
    with pytest.raises(error, match=sentence):
        make(radius)


def test_numbers_of_other_libraries_are_numbers():
    assert AT(np.float64(0.5)).adversary.radius == 0.5
    assert AT(np.float32(0.5)).adversary.radius == 0.5
    assert AT(np.int64(2)).adversary.radius == 2.0
    assert AT(1).adversary.radius == 1.0


BAD_INDEX = {
    "missing": (None, ValueError, r"index is needed: .*indices of the 4 examples as index="),
    "floats": (torch.zeros(4), TypeError, r"index must be an integer .*\(4,\), got torch\.float32"),
    "booleans": (torch.zeros(4) > 0, TypeError, r"index must be an integer .*got torch\.bool"),
    "list": ([0, 1, 2, 3], TypeError, r"index must be an integer tensor .*got list"),
    "too few": (torch.arange(3), ValueError, r"index must have shape \(4,\), got \(3,\)"),
    "too high": (torch.tensor([0, 1, 2, 9]), ValueError, r"index must lie in 0\.\.8, got 9"),
    "negative": (torch.tensor([0, -1, 2, 3]), ValueError, r"index must lie in 0\.\.8, got -1$"),
}


@pytest.mark.parametrize(("index", "error", "sentence"), BAD_INDEX.values(), ids=BAD_INDEX)
def test_indices(index, error, sentence):
    xvat = XVAT(masks.Table(9, (5, 7)))
    with pytest.raises(error, match=sentence):
        xvat(MODEL, X, index=index)
    with pytest.raises(error, match=sentence):
        Objective(MODEL, xvat)(X, Y, index=index)


SHAPELESS = {
    "vmt": VMT(fields.Shift()),
    "mat": MAT(fields.Shift(), radius=1.0),
    "mvat": MVAT(fields.Shift(), radius=1.0),
    "random": Random(Movement(fields.Shift()), 1.0),
}


@pytest.mark.parametrize("term", SHAPELESS.values(), ids=SHAPELESS)
def test_movements_of_flat_inputs(term):
    x, y = networks.batch((6,), dtype=torch.float32)
    model = networks.mlp((6,))
    sentence = r"movement needs inputs \(N, C, \*size\) .*\(4, 6\).*x\.unsqueeze\(1\)"
    for call in (term, term.worst):
        with pytest.raises(ValueError, match=sentence):
            call(model, x, y)
    with pytest.raises(ValueError, match=sentence):
        Objective(model, term)(x, y)


@pytest.mark.parametrize("family", [fields.Rotation(), fields.Shear()], ids=repr)
def test_fields_of_another_dimension(family):
    x, y = networks.batch((2, 9), dtype=torch.float32)
    with pytest.raises(ValueError, match=r"needs inputs .*at least 2 spatial axes, got 1"):
        VMT(family)(networks.convolutional(2, 1), x, y)


@pytest.mark.parametrize("term", EVERY.values(), ids=EVERY)
def test_models_that_cannot_be_called(term):
    with pytest.raises(TypeError, match=r"model must be callable, got NoneType"):
        term(None, X, Y)


def test_predictions_of_one_class():
    model = networks.convolutional(2, 2, classes=1)
    with pytest.raises(ValueError, match=r"at least 2 classes, got \(4, 1\); use SquaredError"):
        VAT(0.3)(model, X)


def test_no_check_is_an_assertion():
    """Mistakes are named under ``python -O`` too."""
    files = list(Path(checks.__file__).parent.rglob("*.py"))
    assert len(files) > 30
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.Assert)], file


def test_integers_of_numpy_are_integers():
    assert masks.Table(np.int64(9), (np.int32(5), 7)).table.shape == (9, 35)
    assert VAT(1.0, steps=np.int64(2)).adversary.steps == 2
