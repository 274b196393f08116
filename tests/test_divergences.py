"""Divergences against their formulas, dense outputs, extremes, and curvature."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests import references
from unshaken import draws
from unshaken.divergences import (
    KL,
    CrossEntropy,
    Function,
    SquaredError,
    as_criterion,
    as_divergence,
)

KINDS = {"kl": KL(), "reverse": KL(reverse=True), "squared": SquaredError()}


def pair(*shape):
    return torch.randn(2, *shape, dtype=torch.float64).unbind(0)


@pytest.mark.parametrize("kind", KINDS)
def test_each_example_is_the_formula(kind):
    clean, outputs = pair(5, 4)
    divergence = KINDS[kind]
    found = divergence(outputs, divergence.target(clean, None))
    expected = [references.divergence(kind, c, o) for c, o in zip(clean, outputs, strict=True)]
    torch.testing.assert_close(found, torch.stack(expected))


@pytest.mark.parametrize("kind", KINDS)
def test_dense_outputs_are_averaged_over_positions(kind):
    clean, outputs = pair(3, 4, 2, 5)
    divergence = KINDS[kind]
    found = divergence(outputs, divergence.target(clean, None))
    for i in range(3):
        each = [
            references.divergence(kind, clean[i, :, r, c], outputs[i, :, r, c])
            for r in range(2)
            for c in range(5)
        ]
        torch.testing.assert_close(found[i], torch.stack(each).mean())


def test_cross_entropy_of_indices_probabilities_and_dense_labels():
    logits, _ = pair(5, 4)
    y = torch.tensor([0, 3, 1, 2, 3])
    divergence = CrossEntropy()
    expected = -logits.log_softmax(1)[torch.arange(5), y]
    torch.testing.assert_close(divergence(logits, divergence.target(logits, y)), expected)
    onehot = F.one_hot(y, 4).double()
    torch.testing.assert_close(divergence(logits, divergence.target(logits, onehot)), expected)
    small = divergence.target(logits, y.to(torch.uint8))
    torch.testing.assert_close(divergence(logits, small), expected)
    dense, _ = pair(2, 4, 3, 3)
    labels = torch.randint(0, 4, (2, 3, 3))
    each = -dense.log_softmax(1).gather(1, labels.unsqueeze(1)).squeeze(1)
    found = divergence(dense, divergence.target(dense, labels))
    torch.testing.assert_close(found, each.flatten(1).mean(1))


WEIGHT = torch.tensor([0.5, 2.0, 0.0, 1.0])
OPTIONS = {
    "plain": {},
    "weights": {"weight": WEIGHT},
    "another ignored": {"ignore_index": 2},
    "one beyond the classes": {"ignore_index": 255},
    "smoothing": {"label_smoothing": 0.2},
    "all": {"weight": WEIGHT, "ignore_index": 1, "label_smoothing": 0.1},
}


@pytest.mark.parametrize("shape", [(6, 4), (2, 4, 3, 3)])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_mean_of_the_cross_entropy_is_that_of_torch(options, shape):
    """Whichever entries count, and by whatever weight; with its gradient."""
    logits, _ = pair(*shape)
    loss = nn.CrossEntropyLoss(**options).double()
    divergence = as_criterion(loss).double()
    y = torch.randint(0, 4, (shape[0], *shape[2:]))
    y.view(-1)[::3] = loss.ignore_index
    for labels in (y, y.clamp(0, 3), logits.flip(0).softmax(1)):
        if labels.is_floating_point():
            loss.ignore_index = -100  # for torch they do not go together
        at = logits.clone().requires_grad_()
        expected = loss(at, labels)
        (slope,) = torch.autograd.grad(expected, at)
        target = divergence.target(at.detach(), labels)
        for found in (divergence.mean(at, target), divergence(at, target).mean()):
            torch.testing.assert_close(found, expected)
            torch.testing.assert_close(torch.autograd.grad(found, at)[0], slope)


def test_groups_count_their_own_entries():
    logits, _ = pair(6, 4)
    y = torch.tensor([0, -100, -100, 1, 2, 3])
    divergence = CrossEntropy()
    expected = [divergence.mean(logits[part], y[part]) for part in (slice(0, 3), slice(3, 6))]
    with draws.grouped([torch.Generator(), torch.Generator()]):
        found = draws.group_means(divergence(logits, divergence.target(logits, y)))
    torch.testing.assert_close(found, torch.stack(expected))


def test_a_batch_in_which_no_label_counts_is_zero():
    logits = pair(3, 4)[0].requires_grad_()
    y = torch.full((3,), -100)
    divergence = CrossEntropy()
    for value in (divergence.mean(logits, y), divergence(logits, y).sum()):
        (g,) = torch.autograd.grad(value, logits)
        assert float(value.detach()) == 0
        assert not bool(g.any())


def test_other_labels_outside_of_the_range_are_still_told():
    logits, _ = pair(4, 3)
    with pytest.raises(ValueError, match=r"y must lie in 0\.\.2, got -1; unlabeled examples"):
        CrossEntropy().target(logits, torch.tensor([0, -100, 1, -1]))
    with pytest.raises(ValueError, match=r"y must lie in 0\.\.2, got 7"):
        CrossEntropy(ignore_index=255).target(logits, torch.tensor([0, 255, 7, 1]))
    with pytest.raises(ValueError, match=r"y must lie in 0\.\.2, got -100"):
        CrossEntropy(ignore_index=255).target(logits, torch.tensor([0, -100, 2, 1]))


def test_divergences_of_one_key_are_the_same_function():
    weight = torch.ones(3)
    assert CrossEntropy().key == CrossEntropy().key
    assert CrossEntropy(weight).key == as_criterion(nn.CrossEntropyLoss(weight)).key
    kinds = [
        CrossEntropy(),
        CrossEntropy(weight),
        CrossEntropy(None, 255),
        CrossEntropy(None, 0, 1),
    ]
    assert len({each.key for each in [*kinds, KL(), KL()]}) == 6
    loss = nn.CrossEntropyLoss(weight)
    assert as_criterion(loss).double().key == as_criterion(loss).key == as_divergence(loss).key

    class Focal(CrossEntropy):
        pass

    assert Focal().key != CrossEntropy().key
    assert Focal().key != Focal(label_smoothing=0.1).key
    assert repr(CrossEntropy(torch.ones(2), 255, 0.1)) == (
        "CrossEntropy(weight=[1.0, 1.0], ignore_index=255, label_smoothing=0.1)"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_zero_with_its_gradient_at_the_clean_prediction(kind):
    clean, _ = pair(5, 4)
    divergence = KINDS[kind]
    at = clean.clone().requires_grad_()
    value = divergence(at, divergence.target(clean, None))
    (g,) = torch.autograd.grad(value.sum(), at)
    assert float(value.detach().abs().max()) < 1e-15
    assert float(g.abs().max()) < 1e-15


def test_no_gradient_reaches_the_clean_prediction():
    clean, outputs = (t.requires_grad_() for t in pair(5, 4))
    for divergence in KINDS.values():
        value = divergence(outputs, divergence.target(clean, None)).sum()
        assert torch.autograd.grad(value, clean, allow_unused=True) == (None,)


@pytest.mark.parametrize("shape", [(5, 4), (2, 4, 3, 3)])
@pytest.mark.parametrize("kind", [*KINDS, "own"])
def test_curvature_is_the_hessian_times_the_direction(kind, shape):
    divergence = KINDS.get(kind, Function(own))
    clean, direction = pair(*shape)
    for i in range(len(clean)):

        def value(z, i=i):
            target = divergence.target(clean[i : i + 1], None)
            return divergence(z[None], target).sum()

        hessian = torch.autograd.functional.hessian(value, clean[i])
        expected = torch.tensordot(hessian, direction[i], dims=direction[i].dim())
        found = divergence.curvature(clean, direction)[i]
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def own(outputs, clean):
    """Smallest, with zero gradient, at the clean outputs; one value for each output."""
    return (outputs - clean).pow(2) * (1 + clean.pow(2)) + (outputs - clean).pow(4)


@pytest.mark.parametrize("margin", [5.0, 12.0, 16.0, 20.0, 40.0])
def test_the_curvature_of_confident_outputs_in_single_precision(margin):
    """p − p² cancels where p is nearly certain; the curvature must not."""
    logits, direction = torch.randn(2, 50, 4, dtype=torch.float64).unbind(0)
    logits[:, 1] += margin
    logits = logits.float()
    expected = KL().curvature(logits.double(), direction)
    found = KL().curvature(logits, direction.float())
    error = (found - expected).norm(dim=1) / expected.norm(dim=1)
    assert float(error.max()) < 1e-4


@pytest.mark.parametrize("scale", [1e3, 1e4])
@pytest.mark.parametrize("divergence", [*KINDS.values(), CrossEntropy()], ids=repr)
def test_confident_outputs_stay_finite(divergence, scale):
    clean, outputs = (scale * t.float() for t in pair(5, 4))
    at = outputs.requires_grad_()
    value = divergence(at, divergence.target(clean, torch.arange(5) % 4))
    (g,) = torch.autograd.grad(value.sum(), at)
    assert bool(torch.isfinite(value).all()) and bool(torch.isfinite(g).all())


@pytest.mark.parametrize("reverse", [False, True])
def test_a_class_impossible_in_both_counts_nothing(reverse):
    p, q = torch.randn(2, 4, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    divergence = KL(reverse)
    wanted = divergence(q[:, :3], divergence.target(p[:, :3], None))
    p[:, 3] = q[:, 3] = -torch.inf
    q.requires_grad_()
    found = divergence(q, divergence.target(p, None))
    torch.testing.assert_close(found.detach(), wanted)
    found.sum().backward()
    assert bool(q.grad.isfinite().all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_outputs_are_compared_in_single(dtype):
    clean, outputs = (t.to(dtype) for t in pair(5, 4))
    for divergence in (KL(), KL(True), CrossEntropy()):
        y = torch.arange(5) % 4
        found = divergence(outputs, divergence.target(clean, y))
        single = divergence(outputs.float(), divergence.target(clean.float(), y))
        assert found.dtype == torch.float32
        assert torch.equal(found, single)


def test_squared_error_with_labels_is_regression():
    outputs, y = pair(5, 2)
    divergence = SquaredError(labeled=True)
    found = divergence(outputs, divergence.target(outputs, y.float()))
    torch.testing.assert_close(found, (outputs - y.float().double()).square().mean(1))
    with pytest.raises(ValueError, match=r"labeled=True.*needs labels, got y=None"):
        divergence.target(outputs, None)
    with pytest.raises(ValueError, match=r"y must have the outputs' shape \(5, 2\), got \(5,\)"):
        divergence.target(outputs, y[:, 0])


def test_a_callable_is_a_label_free_divergence():
    clean, outputs = pair(5, 4)
    divergence = as_divergence(own)
    assert not divergence.labeled
    found = divergence(outputs, divergence.target(clean, None))
    torch.testing.assert_close(found, own(outputs, clean).mean(1))
    assert repr(divergence) == "Function(own, labeled=False)"
    assert as_divergence(found_kl := KL()) is found_kl


def test_a_labeled_callable_receives_the_labels():
    outputs, y = pair(5, 4)
    divergence = Function(lambda o, t: (o - t).abs().sum(1), labeled=True)
    torch.testing.assert_close(
        divergence(outputs, divergence.target(outputs, y)), (outputs - y).abs().sum(1)
    )
    with pytest.raises(ValueError, match=r"labeled=True.*needs labels, got y=None"):
        divergence.target(outputs, None)


TWO = torch.zeros(3, 2)
MISTAKES = {
    "no labels": (
        lambda: CrossEntropy().target(TWO, None),
        ValueError,
        r"CrossEntropy needs labels, got y=None; use VAT",
    ),
    "one class": (
        lambda: KL().target(TWO[:, :1], None),
        ValueError,
        r"KL needs outputs .*at least 2 classes, got \(3, 1\).*SquaredError",
    ),
    "no class axis": (
        lambda: KL().target(TWO[:, 0], None),
        ValueError,
        r"KL needs outputs .*got \(3,\)",
    ),
    "reduced": (
        lambda: Function(F.mse_loss)(TWO, TWO),
        ValueError,
        r"one value for each of the 3 examples, got \(\); use reduction='none'",
    ),
    "not a tensor": (
        lambda: Function(lambda outputs, target: 1.0)(TWO, TWO),
        ValueError,
        r"one value for each of the 3 examples, got float",
    ),
    "weights of no vector": (
        lambda: CrossEntropy(torch.ones(2, 2)),
        ValueError,
        r"weight must be a tensor with one number for each class, got \(2, 2\)",
    ),
    "a sum": (
        lambda: as_criterion(nn.CrossEntropyLoss(reduction="sum")),
        ValueError,
        "criterion must be a mean over the batch, got reduction='sum'",
    ),
    "no loss": (
        lambda: as_criterion("ce", "divergence"),
        TypeError,
        r"divergence must be a Divergence or a callable \(outputs, y\), got 'ce'",
    ),
    "not callable": (
        lambda: as_divergence("kl"),
        TypeError,
        r"divergence must be a Divergence or a callable .*got 'kl'",
    ),
}


@pytest.mark.parametrize(("call", "error", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_named(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


def test_repr_names_the_settings():
    assert repr(KL()) == "KL()"
    assert repr(KL(reverse=True)) == "KL(reverse=True)"
    assert repr(SquaredError(labeled=True)) == "SquaredError(labeled=True)"
