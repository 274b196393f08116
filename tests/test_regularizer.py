"""Parts and settings: what means nothing is refused in the constructor, with the reason."""

import pytest

from unshaken import AT, MAT, MVAT, VAT, VMT, XAT, XVAT, Regularizer, fields, masks
from unshaken.adversaries import Infinitesimal, PowerIteration, SteepestStep, TopEigenvector
from unshaken.divergences import KL, CrossEntropy, SquaredError
from unshaken.perturbations import Additive, Mask, Movement, Relative

SETTINGS = {
    "weight": (lambda: AT(1.0, weight=-1.0), ValueError, r"weight must be .* >= 0, got -1\.0"),
    "weight's type": (lambda: VAT(1.0, weight="1"), TypeError, r"weight must be .*, got '1'"),
    "policy": (lambda: AT(1.0, batch_norm="eval"), ValueError, r"batch_norm .*'batch'.*got 'eval'"),
    "treatment": (
        lambda: VMT(fields.Shift(), gradient="norm"),
        ValueError,
        r"gradient must be one of 'raw', 'unit', 'unit-detached'; got 'norm'",
    ),
    "border": (
        lambda: VMT(fields.Shift(), border="mirror"),
        ValueError,
        r"border must be one of 'zero', .*got 'mirror'",
    ),
    "no field": (lambda: VMT(), ValueError, r"at least one field, for example fields\.Shift\(\)"),
    "no field to move": (lambda: MAT(radius=1.0), ValueError, r"at least one field"),
    "not a field": (lambda: MVAT(2.0, radius=1.0), TypeError, r"fields must .*got 2\.0"),
    "steps": (
        lambda: MVAT(fields.Shift(), radius=1.0, steps=0),
        ValueError,
        r"steps .*>= 1, got 0",
    ),
    "norm": (lambda: AT(1.0, 1), ValueError, r"norm must be one of 2, inf; got 1"),
    "sparsity": (lambda: XAT(masks.Steepest(0.5), -1.0), ValueError, r"sparsity .*got -1\.0"),
    "scale": (lambda: XVAT(masks.Steepest(0.5), scale=0), ValueError, r"scale .*> 0, got 0"),
    "not a mask": (lambda: XVAT("generator"), TypeError, r"adversary must be .*got 'generator'"),
    "direction of the movement's divergence": (
        lambda: MVAT(fields.Shift(), radius=1.0, divergence="reverse"),
        ValueError,
        r"divergence must be one of 'kl', 'reverse-kl'; got 'reverse'",
    ),
    "direction of the divergence": (
        lambda: XVAT(masks.Steepest(0.5), divergence="js"),
        ValueError,
        r"divergence must be one of 'kl', 'reverse-kl'; got 'js'",
    ),
}


@pytest.mark.parametrize(("make", "error", "sentence"), SETTINGS.values(), ids=SETTINGS)
def test_settings(make, error, sentence):
    with pytest.raises(error, match=sentence):
        make()


PAIRS = {
    "infinitesimal and kl": (
        (Movement(fields.Shift()), Infinitesimal(), KL()),
        r"Infinitesimal with KL is identically zero: .*no first-order term.*CrossEntropy",
    ),
    "infinitesimal and squared error": (
        (Additive(2), Infinitesimal(), SquaredError()),
        r"Infinitesimal with SquaredError is identically zero",
    ),
    "infinitesimal and a function": (
        (Additive(2), Infinitesimal(), lambda a, b: (a - b).square()),
        r"Infinitesimal with Function is identically zero",
    ),
    "infinitesimal masks": (
        (Mask(), Infinitesimal(), CrossEntropy()),
        r"Infinitesimal needs Additive, Relative or Movement, got Mask",
    ),
    "the norm of a unit gradient": (
        (Additive(2), Infinitesimal("unit"), CrossEntropy()),
        r"is the constant 1.*use gradient='raw'",
    ),
    "a step and kl": (
        (Additive(2), SteepestStep(1.0), KL()),
        r"SteepestStep with KL finds nothing: .*zero gradient.*PowerIteration",
    ),
    "a step for masks": (
        (Mask(), SteepestStep(1.0), CrossEntropy()),
        r"SteepestStep has no radius for a Mask; use masks\.Steepest",
    ),
    "power iteration and labels": (
        (Additive(2), PowerIteration(1.0), CrossEntropy()),
        r"PowerIteration needs a divergence from the clean prediction.*CrossEntropy.*SteepestStep",
    ),
    "power iteration for masks": (
        (Mask(), PowerIteration(1.0), KL()),
        r"PowerIteration has no ball for a Mask; use Relative",
    ),
    "an eigenvector of noise": (
        (Additive(2), TopEigenvector(1.0), KL()),
        r"TopEigenvector .*needs a Movement .*got Additive: use PowerIteration",
    ),
    "an eigenvector of relative changes": (
        (Relative(2), TopEigenvector(1.0), KL()),
        r"TopEigenvector .*got Relative",
    ),
    "an eigenvector and labels": (
        (Movement(fields.Shift()), TopEigenvector(1.0), CrossEntropy()),
        r"TopEigenvector needs a divergence from the clean prediction; CrossEntropy .*SteepestStep",
    ),
    "a generator of noise": (
        (Additive(2), masks.Generator(2), KL()),
        r"a mask adversary needs the perturbation Mask, got Additive",
    ),
    "a table of movements": (
        (Movement(fields.Shift()), masks.Table(3, (5, 7)), KL()),
        r"a mask adversary needs the perturbation Mask, got Movement",
    ),
    "steepest masks of noise": (
        (Additive(2), masks.Steepest(0.5), CrossEntropy()),
        r"a mask adversary needs the perturbation Mask, got Additive",
    ),
}


@pytest.mark.parametrize(("parts", "sentence"), PAIRS.values(), ids=PAIRS)
def test_parts_that_mean_nothing_together(parts, sentence):
    with pytest.raises(ValueError, match=sentence):
        Regularizer(*parts)


def test_parts_of_a_wrong_type():
    good = (Additive(2), SteepestStep(1.0), CrossEntropy())
    with pytest.raises(TypeError, match=r"perturbation must be a Perturbation, got 'noise'"):
        Regularizer("noise", *good[1:])
    with pytest.raises(TypeError, match=r"adversary must be an Adversary, got 1\.0"):
        Regularizer(good[0], 1.0, good[2])
    with pytest.raises(TypeError, match=r"divergence must be a Divergence or a callable.*got 'kl'"):
        Regularizer(*good[:2], "kl")


def test_a_plain_callable_is_a_divergence():
    regularizer = Regularizer(Additive(2), PowerIteration(1.0), lambda a, b: (a - b).square())
    assert not regularizer.labeled
    assert "Function" in repr(regularizer)


def test_names_in_reports():
    assert [t.name for t in (AT(1.0), VAT(1.0), VMT(fields.Shift()))] == ["at", "vat", "vmt"]
    assert Regularizer(Additive(2), PowerIteration(1.0), KL()).name == "regularizer"
    assert VAT(1.0, name="mine").name == "mine"
