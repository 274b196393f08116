"""Every two methods work together: no term uses up what another needs."""

import copy

import pytest
import torch

from tests import networks
from tests.contracts import CONTRACTS, SEED, SHAPES, in_order, supervised, tolerance
from unshaken import Objective

SHAPE = SHAPES["image"]
NAMES = [name for name, contract in CONTRACTS.items() if "image" in contract.on]


@pytest.mark.parametrize("first", NAMES)
def test_every_pair_of_methods_shares_a_clean_pass(first):
    """No term may use up what another needs, in either order."""
    model = networks.normalized(SHAPE).double()
    x, y = networks.batch(SHAPE)
    index = torch.arange(4)
    for second in NAMES:
        terms = [CONTRACTS[name].make(SHAPE).double() for name in (first, second)]
        torch.manual_seed(SEED)
        found = Objective(model, *copy.deepcopy(terms))(x, y, index=index)
        torch.manual_seed(SEED)
        expected = supervised(terms, model, x, y)
        for term in in_order(terms):
            expected = expected + term(model, x, y if term.labeled else None, index=index)
        close = tolerance(terms)
        torch.testing.assert_close(found, expected, rtol=close, atol=0)
        networks.assert_same(
            networks.gradients(found, model), networks.gradients(expected, model), close
        )
