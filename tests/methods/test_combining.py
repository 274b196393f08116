"""Rows of several terms, and the set that is suggested for data."""

from __future__ import annotations

import pytest
import torch

from unshaken import MVAT, VAT, VMT, ClassBalance, EntropyMinimization, fields
from unshaken.methods import catalog
from unshaken.methods.combining import ROWS
from unshaken.models import mlp

SHAPE = catalog.Shape(1, (8, 6), 20, 3)


def value(terms):
    torch.manual_seed(3)
    model = mlp([48, 10, 3]).double()
    x = torch.randn(7, 1, 8, 6).double()
    torch.manual_seed(5)
    y = torch.arange(7) % 3
    return sum(float(t(model, x, y if t.labeled else None).detach()) for t in terms)


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        (
            "few-labels",
            lambda: [
                MVAT(fields.Affine(), fields.Elastic(4), radius=0.7, finite=True),
                EntropyMinimization(0.2),
                ClassBalance(0.5),
            ],
        ),
        (
            "few-labels-vat",
            lambda: [VAT(0.7, weight=2.0), EntropyMinimization(0.2), ClassBalance(0.5)],
        ),
        ("vat-vmt", lambda: [VAT(0.7), VMT(fields.Shift(), weight=2.0)]),
    ],
)
def test_a_row_is_its_terms(name, terms):
    settings = {"share": 0.1, "radius": 0.7, "entropy": 0.2, "balance": 0.5, "movement": 2.0}
    own = {k: v for k, v in settings.items() if k in ROWS[name].settings}
    found = catalog.build(name, SHAPE, catalog.settings_for(name, {name: own}))
    # A tenth of sides of 8 and 6 is 0.7 pixels.
    assert value(found) == pytest.approx(value(terms()), rel=1e-12)


def test_entropy_minimization_may_set_in_late():
    used = catalog.settings_for("few-labels-random", {"few-labels-random": {"ramp": 40}})
    _, sure, balance = catalog.build("few-labels-random", SHAPE, used)
    assert (sure.ramp, balance.ramp) == (40, 0)


def test_the_control_is_as_large():
    worst, random = (
        catalog.build(name, SHAPE, catalog.settings_for(name, {}))[0]
        for name in ("few-labels", "few-labels-random")
    )
    assert worst.adversary.radius == random.adversary.radius == pytest.approx(0.075 * 7)
    assert random.adversary.random


@pytest.mark.parametrize(
    ("size", "labels", "unlabeled", "some", "none"),
    [
        ((8, 8), 100, True, {"few-labels", "few-labels-random"}, {"at-l2", "mat"}),
        ((), 100, True, {"few-labels-vat"}, {"few-labels"}),
        ((8, 8), 100, False, {"mat", "random-movement-labels"}, {"few-labels"}),
        ((8, 8), None, True, {"mat", "vmt-all"}, {"few-labels-vat"}),
        ((8, 8), 900, True, {"mat"}, {"few-labels-vat"}),
        ((100,), None, False, {"vmt-shift", "vat-vmt"}, {"mat"}),
        ((), None, False, {"vat", "at-l2"}, {"vmt-shift"}),
    ],
)
def test_what_is_suggested(size, labels, unlabeled, some, none):
    found = catalog.suggested(size, labels, 1000, unlabeled)
    assert found[0] == "baseline" and len(found) == len(set(found))
    assert some <= set(found) and not none & set(found)
    assert all(catalog.fits(name, size) for name in found)
    assert any("random" in name for name in found)
