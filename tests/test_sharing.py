"""Several terms in one objective: whose pass, whose policy, whose name."""

import copy

import pytest
import torch
from torch.nn import functional as F

from tests import networks
from tests.contracts import SEED, SHAPES
from tests.test_passes import assert_untouched, net, trace
from unshaken import (
    AT,
    VAT,
    EntropyMinimization,
    Objective,
    PiModel,
    Regularizer,
    TangentPropagation,
    VAdD,
    fields,
    masks,
)
from unshaken.adversaries import Infinitesimal, SteepestStep
from unshaken.divergences import Function
from unshaken.perturbations import Additive, Mask

SHAPE = SHAPES["image"]


def smoothed(outputs, y):
    return F.cross_entropy(outputs, y, label_smoothing=0.2, reduction="none")


@pytest.mark.parametrize("beside", [[], [AT(0.3)], [VAT(0.3)]], ids=["alone", "at", "vat"])
@pytest.mark.parametrize(
    "adversary",
    [SteepestStep(0.3), masks.Steepest(0.5), Infinitesimal()],
    ids=["step", "mask", "rate"],
)
def test_a_labeled_divergence_of_the_users_own_beside_others(adversary, beside):
    """The clean graph must outlive the early gradient of the cross-entropy."""

    model = networks.mlp((6,)).double()
    x, y = networks.batch((6,))
    perturbation = Mask() if isinstance(adversary, masks.Steepest) else Additive(2)
    terms = [*beside, Regularizer(perturbation, adversary, Function(smoothed, labeled=True))]
    torch.manual_seed(SEED)
    found = Objective(model, *terms)(x, y)
    torch.manual_seed(SEED)
    expected = F.cross_entropy(model(x), y)
    for term in terms:
        expected = expected + term(model, x, y if term.labeled else None)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    networks.assert_same(networks.gradients(found, model), networks.gradients(expected, model))


def test_names_stay_apart_where_terms_are_used_again():
    model = networks.mlp((6,))
    x, y = networks.batch((6,), dtype=torch.float32)
    first, second = VAT(0.1), VAT(0.2)
    Objective(model, first, second)
    objective = Objective(model, VAT(0.3), VAT(0.4), second)
    objective(x, y)
    assert len(objective.report) == 4


def test_the_same_term_twice_is_refused():
    term = AT(0.1)
    with pytest.raises(ValueError, match=r"regularizers must differ, got the same 'at' twice"):
        Objective(networks.mlp((6,)), term, VAT(0.1), term)


PLAIN = {
    "pi-model": lambda policy: PiModel(noise=0.1, batch_norm=policy),
    "vadd": lambda policy: VAdD(batch_norm=policy),
    "entropy": lambda policy: EntropyMinimization(batch_norm=policy),
    "tangent": lambda policy: TangentPropagation(fields.Shift(), batch_norm=policy),
}


@pytest.mark.parametrize("policy", ["running", "update"])
@pytest.mark.parametrize(
    "make",
    [
        lambda policy: AT(0.3, batch_norm=policy),
        lambda policy: VAT(0.3, batch_norm=policy),
        *PLAIN.values(),
    ],
    ids=["at", "vat", *PLAIN],
)
def test_a_terms_policy_is_the_same_inside_and_outside(make, policy):
    """VAT compares two passes of one policy; in an objective too."""
    model = net(0.0)
    x, y = networks.batch(SHAPE)
    term = make(policy)
    twin = copy.deepcopy(model)
    torch.manual_seed(SEED)
    twin(x)  # the objective's own pass moves the running statistics first
    expected = term(twin, x, y if term.labeled else None)
    objective = Objective(model, term)
    torch.manual_seed(SEED)
    objective(x, y)
    torch.testing.assert_close(
        objective.report[term.name], expected.detach(), rtol=1e-9, atol=1e-12
    )


def test_a_bad_unlabeled_batch_is_noticed_before_any_pass():
    model = net(0.0)
    x, y = networks.batch(SHAPE)
    before = trace(model)
    with pytest.raises(ValueError, match="unlabeled must hold finite values"):
        Objective(model, VAT(0.3))(x, y, unlabeled=x * torch.nan)
    assert_untouched(before, trace(model))


def test_a_used_objective_can_be_copied():
    model = networks.mlp((6,))
    x, y = networks.batch((6,), dtype=torch.float32)
    objective = Objective(model, AT(0.1), VAT(0.2))
    for _ in range(10):
        objective(x, y).backward()
    other = copy.deepcopy(objective)
    torch.manual_seed(1)
    expected = objective(x, y)
    torch.manual_seed(1)
    assert torch.equal(other(x, y), expected)
