"""The least possible work: passes counted product by product, and what the checks cost."""

import statistics
import time

import pytest
import torch

from tests import counting, networks
from unshaken import (
    AT,
    VAT,
    VMT,
    XAT,
    XVAT,
    EntropyMinimization,
    Objective,
    Random,
    Regularizer,
    checks,
    fields,
    masks,
    models,
)
from unshaken.adversaries import Infinitesimal
from unshaken.divergences import CrossEntropy
from unshaken.perturbations import Additive

LAYERS = len(counting.WIDTHS) - 1
INTERIOR = range(1, LAYERS)


def passes(*terms, unlabeled=False, steps=1):
    """Forward, input-gradient and weight-gradient passes of one training step, by layer."""
    model = counting.network()
    x, y = networks.batch((11,), count=counting.BATCH, dtype=torch.float32)
    objective = Objective(model, *terms)
    with counting.counted() as found:
        index = torch.arange(len(x))
        objective(x, y, unlabeled=x.clone() if unlabeled else None, index=index).backward()
    each = [
        tuple(found[kind, layer] for kind in ("forward", "input", "weight")) for layer in INTERIOR
    ]
    assert len(set(each)) == 1, f"layers differ: {each}"
    first = tuple(found[kind, 0] for kind in ("forward", "input", "weight"))
    return each[0], first


def test_a_plain_step_is_three_units():
    assert passes() == ((1, 1, 1), (1, 0, 1))


UNITS = {
    "at": (lambda: [AT(0.3)], (2, 2, 2)),
    "vat": (lambda: [VAT(0.3)], (3, 3, 2)),
    "vat of two steps": (lambda: [VAT(0.3, steps=2)], (4, 4, 2)),
    "xat": (lambda: [XAT(masks.Generator(11, 0))], (2, 2, 2)),
    "xvat": (lambda: [XVAT(masks.Generator(11, 0))], (2, 2, 2)),
    "xvat with a table": (lambda: [XVAT(masks.Table(7, (11,)))], (2, 2, 2)),
    "xat steepest": (lambda: [XAT(masks.Steepest(0.5))], (2, 2, 2)),
    "random": (lambda: [Random(Additive(2), 0.3)], (2, 2, 2)),
    "entropy": (lambda: [EntropyMinimization()], (1, 1, 1)),
    "vat and entropy": (lambda: [VAT(0.3), EntropyMinimization()], (3, 3, 2)),
    "at and vat": (lambda: [AT(0.3), VAT(0.3)], (4, 4, 3)),
    "at twice": (lambda: [AT(0.3), AT(0.1)], (3, 3, 3)),
}


@pytest.mark.parametrize("name", UNITS)
def test_units_of_a_step(name):
    """AT 6 units = 2F + 2I + 2W, VAT 8 = 3F + 3I + 2W, xAT and xVAT 6; terms share clean passes."""
    make, expected = UNITS[name]
    interior, first = passes(*make())
    assert interior == expected
    assert (first[0], first[2]) == (expected[0], expected[2])
    assert first[1] <= expected[1]


@pytest.mark.parametrize(
    ("term", "given", "forwards"),
    [
        (AT(0.3), False, 2),
        (VAT(0.3), False, 3),
        (VAT(0.3), True, 2),
        (VAT(0.3, direction="exact"), False, 2),
        (XVAT(masks.Generator(11, 0)), False, 2),
        (XVAT(masks.Generator(11, 0)), True, 1),
        (EntropyMinimization(), True, 0),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_forward_passes_of_a_term_on_its_own(term, given, forwards):
    model = counting.network()
    x, y = networks.batch((11,), dtype=torch.float32)
    logits = model(x) if given else None
    calls = []
    model[0].register_forward_hook(lambda *_: calls.append(1))
    term(model, x, y if term.labeled else None, logits=logits)
    assert len(calls) == forwards


def test_double_backward_makes_one_forward_pass():
    """The rate at which noise raises the loss, as VMT has it for movements: six units at most."""
    penalty = Regularizer(Additive(2), Infinitesimal(), CrossEntropy())
    calls = []
    model = counting.network()
    for layer in model:
        layer.register_forward_hook(lambda *_: calls.append(1))
    x, y = networks.batch((11,), count=counting.BATCH, dtype=torch.float32)
    Objective(model, penalty)(x, y).backward()
    assert len(calls) == len(model)
    interior, _ = passes(penalty)
    assert sum(interior) <= 6


def test_vmt_and_at_together_still_make_two_forward_passes():
    calls = []
    model = networks.convolutional(1, 2)
    model[0].register_forward_hook(lambda *_: calls.append(1))
    x, y = networks.batch((1, 5, 6), dtype=torch.float32)
    Objective(model, VMT(fields.Shift()), AT(0.3))(x, y).backward()
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("term", "forwards"), [(AT(0.3), 2), (VAT(0.3), 4), (XVAT(masks.Generator(11, 0)), 3)]
)
def test_semi_supervised_forward_passes(term, forwards):
    """One for the labeled batch, and the term's own over the unlabeled one."""
    calls = []
    model = counting.network()
    model[0].register_forward_hook(lambda *_: calls.append(1))
    x, y = networks.batch((11,), dtype=torch.float32)
    Objective(model, term)(x, y, unlabeled=x.clone()).backward()
    assert len(calls) == forwards


def test_checks_cost_little_of_a_step():
    """Median of interleaved runs, as a share of CPU time; the aim is 1 %, 5 % fails."""
    model = models.conv_small(dropout=0.0)
    x, y = torch.randn(16, 3, 32, 32), torch.randint(0, 10, (16,))
    objective = Objective(model, VAT(1.0))
    logits = model(x).detach()
    steps, checking = [], []
    for _ in range(3):
        start = time.process_time()
        objective(x, y).backward()
        steps.append(time.process_time() - start)
        start = time.process_time()
        for _ in range(20):
            checks.inputs(x)
            checks.labels(y, 16, logits)
            checks.indices(y, 16, 10)
        checking.append((time.process_time() - start) / 20)
    share = statistics.median(checking) / statistics.median(steps)
    print(f"checks: {share:.3%} of a step")
    assert share < 0.05


def test_the_order_of_terms_costs_nothing():
    def penalty():
        return Regularizer(Additive(2), Infinitesimal(), CrossEntropy())

    assert passes(AT(0.3), penalty())[0] == passes(penalty(), AT(0.3))[0] == (3, 3, 3)
