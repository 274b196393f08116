"""The textbooks compute what the library computes; only their passes differ."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests import networks
from unshaken import MVAT, VMT, Objective, fields
from unshaken.benchmark.textbook import DoubleBackward, Masked, Power, Steepest
from unshaken.benchmark.variants import VARIANTS
from unshaken.methods.catalog import Shape

EXAMPLES = 6
SHAPES = {"image": (2, 6, 7), "signal": (2, 9), "flat": (6,)}
CASES = [
    (variant, kind)
    for variant in VARIANTS
    if variant.textbook is not None
    for kind, shape in SHAPES.items()
    if variant.fits(shape[1:])
]
APPROXIMATE = 1e-3
"""Two finite differences of different steps; everything else is the same numbers."""


def network(kind):
    torch.manual_seed(3)
    shape = SHAPES[kind]
    if kind == "flat":
        return networks.normalized(shape).double().train()
    dimensions = len(shape) - 1
    return nn.Sequential(
        networks.CONVOLUTIONS[dimensions](shape[0], shape[0], 3, padding=1),
        *networks.convolutional(shape[0], dimensions),
    ).double()


def found(loss, parameters):
    torch.manual_seed(5)
    value = loss()
    value.backward()
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    for p in parameters:
        p.grad = None
    return value.detach(), gradients


@pytest.mark.parametrize(("variant", "kind"), CASES, ids=lambda v: getattr(v, "name", v))
def test_value_and_gradients_are_the_librarys(variant, kind):
    shape = SHAPES[kind]
    model = network(kind)
    x, y = networks.batch(shape, count=EXAMPLES)
    index = torch.randperm(EXAMPLES)
    terms = variant.build(Shape(shape[0], shape[1:], EXAMPLES))
    objective = Objective(model, *terms).double()
    book = variant.build_textbook(terms)
    parameters = list(objective.parameters())
    ours, expected = found(lambda: objective(x, y, index=index), parameters)
    theirs, gradients = found(lambda: book(model, x, y, index), parameters)
    tolerance = APPROXIMATE if variant.textbook is Power else 1e-10
    torch.testing.assert_close(theirs, ours, rtol=tolerance, atol=0)
    networks.assert_same(gradients, expected, tolerance)
    assert any(bool(g.any()) for g in gradients)


def test_the_textbook_goes_another_way():
    """Were both the same code, their equality would say nothing."""
    model = network("image")
    calls = []
    model[0].register_forward_hook(lambda *_: calls.append(1))
    x, y = networks.batch(SHAPES["image"], count=EXAMPLES)
    index = torch.arange(EXAMPLES)
    counts = {}
    for variant in VARIANTS:
        if variant.textbook in (Steepest, Power, Masked):
            terms = variant.build(Shape(2, (6, 7), EXAMPLES))
            calls.clear()
            Objective(model, *terms).double()(x, y, index=index)
            ours = len(calls)
            calls.clear()
            variant.build_textbook(terms).double()(model, x, y, index)
            counts[variant.name] = (ours, len(calls))
    assert counts["at-l2"] == counts["mat"] == (2, 3)
    assert counts["vat"] == (3, 4)
    assert counts["xvat"] == counts["xvat-transductive"] == (2, 3)
    assert counts["xat"] == (2, 2)


@pytest.mark.parametrize("book", [DoubleBackward, Masked])
def test_a_term_of_another_kind_is_refused(book):
    x, y = networks.batch(SHAPES["image"])
    with pytest.raises(TypeError, match="term must be"):
        book(MVAT(fields.Shift(), radius=1.0))(network("image"), x, y, torch.arange(4))


def test_only_the_raw_gradient_has_a_textbook():
    x, y = networks.batch(SHAPES["image"])
    with pytest.raises(ValueError, match="gradient must be 'raw', got 'unit'"):
        DoubleBackward(VMT(fields.Shift(), gradient="unit"))(
            network("image"), x, y, torch.arange(4)
        )
